"""Exports a model that gives back what it is sent, to <out>/identity/1: what the mesh itself costs is measured with it.

Takes x (float32 [batch, width], both dynamic), gives y, bit-equal. `export_types` does the same for every other type of
element that an archive can have (torch.export 2.11 knows no UINT32 and UINT64), to <out>/identity_<type>/1: clients are tested with them.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from exporting import TYPES, export, output_folder, stamp_of


class Identity(nn.Module):
    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"y": x.clone()}


def export_one(out: Path, name: str, example: torch.Tensor, cases: list[tuple]) -> None:
    batch = torch.export.Dim("batch", min=1, max=1024)
    width = torch.export.Dim("width", min=1, max=1 << 24)
    export(
        out,
        name,
        Identity,
        (example,),
        {"x": {0: batch, 1: width}},
        cases,
        stamp_of(Path(__file__)),
        "max_batch = 32\n",
    )


def export_identity(out: Path) -> None:
    export_one(out, "identity", torch.randn(2, 3), [(torch.randn(1, 1),), (torch.randn(4, 1024),)])


def export_types(out: Path) -> None:
    for dtype, name in TYPES.items():
        if dtype != torch.float32:
            export_one(out, f"identity_{name.lower()}", torch.ones(2, 3).to(dtype), [])


if __name__ == "__main__":
    export_identity(output_folder(__doc__))
