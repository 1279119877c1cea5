"""Exports <out>/zoo/mixed: what recommenders and post-processing do, rather than networks: whole numbers, truth values
and bytes beside floats, tensors that are scattered, gathered, ranked and compared, two free sizes, results in lists.

Whoever reads `forward` finds each ability once; every result is an output of its own, so that a wrong one is named.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

from exporting import export, output_folder, stamp_of

BATCH = torch.export.Dim("batch", min=1, max=64)
LENGTH = torch.export.Dim("length", min=5, max=128)
CLASSES = 7
WIDTH = 16


class Mixed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.items = nn.Embedding(CLASSES, WIDTH)
        self.scores = nn.Linear(WIDTH, CLASSES, bias=False)
        self.scores.weight = self.items.weight  # tied
        self.register_buffer("weights", torch.linspace(0.5, 2, 2 * CLASSES)[::2].contiguous())
        self.register_buffer("grid", torch.arange(4 * WIDTH, dtype=torch.float32).reshape(4, WIDTH)[:, ::2])  # strided
        self.register_buffer("levels", torch.tensor([0, 85, 170, 255], dtype=torch.uint8), persistent=False)

    def forward(
        self,
        values: torch.Tensor,  # float32 [batch, length]
        ids: torch.Tensor,  # int64 [batch, length], below CLASSES
        ranks: torch.Tensor,  # int32 [batch, length]
        kept: torch.Tensor,  # bool [batch, length]
        pixels: torch.Tensor,  # uint8 [batch, 4]
    ) -> dict[str, object]:
        batch, length = values.shape
        lifted = torch.tensor([3, 1, 2])
        zeros = torch.zeros(batch, CLASSES)

        masked = values.masked_fill(~kept, -1e4)
        top, places = masked.topk(3, dim=1)
        sums = zeros.scatter_add(1, ids, values * kept)
        last = zeros.scatter(1, ids[:, :1], 1.0)
        counted = torch.zeros(batch, CLASSES, dtype=torch.int64).scatter_add(1, ids, kept.to(torch.int64))
        one_hot = functional.one_hot(ids, CLASSES)
        found = self.scores(self.items(ids)) * self.weights

        ordered, order = ranks.sort(dim=1, stable=True)
        reshaped = values.reshape(batch * length).flip(0).view(length, batch).t()
        middle = values[:, 1 : length - 1]
        ramp = torch.arange(length) * batch + length // 2 - batch % 3
        first, second, third = values[:, :4].split([1, 2, 1], dim=1)
        left, right = pixels.chunk(2, dim=1)
        rows = torch.stack([values, values * 2, values - 1], dim=1).unbind(1)

        return {
            "top": {"values": top, "places": places, "ids": ids.gather(1, places)},
            "best": masked.argmax(1),
            "worst": values.argmin(1).to(torch.int32),
            "sums": sums,
            "last": last,
            "counted": counted,
            "one_hot": one_hot,
            "found": found.argmax(-1),
            "scores": found,
            "running": values.cumsum(1),
            "running_ranks": ranks.cumsum(1),
            "chosen": torch.where(kept & (ranks > 2), values, torch.zeros_like(values)),
            "clipped": torch.where(ids >= 3, ids, lifted[2]).clamp(max=5),
            "compared": {
                "equal": ids == ranks,
                "less": values < values.mean(1, keepdim=True),
                "not_kept": kept.logical_not() | (ids != 4),
                "every": kept.all(1),
            },
            "ordered": ordered,
            "order": order,
            "odd": ids[:, 1::2] * lifted[0] + ranks[:, 1::2],
            "share": kept.sum(1) / (length + batch),
            "reshaped": reshaped,
            "middle": middle,
            "ramp": ids + ramp,
            "parts": [third, first, second],
            "pixels": {
                "sum": left + right,
                "bright": (pixels // 2).to(torch.uint8),
                "close": pixels > self.levels,
                "halves": [left.to(torch.float32) / 255, right.to(torch.int64)],
            },
            "rows": list(rows),
            "grid": pixels.to(torch.float32) @ self.grid,
        }


def build() -> nn.Module:
    torch.manual_seed(6)
    return Mixed().eval()


def inputs(batch: int, length: int) -> tuple[torch.Tensor, ...]:
    random = torch.Generator().manual_seed(100 * batch + length)
    whole = lambda high, *shape, kind: torch.randint(0, high, shape, generator=random, dtype=kind)  # noqa: E731
    return (
        torch.randn(batch, length, generator=random),
        whole(CLASSES, batch, length, kind=torch.int64),
        whole(10, batch, length, kind=torch.int32),
        whole(2, batch, length, kind=torch.int64) > 0,
        whole(256, batch, 4, kind=torch.uint8),
    )


def export_mixed(out: Path) -> None:
    free = {0: BATCH, 1: LENGTH}
    export(
        out,
        "mixed",
        build,
        inputs(3, 12),
        (free, free, free, free, {0: BATCH}),
        [inputs(*shape) for shape in ((1, 5), (3, 12), (8, 31), (2, 100))],
        stamp_of(Path(__file__)),
    )


if __name__ == "__main__":
    export_mixed(output_folder(__doc__))
