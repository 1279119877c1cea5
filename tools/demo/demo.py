"""`make demo`: the embedded mesh serves MiniLM, and a search by meaning runs over it.

Starts `shoal up`, embeds the sentences of sentences.txt through the Python SDK (text in; one request each, many in flight;
joining them into batches is the mesh's business), finds the nearest ones to each query, and stops the mesh. Ends with
another code than 0 if an answer is wrong or the mesh does not stop cleanly.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import shutil
import signal
import statistics
import sys
import tempfile
import textwrap
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import shoal

MODEL = "minilm"
READY_WITHIN = 60.0  # seconds
STOPPED_WITHIN = 15.0
IN_FLIGHT = 64
ROUNDS = 5


class DemoFailed(Exception):
    pass


def parse(path: Path) -> tuple[list[str], list[tuple[str, str]]]:
    """Sentences, and queries with words of the sentence that must be nearest."""
    sentences, queries = [], []
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("="):
            query, _, words = line[1:].partition(" | ")
            queries.append((query.strip(), words.strip()))
        elif line.strip() and not line.startswith("#"):
            sentences.append(line.strip())
    return sentences, queries


@asynccontextmanager
async def mesh_of(executable: Path, models: Path, threads: int) -> AsyncIterator[str]:
    """A mesh in a process of its own: its native address. At the end it is told to stop and must do so with 0."""
    with tempfile.TemporaryDirectory() as folder:
        # Only what is shown: other models in that folder would be loaded as well.
        (Path(folder) / MODEL).symlink_to((models / MODEL).resolve(), target_is_directory=True)
        command = [executable, "up", "--models", folder, "--threads", str(threads)]
        command += ["--set", "precision.policy=fp32"]  # answers are compared with eager PyTorch, to the last digits
        command += ["--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0", "--native", "tcp://127.0.0.1:0"]
        began = time.monotonic()
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        try:
            address = await ready(process, began)
            yield address
        finally:
            if process.returncode is None:
                process.send_signal(signal.SIGTERM)
            try:
                async with asyncio.timeout(STOPPED_WITHIN):
                    code = await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()
                raise DemoFailed(f"the mesh did not stop within {STOPPED_WITHIN:g} s") from None
        if code != 0:
            raise DemoFailed(f"the mesh stopped with code {code}")
        print("\nThe mesh drained and stopped with code 0.")


async def ready(process: asyncio.subprocess.Process, began: float) -> str:
    """Waits for the mesh's `ready` line and shows the time passing."""
    assert process.stdout is not None
    reading = asyncio.ensure_future(process.stdout.readline())
    while True:
        await asyncio.wait([reading], timeout=0.2)
        passed = time.monotonic() - began
        if sys.stdout.isatty():
            print(f"\rStarting the mesh ... {passed:.1f} s", end="", flush=True)
        if not reading.done():
            if passed > READY_WITHIN:
                raise DemoFailed(f"the mesh was not ready within {READY_WITHIN:g} s")
            continue
        line = reading.result().decode()
        if not line:
            raise DemoFailed(f"the mesh ended before it was ready (code {await process.wait()})")
        if line.startswith("ready"):
            native = re.search(r"native=(\S+)", line)
            if native is None:
                raise DemoFailed(f"no native address in the mesh's line: {line.strip()}")
            begin = "\r" if sys.stdout.isatty() else ""
            print(f"{begin}The mesh is ready after {passed:.1f} s: {line[6:].strip()}")
            return native[1]
        reading = asyncio.ensure_future(process.stdout.readline())


class Embedder:
    """Sentences to unit vectors of 384 numbers, one request each."""

    def __init__(self, mesh: shoal.Mesh) -> None:
        self._mesh = mesh
        self._room = asyncio.Semaphore(IN_FLIGHT)
        self.latencies: list[float] = []

    async def __call__(self, sentence: str) -> np.ndarray:
        async with self._room:
            began = time.perf_counter()
            given = await self._mesh.embed(MODEL, [sentence], deadline=30.0)
            self.latencies.append(time.perf_counter() - began)
        return given.vectors[0]


async def embed_all(embed: Embedder, sentences: list[str]) -> np.ndarray:
    print(f"Embedding {len(sentences)} sentences, one request each, {IN_FLIGHT} in flight ", end="", flush=True)
    vectors = np.stack(await asyncio.gather(*map(embed, sentences)))  # the first round also warms the model up
    embed.latencies.clear()
    rates = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        again = np.stack(await asyncio.gather(*map(embed, sentences)))
        rates.append(len(sentences) / (time.perf_counter() - began))
        if (drift := float(np.abs(again - vectors).max())) > 1e-4:
            raise DemoFailed(f"an embedding differs by {drift:.1e} between two rounds")
        print(".", end="", flush=True)
    p50, p99 = np.percentile(embed.latencies, [50, 99]) * 1e3
    print(
        f"\n  {statistics.median(rates):.0f} sentences/s (median of {ROUNDS} rounds), "
        f"latency p50 {p50:.1f} ms, p99 {p99:.1f} ms"
    )
    return vectors


def check_norms(vectors: np.ndarray) -> None:
    norms = np.linalg.norm(vectors, axis=1)
    if not np.allclose(norms, 1.0, atol=1e-3):
        raise DemoFailed(f"the vectors' norms are {norms.min():.4f} to {norms.max():.4f}, not 1")


async def search(embed: Embedder, sentences: list[str], vectors: np.ndarray, queries: list[tuple[str, str]]) -> None:
    missed = []
    for query, words in queries:
        began = time.perf_counter()
        vector = await embed(query)
        scores = vectors @ vector
        passed = time.perf_counter() - began
        check_norms(vector[None])
        nearest = np.argsort(-scores)[:2]
        print(f"\n{query}  [{passed * 1e3:.1f} ms]")
        for index in nearest:
            print(f"  {scores[index]:.3f}  {textwrap.shorten(sentences[index], 100, placeholder=' ...')}")
        if words not in sentences[nearest[0]]:
            missed.append(query)
    if missed:
        raise DemoFailed(f"another sentence was expected nearest to: {'; '.join(missed)}")


async def demo(arguments: argparse.Namespace) -> None:
    sentences, queries = parse(Path(__file__).with_name("sentences.txt"))
    async with mesh_of(arguments.bin / "shoal", arguments.models, arguments.threads) as address:
        async with shoal.connect(address) as mesh:
            embed = Embedder(mesh)
            vectors = await embed_all(embed, sentences)
            check_norms(vectors)
            await search(embed, sentences, vectors, queries)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--bin", type=Path, default=Path("build/release/bin"), help="folder of the executable `shoal`")
    parser.add_argument("--models", type=Path, default=Path("build/fixtures/models"), help=f"folder with {MODEL}/")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="compute threads of the worker")
    arguments = parser.parse_args()
    if shutil.which(arguments.bin / "shoal") is None:
        parser.error(f"there is no executable {arguments.bin / 'shoal'}: `make build` makes it")
    try:
        asyncio.run(demo(arguments))
    except (DemoFailed, shoal.ShoalError) as failed:
        print(f"\ndemo failed: {failed}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
