"""One run: the mesh up, the load on it, the plan carried out, everything written down, the mesh down again whatever happened."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from . import ending, glutton
from .disk import Disk
from .doors import Access
from .engine import EngineError
from .faults import FAULTS, Fault, Surroundings
from .flood import Flood
from .groups import Share
from .history import FAILED, Writer
from .keepsakes import Keepsakes
from .load_process import LoadProcess, settings_of
from .mesh import Mesh
from .schedule import Plan, Planned
from .watch import Watch

OVERLOAD = 3.0  # times the capacity
IN_OVERLOAD = 0.1  # of the load: it takes part and is judged, and leaves the processors to the mesh, which others flood
UNDO_TRIES = 4


@dataclass(frozen=True, slots=True)
class Options:
    folder: Path  # of what is written
    fixtures: Path
    project: str
    publish: str
    share: float  # of the capacity that the load is
    most_rate: float
    faketime: Path | None
    cpu_times: int  # the mesh's share of the processors, of the usual one; 1: nothing is done about it
    only: frozenset[str]  # kinds; empty: all
    upgrade_to: str = ""  # a tag of images that are there; empty: what runs, by another name


def run(plan: Plan, options: Options) -> None:
    """Writes history.jsonl, events.jsonl and logs/ into the folder. Raises EngineError, LoadFailed if there is no run."""
    options.folder.mkdir(parents=True, exist_ok=True)
    plan.save(options.folder / "plan.json")
    is_long = plan.overload_at is not None
    with ExitStack() as stack:
        disk = Disk(options.folder)
        stack.callback(disk.close)
        environment = disk.open()
        if options.faketime is not None:
            environment |= {"SHOAL_CHAOS_FAKETIME": str(options.faketime), "SHOAL_CHAOS_PRELOAD": "/faketime/libfaketimeMT.so.1"}
        share = None
        if options.cpu_times > 1:
            share = Share(options.project, options.cpu_times)
            share.open()
            stack.callback(share.close)
            share.take_in(os.getpid())  # with the load and every command that we run
            stack.callback(share.let_go, os.getpid())
            environment["SHOAL_CHAOS_GROUP"] = share.name
        mesh = Mesh(options.project, options.publish, environment)
        mesh.down()  # what an earlier run that was killed has left
        stack.callback(take_down, mesh)
        say("the mesh starts")
        mesh.up()
        stack.callback(mesh.logs, options.folder / "logs")
        identity = options.fixtures / "identity" / "1" / "model.pt2"
        mesh.import_model("identity", identity)
        mesh.import_model("glutton", glutton.export(options.folder / "models"))
        mesh.wait_until_healthy(60.0)
        if share is not None:
            share.take_in_proxies(options.publish)
        key = mesh.new_key("chaos", options.folder)
        access = Access(options.publish, str(key))
        asyncio.run(load_models(access, "minilm", "identity", "glutton"))
        load = LoadProcess(
            settings_of(options.publish, key, plan.seed, options.folder / "history.jsonl", options.fixtures, 8.0 if is_long else 4.0)
        )
        stack.callback(load.end)
        known = load.hear(120.0)
        rate = min(options.most_rate, max(1.0, options.share * known["capacity"]))
        say(f"the calm mesh answers {known['capacity']:.0f} requests/s; the load is {rate:.0f}/s")
        flood = Flood(mesh, key, options.folder, plan.seed, share.name if share is not None else "")
        stack.callback(flood.close)
        most = max(flood.capacity(8.0), known["capacity"]) if is_long else 0.0
        if is_long:
            say(f"by `shoal bench` {most:.0f} requests/s")

        start = time.monotonic() + 0.2
        events = Writer(options.folder / "events.jsonl", start)
        stack.callback(events.close)
        events.write("about", seed=plan.seed, seconds=plan.seconds, rate=rate, calm_first=plan.calm_first, cpu_times=options.cpu_times, most=most, **known)
        events.write("phase", at=0.0, phase="calm", rate=rate)
        load.tell({"start": start, "rate": rate, "phase": "calm"})
        watch = Watch(mesh, events)
        stack.callback(watch.stop)
        keepsakes = Keepsakes(mesh, events, identity, every=12.0 if is_long else 10.0, most=20 if is_long else 3)
        keepsakes.start()
        stack.callback(keepsakes.stop)

        around = Surroundings(mesh, load, disk, options.faketime is not None, options.upgrade_to)
        wait_until(start + plan.calm_first)
        events.write("phase", phase="faults", rate=rate)
        load.tell({"phase": "faults"})
        for planned in plan.faults:
            if options.only and planned.kind not in options.only:
                continue
            wait_until(start + planned.at)
            carry_out(planned, around, events)
            if share is not None:
                share.take_in_proxies(options.publish)  # of a front that was started again
        if plan.overload_at is not None:
            overload(plan, start, most, rate, load, flood, events)
        wait_until(max(start + plan.seconds, time.monotonic() + 5.0) - 5.0)
        events.write("phase", phase="after", rate=rate)
        load.tell({"phase": "after"})
        wait_until(max(start + plan.seconds, time.monotonic() + 5.0))
        load.tell({"stop": True})
        events.write("done", **load.hear(60.0))
        watch.stop()
        keepsakes.stop()
        keepsakes.look(access)
        for container, state in mesh.states():
            what = {"restarts": state.restarts, "out_of_memory": state.out_of_memory, "exit_code": state.exit_code}
            events.write("container", container=container.name, service=container.service, status=state.status, **what)
        say("the load has ended; the mesh is taken down")


def take_down(mesh: Mesh) -> None:
    """What has been found counts, even if the engine does not let go of something."""
    try:
        mesh.down()
    except EngineError as error:
        say(f"the mesh could not be taken down, the next run tries again: {error}")


async def load_models(access: Access, *names: str) -> None:
    """Raises EngineError if one does not come into service."""
    async with access.connect() as mesh:
        for name in names:
            if any(each.name == name and each.state == "ready" for each in await mesh.models()):
                continue
            for answer in await mesh.load(name, deadline=60.0):
                if answer.error is not None:
                    raise EngineError(f"{name} cannot be served: {answer.error}")


def carry_out(planned: Planned, around: Surroundings, events: Writer) -> None:
    """A fault, from its begin to its end. What cannot be done is written down with the reason."""
    kind = FAULTS[planned.kind]
    what = {"number": planned.number, "kind": planned.kind, "service": planned.service, "kill": kind.is_kill}
    began = events.now()
    if (why := kind.why_not(around)) is not None:
        say(f"{began:6.1f} s  {planned.kind}: not done: {why}")
        events.write("fault", at=began, not_done=why, **what)
        return
    try:
        with harmed(kind(planned, around)) as said:
            say(f"{began:6.1f} s  {said}")
            # What has taken its time already (what rolls) is over.
            left = began + planned.seconds - events.now()
            ending.sleep(max(0.0, left))
    except (EngineError, OSError) as error:
        say(f"{began:6.1f} s  {planned.kind} failed: {error}")
        events.write("fault", at=began, ended=events.now(), not_done=f"{FAILED}{error}", **what)
        return
    events.write("fault", at=began, ended=events.now(), said=said, **what)
    events.flush()


@contextmanager
def harmed(fault: Fault) -> Iterator[str]:
    try:
        yield fault.begin()
    finally:
        undo(fault)


def undo(fault: Fault) -> None:
    """A fault that stays would be blamed on what comes after it: an engine that does not answer is asked again."""
    for left in range(UNDO_TRIES - 1, -1, -1):
        try:
            fault.end()
            return
        except EngineError as error:
            if left == 0:
                raise
            say(f"{fault.planned.kind} could not be undone, again: {error}")


def overload(plan: Plan, start: float, capacity: float, rate: float, load: LoadProcess, flood: Flood, events: Writer) -> None:
    assert plan.overload_at is not None
    wait_until(start + plan.overload_at)
    say(f"{events.now():6.1f} s  overload: {OVERLOAD:g} times {capacity:.0f} requests/s for {plan.overload_seconds:g} s")
    load.tell({"phase": "overload", "rate": rate * IN_OVERLOAD})
    flood.begin(capacity * OVERLOAD - rate * IN_OVERLOAD, plan.overload_seconds)
    told = flood.end()  # when all that was under way has ended, a little after it has sent the last
    load.tell({"phase": "after", "rate": rate})
    began, ended = (told.pop(when) - events.start for when in ("began", "ended"))
    events.write("phase", at=began, phase="overload", rate=capacity * OVERLOAD)
    events.write("phase", at=ended, phase="after", rate=rate)
    events.write("flood", **told)
    ending.sleep(10.0)


def wait_until(when: float) -> None:
    ending.sleep(max(0.0, when - time.monotonic()))


def say(what: str) -> None:
    print(f"chaos: {what}", flush=True)
