"""Exports small decoders with causal attention: one forward over all tokens, weights seeded.

<out>/zoo/decoder: pre-norm with RMS norms, rotary positions (Su et al., 2021) from tables that are buffers but not in
the state dict, gated feed-forward, attention by `is_causal`, and one matrix for embedding and output.
<out>/graphs/masked_decoder: after GPT-2: learned positions, layer norms, a causal and a padding mask built in the graph,
attention written out in matmuls and a softmax, output by the transposed embedding.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

from exporting import export, output_folder, stamp_of

BATCH = torch.export.Dim("batch", min=1, max=64)
LENGTH = torch.export.Dim("length", min=2, max=256)
WORDS = 1024


class RotaryAttention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.projections = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)

    def forward(self, x: torch.Tensor, cosine: torch.Tensor, sine: torch.Tensor) -> torch.Tensor:
        query, key, value = self.projections(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)

        def turn(v: torch.Tensor) -> torch.Tensor:
            first, second = v.chunk(2, dim=-1)
            return v * cosine + torch.cat([-second, first], dim=-1) * sine

        mixed = functional.scaled_dot_product_attention(turn(query), turn(key), value, is_causal=True)
        return self.out(mixed.transpose(1, 2).flatten(2))


class RotaryLayer(nn.Module):
    def __init__(self, width: int, heads: int, inner: int) -> None:
        super().__init__()
        self.before_attention = nn.RMSNorm(width, 1e-6)
        self.attention = RotaryAttention(width, heads)
        self.before_inner = nn.RMSNorm(width, 1e-6)
        self.gate_and_up = nn.Linear(width, 2 * inner, bias=False)
        self.down = nn.Linear(inner, width, bias=False)

    def forward(self, x: torch.Tensor, cosine: torch.Tensor, sine: torch.Tensor) -> torch.Tensor:
        x = x + self.attention(self.before_attention(x), cosine, sine)
        gate, up = self.gate_and_up(self.before_inner(x)).chunk(2, dim=-1)
        return x + self.down(functional.silu(gate) * up)


class Decoder(nn.Module):
    def __init__(self, width: int = 256, heads: int = 8, layers: int = 4, longest: int = 256) -> None:
        super().__init__()
        self.embed = nn.Embedding(WORDS, width)
        self.layers = nn.ModuleList(RotaryLayer(width, heads, 2 * width) for _ in range(layers))
        self.norm = nn.RMSNorm(width, 1e-6)
        self.head = nn.Linear(width, WORDS, bias=False)
        self.head.weight = self.embed.weight
        half = width // heads // 2
        angles = torch.arange(longest)[:, None] / 10000 ** (torch.arange(half) / half)
        self.register_buffer("cosine", torch.cat([angles, angles], -1).cos(), persistent=False)
        self.register_buffer("sine", torch.cat([angles, angles], -1).sin(), persistent=False)

    def forward(self, tokens: torch.Tensor) -> dict[str, torch.Tensor]:
        length = tokens.shape[1]
        x = self.embed(tokens)
        for layer in self.layers:
            x = layer(x, self.cosine[:length], self.sine[:length])
        logits = self.head(self.norm(x))
        return {"logits": logits, "next": logits[:, -1].argmax(-1, keepdim=True)}


class MaskedDecoder(nn.Module):
    def __init__(self, width: int = 64, heads: int = 4, layers: int = 2, longest: int = 256) -> None:
        super().__init__()
        self.heads = heads
        self.embed = nn.Embedding(256, width)
        self.positions = nn.Embedding(longest, width)
        self.projections = nn.ModuleList(nn.Linear(width, 3 * width) for _ in range(layers))
        self.outs = nn.ModuleList(nn.Linear(width, width) for _ in range(layers))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2 * layers))
        self.inner = nn.ModuleList(
            nn.Sequential(nn.Linear(width, 4 * width), nn.GELU("tanh"), nn.Linear(4 * width, width))
            for _ in range(layers)
        )

    def forward(self, tokens: torch.Tensor, kept: torch.Tensor) -> torch.Tensor:
        length = tokens.shape[1]
        x = self.embed(tokens) + self.positions(torch.arange(length))
        hidden = torch.ones(length, length, dtype=torch.bool).triu(1) | ~kept[:, None, None, :]
        for i, project in enumerate(self.projections):
            query, key, value = project(self.norms[2 * i](x)).chunk(3, dim=-1)
            query, key, value = (v.unflatten(-1, (self.heads, -1)).transpose(1, 2) for v in (query, key, value))
            scores = query @ key.transpose(-2, -1) / query.shape[-1] ** 0.5
            weights = scores.masked_fill(hidden, torch.finfo(scores.dtype).min).softmax(-1)
            x = x + self.outs[i]((weights @ value).transpose(1, 2).flatten(2))
            x = x + self.inner[i](self.norms[2 * i + 1](x))
        return x @ self.embed.weight.t()


def build(kind: type[nn.Module] = Decoder) -> nn.Module:
    torch.manual_seed(4)
    return kind().eval()


def tokens(batch: int, length: int, words: int = WORDS) -> tuple[torch.Tensor, ...]:
    return (torch.randint(0, words, (batch, length), generator=torch.Generator().manual_seed(length)),)


def padded(batch: int, length: int) -> tuple[torch.Tensor, ...]:
    lengths = torch.randint(1, length + 1, (batch, 1), generator=torch.Generator().manual_seed(batch))
    return (*tokens(batch, length, 256), torch.arange(length)[None, :] < lengths)


def export_decoder(out: Path) -> None:
    shape = {0: BATCH, 1: LENGTH}
    stamp = stamp_of(Path(__file__))
    shapes = ((1, 16), (3, 7), (4, 64))
    export(out / "zoo", "decoder", build, tokens(2, 12), (shape,), [tokens(*each) for each in shapes], stamp)
    export(
        out / "graphs",
        "masked_decoder",
        lambda: build(MaskedDecoder),
        padded(2, 12),
        (shape, shape),
        [padded(*each) for each in shapes],
        stamp,
    )


if __name__ == "__main__":
    export_decoder(output_folder(__doc__))
