"""Exports what the tests, the benches and the demo use: MiniLM and identity to <out>/models, the identity of every other
type to <out>/types, networks of other families to <out>/zoo, small graphs that each try one ability of the executor to
<out>/graphs. A second run with nothing changed writes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

from decoder import export_decoder
from exporting import Case, export, output_folder, say, stamp_of
from identity import export_identity, export_types
from minilm import export_minilm
from mixed import export_mixed
from sequence import export_sequence

BATCH = torch.export.Dim("batch", min=1, max=64)


def numbers(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def whole(high: int, *shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, high, shape, generator=torch.Generator().manual_seed(seed))


class SeveralInOut(nn.Module):
    """Named, nested results of several types; an argument that is called like a Python builtin."""

    def forward(self, input, ids, keep):
        scores = input * keep
        best = scores.max(dim=1)
        return {
            "scores": scores,
            "best": {"value": best.values, "index": best.indices},
            "ids": ids.to(torch.int32) * 2,
            "any": keep.any(dim=1),
            "pair": [ids + 1, ~keep],
        }


class Tuple(nn.Module):
    def forward(self, x):
        return x + 1, (x * 2, x.sum(dim=1))


class Arithmetic(nn.Module):
    """Sizes that are computed: every operator on them that PyTorch exports."""

    def forward(self, x):
        batch, length = x.shape
        doubled = x.reshape(batch * 2, length // 2) if length % 2 == 0 else x.reshape(batch, length)
        half = x[:, : (length + 1) // 2]
        tail = x[:, length - torch.sym_min(length, 3) :]
        scaled = x * (length / 3) + batch**2 - length % 7
        ramp = torch.arange(length, dtype=torch.float32) / torch.sym_max(batch, 4)
        filled = torch.full((length, batch), -1.5)
        root = x / torch.sym_sqrt(torch.sym_float(length))
        return doubled, half, tail, scaled, ramp[None, :] + x, filled, root


class Lists(nn.Module):
    """Results that are lists, optional tensors in lists, and indexing."""

    def forward(self, x, ids):
        a, b, c = x.split([2, 3, 3], dim=1)
        first, second = x.chunk(2, dim=1)
        rows = torch.stack(x[:4].unbind(0)[:2]) if x.shape[0] >= 4 else x[:2]
        picked = x[:, ids]
        mixed = x[ids % 2, :, None]
        values, indices = x.topk(3, dim=1)
        return {
            "joined": torch.cat([c, a, b], dim=1),
            "sum": first + second,
            "rows": rows,
            "picked": picked,
            "mixed": mixed,
            "values": values,
            "indices": indices,
            "found": torch.where(x > 0, x, torch.zeros_like(x)),
        }


class Constants(nn.Module):
    """Constants of every kind: buffers that are stored and not, lifted tensors, shared, strided and empty weights."""

    def __init__(self):
        super().__init__()
        self.register_buffer("scale", torch.tensor(0.5))
        self.register_buffer("table", torch.arange(24.0)[3:15], persistent=False)
        self.register_buffer("slice", torch.arange(40.0)[4:16].reshape(3, 4))
        self.register_buffer("nothing", torch.zeros(0, 4))
        self.register_buffer("mask", torch.tensor([True, False, True, True]))
        self.register_buffer("halves", torch.linspace(0, 1, 4).to(torch.bfloat16))
        self.weight = nn.Parameter(numbers(4, 12, seed=5).t())
        self.embed = nn.Embedding(12, 4)
        self.head = nn.Linear(4, 12, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, x):
        lifted = torch.tensor([1.0, -2.0, 3.0, 4.0])
        base = torch.cat([self.nothing, self.slice]).sum(0) * self.scale
        y = (x * self.mask + lifted + base).to(torch.bfloat16) + self.halves
        return self.head(y.float()) + functional.linear(x, self.weight) + self.table


class Folding(nn.Module):
    """Much that is known at load, dead ends, no-ops, and a body under no_grad."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(8, 8)
        self.dropout = nn.Dropout(0.5)

    def forward(self, x):
        position = torch.arange(8, dtype=torch.float32)
        with torch.no_grad():
            wave = torch.sin(position / 10.0) + torch.cos(position)
        dead = torch.softmax(x @ self.linear.weight, dim=-1).argmax()  # noqa: F841
        y = self.dropout(self.linear(x.to(torch.float32).contiguous().clone().detach()))
        return y[:] + wave * torch.ones(8).expand(8).clone()


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(6, 5, num_layers=2, bidirectional=True, batch_first=True)
        self.gru = nn.GRU(10, 4, batch_first=True)

    def forward(self, x):
        hidden, (last, _) = self.lstm(x)
        return {"states": self.gru(hidden)[0], "last": last.transpose(0, 1)}


class Convolutional(nn.Module):
    """Activations that write in place, on what the run itself made."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(inplace=True), nn.MaxPool2d(2),
            nn.Conv2d(8, 8, 3, padding=1, groups=2), nn.GroupNorm(2, 8), nn.SiLU(inplace=True),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5),
        )  # fmt: skip
        self.body[1].running_mean.copy_(numbers(8, seed=6))
        self.body[1].running_var.copy_(numbers(8, seed=7).abs() + 0.5)

    def forward(self, image):
        return functional.log_softmax(self.body(image), dim=-1)


def uneven(norm: nn.BatchNorm2d, seed: int) -> nn.BatchNorm2d:
    """Statistics and scales as training leaves them: not those of a fresh module."""
    channels = norm.num_features
    norm.running_mean.copy_(numbers(channels, seed=seed))
    norm.running_var.copy_(numbers(channels, seed=seed + 1).abs() + 0.5)
    norm.weight.data.copy_(numbers(channels, seed=seed + 2))
    norm.bias.data.copy_(numbers(channels, seed=seed + 3))
    return norm


class Residual(nn.Module):
    """Blocks of a residual network: sums and activations in place, a shortcut with a convolution of its own, one that
    is read twice, a result that is also an output, and views of what lies in another order of memory."""

    def __init__(self):
        super().__init__()
        self.stem, self.stem_norm = nn.Conv2d(3, 8, 3, padding=1, bias=False), uneven(nn.BatchNorm2d(8), 11)
        self.first, self.first_norm = nn.Conv2d(8, 8, 3, padding=1, bias=False), uneven(nn.BatchNorm2d(8), 15)
        self.second, self.second_norm = nn.Conv2d(8, 8, 3, padding=1), uneven(nn.BatchNorm2d(8), 19)
        self.down, self.down_norm = nn.Conv2d(8, 12, 1, stride=2, bias=False), uneven(nn.BatchNorm2d(12), 23)
        self.third, self.third_norm = nn.Conv2d(8, 12, 3, stride=2, padding=1), uneven(nn.BatchNorm2d(12), 27)
        self.last = nn.Conv2d(12, 4, 1)

    def forward(self, image):
        start = functional.relu_(self.stem_norm(self.stem(image)))
        y = functional.relu_(self.first_norm(self.first(start)))
        y = self.second_norm(self.second(y))
        y += start
        y = functional.relu_(y)
        shortcut = self.down_norm(self.down(y))
        z = self.third_norm(self.third(y))
        z += shortcut
        z = functional.relu_(z)
        read_twice = self.last(z)
        return {
            "features": z,
            "pooled": functional.adaptive_avg_pool2d(z, 1).view(z.size(0), -1),
            "flat": functional.gelu(read_twice).reshape(z.size(0), -1),
            "rows": read_twice.view(z.size(0), 4, -1).sum(-1),
        }


class Depthwise(nn.Module):
    """Depthwise blocks with squeeze and excitation, of one channel and of several, in every activation they come with."""

    def __init__(self):
        super().__init__()
        self.expand = nn.Conv2d(1, 16, 3, stride=2, padding=1, bias=False)
        self.expand_norm = uneven(nn.BatchNorm2d(16), 31)
        self.depth = nn.Conv2d(16, 16, 5, padding=2, groups=16, bias=False)
        self.depth_norm = uneven(nn.BatchNorm2d(16), 35)
        self.squeeze, self.excite = nn.Conv2d(16, 4, 1), nn.Conv2d(4, 16, 1)
        self.project, self.project_norm = nn.Conv2d(16, 16, 1, bias=False), uneven(nn.BatchNorm2d(16), 39)
        self.wide, self.narrow = nn.Conv2d(16, 24, 3, padding=2, dilation=2, groups=4), nn.Conv2d(24, 1, 1)

    def forward(self, image):
        x = functional.hardswish(self.expand_norm(self.expand(image)), inplace=True)
        y = functional.hardswish(self.depth_norm(self.depth(x)), inplace=True)
        scale = functional.relu(self.squeeze(functional.adaptive_avg_pool2d(y, 1)))
        y = y * functional.hardsigmoid(self.excite(scale))
        y = self.project_norm(self.project(y))
        y += x
        y = functional.dropout(y, 0.2, training=False, inplace=True)
        y = functional.silu(self.wide(y), inplace=True)
        y = functional.relu6(self.wide(functional.leaky_relu(y[:, :16], 0.1)), inplace=True)
        return torch.sigmoid(self.narrow(y)), y.mean((2, 3))


class WritesInput(nn.Module):
    """Writes to its argument, through a view: a request's bytes must stay as they are."""

    def forward(self, x):
        x[:, 0] = 7.0
        return x.relu_() + 1


class EvenWidth(nn.Module):
    """A size that is a multiple of a symbol."""

    def forward(self, x):
        return x.unflatten(1, (-1, 2)).sum(-1)


class Gather(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(10, 4)

    def forward(self, ids, x):
        return self.embed(ids), x.gather(1, ids)


class Chain(nn.Module):
    """Nodes that do next to nothing: what a node costs beside its kernel."""

    def forward(self, x):
        for _ in range(256):
            x = -x
        return {"y": x}


class MutatesBuffer(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("count", torch.zeros(3))

    def forward(self, x):
        self.count.add_(1)
        return x + self.count


class Random(nn.Module):
    def forward(self, x):
        return x + torch.rand_like(x)


class Training(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(4)

    def forward(self, x):
        return functional.batch_norm(x, self.norm.running_mean, self.norm.running_var, training=True)


class TakesItem(nn.Module):
    def forward(self, x, n):
        size = n.item()
        torch._check(size >= 0)
        torch._check(size < 100)
        return x.sum() + torch.zeros(size).sum()


@dataclass
class Fixture:
    build: type[nn.Module]
    cases: list[Case]
    dynamic_shapes: tuple | None = None
    expect_results: bool = True  # False: the executor must refuse it, so there is nothing to compare


ROWS = {0: BATCH}
FIXTURES = {
    "several": Fixture(
        SeveralInOut,
        [(numbers(b, 5, seed=b), whole(9, b, seed=b), numbers(b, 5, seed=b + 1) > 0) for b in (3, 1, 8)],
        (ROWS, ROWS, ROWS),
    ),
    "tuple": Fixture(Tuple, [(numbers(3, 4),)], (ROWS,)),
    "arithmetic": Fixture(
        Arithmetic,
        [(numbers(b, n, seed=n),) for b, n in ((3, 6), (2, 10), (8, 24))],
        ({0: torch.export.Dim.AUTO, 1: torch.export.Dim.AUTO},),
    ),
    "lists": Fixture(Lists, [(numbers(6, 8), whole(8, 5)), (numbers(5, 8), whole(8, 3))], ({0: torch.export.Dim.AUTO}, {0: torch.export.Dim.AUTO})),
    "constants": Fixture(Constants, [(numbers(b, 4),) for b in (2, 5, 1)], (ROWS,)),
    "folding": Fixture(Folding, [(numbers(b, 8),) for b in (2, 7)], (ROWS,)),
    "recurrent": Fixture(Recurrent, [(numbers(b, 9, 6),) for b in (2, 5)], (ROWS,)),
    "convolutional": Fixture(Convolutional, [(numbers(b, 3, 12, 16),) for b in (2, 4)], (ROWS,)),
    "residual": Fixture(Residual, [(numbers(b, 3, 10, 14, seed=b),) for b in (2, 1, 5)], (ROWS,)),
    "depthwise": Fixture(Depthwise, [(numbers(b, 1, 12, 12, seed=b),) for b in (2, 1, 5)], (ROWS,)),
    "writes_input": Fixture(WritesInput, [(numbers(3, 4),)], (ROWS,)),
    "even_width": Fixture(
        EvenWidth, [(numbers(2, w),) for w in (6, 10)], ({0: BATCH, 1: 2 * torch.export.Dim("_half", min=1, max=32)},)
    ),
    "gather": Fixture(Gather, [(whole(4, 3, 4), numbers(3, 4))], ({0: BATCH}, {0: BATCH})),
    "chain": Fixture(Chain, [(numbers(3),)], ({0: BATCH},)),
    "scalar": Fixture(Tuple, [(numbers(3, 4),)]),
    "mutates_buffer": Fixture(MutatesBuffer, [(numbers(2, 3),)], (ROWS,), expect_results=False),
    "random": Fixture(Random, [(numbers(2, 3),)], (ROWS,), expect_results=False),
    "training": Fixture(Training, [(numbers(2, 4),)], (ROWS,), expect_results=False),
    "takes_item": Fixture(TakesItem, [(numbers(2, 3), torch.tensor(3))], expect_results=False),
}


def export_all(out: Path) -> None:
    from tokenizer_references import export_references
    from vision import export_vision  # needs torchvision, which what only takes FIXTURES from here may lack

    export_minilm(out / "models")
    export_identity(out / "models")
    export_types(out / "types")
    for name, fixture in FIXTURES.items():
        export(
            out / "graphs",
            name,
            fixture.build,
            tuple(value.clone() for value in fixture.cases[0]),
            fixture.dynamic_shapes,
            fixture.cases if fixture.expect_results else [],
            stamp_of(Path(__file__)),
        )
    export_vision(out / "zoo")
    export_sequence(out / "zoo")
    export_decoder(out)
    export_mixed(out / "zoo")
    export_references(out)
    say(f"all fixtures are in {out}")


if __name__ == "__main__":
    export_all(output_folder(__doc__))
