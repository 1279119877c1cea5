"""Element types: numpy's, the names of Open Inference Protocol v2, and the numbers on the wire (actors/core/dtype.hpp).

numpy has no bfloat16. `shoal.bfloat16` is the dtype of the package `ml_dtypes` if that is installed, so that
arithmetic works; else a dtype of one 16-bit field. Either way ``bits.view(shoal.bfloat16)`` makes a bfloat16 array of a
uint16 array and ``array.view(numpy.uint16)`` gives the bits back, without a copy.
"""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["bfloat16", "dtype_name", "dtype_of_wire", "wire_of_dtype"]


def _bfloat16() -> np.dtype[Any]:
    try:
        import ml_dtypes
    except ImportError:
        return np.dtype([("bfloat16", "<u2")])
    dtype: np.dtype[Any] = np.dtype(ml_dtypes.bfloat16)
    return dtype


bfloat16: np.dtype[Any] = _bfloat16()

# In the order of the wire's numbers.
_TABLE: tuple[tuple[str, np.dtype[Any]], ...] = (
    ("BOOL", np.dtype(np.bool_)),
    ("UINT8", np.dtype("<u1")),
    ("UINT16", np.dtype("<u2")),
    ("UINT32", np.dtype("<u4")),
    ("UINT64", np.dtype("<u8")),
    ("INT8", np.dtype("<i1")),
    ("INT16", np.dtype("<i2")),
    ("INT32", np.dtype("<i4")),
    ("INT64", np.dtype("<i8")),
    ("FP16", np.dtype("<f2")),
    ("BF16", bfloat16),
    ("FP32", np.dtype("<f4")),
    ("FP64", np.dtype("<f8")),
)
_WIRE = {dtype: number for number, (_, dtype) in enumerate(_TABLE)}


def wire_of_dtype(dtype: np.dtype[Any]) -> int | None:
    """The wire's number for a little-endian `dtype`, or None if no tensor has that type."""
    return _WIRE.get(dtype)


def dtype_of_wire(number: int) -> np.dtype[Any] | None:
    """The numpy dtype for a number from the wire, or None if no tensor of fixed element size has it."""
    return _TABLE[number][1] if 0 <= number < len(_TABLE) else None


def dtype_name(number: int) -> str:
    """ "FP32" and so on, as Open Inference Protocol v2 calls it."""
    return _TABLE[number][0] if 0 <= number < len(_TABLE) else f"type {number}"
