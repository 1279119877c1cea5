"""The rows of the table: which models, in eager PyTorch and as archives, and with which inputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

import decoder
import minilm
import sequence
import vision

Inputs = tuple[torch.Tensor, ...]


@dataclass(frozen=True)
class Model:
    folder: str  # below the fixtures
    build: Callable[[], torch.nn.Module]
    shapes: dict[str, Callable[[], Inputs]]
    ablated: tuple[str, ...] = ()  # the shapes at which every pass is left out once


def images(name: str, batches: tuple[int, ...], ablated: tuple[str, ...] = ()) -> Model:
    network = vision.NETWORKS[name]
    return Model(
        f"zoo/{name}",
        network.build,
        {str(b): lambda b=b: (vision.noise(b, 3, network.side, network.side, seed=b),) for b in batches},
        ablated,
    )


def texts(
    folder: str,
    build: Callable[[], torch.nn.Module],
    inputs: Callable[[int, int], Inputs],
    shapes: tuple[tuple[int, int], ...],
    ablated: tuple[str, ...] = (),
) -> Model:
    return Model(folder, build, {f"{b}x{s}": lambda b=b, s=s: inputs(b, s) for b, s in shapes}, ablated)


STEPS = ((1, sequence.LENGTH), (8, sequence.LENGTH))

MODELS: dict[str, Model] = {
    "minilm": texts(
        "models/minilm",
        minilm.build,
        lambda batch, length: minilm.sentences(batch, length, seed=batch),
        ((1, 16), (8, 64), (32, 128)),
        ("1x16", "8x64"),
    ),
    "resnet20": images("resnet20", (1, 8, 32)),
    "resnet56": images("resnet56", (1, 8, 32), ("1",)),
    "resnet50": images("resnet50", (1,)),
    "mobilenet_v3_large": images("mobilenet_v3_large", (1,), ("1",)),
    "efficientnet_b0": images("efficientnet_b0", (1,)),
    "lstm": texts("zoo/lstm", lambda: sequence.build(sequence.Tagger), sequence.tokens, STEPS),
    "gru": texts("zoo/gru", lambda: sequence.build(sequence.Summary), sequence.signal, STEPS),
    "decoder": texts("zoo/decoder", decoder.build, decoder.tokens, ((1, 16), (4, 64)), ("1x16",)),
}
