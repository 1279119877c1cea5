"""Exports a model that gives back what it is sent, to <out>/identity/1: what the mesh itself costs is measured with it.

Takes x (float32 [batch, width], both dynamic), gives y, bit-equal.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from exporting import export, output_folder, stamp_of


class Identity(nn.Module):
    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"y": x.clone()}


def export_identity(out: Path) -> None:
    batch = torch.export.Dim("batch", min=1, max=1024)
    width = torch.export.Dim("width", min=1, max=1 << 24)
    export(
        out,
        "identity",
        Identity,
        (torch.randn(2, 3),),
        {"x": {0: batch, 1: width}},
        [(torch.randn(1, 1),), (torch.randn(4, 1024),)],
        stamp_of(Path(__file__)),
        "max_batch = 32\n",
    )


if __name__ == "__main__":
    export_identity(output_folder(__doc__))
