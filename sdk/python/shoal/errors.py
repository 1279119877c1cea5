"""What can go wrong, as exceptions that a caller can act on.

Every failure of a request is a `ShoalError` of one of the classes below, whether the mesh reported it or the SDK found
it. The codes are those of `errc` in actors/core/error.hpp and travel on the wire.
"""

from __future__ import annotations

import enum

__all__ = [
    "Cancelled",
    "Corrupt",
    "DeadlineExceeded",
    "ErrorCode",
    "Incompatible",
    "Internal",
    "InvalidArgument",
    "NotFound",
    "Overloaded",
    "PermissionDenied",
    "Poisoned",
    "ShoalError",
    "TooLarge",
    "Unauthenticated",
    "Unavailable",
    "Unsupported",
    "copy_of",
    "error_of",
]


class ErrorCode(enum.IntEnum):
    """The classes of failure, by their value on the wire."""

    INTERNAL = 0
    INVALID_ARGUMENT = 1
    NOT_FOUND = 2
    UNSUPPORTED = 3
    TOO_LARGE = 4
    DEADLINE_EXCEEDED = 5
    CANCELLED = 6
    OVERLOADED = 7
    UNAVAILABLE = 8
    POISONED = 9
    INCOMPATIBLE = 10
    CORRUPT = 11
    PERMISSION_DENIED = 12
    UNAUTHENTICATED = 13


class ShoalError(Exception):
    """The base of all errors of this package.

    Attributes:
        code: the class of failure.
        retryable: the same request may succeed if it is sent again later.
        retry_after: seconds to wait before that, or None if the mesh gave no hint.
        request_id: the number of the request on its connection, or None if the error belongs to no request.
    """

    code: ErrorCode = ErrorCode.INTERNAL

    def __init__(
        self,
        message: str,
        *,
        retryable: bool | None = None,
        retry_after: float | None = None,
        request_id: int | None = None,
    ) -> None:
        super().__init__(message)
        self.retryable = self.code in (ErrorCode.OVERLOADED, ErrorCode.UNAVAILABLE) if retryable is None else retryable
        self.retry_after = retry_after
        self.request_id = request_id


class Internal(ShoalError):
    """A defect of the mesh, or an operator of the model that failed."""

    code = ErrorCode.INTERNAL


class InvalidArgument(ShoalError):
    """The request must be changed: a wrong name, type, rank, shape or value."""

    code = ErrorCode.INVALID_ARGUMENT


class NotFound(ShoalError):
    """No such model, version or output."""

    code = ErrorCode.NOT_FOUND


class Unsupported(ShoalError):
    """Well formed, but not something Shoal does."""

    code = ErrorCode.UNSUPPORTED


class TooLarge(ShoalError):
    """Larger than a configured limit."""

    code = ErrorCode.TOO_LARGE


class DeadlineExceeded(ShoalError):
    """The time given to the request is over."""

    code = ErrorCode.DEADLINE_EXCEEDED


class Cancelled(ShoalError):
    """The request was taken back at the mesh. (A cancelled asyncio task raises asyncio.CancelledError instead.)"""

    code = ErrorCode.CANCELLED


class Overloaded(ShoalError):
    """The mesh refuses the request at once because it could not be done in time. See `retry_after`."""

    code = ErrorCode.OVERLOADED


class Unavailable(ShoalError):
    """A part of the mesh that is needed is not there, or the connection to it was lost."""

    code = ErrorCode.UNAVAILABLE


class Poisoned(ShoalError):
    """The request ended two workers that ran it alone. It is not tried again."""

    code = ErrorCode.POISONED


class Incompatible(ShoalError):
    """The other side speaks another version of the protocol: use the SDK of the mesh's release."""

    code = ErrorCode.INCOMPATIBLE


class Corrupt(ShoalError):
    """Bytes that do not match what they claim to be."""

    code = ErrorCode.CORRUPT


class PermissionDenied(ShoalError):
    """The caller may not do this."""

    code = ErrorCode.PERMISSION_DENIED


class Unauthenticated(ShoalError):
    """It is not known who asks: a key or a token is missing or wrong."""

    code = ErrorCode.UNAUTHENTICATED


def copy_of(error: ShoalError) -> ShoalError:
    """To be raised in another place: an exception that is raised twice collects tracebacks."""
    return type(error)(
        str(error), retryable=error.retryable, retry_after=error.retry_after, request_id=error.request_id
    )


_CLASSES: dict[int, type[ShoalError]] = {
    int(kind.code): kind
    for kind in (
        Internal,
        InvalidArgument,
        NotFound,
        Unsupported,
        TooLarge,
        DeadlineExceeded,
        Cancelled,
        Overloaded,
        Unavailable,
        Poisoned,
        Incompatible,
        Corrupt,
        PermissionDenied,
        Unauthenticated,
    )
}


def error_of(
    code: int,
    message: str,
    *,
    retryable: bool | None = None,
    retry_after: float | None = None,
    request_id: int | None = None,
) -> ShoalError:
    """The exception for an error from the wire. A code that this release does not know becomes `Internal`."""
    kind = _CLASSES.get(code)
    if kind is None:
        kind, message = Internal, f"{message} (error code {code}, which this release of the SDK does not know)"
    return kind(message, retryable=retryable, retry_after=retry_after, request_id=request_id)
