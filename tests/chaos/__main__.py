"""`python -m chaos`: README.md."""

from __future__ import annotations

import argparse
import os
import secrets
import shlex
import shutil
import signal
import sys
from pathlib import Path

from . import checker, history, report, schedule
from .engine import EngineError, why_no_engine
from .faults import CATALOGUE, FAULTS
from .groups import why_no_shares
from .load_process import LoadFailed
from .mesh import ROOT, ensure_images
from .run import Options, run, say

SKIPPED = 77
FAKETIME = Path("/usr/lib/x86_64-linux-gnu/faketime")


def arguments_of(words: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m chaos", description="Breaks a mesh in containers under load and checks what it promised.")
    parser.add_argument("--minutes", type=float, default=10.0, help="of load; under 5 nothing is restarted or upgraded in turn, and there is no overload")
    parser.add_argument("--seed", type=int, help="of everything that is left to chance (printed); one is drawn if none is given")
    parser.add_argument("--plan", type=Path, help="carry this plan out (plan.json of an earlier run) instead of one from the seed")
    parser.add_argument("--only", default="", help=f"kinds of faults, with commas, of {', '.join(sorted(FAULTS))}")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "chaos", help="folder of the report")
    parser.add_argument("--fixtures", type=Path, default=ROOT / "build" / "fixtures" / "models")
    parser.add_argument("--project", default="shoalchaos", help="name of the Compose project; what is there under it is removed")
    parser.add_argument("--publish", default="127.0.0.2", help="address of the doors on this host")
    parser.add_argument("--share", type=float, default=0.5, help="of the capacity, measured first, that the load is")
    parser.add_argument("--most-rate", type=float, default=300.0, help="requests a second, at most")
    parser.add_argument(
        "--cpu-times", type=int, default=1, help="share of the processors that the mesh and its load have on a busy host, of the usual one"
    )
    parser.add_argument("--faketime", type=Path, default=FAKETIME, help="folder with libfaketimeMT.so.1")
    parser.add_argument("--build", action=argparse.BooleanOptionalAction, help="build the images if they are not of these sources (so by default), or take those that are there")
    parser.add_argument("--upgrade-to", default="", metavar="TAG", help="of images that are there: what SHOAL_TAG names is upgraded to them (so by default to itself)")
    parser.add_argument("--check", type=Path, metavar="FOLDER", help="no run: check what one has left in FOLDER")
    parser.add_argument("--print-plan", action="store_true", help="no run: show what would be done")
    return parser.parse_args(words)


def main(words: list[str] | None = None) -> int:
    arguments = arguments_of(words)
    if arguments.check is not None:
        return judge(arguments.check)
    seed = arguments.seed if arguments.seed is not None else secrets.randbelow(1_000_000)
    only = frozenset(filter(None, arguments.only.split(",")))
    if unknown := only - FAULTS.keys():
        print(f"chaos: there is no fault {', '.join(sorted(unknown))}", file=sys.stderr)
        return 2
    catalogue = [trait for trait in CATALOGUE if not only or trait.kind in only or trait.kind == "kill"]
    plan = schedule.Plan.load(arguments.plan) if arguments.plan else schedule.make_plan(seed, arguments.minutes * 60, catalogue)
    if arguments.print_plan:
        for each in plan.faults:
            print(f"{each.at:7.1f} s  {each.kind:16} {each.service:10} {each.seconds:.1f} s")
        return 0
    if (why := why_no_engine()) is not None:
        print(f"chaos: SKIPPED, nothing was tested: {why}", file=sys.stderr)
        return SKIPPED
    faketime = arguments.faketime if (arguments.faketime / "libfaketimeMT.so.1").exists() else None
    cpu_times = arguments.cpu_times
    if cpu_times > 1 and (why := why_no_shares()) is not None:
        print(f"chaos: --cpu-times is not possible here: {why}", file=sys.stderr)
        cpu_times = 1
    options = Options(
        arguments.out,
        arguments.fixtures,
        arguments.project,
        arguments.publish,
        arguments.share,
        arguments.most_rate,
        faketime,
        cpu_times,
        only,
        arguments.upgrade_to,
    )
    for each in (signal.SIGINT, signal.SIGTERM):  # both end the run in order, also in the background of a shell
        signal.signal(each, signal.default_int_handler)
    shutil.rmtree(arguments.out / "logs", ignore_errors=True)
    for name in ("history.jsonl", "events.jsonl", "report.json", "report.html"):
        (arguments.out / name).unlink(missing_ok=True)
    say(f"seed {plan.seed}")
    try:
        ensure_images(arguments.build)
        run(plan, options)
    except KeyboardInterrupt:
        print("chaos: ended before its time", file=sys.stderr)
        return 130
    except (EngineError, LoadFailed) as failed:
        print(f"chaos: there was no run: {failed}", file=sys.stderr)
        return 1
    return judge(arguments.out, again(arguments, plan.seed))


def again(arguments: argparse.Namespace, seed: int) -> str:
    """The command that does the same once more."""
    given, usual = vars(arguments), vars(arguments_of([]))
    told_otherwise = [name for name in ("plan", "only", "share", "most_rate", "cpu_times", "upgrade_to") if given[name] != usual[name]]
    more = [word for name in told_otherwise for word in ("--" + name.replace("_", "-"), str(given[name]))]
    return shlex.join(["make", "chaos", f"MINUTES={arguments.minutes:g}", f"SEED={seed}"] + ([f"CHAOS={shlex.join(more)}"] if more else []))


def judge(folder: Path, again: str = "") -> int:
    """`again`: the command that repeats it, if it is not this one."""
    what = history.read(history.lines_of(folder / "history.jsonl", folder / "events.jsonl"))
    seconds = what.about.get("seconds", 0.0)
    limits = checker.Limits() if seconds >= schedule.LONG else checker.SHORT
    checks = checker.verdict(what, limits)
    replay = again or f"make chaos MINUTES={seconds / 60:g} SEED={what.about.get('seed')}"
    report.write(folder, what, checks, limits, replay)
    for check in checks:
        word = {True: "ok  ", False: "FAIL", None: "-   "}[check.passed]
        print(f"{word} {check.name}: {check.got} (wanted: {check.wanted})")
        for line in check.details[:8] if check.passed is False else ():
            print(f"         {line}")
    for kind, why in sorted({(fault.kind, fault.not_done) for fault in what.faults if fault.not_done}):
        print(f"not done: {kind}: {why}")
    print(f"chaos: {'passed' if report.passed(checks) else 'FAILED'}; {os.path.relpath(folder / 'report.html')}; again: {replay}")
    return 0 if report.passed(checks) else 1


if __name__ == "__main__":
    sys.exit(main())
