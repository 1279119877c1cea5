"""All faults there are, by kind."""

from .clients import Poison, SlowReader
from .fault import Fault, Surroundings
from .network import Bandwidth, Disconnect, OneWay, Reset
from .processes import Freeze, Kill, KillFront, RollingRestart, RollingUpgrade, Scale, StopStart
from .resources import BitFlips, ClockSkew, DiskFull, MemoryLimit, SlowDisk

FAULTS: dict[str, type[Fault]] = {
    each.trait.kind: each
    for each in (
        *(Kill, KillFront, Freeze, StopStart, RollingRestart, RollingUpgrade, Scale),
        *(Disconnect, OneWay, Reset, Bandwidth),
        *(SlowReader, Poison),
        *(MemoryLimit, DiskFull, BitFlips, SlowDisk, ClockSkew),
    )
}
CATALOGUE = [each.trait for each in FAULTS.values()]

__all__ = ["CATALOGUE", "FAULTS", "Fault", "Surroundings"]
