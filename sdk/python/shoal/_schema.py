"""The wire's schema, loaded at run time from schemas/mesh.capnp.

An installed package carries a copy that setup.py put beside this file when the package was built; in the source tree
the one file at the root of the repository is read. pycapnp is used for bytes only, never for its event loop.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import capnp


def _load() -> Any:
    here = Path(__file__).resolve().parent
    candidates = (here / "mesh.capnp", here.parents[2] / "schemas" / "mesh.capnp")
    # pycapnp brings c++.capnp, which the schema imports. A missing import would end the process, not raise.
    imports = Path(capnp.__file__).resolve().parent.parent
    if not (imports / "capnp" / "c++.capnp").is_file():
        raise ImportError("pycapnp is installed without its c++.capnp: install it again")
    for path in candidates:
        if path.is_file():
            return capnp.load(str(path), imports=[str(imports)])
    raise ImportError(f"the schema mesh.capnp is in neither of {', '.join(map(str, candidates))}: install shoal again")


schema = _load()

OLDEST_VERSION: int = schema.protocolVersion
NEWEST_VERSION: int = schema.newestVersion
PIECE_SIZE: int = schema.pieceSize
TAIL_SIZE: int = schema.tailSize
TAILS_SINCE = 5  # the first version whose small messages have their tensors' bytes behind the envelope
