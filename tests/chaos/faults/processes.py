"""What befalls processes: killed, frozen, stopped; all of them restarted or upgraded; more and fewer of them."""

from __future__ import annotations

import os
import re
import signal
import time

from ..engine import EngineError, docker
from ..mesh import Container
from ..schedule import Trait
from .fault import Fault

ALL = ("gateway", "scheduler", "worker", "cache", "precision")
OFTEN = ("gateway", "gateway", "scheduler", "scheduler", "worker", "worker", "worker", "cache", "cache", "precision")


class Kill(Fault):
    """kill -9 of a service's process, as the kernel does when memory is short. Docker starts it again."""

    trait = Trait("kill", OFTEN, (1.0, 1.0), settles=6.0, weight=4)
    is_kill = True

    _killed: str = ""

    def begin(self) -> str:
        target = self.target()
        try:
            if self.mesh.by_signal:
                os.kill(self.mesh.pid(target), signal.SIGKILL)
                return f"{target.name} killed"
        except (EngineError, PermissionError):
            pass  # a process of another host
        self._killed = target.id
        self.mesh.engine.kill(target.id)
        self.mesh.engine.start(target.id)
        return f"{target.name} killed"

    def end(self) -> None:
        """The engine does not start what it has been told to kill."""
        if self._killed:
            self.mesh.engine.start(self._killed)


class KillFront(Kill):
    """kill -9 of HAProxy: every connection of every client breaks at once."""

    trait = Trait("kill_front", ("front",), (1.0, 1.0), settles=6.0)


class Freeze(Fault):
    """The process stays, its connections stay, it does nothing: SIGSTOP, or the freezer of `docker pause`."""

    trait = Trait("freeze", OFTEN, (0.3, 5.0), weight=2)

    _frozen: Container | None = None
    _pid: int = 0

    def begin(self) -> str:
        target = self.target()
        self._frozen = target
        if self.planned.strength < 0.5 and self.mesh.by_signal:
            self._pid = self.mesh.pid(target)
            os.kill(self._pid, signal.SIGSTOP)
            return f"{target.name} stopped by SIGSTOP for {self.planned.seconds:.1f} s"
        self.mesh.engine.pause(target.id)
        return f"{target.name} paused for {self.planned.seconds:.1f} s"

    def end(self) -> None:
        if self._frozen is None:
            return
        if not self._pid:
            if self.mesh.state(self._frozen).status == "paused":
                self.mesh.engine.unpause(self._frozen.id)
        elif self.mesh.is_local(self._pid, self._frozen):
            os.kill(self._pid, signal.SIGCONT)


class StopStart(Fault):
    """Told to end (SIGTERM), away for a while, started again."""

    trait = Trait("stop_start", OFTEN, (1.0, 6.0))

    _stopped: str = ""

    def begin(self) -> str:
        target = self.target()
        self._stopped = target.id
        self.mesh.engine.stop(target.id)
        return f"{target.name} stopped for {self.planned.seconds:.1f} s, exit code {self.mesh.state(target).exit_code}"

    def end(self) -> None:
        if self._stopped:
            self.mesh.engine.start(self._stopped)


class RollingRestart(Fault):
    """Every container, one after the other, each healthy before the next is told to end."""

    trait = Trait("rolling_restart", ("all",), (60.0, 60.0), settles=5.0)

    def begin(self) -> str:
        began = time.monotonic()
        services = (*ALL, "front")
        for container in self.mesh.containers(*services):
            docker("restart", "-t", "15", container.id)
            self.mesh.wait_until_healthy(30.0, container.service)
        return f"{len(self.mesh.containers(*services))} containers restarted in {time.monotonic() - began:.0f} s"


class RollingUpgrade(Fault):
    """compose/upgrade, as a user calls it: every replica gives way to one of a new tag. Unless a tag is named, the images are the
    same under both, so the front, which is replaced for another content alone, stays (its connections would break: that is
    `kill_front`)."""

    trait = Trait("rolling_upgrade", ("all",), (110.0, 110.0), settles=5.0)

    _tag: str = ""

    def begin(self) -> str:
        began = time.monotonic()
        before = {container.id for container in self.mesh.containers(*ALL)}
        goal = self.around.upgrade_to
        if not goal:
            goal = self._tag = f"{self.mesh.project}-upgrade"
            for service in (*ALL, "front"):
                docker("tag", f"shoal/{service}:{os.environ.get('SHOAL_TAG', 'latest')}", f"shoal/{service}:{self._tag}")
        said = self.mesh.upgrade(goal, timeout=480.0)
        if goal != self._tag:
            self.mesh.stay_with(goal)
        after = self.mesh.containers(*ALL)
        if before & {container.id for container in after} or len(after) != len(before):
            raise EngineError(f"there were {len(before)} containers, and after the upgrade {len(after)}, or some of the old: {said}")
        each = ", ".join(f"{service} {seconds} s" for service, seconds in re.findall(r"(\w+): \d+ replaced in ([\d.]+) s", said))
        return f"{len(after)} containers replaced{f' by those of {goal}' if not self._tag else ''} in {time.monotonic() - began:.0f} s: {each}"

    def end(self) -> None:
        """The names alone: containers know their images by what these are."""
        if self._tag:
            for service in (*ALL, "front"):
                if docker("image", "ls", "-q", f"shoal/{service}:{self._tag}").strip():
                    docker("image", "rm", f"shoal/{service}:{self._tag}")


class Scale(Fault):
    """One replica more, or one fewer, and back."""

    trait = Trait("scale", ("worker", "worker", "gateway", "scheduler", "cache"), (4.0, 8.0), settles=6.0)

    _before: int = 0

    def begin(self) -> str:
        service = self.planned.service
        self._before = self.mesh.replicas(service)
        after = self._before + (1 if self.planned.strength < 0.5 else -1)
        self.mesh.scale(service, after)
        return f"{service} scaled from {self._before} to {after} and back"

    def end(self) -> None:
        if self._before:
            self.mesh.scale(self.planned.service, self._before)
