"""Shoal's client: numpy arrays in, numpy arrays out, over the mesh's native protocol.

    async with shoal.connect("tcp://127.0.0.1:8002") as mesh:
        out = await mesh.infer("minilm", {"input_ids": ids, "attention_mask": mask}, deadline=2.0)

    with shoal.connect_sync("tcp://127.0.0.1:8002") as mesh:
        out = mesh.infer("minilm", {"input_ids": ids, "attention_mask": mask}, deadline=2.0)
        vectors = mesh.embed("minilm", ["a sentence", "another one"]).vectors
"""

from ._version import __version__
from .dtypes import bfloat16
from .errors import (
    Cancelled,
    Corrupt,
    DeadlineExceeded,
    ErrorCode,
    Incompatible,
    Internal,
    InvalidArgument,
    NotFound,
    Overloaded,
    PermissionDenied,
    Poisoned,
    ShoalError,
    TooLarge,
    Unauthenticated,
    Unavailable,
    Unsupported,
)
from .mesh import Mesh, connect
from .progress import Progress
from .sync import SyncMesh, connect_sync
from .text import Embeddings, text_inputs
from .types import Dimension, ModelSpec, Result, ServiceReport, TensorSpec, WorkerAnswer

__all__ = [
    "Cancelled",
    "Corrupt",
    "DeadlineExceeded",
    "Dimension",
    "Embeddings",
    "ErrorCode",
    "Incompatible",
    "Internal",
    "InvalidArgument",
    "Mesh",
    "ModelSpec",
    "NotFound",
    "Overloaded",
    "PermissionDenied",
    "Poisoned",
    "Progress",
    "Result",
    "ServiceReport",
    "ShoalError",
    "SyncMesh",
    "TensorSpec",
    "TooLarge",
    "Unauthenticated",
    "Unavailable",
    "Unsupported",
    "WorkerAnswer",
    "__version__",
    "bfloat16",
    "connect",
    "connect_sync",
    "text_inputs",
]
