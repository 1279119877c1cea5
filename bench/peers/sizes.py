"""What must be on a machine before a server serves, in MB, without models, Python itself and CUDA.

A peer: its environment (build/peers/NAME), and PyTorch with the packages that it requires, out of build/venv, where all
share it. Files for CUDA are left out of PyTorch, as in its wheel for CPUs. Shoal: the executable `shoal` with the
libraries that it loads, and of these LibTorch's apart.
"""

from __future__ import annotations

import re
import subprocess
from importlib.metadata import distribution
from pathlib import Path

from environments import megabytes
from generator import SHOAL
from served_models import ROOT

FOR_CUDA = re.compile("cuda|nvidia|nvshmem|nvrtc|cupti|ptxas|triton")


def packages(name: str, known: set[str]) -> set[str]:
    """The distribution and what it requires, without extras and what is for CUDA."""
    if name in known or FOR_CUDA.search(name):
        return known
    known.add(name)
    for line in distribution(name).requires or []:
        required, _, marker = line.partition(";")
        if "extra" not in marker:
            packages(re.match(r"[\w.-]+", required.strip())[0].lower(), known)  # type: ignore[index]
    return known


def pytorch_mb() -> float:
    paths = [
        Path(str(file.locate()))
        for name in packages("torch", set())
        for file in distribution(name).files or []
        if not FOR_CUDA.search(file.name)
    ]
    return sum(path.stat().st_size for path in paths if path.exists()) / 1e6


def libraries(program: Path) -> list[Path]:
    told = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    return [Path(path).resolve() for path in re.findall(r"(/\S+) \(0x", told)]


def of_shoal() -> dict[str, float]:
    found = libraries(SHOAL)
    torch = [path for path in found if "torch" in path.parts]
    rest = [SHOAL, *(path for path in found if path not in torch)]
    return {
        name: sum(p.stat().st_size for p in paths) / 1e6 for name, paths in (("own_mb", rest), ("pytorch_mb", torch))
    }


def of(server: str) -> dict[str, float]:
    if server == "shoal":
        return of_shoal()
    return {"own_mb": megabytes(ROOT / "build/peers" / server), "pytorch_mb": pytorch_mb()}
