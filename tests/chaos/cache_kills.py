"""kill -9 of the cache, again and again, at random moments while workers give it weights: what it has acknowledged stays.

    python -m chaos.cache_kills --count 500 --seed 1

A thread imports and loads models of weights of their own without a pause, so that the cache always has something to store.
A killer waits for a random while, asks the cache how many bytes its disk has (each has been acknowledged as stored: the figure
is raised after the synced write), kills it, starts it and asks again: there must not be fewer. At the end memory's files are
removed and the workers are started anew, so that every object is read from the disk, checksums and all; every model that was
imported must answer right, and nothing may have been quarantined.

The moments are random: the executables have no armed points in them (tests of single steps are in tests/unit/cache).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import threading
import time
import urllib.request
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import shoal

from .disk import Disk
from .doors import Access
from .engine import EngineError, docker, why_no_engine
from .mesh import METRICS, ROOT, Mesh, ensure_images
from .run import say

WIDTH = 192  # 147 KiB a layer: an extent of its own; the biases lie in the index
READY_WITHIN = 30.0


def export(folder: Path, number: int) -> Path:
    """A model of weights of its own: three layers. Beside it what eager PyTorch answers to ones."""
    import torch

    path = folder / f"variant_{number}.pt2"
    if path.exists():
        return path
    torch.manual_seed(number)
    layers = [torch.nn.Linear(WIDTH, WIDTH) for _ in range(3)]
    model = torch.nn.Sequential(layers[0], torch.nn.ReLU(), layers[1], torch.nn.ReLU(), layers[2]).eval()
    batch = torch.export.Dim("batch", min=1, max=64)
    program = torch.export.export(model, (torch.ones(2, WIDTH),), dynamic_shapes=({0: batch},))
    folder.mkdir(parents=True, exist_ok=True)
    with torch.no_grad():
        np.save(path.with_suffix(".npy"), model(torch.ones(1, WIDTH)).numpy())
    torch.export.save(program, path)
    return path


@dataclass(slots=True)
class Tally:
    kills: int = 0
    lost: list[str] = field(default_factory=list)
    stored: int = 0  # objects, over all lives of the cache
    away: list[float] = field(default_factory=list)  # seconds from start to the first answer
    imports: int = 0
    failed_loads: int = 0


class Giver:
    """Imports and loads, so that there is always something to store."""

    def __init__(self, mesh: Mesh, access: Access, archives: list[Path], tally: Tally) -> None:
        self.names: list[tuple[str, Path]] = []
        self._mesh, self._access, self._archives, self._tally = mesh, access, archives, tally
        self._ends = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._ends.set()
        self._thread.join(120)

    async def _run(self) -> None:
        async with self._access.connect() as mesh:
            for archive in self._archives:
                if self._ends.is_set():
                    return
                try:
                    await asyncio.to_thread(self._mesh.import_model, archive.stem, archive)
                except EngineError:
                    continue
                self._tally.imports += 1
                self.names.append((archive.stem, archive))
                try:
                    await mesh.load(archive.stem, deadline=30.0)
                    if len(self.names) > 4:
                        await mesh.unload(self.names[-5][0], deadline=30.0)
                except shoal.ShoalError:
                    self._tally.failed_loads += 1


def figures(address: str) -> dict[str, float]:
    with urllib.request.urlopen(f"http://{address}:{METRICS['cache']}/metrics", timeout=2.0) as answer:
        lines = answer.read().decode().splitlines()
    found = {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))}
    if "shoal_cache_disk_bytes" not in found:
        raise ValueError("it has not read its index yet")
    return found


def figures_when_ready(mesh: Mesh) -> dict[str, float]:
    """Raises EngineError if it does not come back."""
    end = time.monotonic() + READY_WITHIN
    while time.monotonic() < end:
        try:
            return figures(mesh.state(mesh.pick("cache", 0.0)).address)
        except (OSError, ValueError):
            time.sleep(0.02)
    raise EngineError(f"the cache did not come back within {READY_WITHIN:g} s of being started")


def kill_again_and_again(mesh: Mesh, count: int, draw: random.Random, tally: Tally) -> None:
    cache = mesh.pick("cache", 0.0)
    while tally.kills < count:
        time.sleep(draw.random() * 0.5)
        try:
            before = figures(mesh.state(cache).address)
        except (OSError, ValueError):
            before = figures_when_ready(mesh)
        docker("kill", "-s", "KILL", cache.id)
        docker("start", cache.id)
        began = time.monotonic()
        after = figures_when_ready(mesh)
        tally.away.append(time.monotonic() - began)
        tally.kills += 1
        tally.stored += int(before["shoal_cache_stored_total"])
        if after["shoal_cache_disk_bytes"] < before["shoal_cache_disk_bytes"]:
            gone = before["shoal_cache_disk_bytes"] - after["shoal_cache_disk_bytes"]
            tally.lost.append(f"kill {tally.kills}: {gone:.0f} acknowledged bytes are not on the disk any more")
        if tally.kills % 25 == 0:
            say(f"{tally.kills} kills, {tally.stored} objects acknowledged, {len(tally.lost)} losses")


async def ask_all(access: Access, names: list[tuple[str, Path]], tally: Tally) -> None:
    async with access.connect() as mesh:
        for name, archive in names:
            wanted = np.load(archive.with_suffix(".npy"))
            try:
                if not any(each.name == name and each.state == "ready" for each in await mesh.models()):
                    await mesh.load(name, deadline=30.0)
                answer = await mesh.infer(name, {"input": np.ones((1, WIDTH), np.float32)}, deadline=30.0)
                difference = float(np.abs(next(iter(answer.values())) - wanted).max())
                if difference > 1e-4:
                    tally.lost.append(f"{name} answers wrong, off by {difference:.1e}")
            except shoal.ShoalError as error:
                tally.lost.append(f"{name} was imported and is not served: {error}")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m chaos.cache_kills", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--models", type=int, default=400, help="that are imported meanwhile, at most: with fewer, late kills find nothing new")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "chaos")
    parser.add_argument("--project", default="shoalchaos-kills")
    parser.add_argument("--publish", default="127.0.0.2")
    arguments = parser.parse_args()
    if (why := why_no_engine()) is not None:
        print(f"chaos: SKIPPED, nothing was tested: {why}", file=sys.stderr)
        return 77
    ensure_images(build=False)
    tally = Tally()
    archives = [export(arguments.out / "variants", number) for number in range(arguments.models)]
    with ExitStack() as stack:
        disk = Disk(arguments.out / "kills", mebibytes=1024)
        stack.callback(disk.close)
        mesh = Mesh(arguments.project, arguments.publish, disk.open(), scale={"gateway": 1, "scheduler": 1, "worker": 1, "cache": 1, "front": 1})
        stack.callback(mesh.down)
        mesh.down()
        mesh.up()
        stack.callback(mesh.logs, arguments.out / "kills" / "logs")
        mesh.wait_until_healthy(90.0)
        access = Access(arguments.publish, str(mesh.new_key("kills", arguments.out / "kills")))
        giver = Giver(mesh, access, archives, tally)
        stack.callback(giver.stop)
        kill_again_and_again(mesh, arguments.count, random.Random(arguments.seed), tally)
        giver.stop()
        cache = mesh.pick("cache", 0.0)
        docker("exec", cache.id, "sh", "-c", "rm -f /weights/[0-9a-f]*")
        docker("restart", cache.id)
        docker("restart", mesh.pick("worker", 0.0).id)
        mesh.wait_until_healthy(120.0)
        asyncio.run(ask_all(access, giver.names, tally))
        last = figures_when_ready(mesh)
        if last["shoal_cache_quarantined_total"] > 0:
            tally.lost.append(f"{last['shoal_cache_quarantined_total']:.0f} objects were damaged")
    away = sorted(tally.away)
    said = {
        **{"kills": tally.kills, "seed": arguments.seed, "imports": tally.imports, "objects_acknowledged": tally.stored},
        **{"failed_loads": tally.failed_loads, "read_again": int(last["shoal_cache_fills_total"]), "lost": tally.lost},
        **{"away_median": away[len(away) // 2], "away_most": away[-1]},
    }
    (arguments.out / "cache_kills.json").write_text(json.dumps(said, indent=1) + "\n")
    print(json.dumps(said))
    return 1 if tally.lost else 0


if __name__ == "__main__":
    sys.exit(main())
