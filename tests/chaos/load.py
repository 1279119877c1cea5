"""The load: open loop, arrivals and contents from a seed, through every door and class, each request written down when it is
sent and when it ends. A process of its own (`python -m chaos.load`), so that whoever does the harm does not slow it down.

Reads its settings as one JSON line from standard input and says `{"ready": true, "capacity": ...}` when it knows what the
calm mesh answers and how much it can do. Then each line is an order:

    {"start": T, "rate": R}      begins; T, of time.monotonic, is second zero of the history
    {"phase": P, "rate": R}      goes on so
    {"poison": N}                N requests that end workers
    {"stop": true}               sends no more, waits for what is under way, ends
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import shoal

from .content import DISTANCE, TOLERANCE, Content, Question, exported_cases
from .doors import ALL_DOORS, Access, Doors, Failure
from .history import Writer

DEADLINE = 2.0
POISON_DEADLINE = 12.0
CLOSED_LOOP = 24  # requests in flight while the capacity is measured
WARM_UP = 2.0  # seconds
LAG = 0.05  # of the event loop, worth writing down
MOST_IN_FLIGHT = 20_000


@dataclass(slots=True)
class Settings:
    host: str
    key: str  # file; empty: none
    seed: int
    history: str
    fixtures: str
    capacity_seconds: float
    # Of a mesh that is not ours: only its own MiniLM is asked, through what doors there are, and its answers may be computed
    # by plans (tolerance).
    is_ours: bool = True
    tolerance: float = TOLERANCE


class Load:
    def __init__(self, settings: Settings, doors: Doors, content: Content) -> None:
        self._settings = settings
        self._doors = doors
        self._content = content
        self._random = random.Random(f"load/{settings.seed}")
        self._writer: Writer | None = None
        self._next = 0
        self._under_way: set[asyncio.Task[None]] = set()
        self._phase = "calm"
        self._rate = 1.0
        self._stops = False
        self.left_out: dict[str, str] = {}  # doors, and why

    # --- before ------------------------------------------------------------------------------------------------------

    async def learn(self) -> None:
        """References from the calm mesh. Raises RuntimeError if they are not what eager PyTorch gave or look too alike."""
        for question in self._content.every_known():
            answer, _ = await self._doors.ask(self._doors.of(question)[0], question, "standard", 30.0)
            self._content.learn(question, answer)
        for inputs, wanted in exported_cases(Path(self._settings.fixtures)):
            question = Question("minilm", inputs, "sentence_embedding")
            answer, _ = await self._doors.ask(self._doors.of(question)[0], question, "standard", 30.0)
            if (difference := float(np.abs(answer - wanted).max())) > self._settings.tolerance:
                raise RuntimeError(f"the calm mesh is off by {difference:.1e} from what eager PyTorch gave")
        if (least := self._content.least_distance()) < max(DISTANCE, 3 * self._settings.tolerance):
            raise RuntimeError(f"two references differ by {least:.1e} only: a mix-up would not be seen")

    async def try_doors(self) -> None:
        """Leaves out those that do not answer us. Raises RuntimeError if none does."""
        ids, text = (next(q for q in self._content.every_known() if q.known == (kind, 0)) for kind in ("sentence", "text"))
        for door in self._doors.names:
            try:
                await self._doors.ask(door, text if door == "embeddings" else ids, "standard", 15.0)
            except Failure as failure:
                self.left_out[door] = f"{failure.code}: {failure}"
        self._doors.leave_out(self.left_out)
        if not self._doors.names:
            why = "; ".join(f"{door}: {said}" for door, said in self.left_out.items())
            raise RuntimeError(f"no door answers a request for MiniLM: {why}")
        for question in (ids, text):
            if not self._doors.of(question) and question.known is not None:
                self._content.leave_out(question.known[0])

    async def measure(self) -> tuple[float, dict[str, int]]:
        """Right answers a second, closed loop, the same mix; and what was refused meanwhile, by code. The first two seconds do
        not count: the mesh learns there how long its batches take."""
        draw = random.Random("capacity")
        right = 0
        refused: Counter[str] = Counter()
        begin = time.monotonic() + WARM_UP
        end = begin + self._settings.capacity_seconds

        async def ask() -> None:
            nonlocal right
            while time.monotonic() < end:
                question, door, priority = self._draw(draw)
                try:
                    answer, _ = await self._doors.ask(door, question, priority, 20.0)
                except Failure as failure:
                    refused[failure.code] += 1
                    await asyncio.sleep(0.05)
                    continue
                right += time.monotonic() >= begin and self._content.judge(question, answer).is_right

        await asyncio.gather(*(ask() for _ in range(CLOSED_LOOP)))
        return right / self._settings.capacity_seconds, dict(refused)

    # --- the load ----------------------------------------------------------------------------------------------------

    def order(self, order: dict[str, Any]) -> None:
        if "start" in order:
            self._writer = Writer(Path(self._settings.history), order["start"])
        self._rate = order.get("rate", self._rate)
        self._phase = order.get("phase", self._phase)
        for _ in range(order.get("poison", 0)):
            side = np.ones((1, GLUTTON_WIDTH), np.float32)
            self._send(Question("glutton", {"x": side}, "y"), "native", "standard", POISON_DEADLINE, "poison")
        self._stops = self._stops or order.get("stop", False)

    async def run(self) -> None:
        while self._writer is None:
            await asyncio.sleep(0.001)
        watching = asyncio.create_task(self._watch_lag())
        due = time.monotonic()
        while not self._stops:
            due += self._random.expovariate(self._rate)
            if (wait := due - time.monotonic()) > 0:
                await asyncio.sleep(wait)
            elif wait < -1.0:
                due = time.monotonic()  # we were not given the processor; `lag` says so. No burst to make up for it
            if len(self._under_way) < MOST_IN_FLIGHT:
                question, door, priority = self._draw(self._random)
                self._send(question, door, priority, DEADLINE, self._phase)
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=POISON_DEADLINE + 2.0)
        watching.cancel()
        self._writer.close()

    def _draw(self, draw: random.Random) -> tuple[Question, str, str]:
        question = self._content.draw(draw, self._next)
        priority = draw.choice(("critical", "standard", "standard", "standard", "batch"))
        door = draw.choice(self._doors.of(question))
        return question, door, "standard" if door == "embeddings" else priority

    def _send(self, question: Question, door: str, priority: str, deadline: float, phase: str) -> None:
        number = self._next
        self._next += 1
        task = asyncio.create_task(self._ask(number, question, door, priority, deadline, phase))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _ask(self, number: int, question: Question, door: str, priority: str, deadline: float, phase: str) -> None:
        assert self._writer is not None
        write = self._writer.write
        write("send", id=number, door=door, model=question.model, deadline=deadline, phase=phase, **{"class": priority})
        try:
            answer, tries = await self._doors.ask(door, question, priority, deadline)
        except Failure as failure:
            said = {"code": failure.code, "retryable": failure.retryable, "said": str(failure)[:300], "tries": failure.tries}
            write("end", id=number, outcome="error", **said)
            return
        except Exception as error:  # noqa: BLE001: whatever a client library lets through is an outcome, too
            write("end", id=number, outcome="error", code="internal", said=f"{type(error).__name__}: {error}"[:300])
            return
        at = self._writer.now()
        verdict = self._content.judge(question, answer)
        difference = verdict.difference if np.isfinite(verdict.difference) else -1.0
        outcome = "right" if verdict.is_right else "wrong"
        more = {"said": verdict.said} if verdict.said else {}
        write("end", at=at, id=number, outcome=outcome, difference=difference, tries=tries, **more)

    async def _watch_lag(self) -> None:
        assert self._writer is not None
        while True:
            due = time.monotonic() + 0.02
            await asyncio.sleep(0.02)
            if (late := time.monotonic() - due) > LAG:
                self._writer.write("lag", seconds=round(late, 3))


async def try_native(access: Access) -> dict[str, str]:
    """Why there is nobody for us at the native door; empty: there is."""
    if access.key is None:
        return {"native": "no key"}
    try:
        async with access.connect():
            return {}
    except shoal.ShoalError as error:
        return {"native": str(error)}


async def main() -> None:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    settings = Settings(**json.loads(await reader.readline()))
    content = Content(settings.seed, settings.tolerance, identities=settings.is_ours)
    access = Access(settings.host, settings.key or None)
    closed = {} if settings.is_ours else await try_native(access)
    async with Doors(access, [door for door in ALL_DOORS if door not in closed]) as doors:
        load = Load(settings, doors, content)
        load.left_out |= closed
        try:
            if not settings.is_ours:
                await load.try_doors()
            await load.learn()
        except (Failure, RuntimeError) as failed:
            print(json.dumps({"ready": False, "said": str(failed)}), flush=True)
            return
        capacity, refused = await load.measure()
        said = {"ready": True, "capacity": capacity, "refused_while_measured": refused, "distance": content.least_distance(), "tolerance": settings.tolerance}
        said["left_out"] = load.left_out
        print(json.dumps(said), flush=True)
        running = asyncio.create_task(load.run())
        while line := await reader.readline():
            load.order(json.loads(line))
            if running.done() or json.loads(line).get("stop"):
                break
        else:
            load.order({"stop": True})  # whoever gave the orders is gone
        await running
        print(json.dumps({"done": True, "counts": doors.counts()}), flush=True)


# float32: its outer product with itself needs 2 GiB, more than a worker has in compose.chaos.yaml.
GLUTTON_WIDTH = 23_170

if __name__ == "__main__":
    asyncio.run(main())
