"""How a mesh is used. Every default works; those of the C++ SDK (sdk/cpp/include/shoal/options.hpp) are the same."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ._key import ClientKey
from .errors import InvalidArgument

DEFAULT_DEADLINE = 10.0  # seconds
_MAX_DEADLINE = 12 * 24 * 3600.0  # the wire's limit is 2^40 microseconds


def checked_seconds(seconds: float, what: str) -> float:
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or math.isnan(seconds) or seconds <= 0:
        raise InvalidArgument(f"{what} must be a positive number of seconds, not {seconds!r}")
    return min(float(seconds), _MAX_DEADLINE)


@dataclass(frozen=True, slots=True)
class Options:
    """What `shoal.connect` says of each."""

    timeout: float = 5.0
    default_deadline: float = DEFAULT_DEADLINE
    max_message_bytes: int = 1 << 30
    wait_for_gateway: bool = True
    retry_ratio: float = 0.25
    retry_reserve: int = 10
    max_in_flight: int = 1024
    max_in_flight_bytes: int = 256 << 20
    wait_for_room: bool = True
    key: ClientKey | None = None

    def __post_init__(self) -> None:
        checked_seconds(self.timeout, "timeout")
        checked_seconds(self.default_deadline, "default_deadline")
        if not 0 < self.max_message_bytes < 2**63:
            raise InvalidArgument(f"max_message_bytes must be positive, not {self.max_message_bytes}")
        if not (0 <= self.retry_ratio <= 1 and self.retry_reserve >= 0):
            raise InvalidArgument("retry_ratio must be from 0 to 1, and retry_reserve not negative")
        if self.max_in_flight < 1 or self.max_in_flight_bytes < 1:
            raise InvalidArgument("max_in_flight and max_in_flight_bytes must be positive")
