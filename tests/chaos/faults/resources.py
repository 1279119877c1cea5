"""What befalls memory, disks and clocks."""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from pathlib import Path

from ..engine import EngineError, docker
from ..groups import Groups
from ..mesh import Container
from ..schedule import Trait
from .fault import Fault, Surroundings
from .processes import ALL

MEBIBYTE = 1 << 20


class MemoryLimit(Fault):
    """Its limit is lowered to what it uses and a little, so that the kernel takes pages back or kills it."""

    trait = Trait("memory_limit", ("gateway", "scheduler", "worker", "cache"), (3.0, 6.0), settles=6.0)

    _target: Container | None = None
    _before: int = 0

    def begin(self) -> str:
        target = self.target()
        used = Groups(self.mesh.pid(target), target.id).memory()
        self._before = self.mesh.state(target).memory_limit
        self._target = target
        # From a tenth below what it uses (the kernel must reclaim, or it refuses the limit) to a tenth above.
        wanted = max(8 * MEBIBYTE, int(used * (0.9 + 0.2 * self.planned.strength)))
        try:
            docker("update", "--memory", str(wanted), target.id)
        except EngineError:
            wanted = max(8 * MEBIBYTE, int(used * 1.02) + MEBIBYTE)
            docker("update", "--memory", str(wanted), target.id)
        return f"{target.name}, which uses {used >> 20} MiB, may use {wanted >> 20} MiB for {self.planned.seconds:.1f} s"

    def end(self) -> None:
        if self._target is not None and self._before:
            docker("update", "--memory", str(self._before), self._target.id)


class DiskFull(Fault):
    """The cache's disk is filled to the last block. Workers are started anew, so that there is something to store."""

    trait = Trait("disk_full", ("cache",), (4.0, 8.0))

    _filling: Path | None = None

    @classmethod
    def why_not(cls, surroundings: Surroundings) -> str | None:
        return why_no_volume(surroundings, "ssd")

    def begin(self) -> str:
        folder = self.mesh.volume("ssd")
        room = os.statvfs(folder)
        if room.f_blocks * room.f_frsize > 1024 * MEBIBYTE:
            raise EngineError(f"{folder} is no small disk: the host's own is not filled")
        self._filling = folder / "filling"
        written = 0
        with self._filling.open("wb", buffering=0) as file:
            for size in (4 * MEBIBYTE, 4096):
                try:
                    while True:
                        written += file.write(bytes(size))
                except OSError:
                    continue
        cache = self.mesh.pick("cache", self.planned.draw)
        docker("exec", cache.id, "sh", "-c", "rm -f /weights/[0-7]*")
        worker = self.mesh.pick("worker", self.planned.draw)
        self.mesh.engine.restart(worker.id)
        return f"the disk filled with {written >> 20} MiB for {self.planned.seconds:.1f} s; half of the weights in memory removed, {worker.name} restarted"

    def end(self) -> None:
        if self._filling is not None:
            self._filling.unlink(missing_ok=True)


class BitFlips(Fault):
    """Bits turn in the extent files of the cache's disk; what memory had of them is removed and a worker restarted, so that
    they are read."""

    trait = Trait("bit_flips", ("cache",), (3.0, 5.0))

    @classmethod
    def why_not(cls, surroundings: Surroundings) -> str | None:
        return why_no_volume(surroundings, "ssd")

    def begin(self) -> str:
        draw = random.Random(self.planned.strength)
        files = sorted(path for path in self.mesh.volume("ssd").glob("*/extents/*") if path.stat().st_size > 0)
        chosen = draw.sample(files, min(len(files), 1 + int(self.planned.strength * 4)))
        flips = 0
        for path in chosen:
            with path.open("r+b", buffering=0) as file:
                for _ in range(8):
                    at = draw.randrange(os.fstat(file.fileno()).st_size)
                    file.seek(at)
                    byte = file.read(1)
                    file.seek(at)
                    file.write(bytes([byte[0] ^ (1 << draw.randrange(8))]))
                    flips += 1
        cache = self.mesh.pick("cache", self.planned.draw)
        # Which object lies in which extent only the cache knows, so memory forgets all of them.
        docker("exec", cache.id, "sh", "-c", "rm -f /weights/[0-9a-f]*")
        self.mesh.engine.restart(cache.id)
        worker = self.mesh.pick("worker", self.planned.draw)
        self.mesh.engine.restart(worker.id)
        return f"{flips} bits turned in {len(chosen)} of {len(files)} extents; weights in memory removed, {cache.name} and {worker.name} restarted"


class SlowDisk(Fault):
    """The cache may read and write 1 MiB a second."""

    trait = Trait("slow_disk", ("cache",), (4.0, 8.0))

    _groups: Sequence[Groups] = ()

    @classmethod
    def why_not(cls, surroundings: Surroundings) -> str | None:
        if not surroundings.disk.device:
            return surroundings.disk.why_no_device
        caches = surroundings.mesh.containers("cache")
        if not caches:
            return "there is no cache"
        return Groups(surroundings.mesh.pid(caches[0]), caches[0].id).why_no_throttle()

    def begin(self) -> str:
        device = self.around.disk.device
        self._groups = [Groups(self.mesh.pid(cache), cache.id) for cache in self.mesh.containers("cache")]
        for groups in self._groups:
            groups.throttle(device, MEBIBYTE)
        cache = self.mesh.pick("cache", self.planned.draw)
        docker("exec", cache.id, "sh", "-c", "rm -f /weights/[0-9a-f]*")
        worker = self.mesh.pick("worker", self.planned.draw)
        self.mesh.engine.restart(worker.id)
        return f"the caches' disk at 1 MiB/s for {self.planned.seconds:.1f} s; weights in memory removed, {worker.name} restarted"

    def end(self) -> None:
        for groups in self._groups:
            groups.throttle(self.around.disk.device, 0)


class ClockSkew(Fault):
    """Its wall clock jumps, ahead or back; its monotonic one goes on."""

    trait = Trait("clock_skew", ALL, (3.0, 8.0))

    _target: Container | None = None

    @classmethod
    def why_not(cls, surroundings: Surroundings) -> str | None:
        if surroundings.clock_is_fakeable:
            return None
        return "libfaketime is not on this host: apt-get install libfaketime, or --faketime FOLDER with libfaketimeMT.so.1"

    def begin(self) -> str:
        target = self.target()
        self._target = target
        seconds = int(86400**self.planned.strength) * (-1 if self.planned.draw < 0.5 else 1)
        self._set(f"{seconds:+d}s")
        return f"the clock of {target.name} off by {seconds:+d} s for {self.planned.seconds:.1f} s"

    def end(self) -> None:
        if self._target is not None:
            self._set("+0s")

    def _set(self, offset: str) -> None:
        assert self._target is not None
        docker("exec", self._target.id, "sh", "-c", f"echo '{offset}' > /tmp/faketime")


def why_no_volume(surroundings: Surroundings, name: str) -> str | None:
    try:
        surroundings.mesh.volume(name)
    except EngineError as error:
        return str(error)
    return None
