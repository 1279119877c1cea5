"""Was what happened what the mesh promises? Pure: from a history and limits to checks, each with a sentence for everything
that breaks it. `tests` (test_checker.py) hold that each kind of violation is found."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from .history import FAILED, FaultDone, History, Request

MEBIBYTE = 1 << 20
# Inference has no effects, so a client may repeat what ended with one of these. (The SDK says of a deadline that it is not to
# be repeated by itself: there is no time left. Whoever has more may.)
REPEATABLE = frozenset({"unavailable", "overloaded", "deadline_exceeded"})
# Seconds. The benches' own timer is a second later than that: what they hear is the mesh's own word, which no SDK waits for so long.
FLOOD_GRACE = 0.75
QUICK = 0.5  # seconds; a request answered within is a sign of a mesh that has recovered
RECOVERED = 1.0  # for so long all must be answered
LONGEST_WATCH = 12.0  # after a kill
AFTERMATH = 3.0  # a kill is over at once: what it does is seen in the seconds after it


@dataclass(frozen=True, slots=True)
class Limits:
    grace: float = 0.25  # seconds after the deadline in which the outcome must be there
    recovery: float = 3.0  # seconds, p99, after a kill
    errors: float = 0.001  # of the requests, after retries
    goodput: float = 0.7  # of the calm one, while faults last
    back_to_calm: float = 5.0  # seconds after the overload
    memory_share: float = 0.95  # of a container's limit
    memory_growth: float = 1.5  # of a service's heap, calm at the end over calm at the start,
    memory_slack: int = 64 * MEBIBYTE  # and so much


# A minute has few faults and few requests: figures that are shares of them are told, and bounded only against collapse.
SHORT = Limits(recovery=10.0, errors=0.1, goodput=0.4)


@dataclass(slots=True)
class Check:
    name: str
    wanted: str
    got: str
    passed: bool | None  # None: not measured
    details: list[str] = field(default_factory=list)


def verdict(history: History, limits: Limits) -> list[Check]:
    checks: list[Callable[[History, Limits], Check]] = [
        one_outcome,
        in_time,
        all_right,
        nothing_lost,
        only_repeatable_errors,
        few_errors,
        recovery,
        goodput,
        rolling_restart,
        rolling_upgrade,
        flood_has_ended,
        after_overload,
        memory_bounded,
        memory_returns,
        all_there,
        load_was_put,
    ]
    return [check(history, limits) for check in checks]


# --- promises that hold for each request ------------------------------------------------------------------------------


def one_outcome(history: History, limits: Limits) -> Check:
    broken = [f"request {r.id} ({r.door}, {r.model}) has {len(r.ends)} outcomes" for r in history.requests if len(r.ends) != 1]
    broken += [f"an outcome for request {id_}, which was never sent" for id_ in history.strays]
    return Check("one outcome for each request", "all", f"{len(history.requests)} requests, {len(broken)} broken", not broken, broken)


def in_time(history: History, limits: Limits) -> Check:
    broken, excused = [], 0
    latest = 0.0
    for r in history.requests:
        if (seconds := r.seconds) is None:
            continue  # one_outcome has it
        late = seconds - r.deadline
        latest = max(latest, late)
        if late <= limits.grace:
            continue
        # Our own event loop was not given the processor: what the mesh did then is not known.
        if late - limits.grace <= own_lag(history, r.sent + r.deadline, r.ends[0].at):
            excused += 1
            continue
        broken.append(f"request {r.id} ({r.door}, {r.model}) ended {late * 1e3:.0f} ms after its deadline")
    got = f"{len(broken)} late, the latest {latest * 1e3:.0f} ms after its deadline"
    if excused:
        got += f"; {excused} more while the load itself had no processor"
    return Check("outcome by the deadline and a quarter of a second", "all", got, not broken, broken)


def own_lag(history: History, since: float, until: float) -> float:
    """How long the load's own loop stood still in that time, and half a second before and after it."""
    since, until = since - 0.5, until + 0.5
    return sum(max(0.0, min(noticed, until) - max(noticed - lag, since)) for noticed, lag in history.lags)


def all_right(history: History, limits: Limits) -> Check:
    wrong = [
        f"request {r.id} ({r.door}, {r.model}) at {r.sent:.1f} s: {end.said or 'a wrong answer'}"
        for r in history.requests
        for end in r.ends
        if end.outcome == "wrong"
    ]
    right = [end.difference for r in history.requests for end in r.ends if end.outcome == "right"]
    got = f"{len(wrong)} wrong of {len(right) + len(wrong)}, right ones off by {max(right, default=0.0):.1e} at most"
    return Check("every answer is that of the reference", "all", got, not wrong, wrong)


def nothing_lost(history: History, limits: Limits) -> Check:
    kept = {(each["what"], each["name"]): each for each in history.kept}
    lost = []
    counts: Counter[str] = Counter()
    for each in history.acknowledged:
        found = kept.get((each["what"], each["name"]))
        counts[each["what"]] += 1
        if found is None:
            lost.append(f"{each['what']} {each['name']} was acknowledged and not looked for")
        elif not found["kept"]:
            lost.append(f"{each['what']} {each['name']} was acknowledged at {each['t']:.1f} s and lost: {found.get('said', '')}")
    got = ", ".join(f"{count} {what}s" for what, count in sorted(counts.items())) or "nothing was acknowledged"
    return Check("nothing acknowledged is lost", "imports, and files beside models (plans)", f"{got}; {len(lost)} lost", None if not counts else not lost, lost)


def only_repeatable_errors(history: History, limits: Limits) -> Check:
    broken = [
        f"request {r.id} ({r.door}, {r.model}) at {r.sent:.1f} s: {r.ends[0].code}: {r.ends[0].said}"
        for r in counted(history, "calm", "faults", "overload", "after")
        if r.ends and r.ends[0].outcome == "error" and r.ends[0].code not in REPEATABLE
    ]
    return Check("errors are such as a client may repeat", "all, poison apart", f"{len(broken)} others", not broken, broken)


# --- figures ----------------------------------------------------------------------------------------------------------


def counted(history: History, *phases: str) -> list[Request]:
    return [r for r in history.requests if r.phase in phases]


def overloads(history: History) -> list[tuple[float, float]]:
    """From when to when; one that the run ended in has no end."""
    phases = [*history.phases, (float("inf"), "")]
    return [(at, end) for (at, phase), (end, _) in zip(phases, phases[1:]) if phase == "overload"]


def few_errors(history: History, limits: Limits) -> Check:
    """Of the load; what was sent in the overload, and in the seconds that the mesh has to come back from it, is no part of it."""
    ended = [end for _, end in overloads(history)]
    requests = [
        r
        for r in counted(history, "calm", "faults", "after")
        if not any(end <= r.sent < end + limits.back_to_calm for end in ended)
    ]
    if not requests:
        return Check("errors after retries", f"≤ {limits.errors:.1%}", "no requests", None)
    errors = [r for r in requests if r.ends and r.ends[0].outcome == "error"]
    by = Counter((r.door, r.ends[0].code) for r in errors)
    told = ", ".join(f"{door} {code}: {count}" for (door, code), count in by.most_common())
    share = len(errors) / len(requests)
    native = [r for r in requests if r.door == "native"]
    of_native = sum(count for (door, _), count in by.items() if door == "native") / max(1, len(native))
    got = f"{share:.2%} of {len(requests)} (the SDK's alone: {of_native:.2%})"
    by_fault = Counter(f.kind for r in errors if (f := fault_at(history, r)) is not None)
    details = [told] if told else []
    if by_fault:
        details.append("during or after: " + ", ".join(f"{kind}: {count}" for kind, count in by_fault.most_common()))
    return Check("errors after retries", f"≤ {limits.errors:.1%}", got, share <= limits.errors, details)


def fault_at(history: History, request: Request) -> FaultDone | None:
    """The one that was under way, or the last before."""
    last = None
    for fault in history.faults:
        if not fault.not_done and fault.began <= request.sent + request.deadline:
            last = fault
    return last


def recovery_after(history: History, fault: FaultDone) -> float | None:
    """Seconds from the kill until a second begins in which whatever was sent was answered, quickly. None: not before the
    next fault, or `LONGEST_WATCH`."""
    following = [f.began for f in history.faults if f.began > fault.began and not f.not_done]
    until = min([fault.began + LONGEST_WATCH, *following])
    after = [r for r in history.requests if fault.began <= r.sent < until and r.phase != "poison"]
    start = fault.began
    for r in after:
        if r.sent >= start + RECOVERED:
            return start - fault.began
        if not (r.is_right and (r.seconds or 0.0) <= QUICK):
            start = r.sent + 1e-4
    return start - fault.began if until - start >= RECOVERED else None


def recovery(history: History, limits: Limits) -> Check:
    kills = [f for f in history.faults if f.is_kill and not f.not_done]
    wanted = f"p99 ≤ {limits.recovery:g} s"
    if not kills:
        return Check("recovery after a kill", wanted, "no kill", None)
    times = [(recovery_after(history, f), f) for f in kills]
    never = [f"after “{f.said}” at {f.began:.1f} s not before the next fault" for seconds, f in times if seconds is None]
    found = sorted(seconds for seconds, _ in times if seconds is not None)
    details = never + [f"{f.said}: {seconds:.2f} s" for seconds, f in times if seconds is not None]
    if not found:
        return Check("recovery after a kill", wanted, "never", False, details)
    worst, median = quantile(found, 0.99), quantile(found, 0.5)
    got = f"p99 {worst:.2f} s, median {median:.2f} s, of {len(kills)} kills" + (f", {len(never)} never" if never else "")
    return Check("recovery after a kill", wanted, got, not never and worst <= limits.recovery, details)


def share_right(requests: Sequence[Request]) -> float | None:
    if not requests:
        return None
    return sum(r.is_right and (r.seconds or 0.0) <= r.deadline for r in requests) / len(requests)


def goodput(history: History, limits: Limits) -> Check:
    """The load is open, so goodput is the share of what was sent that was answered, right and in time."""
    wanted = f"≥ {limits.goodput:.0%} of the calm one"
    spans = [f for f in history.faults if not f.not_done]
    calm = share_right(counted(history, "calm"))
    if not spans or not calm:
        return Check("goodput while faults last", wanted, "no faults", None)
    per_kind: dict[str, list[Request]] = {}
    during: list[Request] = []
    for fault in spans:
        until = max(fault.ended, fault.began + AFTERMATH)
        of_it = [r for r in history.requests if fault.began <= r.sent < until and r.phase in ("faults", "calm", "after")]
        per_kind.setdefault(fault.kind, []).extend(of_it)
        during += of_it
    share = share_right(during)
    if share is None:
        return Check("goodput while faults last", wanted, "no requests", None)
    details = [f"{kind}: {share_right(of_it) / calm:.1%}" for kind, of_it in sorted(per_kind.items()) if share_right(of_it) is not None]
    return Check("goodput while faults last", wanted, f"{share / calm:.1%}", share / calm >= limits.goodput, details)


def rolling_restart(history: History, limits: Limits) -> Check:
    return none_failed_in(history, "rolling_restart")


def rolling_upgrade(history: History, limits: Limits) -> Check:
    return none_failed_in(history, "rolling_upgrade")


def none_failed_in(history: History, kind: str) -> Check:
    """One that was begun and went wrong has failed, whatever became of the requests."""
    name, wanted = kind.replace("_", " "), "no failed request"
    went_wrong = [f"at {f.began:.1f} s {f.not_done}" for f in history.faults if f.kind == kind and f.not_done.startswith(FAILED)]
    if went_wrong:
        return Check(name, wanted, "it went wrong", False, went_wrong)
    spans = [f for f in history.faults if f.kind == kind and not f.not_done]
    if not spans:
        return Check(name, wanted, "none in this run", None)
    within = [r for f in spans for r in history.requests if f.began - r.deadline <= r.sent < f.ended and r.phase != "poison"]
    failed = [
        f"request {r.id} ({r.door}, {r.model}) at {r.sent:.1f} s: {r.ends[0].code if r.ends else 'no outcome'} {r.ends[0].said if r.ends else ''}"
        for r in within
        if not r.is_right
    ]
    return Check(name, wanted, f"{len(failed)} of {len(within)}", not failed, failed)


def flood_has_ended(history: History, limits: Limits) -> Check:
    """Who sends three times what can be done is told so, each request, in time."""
    name, wanted = "one outcome for each request of the flood", f"of the mesh itself, by the deadline and {FLOOD_GRACE} s, errors such as may be repeated"
    told = history.flood
    if told is None:
        whole = any(end < float("inf") for _, end in overloads(history))
        return Check(name, wanted, "the overload has left no sums" if whole else "no overload in this run", False if whole else None)
    broken = [f"{count} ended with {code}" for code, count in told["failures"].items() if code not in REPEATABLE]
    if told["no_outcome"]:
        broken.append(f"{told['no_outcome']} have no outcome")
    if told["ok"] + sum(told["failures"].values()) + told["no_outcome"] != told["sent"]:
        broken.append("the sums do not add up")
    if told["sent"] < 0.9 * told["planned"]:
        broken.append(f"{told['planned']:.0f} were to be sent")
    if (late := told["longest_seconds"] - told["deadline"]) > FLOOD_GRACE + told["lag_seconds"]:
        broken.append(f"one ended {late * 1e3:.0f} ms after its deadline")
    refused = sum(told["failures"].values())
    got = f"{told['sent']} sent, {told['in_time']:.0f} answered in time, {refused} refused or too late, the longest took {told['longest_seconds']:.2f} s"
    return Check(name, wanted, got, not broken, broken)


def after_overload(history: History, limits: Limits) -> Check:
    """Back to twice the calm p99 (of a second), or a tenth of a second, whichever is more."""
    wanted = f"calm p99 within {limits.back_to_calm:g} s"
    spans = overloads(history)
    if not spans:
        return Check("after three times the load", wanted, "no overload in this run", None)
    _, end = spans[0]
    if end == float("inf"):
        return Check("after three times the load", wanted, "the run ended in it", None)
    calm = latencies(counted(history, "calm"))
    enough = max(0.1, 2 * quantile(calm, 0.99)) if calm else 0.1
    over = counted(history, "overload")
    share = share_right(over) or 0.0
    after = [r for r in history.requests if r.sent >= end]
    back = None
    for second in range(10):
        of_it = [r for r in after if end + second <= r.sent < end + second + 1]
        if of_it and all(r.is_right for r in of_it) and quantile(latencies(of_it), 0.99) <= enough:
            back = second
            break
    got = f"of {len(over)} of the load in it {share:.0%} answered in time; " + (
        f"p99 ≤ {enough * 1e3:.0f} ms {back} s after it" if back is not None else "not back within 10 s"
    )
    return Check("after three times the load", wanted, got, back is not None and back <= limits.back_to_calm)


def latencies(requests: Sequence[Request]) -> list[float]:
    return sorted(r.seconds for r in requests if r.is_right and r.seconds is not None)


# --- memory, containers, the load itself ---------------------------------------------------------------------------------


def memory_bounded(history: History, limits: Limits) -> Check:
    """Apart from what is meant to reach its limit."""
    wanted = f"≤ {limits.memory_share:.0%} of each container's limit"
    if not history.memory:
        return Check("memory is bounded", wanted, "not measured", None)
    meant = [(f.began - 1.0, f.ended + 10.0) for f in history.faults if f.kind in ("memory_limit", "poison")]
    most: dict[str, float] = {}
    broken = []
    for sample in history.memory:
        if not sample["limit"] or any(low <= sample["t"] <= high for low, high in meant):
            continue
        share = sample["bytes"] / sample["limit"]
        if share > limits.memory_share and most.get(sample["container"], 0.0) <= limits.memory_share:
            broken.append(f"{sample['container']} at {sample['t']:.1f} s: {sample['bytes'] >> 20} MiB of {sample['limit'] >> 20}")
        most[sample["container"]] = max(most.get(sample["container"], 0.0), share)
    worst = max(most.items(), key=lambda each: each[1], default=("nothing", 0.0))
    details = broken + [f"{name}: {share:.0%} at most" for name, share in sorted(most.items())]
    return Check("memory is bounded", wanted, f"{worst[0]} {worst[1]:.0%} at most", not broken, details)


def memory_returns(history: History, limits: Limits) -> Check:
    """Full batches need room of their own, once, which a worker keeps for the next ones: where there was an overload, what its
    first third needed counts as needed, and a heap that goes on growing is found all the same."""
    wanted = f"≤ {limits.memory_growth:g} times the heap of the start and {limits.memory_slack >> 20} MiB"
    if not history.memory:
        return Check("memory comes back", wanted, "not measured", None)
    first_fault = min((f.began for f in history.faults), default=float("inf"))
    full = [(at, at + (end - at) / 3) for at, end in overloads(history) if end < float("inf")]
    last = max(sample["t"] for sample in history.memory)
    before: dict[str, int] = {}
    after: dict[str, int] = {}
    for sample in history.memory:
        service, heap = sample["service"], sample.get("private", 0)
        if sample["t"] < first_fault or any(begin <= sample["t"] < end for begin, end in full):
            before[service] = max(before.get(service, 0), heap)
        if sample["t"] > last - 4.0:
            after[service] = max(after.get(service, 0), heap)
    broken, details = [], []
    for service in sorted(before.keys() & after.keys()):
        line = f"{service}: heap {before[service] >> 20} MiB calm, {after[service] >> 20} MiB at the end"
        is_fine = after[service] <= before[service] * limits.memory_growth + limits.memory_slack
        (details if is_fine else broken).append(line)
    return Check("memory comes back", wanted, f"{len(broken)} services grew", not broken, broken + details)


def all_there(history: History, limits: Limits) -> Check:
    if not history.containers:
        return Check("all containers run at the end", "all", "not looked", None)
    away = [f"{c['container']}: {c['status']}, exit code {c['exit_code']}" for c in history.containers if c["status"] != "running"]
    details = away + [f"{c['container']}: started again {c['restarts']} times" for c in history.containers if c["restarts"]]
    return Check("all containers run at the end", "all", f"{len(history.containers) - len(away)} of {len(history.containers)}", not away, details)


def load_was_put(history: History, limits: Limits) -> Check:
    """A checker that saw nothing must not pass."""
    rate, seconds = history.about.get("rate", 0.0), history.about.get("seconds", 0.0)
    overload = sum(min(end, seconds) - at for at, end in overloads(history))
    wanted = 0.8 * rate * max(0.0, seconds - overload)
    sent = len(counted(history, "calm", "faults", "after"))
    calm = share_right(counted(history, "calm")) or 0.0
    passed = sent > 0 and sent >= wanted and calm >= 0.99
    return Check("the load was put on the mesh", f"{wanted:.0f} requests, calm ones answered", f"{sent} sent, {calm:.1%} of the calm ones answered", passed)


def quantile(ordered: Sequence[float], share: float) -> float:
    """Of a sorted sequence, the nearest rank."""
    if not ordered:
        return 0.0
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]
