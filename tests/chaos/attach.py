"""`python -m chaos.attach`: a load on a mesh that somebody runs, faults in it, and whether it kept its promises. The mesh is
neither taken up nor down, and given back as it was: no model is imported, and the key that is made is taken off the list again.

In a container of the project (the profile `chaos` of compose.yaml) no name is needed; on the engine's host, the project's.
"""

from __future__ import annotations

import argparse
import json
import secrets
import shlex
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from . import ending
from .__main__ import judge
from .attached import AsItWas, AttachedMesh, Visitor, others_at_it, own_container
from .containers import PROJECT
from .content import TOLERANCE
from .disk import Disk
from .docker_api import Api
from .ending import Ended
from .engine import EngineError
from .faults import CATALOGUE, FAULTS, Surroundings
from .faults.processes import ALL
from .history import Writer
from .load_process import LoadFailed, LoadProcess, settings_of
from .mesh import Mesh
from .run import carry_out, say, wait_until
from .schedule import LONG, Plan, Trait, make_plan
from .watch import Watch

REFUSED = 2
ENDED = 130
# What the engine undoes by one verb, without the mesh's Compose files and without root on its host.
DONE_HERE = ("kill", "kill_front", "freeze", "stop_start", "disconnect")
OF_THE_HOST = "it needs root on the engine's host"
OF_THE_FILES = "it needs the Compose files that the mesh was started with"
OF_A_MODEL = "it needs a model of its own, and none is imported into this mesh"
NOT_DONE_HERE = {
    "scale": OF_THE_FILES,
    "rolling_restart": "it restarts services of one replica, too",
    "rolling_upgrade": OF_THE_FILES,
    **dict.fromkeys(("one_way", "reset", "bandwidth", "slow_disk"), OF_THE_HOST),
    **dict.fromkeys(("slow_reader", "poison"), OF_A_MODEL),
    "memory_limit": "the kernel may end, again and again, what it is done to",
    **dict.fromkeys(("disk_full", "bit_flips"), "it damages what the caches keep"),
    "clock_skew": "it needs libfaketime in the containers",
    "overload": "a mesh in use is not overloaded",
}
# Answers by a plan (precision per node) may be off by its budget, 3% of a vector of length 1, and plans change while we look.
# Of one of its 384 elements that was 7e-3 at most (288 sentences, a plan of 2.9%); two plans may differ by twice that. Any two
# references are three times this apart at least (load.py), most often six times: a mix-up is seen, a rounding is not.
TOLERANCE_OF_PLANS = 2e-2
# Plans of less than five minutes give six tenths of it: the 10 s in which a kill must be over (checker.SHORT), and the second
# that shows it.
AFTER_A_KILL = 18.5
# Of the capacity. Of two workers the one that is left can do half, and has to have room to catch up.
SHARE = 0.25
WHOLE_WITHIN = 120.0
HEALTHY_WITHIN = 60.0
SERVED_WITHIN = 15.0


class Refused(Exception):
    """Nothing was done; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Wanted:
    project: str
    seconds: float
    seed: int
    only: frozenset[str]
    lonely: bool
    report: Path
    share: float
    most_rate: float

    def again(self) -> str:
        words = ["--minutes", f"{self.seconds / 60:g}", "--seed", str(self.seed)]
        words += ["--only", ",".join(sorted(self.only))] if self.only else []
        words += ["--lonely"] if self.lonely else []
        return f"docker compose -f compose/compose.yaml --profile chaos run --rm chaos {shlex.join(words)}"


def arguments_of(words: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m chaos.attach", description=__doc__.split("\n\n")[0] if __doc__ else "")
    parser.add_argument("project", nargs="?", default="", help="name of the Compose project; without: the one that this container is of")
    parser.add_argument("--minutes", type=float, default=3.0, help=f"of load: 0.5 to less than {LONG / 60:g}; again for more")
    parser.add_argument("--seed", type=int, help="of everything that is left to chance (printed); one is drawn if none is given")
    parser.add_argument("--only", default="", help=f"kinds of faults, with commas, of {', '.join(DONE_HERE)}")
    parser.add_argument("--lonely", action="store_true", help="break services of one replica, too: the mesh may not answer while it is gone")
    parser.add_argument("--report", type=Path, default=Path("chaos"), help="folder of report.html and report.json")
    parser.add_argument("--share", type=float, default=SHARE, help="of the capacity, measured first, that the load is")
    parser.add_argument("--most-rate", type=float, default=300.0, help="requests a second, at most")
    return parser.parse_args(words)


def main(words: list[str] | None = None) -> int:
    arguments = arguments_of(words)
    ending.listen()
    try:
        if not 0.5 <= arguments.minutes < LONG / 60:
            raise Refused(f"--minutes is from 0.5 to less than {LONG / 60:g}")
        only = frozenset(filter(None, arguments.only.split(",")))
        if unknown := only - set(DONE_HERE):
            raise Refused(f"of a mesh that is not ours --only can have {', '.join(DONE_HERE)}, not {', '.join(sorted(unknown))}")
        api, own = connected()
        project = arguments.project or (own or {}).get("Config", {}).get("Labels", {}).get(PROJECT, "")
        if not project:
            raise Refused("which mesh? This is no container of a Compose project: name the project (docker compose ls)")
        if others := others_at_it(api, project, own):
            raise Refused(f"{', '.join(others)} breaks this mesh already: wait until it has ended")
        seed = arguments.seed if arguments.seed is not None else secrets.randbelow(1_000_000)
        wanted = Wanted(
            project, arguments.minutes * 60, seed, only, arguments.lonely, arguments.report, arguments.share, arguments.most_rate
        )
        prepare(wanted.report)
        mesh = AttachedMesh(project, api)
        wait_until_whole(mesh)
        plan, alone = plan_for(mesh.replicas(), wanted)
        say(f"seed {seed}; the mesh is {project}: {', '.join(f'{count} {service}' for service, count in mesh.replicas().items())}")
        if alone:
            say(f"left alone, of one replica each: {', '.join(alone)} (--lonely breaks them, too)")
        host = mesh.host(own)
        left = break_it(mesh, host, plan, alone, wanted)
    except Refused as why:
        print(f"chaos: nothing was done: {why}", file=sys.stderr)
        return REFUSED
    except Ended:
        print("chaos: ended before its time", file=sys.stderr)
        return ENDED
    except (EngineError, LoadFailed) as failed:
        print(f"chaos: there was no run: {failed}", file=sys.stderr)
        return REFUSED
    code = judge(wanted.report, wanted.again())
    return 1 if left else code


def connected() -> tuple[Api, dict | None]:
    """Raises Refused if no engine answers."""
    try:
        api = Api()
        api.version()
        return api, own_container(api)
    except EngineError as error:
        raise Refused(f"{error}: is the engine's socket mounted (compose.yaml, service chaos)?") from error


def prepare(report: Path) -> None:
    try:
        report.mkdir(parents=True, exist_ok=True)
        for name in ("history.jsonl", "events.jsonl", "report.json", "report.html", "plan.json"):
            (report / name).unlink(missing_ok=True)
        (report / "plan.json").touch()
    except OSError as error:
        raise Refused(f"the report cannot be written: {error}. A folder that Docker makes (-v $PWD/chaos:/report) can be, if it is new") from error


def wait_until_whole(mesh: AttachedMesh) -> None:
    """What is broken before we begin would be taken for our doing, and be left as our doing. A mesh that is just being started
    is waited for."""
    end = time.monotonic() + WHOLE_WITHIN
    said = False
    while ills := mesh.ills():
        if time.monotonic() > end:
            raise Refused(f"the mesh {mesh.project} is not whole: {'; '.join(ills)}: docker compose up -d, and see docker compose ps")
        if not said:
            say(f"waiting for up to {WHOLE_WITHIN:g} s until the mesh is whole: {'; '.join(ills)}")
            said = True
        ending.sleep(1.0)


# --- what is done: pure -----------------------------------------------------------------------------------------------


def catalogue_for(replicas: Mapping[str, int], lonely: bool, only: Iterable[str] = ()) -> tuple[list[Trait], list[str]]:
    """The faults that may be done, of services that may be broken; and the services that may not, having one replica."""
    alone = [] if lonely else sorted(service for service, count in replicas.items() if count == 1)
    wanted = set(only) or set(DONE_HERE)
    traits = []
    for trait in CATALOGUE:
        services = tuple(each for each in trait.services if each in replicas and each not in alone)
        if not services or trait.kind not in DONE_HERE:
            continue
        if trait.kind in wanted:
            settles = max(trait.settles, AFTER_A_KILL) if FAULTS[trait.kind].is_kill else trait.settles
            traits.append(replace(trait, services=services, settles=settles))
        elif trait.kind == "kill":  # a plan begins with one: here it takes no time, and is not carried out
            traits.append(replace(trait, services=services, seconds=(0.0, 0.0), settles=0.0))
    return traits, alone


def plan_for(replicas: Mapping[str, int], wanted: Wanted) -> tuple[Plan, list[str]]:
    """And the services that are left alone. Raises Refused if nothing may be broken."""
    traits, alone = catalogue_for(replicas, wanted.lonely, wanted.only)
    if not any(trait.kind == "kill" for trait in traits):
        raise Refused(
            f"nothing may be broken: {', '.join(alone)} have one replica each. Scale up (docker compose up -d --scale worker=2 "
            "--scale gateway=2), or say --lonely: the mesh may then not answer while one is gone"
        )
    plan = make_plan(wanted.seed, wanted.seconds, traits)
    plan = replace(plan, faults=tuple(each for each in plan.faults if not wanted.only or each.kind in wanted.only))
    if not plan.faults:
        kinds = ", ".join(sorted(wanted.only)) or "any"
        raise Refused(f"no fault ({kinds}) fits into {wanted.seconds:g} s with this seed, or its service has one replica: more --minutes, or --lonely")
    return plan, alone


def not_done(alone: Iterable[str]) -> dict[str, str]:
    """Kinds of faults, and why they are not; and what else a run of `make chaos` does."""
    reasons = {kind: NOT_DONE_HERE.get(kind, "it is done to a mesh of its own alone (make chaos)") for kind in FAULTS if kind not in DONE_HERE}
    reasons["overload"] = NOT_DONE_HERE["overload"]
    reasons["imports under load"] = OF_A_MODEL
    if services := [each for each in alone if each in ALL]:
        reasons[f"faults of {', '.join(services)}"] = "one replica each: scale up, or --lonely"
    if "front" in alone:
        reasons["kill_front"] = "there is one front: --lonely"
    return reasons


# --- the run ----------------------------------------------------------------------------------------------------------


def break_it(mesh: AttachedMesh, host: str, plan: Plan, alone: list[str], wanted: Wanted) -> list[str]:
    """What could not be undone, as commands to do so. Raises Ended, EngineError, LoadFailed; everything has been undone then."""
    left: list[str] = []
    plan.save(wanted.report / "plan.json")
    with ExitStack() as stack:
        before = AsItWas(mesh)
        visitor = Visitor(mesh)
        stack.callback(lambda: left.extend(told(visitor.go())))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        reasons = not_done(alone)
        key = ""
        try:
            key = str(visitor.come(folder))
        except EngineError as error:
            reasons["requests at the native door"] = str(error)
        models = models_of(host)
        settings = settings_of(host, Path(key), plan.seed, wanted.report / "history.jsonl", Path("/nowhere"), 4.0)
        tolerance = TOLERANCE_OF_PLANS if mesh.computes_by_plans() else TOLERANCE
        load = LoadProcess({**settings, "key": key, "is_ours": False, "tolerance": tolerance})
        stack.callback(load.end)
        known = hear(load, 180.0)
        for door, why in known.pop("left_out").items():
            reasons.setdefault(f"requests at the {door} door", why)
        rate = min(wanted.most_rate, max(1.0, wanted.share * known["capacity"]))
        say(f"the calm mesh answers {known['capacity']:.0f} requests/s; the load is {rate:.0f}/s, answers may be off by {tolerance:g}")

        start = time.monotonic() + 0.2
        events = Writer(wanted.report / "events.jsonl", start)
        stack.callback(events.close)
        events.write("about", seed=plan.seed, seconds=plan.seconds, rate=rate, calm_first=plan.calm_first, cpu_times=1, **known)
        for name in models:
            events.write("acknowledged", at=0.0, what="model", name=name)
        events.write("phase", at=0.0, phase="calm", rate=rate)
        load.tell({"start": start, "rate": rate, "phase": "calm"})
        watch = Watch(mesh, events)
        stack.callback(watch.stop)
        stack.callback(lambda: left.extend(told(before.restore())))  # the first that is done at the end

        # Faults that are done here ask no more of a mesh than that it has containers.
        around = Surroundings(cast(Mesh, mesh), load, Disk(wanted.report), False)
        wait_until(start + plan.calm_first)
        events.write("phase", phase="faults", rate=rate)
        load.tell({"phase": "faults"})
        for planned in plan.faults:
            wait_until(start + planned.at)
            carry_out(planned, around, events)
        before.restore()
        wait_until(max(start + plan.seconds, time.monotonic() + 5.0) - 5.0)
        events.write("phase", phase="after", rate=rate)
        load.tell({"phase": "after"})
        wait_until(max(start + plan.seconds, time.monotonic() + 5.0))
        load.tell({"stop": True})
        events.write("done", **hear(load, 60.0))
        watch.stop()
        for kind, why in reasons.items():
            events.write("fault", number=0, kind=kind, service="", not_done=why)
        left += told(not_back(mesh, {planned.service for planned in plan.faults}))
        end = time.monotonic() + SERVED_WITHIN
        while not set(models) <= set(there := models_of(host)) and time.monotonic() < end:
            ending.sleep(0.5)
        for name in models:
            said = "" if name in there else f"it is not served {SERVED_WITHIN:g} s after everything"
            events.write("kept", what="model", name=name, kept=not said, said=said)
        for container, state in mesh.states():
            what = {"restarts": state.restarts, "out_of_memory": state.out_of_memory, "exit_code": state.exit_code}
            events.write("container", container=container.name, service=container.service, status=state.status, **what)
        say("the load has ended; the mesh is given back")
    return left


def not_back(mesh: AttachedMesh, broken: set[str]) -> list[str]:
    """Of the services that were broken, what is still not healthy. Of the others the host is asked, not we: a check that has no
    processor fails as well."""
    try:
        mesh.wait_until_healthy(HEALTHY_WITHIN, *sorted(broken))
        return []
    except EngineError as error:
        return [f"docker compose ps: {error}"]


def told(commands: list[str]) -> list[str]:
    for command in commands:
        print(f"chaos: NOT AS IT WAS, see to it: {command}", file=sys.stderr)
    return commands


def hear(load: LoadProcess, within: float) -> dict:
    """What the load says next; a signal ends the wait. Raises LoadFailed, Ended."""
    end = time.monotonic() + within
    while True:
        if (said := load.hear_now()) is not None:
            return said
        if time.monotonic() > end:
            raise LoadFailed(f"the load has said nothing in {within:g} s")
        ending.sleep(0.1)


def models_of(host: str) -> list[str]:
    """Those that are ready, over HTTP; none if nobody is told without a token, or HTTP is not in the clear."""
    asked = urllib.request.Request(f"http://{host}:8000/v2/repository/index", b"{}", {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(asked, timeout=10) as answer:
            listed = json.load(answer)
    except (OSError, ValueError):
        return []
    return sorted(f"{each['name']}/{each['version']}" for each in listed if each.get("state") == "READY")


if __name__ == "__main__":
    sys.exit(main())
