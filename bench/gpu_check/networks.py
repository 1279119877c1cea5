"""The networks of the check: seeded, and made of nothing but torch. Each is small to export and real to run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import decoder
import fixtures
import minilm
import torch
from torch import nn
from torch.nn import functional

# all-MiniLM-L6-v2's shape, which needs no download without its weights.
MINILM = {
    "hidden_size": 384, "num_attention_heads": 12, "intermediate_size": 1536, "num_hidden_layers": 6,
    "vocab_size": 30522, "max_position_embeddings": 512, "type_vocab_size": 2, "layer_norm_eps": 1e-12,
}  # fmt: skip


class ResidualBlock(nn.Module):
    def __init__(self, width_in: int, width: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width_in, width, 3, stride, 1, bias=False)
        self.first_norm = fixtures.uneven(nn.BatchNorm2d(width), 51)
        self.second = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.second_norm = fixtures.uneven(nn.BatchNorm2d(width), 55)
        self.shortcut = nn.Conv2d(width_in, width, 1, stride) if stride != 1 else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = functional.relu_(self.first_norm(self.first(x)))
        return functional.relu_(self.second_norm(self.second(y)) + self.shortcut(x))


class ConvolutionNetwork(nn.Module):
    """A residual network for images of 32 x 32 (He et al., 2015, §4.2, wider and with convolved shortcuts)."""

    def __init__(self) -> None:
        super().__init__()
        widths = (32, 32, 64, 128)
        self.stem = nn.Conv2d(3, widths[0], 3, 1, 1)
        self.body = nn.Sequential(
            *(ResidualBlock(a, b, 1 if a == b else 2) for a, b in zip(widths, widths[1:])),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(widths[-1], 10),
        )  # fmt: skip

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return functional.softmax(self.body(functional.relu(self.stem(image))), dim=-1)


@dataclass
class Network:
    build: Callable[[], nn.Module]
    cases: list[tuple[torch.Tensor, ...]]
    dynamic_shapes: object = None
    timed: list[tuple[torch.Tensor, ...]] = field(default_factory=list)  # empty: parity only


def all_networks() -> dict[str, Network]:
    batch = torch.export.Dim("batch", min=1, max=1024)
    tokens = torch.export.Dim("sequence", min=1, max=512)
    both = {0: batch, 1: tokens}
    made = {
        f"graph {name}": Network(each.build, each.cases, each.dynamic_shapes)
        for name, each in fixtures.FIXTURES.items()
        if each.expect_results
    }
    made["transformer"] = Network(
        lambda: minilm.SentenceEncoder(MINILM),
        [minilm.sentences(b, s, seed=b) for b, s in ((3, 7), (1, 16), (8, 64))],
        {"input_ids": both, "attention_mask": both},
        [minilm.sentences(b, s, seed=b) for b, s in ((1, 16), (8, 64), (32, 128))],
    )
    made["convolutions"] = Network(
        ConvolutionNetwork,
        [(fixtures.numbers(b, 3, 32, 32, seed=b),) for b in (2, 1, 5)],
        ({0: batch},),
        [(fixtures.numbers(b, 3, 32, 32, seed=b),) for b in (1, 32)],
    )
    made["decoder"] = Network(
        decoder.build, [decoder.tokens(1, 9)], None, [decoder.tokens(1, 9)]
    )
    return made
