"""A decoder after GPT-2 over bytes: 29 million parameters (116 MB in fp32, more than the third-level caches of most
processors hold), its training on a text, and its form for serving: one token at a time.

In that form the keys and values of the tokens before are inputs of a fixed length (SLOTS), of which the first `position`
are taken; those of the new token are outputs, for the caller to put at `position`. So a step reads the caches and never
writes them, and every step has the same shapes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

WORDS = 256  # bytes
WIDTH, HEADS, LAYERS = 768, 12, 4
DEPTH = WIDTH // HEADS
SLOTS = 256

# Training: one window a step, since so early many small steps teach more than few large ones.
STEPS, LENGTH = 500, 256
RATE, WARM_STEPS = 1e-3, 30


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.projections = nn.Linear(WIDTH, 3 * WIDTH)
        self.out = nn.Linear(WIDTH, WIDTH)

    def split(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Queries, keys and values: [rows, heads, tokens, depth]."""
        return self.projections(x).unflatten(-1, (3, HEADS, DEPTH)).permute(2, 0, 3, 1, 4).unbind(0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        query, key, value = self.split(x)
        mixed = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        return self.out(mixed.transpose(1, 2).flatten(2))

    def step(self, x: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, mask: torch.Tensor):
        query, key, value = self.split(x)
        mixed = functional.scaled_dot_product_attention(
            query, torch.cat([keys, key], 2), torch.cat([values, value], 2), attn_mask=mask
        )
        return self.out(mixed.transpose(1, 2).flatten(2)), key, value


class Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.before_attention = nn.LayerNorm(WIDTH)
        self.attention = Attention()
        self.before_inner = nn.LayerNorm(WIDTH)
        self.up = nn.Linear(WIDTH, 4 * WIDTH)
        self.down = nn.Linear(4 * WIDTH, WIDTH)

    def inner(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.down(functional.gelu(self.up(self.before_inner(x)), approximate="tanh"))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(x + self.attention(self.before_attention(x)))

    def step(self, x: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, mask: torch.Tensor):
        mixed, key, value = self.attention.step(self.before_attention(x), keys, values, mask)
        return self.inner(x + mixed), key, value


class Decoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(WORDS, WIDTH)
        self.positions = nn.Embedding(SLOTS + 1, WIDTH)
        self.layers = nn.ModuleList(Layer() for _ in range(LAYERS))
        self.norm = nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, WORDS, bias=False)
        for name, weight in self.named_parameters():
            if weight.dim() == 2:
                # What ends in a sum over layers begins smaller (Radford et al. 2019, section 2.3).
                ends = name.endswith(("out.weight", "down.weight"))
                nn.init.normal_(weight, std=0.02 / math.sqrt(2 * LAYERS) if ends else 0.02)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = self.embed(tokens) + self.positions(torch.arange(tokens.shape[1]))
        for layer in self.layers:
            x = layer(x)
        return self.head(self.norm(x))


class Step(nn.Module):
    """token, position: int64 [1]. keys, values: [LAYERS, HEADS, SLOTS, DEPTH]. Gives the logits of the next byte
    [1, WORDS] and the new token's key and value [LAYERS, HEADS, 1, DEPTH]."""

    def __init__(self, decoder: Decoder) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(
        self, token: torch.Tensor, position: torch.Tensor, keys: torch.Tensor, values: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        decoder = self.decoder
        x = (decoder.embed(token) + decoder.positions(position))[None]
        slots = torch.arange(SLOTS + 1)
        mask = torch.where((slots < position) | (slots == SLOTS), 0.0, -torch.inf)[None, None, None]
        made = []
        for layer, its_keys, its_values in zip(decoder.layers, keys.unsqueeze(1), values.unsqueeze(1)):
            x, key, value = layer.step(x, its_keys, its_values, mask)
            made.append((key, value))
        key, value = (torch.cat(each) for each in zip(*made))
        return {"logits": decoder.head(decoder.norm(x))[0], "key": key, "value": value}


def bytes_of(text: Path) -> torch.Tensor:
    return torch.frombuffer(bytearray(text.read_bytes()), dtype=torch.uint8).long()


def split(text: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """What is trained on, and what is held back: the first nine tenths, the last."""
    cut = len(text) * 9 // 10
    return text[:cut], text[cut:]


def empty_caches() -> tuple[torch.Tensor, torch.Tensor]:
    return tuple(torch.zeros(LAYERS, HEADS, SLOTS, DEPTH) for _ in range(2))


def train(text: torch.Tensor, say: Callable[[str], None] = print) -> Decoder:
    """Products in bf16 (twice as fast on processors that have them), weights and sums in fp32."""
    torch.manual_seed(0)
    decoder = Decoder()
    optimiser = torch.optim.AdamW(decoder.parameters(), lr=RATE, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda at: min((at + 1) / WARM_STEPS, 1 - max(0, at - WARM_STEPS) / (STEPS - WARM_STEPS))
    )
    losses = []
    for at in range(STEPS):
        begin = int(torch.randint(len(text) - LENGTH - 1, ()))
        window = text[begin : begin + LENGTH + 1]
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = decoder(window[None, :-1])
        loss = functional.cross_entropy(logits[0].float(), window[1:])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(decoder.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        optimiser.zero_grad()
        losses.append(loss.item())
        if (at + 1) % 50 == 0:
            say(f"training: step {at + 1} of {STEPS}, loss {sum(losses[-50:]) / 50:.3f}")
    return decoder.eval()
