"""From a seed to a plan: which fault befalls which service when. Pure: the same seed, length and catalogue give the same plan
on any machine; what a machine cannot do is said when its turn comes and does not change the rest."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

LONG = 300.0  # seconds; from here on a run has what rolls, as far as it fits, and an overload
ROLLING = ("rolling_restart", "rolling_upgrade")  # every container, one after the other: once in a run
OVERLOAD = "overload"
LONGEST_CARD = 16.0  # seconds of any other fault, with what comes after it


@dataclass(frozen=True, slots=True)
class Trait:
    """What the schedule has to know of a kind of fault."""

    kind: str
    services: tuple[str, ...]  # drawn evenly; a name may stand there twice
    seconds: tuple[float, float]  # how long it lasts
    settles: float = 5.0  # seconds that the mesh is given after it before the next one
    weight: int = 1  # cards in the deck


@dataclass(frozen=True, slots=True)
class Planned:
    number: int
    at: float  # seconds from the start of the load
    kind: str
    service: str
    draw: float  # in [0, 1): which of the replicas there are then
    seconds: float
    strength: float  # in [0, 1): what it means is the fault's own matter


@dataclass(frozen=True, slots=True)
class Plan:
    seed: int
    seconds: float
    calm_first: float
    overload_at: float | None  # three times the load, for `overload_seconds`
    overload_seconds: float
    faults: tuple[Planned, ...]

    def save(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self), indent=1) + "\n")

    @staticmethod
    def load(path: Path) -> Plan:
        read = json.loads(path.read_text())
        return Plan(**{**read, "faults": tuple(Planned(**each) for each in read["faults"])})


def make_plan(seed: int, seconds: float, catalogue: Sequence[Trait]) -> Plan:
    """Faults come one after the other, so that each one's recovery can be seen; every kind once before any comes again.
    A kill is first. Long runs have one rolling restart and one rolling upgrade, evenly over the time, and an overload at the
    end."""
    random_ = random.Random(f"{seed}/{seconds:g}")
    is_long = seconds >= LONG
    calm_first = 20.0 if is_long else 8.0
    overload_seconds = 60.0 if is_long else 0.0
    end_of_faults = seconds - (overload_seconds + 30.0 if is_long else 6.0)
    rest = sorted((each for each in catalogue if each.kind not in ROLLING), key=lambda each: each.kind)
    rolling = sorted((each for each in catalogue if each.kind in ROLLING), key=lambda each: each.kind) if is_long else []
    shares = len(rolling) + 1

    faults: list[Planned] = []
    deck: list[Trait] = []
    at = calm_first

    def place(trait: Trait) -> bool:
        nonlocal at
        low, high = trait.seconds
        lasts = low + random_.random() * (high - low)
        if not is_long:
            lasts = max(low, lasts / 2)
        settles = trait.settles if is_long else trait.settles * 0.6
        service, draw, strength = random_.choice(trait.services), random_.random(), random_.random()
        if at + lasts + settles > end_of_faults:
            return False
        faults.append(Planned(len(faults) + 1, round(at, 2), trait.kind, service, round(draw, 4), round(lasts, 2), round(strength, 4)))
        at += lasts + settles + random_.random() * 1.5
        return True

    failures = 0
    while failures < 20:
        if rolling:
            share = calm_first + (end_of_faults - calm_first) * (shares - len(rolling)) / shares
            latest = end_of_faults - rolling[0].seconds[1] - rolling[0].settles - LONGEST_CARD
            if at > min(share, latest):
                place(rolling.pop(0))
        if not deck:
            deck = [trait for trait in rest for _ in range(trait.weight)]
            random_.shuffle(deck)
            if not faults:
                deck.append(next(trait for trait in deck if trait.kind == "kill"))
        failures += not place(deck.pop())
    overload_at = seconds - overload_seconds - 20.0 if is_long else None
    return Plan(seed, seconds, calm_first, overload_at, overload_seconds, tuple(faults))
