"""What befalls connections: cut, cut one way, slow, reset."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from ..engine import why_no_namespace
from ..mesh import Container
from ..schedule import Trait
from .fault import Fault, Surroundings
from .processes import OFTEN


class Disconnect(Fault):
    """Taken off the network, address and all, and put back."""

    trait = Trait("disconnect", OFTEN, (0.5, 5.0), settles=6.0)

    _target: Container | None = None
    _networks: Mapping[str, dict[str, Any]] = MappingProxyType({})

    def begin(self) -> str:
        target = self.target()
        self._networks = self.mesh.state(target).networks
        self._target = target
        for network in self._networks:
            self.mesh.engine.disconnect(network, target.id)
        return f"{target.name} off the network for {self.planned.seconds:.1f} s"

    def end(self) -> None:
        if self._target is None:
            return
        there = self.mesh.state(self._target).networks
        for network, was in self._networks.items():
            if network not in there:
                self.mesh.engine.connect(network, self._target.id, was)


class InNamespace(Fault):
    """Something that a command in the container's network namespace begins and another one ends."""

    tool = "iptables"

    _target: Container | None = None
    _pid: int = 0

    @classmethod
    def why_not(cls, surroundings: Surroundings) -> str | None:
        return why_no_namespace(cls.tool)

    def enter(self) -> Container:
        self._target = self.target()
        self._pid = self.mesh.pid(self._target)
        return self._target

    def undo(self, *command: str) -> None:
        """If it still is the same process's network: that of one which was restarted is new."""
        if self._target is not None and self.mesh.state(self._target).pid == self._pid:
            self.mesh.in_network(self._target, *command)


class OneWay(InNamespace):
    """It hears nobody, or nobody hears it, and no connection is closed."""

    trait = Trait("one_way", OFTEN, (0.5, 5.0), settles=6.0)

    @property
    def _chain(self) -> str:
        return "INPUT" if self.planned.strength < 0.5 else "OUTPUT"

    def begin(self) -> str:
        target = self.enter()
        self.mesh.in_network(target, "iptables", "-I", self._chain, "!", "-i" if self._chain == "INPUT" else "-o", "lo", "-j", "DROP")
        what = "hears nothing" if self._chain == "INPUT" else "is not heard"
        return f"{target.name} {what} for {self.planned.seconds:.1f} s"

    def end(self) -> None:
        self.undo("iptables", "-F", self._chain)


class Reset(InNamespace):
    """Every packet to its port is answered by RST for a while, and its connections are ended by the kernel."""

    trait = Trait("reset", OFTEN, (0.3, 2.0))

    @classmethod
    def why_not(cls, surroundings: Surroundings) -> str | None:
        return why_no_namespace("iptables", "ss")

    def begin(self) -> str:
        target = self.enter()
        tcp = ("-p", "tcp", "!", "-i", "lo")
        self.mesh.in_network(target, "iptables", "-I", "INPUT", *tcp, "-j", "REJECT", "--reject-with", "tcp-reset")
        ended = self.mesh.in_network(target, "ss", "-K", "-tnH", "state", "established", "not", "dst", "127.0.0.0/8")
        return f"{len(ended.splitlines())} connections of {target.name} reset, new ones refused for {self.planned.seconds:.1f} s"

    def end(self) -> None:
        self.undo("iptables", "-F", "INPUT")


class Bandwidth(InNamespace):
    """What it sends goes through a narrow pipe (token bucket)."""

    trait = Trait("bandwidth", OFTEN, (2.0, 8.0))
    tool = "tc"

    def begin(self) -> str:
        target = self.enter()
        kilobits = int(500 * 16**self.planned.strength)  # 0.5 to 8 Mbit/s
        shape = ("tbf", "rate", f"{kilobits}kbit", "burst", "32kbit", "latency", "400ms")
        self.mesh.in_network(target, "tc", "qdisc", "add", "dev", "eth0", "root", *shape)
        return f"{target.name} sends at {kilobits} kbit/s for {self.planned.seconds:.1f} s"

    def end(self) -> None:
        self.undo("tc", "qdisc", "del", "dev", "eth0", "root")
