"""What every fault is: begun once, ended once whatever happened, able to say why it cannot be done here."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from ..disk import Disk
from ..load_process import LoadProcess
from ..mesh import Container, Mesh
from ..schedule import Planned, Trait


@dataclass(slots=True)
class Surroundings:
    """What a fault may use."""

    mesh: Mesh
    load: LoadProcess
    disk: Disk
    clock_is_fakeable: bool
    upgrade_to: str = ""  # a tag of images that are there; empty: what runs, by another name


class Fault(ABC):
    """`begin` does it and says what to whom; `end` undoes it, also if `begin` failed half way; it may be
    called again if it failed. Either may raise EngineError.

    What `begin` has to remember for `end` has a default in the class that means: nothing has been done.
    """

    trait: ClassVar[Trait]
    # The mesh recovers from these by itself, and its time is measured from `begin`.
    is_kill: ClassVar[bool] = False

    def __init__(self, planned: Planned, surroundings: Surroundings) -> None:
        self.planned = planned
        self.mesh = surroundings.mesh
        self.around = surroundings

    @classmethod
    def why_not(cls, surroundings: Surroundings) -> str | None:
        """Why this machine cannot do it; None: it can."""
        return None

    def target(self) -> Container:
        return self.mesh.pick(self.planned.service, self.planned.draw)

    @abstractmethod
    def begin(self) -> str: ...

    def end(self) -> None:
        """Nothing is to be undone."""
