"""Exports recurrent networks to <out>/zoo: an LSTM that tags every step, and a bidirectional GRU that sums a sequence up.

Weights are seeded. The batch is dynamic, the length is not; the first states are the zeros that the module makes itself.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from exporting import export, output_folder, stamp_of

BATCH = torch.export.Dim("batch", min=1, max=256)
LENGTH = 32  # torch.export specialises the length of a recurrent network


class Tagger(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(2000, 128)
        self.lstm = nn.LSTM(128, 256, num_layers=2, batch_first=True)
        self.tags = nn.Linear(256, 32)

    def forward(self, tokens: torch.Tensor) -> dict[str, torch.Tensor]:
        states, (hidden, cell) = self.lstm(self.words(tokens))
        scores = self.tags(states)
        # The module's final states have the batch second; a mesh joins requests along the first dimension.
        return {
            "scores": scores,
            "tags": scores.argmax(-1),
            "hidden": hidden.transpose(0, 1),
            "cell": cell.transpose(0, 1),
        }


class Summary(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(64, 192, num_layers=2, batch_first=True, bidirectional=True)
        self.out = nn.Linear(384, 64)

    def forward(self, signal: torch.Tensor) -> dict[str, torch.Tensor]:
        states, last = self.gru(signal)
        both = torch.cat([last[-2], last[-1]], dim=-1)
        return {"summary": torch.tanh(self.out(both)), "peak": states.amax(1)}


def tokens(batch: int, length: int) -> tuple[torch.Tensor, ...]:
    return (torch.randint(0, 2000, (batch, length), generator=torch.Generator().manual_seed(length)),)


def signal(batch: int, length: int) -> tuple[torch.Tensor, ...]:
    return (torch.randn(batch, length, 64, generator=torch.Generator().manual_seed(length)),)


def build(kind: type[nn.Module]) -> nn.Module:
    torch.manual_seed(3)
    return kind().eval()


NETWORKS = {"lstm": (Tagger, tokens), "gru": (Summary, signal)}
BATCHES = (1, 3, 8)


def export_sequence(out: Path) -> None:
    for name, (kind, inputs) in NETWORKS.items():
        export(
            out,
            name,
            lambda kind=kind: build(kind),
            inputs(4, LENGTH),
            ({0: BATCH},),
            [inputs(batch, LENGTH) for batch in BATCHES],
            stamp_of(Path(__file__)),
        )


if __name__ == "__main__":
    export_sequence(output_folder(__doc__))
