"""Exports networks that look at images to <out>/zoo: ResNet-20 and ResNet-56 with trained weights, and the structures
of torchvision's ResNet-50, MobileNetV3-large and EfficientNet-B0 with seeded ones.

The CIFAR ResNets are those of He et al., 2015, §4.2, with parameter-free shortcuts (option A), as the checkpoints of
akamaster/pytorch_resnet_cifar10 (BSD) were trained. Checkpoints and the 1,000 test images are looked for in the folder
that SHOAL_SHARED_DATA names, else in ../shared/data beside the checkout. Without a checkpoint the weights are seeded;
without images there is no accuracy to compare, and the test that would says so.
"""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import torchvision
from torch import nn
from torch.nn import functional

from exporting import export, output_folder, say, stamp_of

BATCH = torch.export.Dim("batch", min=1, max=256)
IMAGES_AT_ONCE = 100
CIFAR_MEAN = (0.485, 0.456, 0.406)
CIFAR_DEVIATION = (0.229, 0.224, 0.225)


def shared_data() -> Path:
    return Path(os.environ.get("SHOAL_SHARED_DATA", Path(__file__).resolve().parents[3] / "shared/data"))


class Block(nn.Module):
    """Two 3x3 convolutions and a shortcut; names are the checkpoints'."""

    def __init__(self, width_in: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width_in, width, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.stride = stride
        self.missing = width - width_in

    def shortcut(self, x: torch.Tensor) -> torch.Tensor:
        """Option A: every other pixel, and zeros for the channels that are new, half before and half after."""
        if self.stride == 1 and self.missing == 0:
            return x
        half = self.missing // 2
        return functional.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, half, self.missing - half))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = functional.relu(self.bn1(self.conv1(x)))
        return functional.relu(self.bn2(self.conv2(y)) + self.shortcut(x))


class CifarResNet(nn.Module):
    def __init__(self, blocks: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        stages = []
        width = 16
        for stage, wider in enumerate((16, 32, 64)):
            first = Block(width, wider, stride=1 if stage == 0 else 2)
            stages.append(nn.Sequential(first, *(Block(wider, wider, 1) for _ in range(blocks - 1))))
            width = wider
        self.layer1, self.layer2, self.layer3 = stages
        self.linear = nn.Linear(64, 10)

    def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        x = functional.relu(self.bn1(self.conv1(image)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return {"logits": self.linear(x.mean((2, 3)))}


def settle_statistics(module: nn.Module, images: torch.Tensor) -> nn.Module:
    """Gives every batch norm the statistics of what reaches it, so that activations of an untrained net neither die nor
    explode.
    """
    norms = [each for each in module.modules() if isinstance(each, nn.BatchNorm2d)]
    usual = [each.momentum for each in norms]
    for each in norms:
        each.reset_running_stats()
        each.momentum = None  # the plain mean over batches, here one
    with torch.no_grad():
        module.train()(images)
    for each, momentum in zip(norms, usual):
        each.momentum = momentum
    return module.eval()


def noise(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def build_cifar(depth: int) -> nn.Module:
    torch.manual_seed(depth)
    module = CifarResNet((depth - 2) // 6)
    checkpoint = shared_data() / f"resnet{depth}.th"
    if not checkpoint.is_file():
        say(f"resnet{depth}: no trained weights in {checkpoint.parent}; seeded ones are used")
        return settle_statistics(module, noise(32, 3, 32, 32, seed=depth))
    state = torch.load(checkpoint, map_location="cpu", weights_only=True)["state_dict"]
    module.load_state_dict({key.removeprefix("module."): value for key, value in state.items()})
    return module.eval()


def build_imagenet(name: str) -> nn.Module:
    torch.manual_seed(50)
    return settle_statistics(getattr(torchvision.models, name)(weights=None), noise(8, 3, 96, 96, seed=8))


def test_images(archive: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """(uint8 [n, 3, 32, 32], int64 [n]) of test/<class>/<number>.jpg, classes in alphabetical order."""
    from PIL import Image

    images = []
    with tarfile.open(archive) as tar:
        files = sorted((each for each in tar.getmembers() if each.name.endswith(".jpg")), key=lambda each: each.name)
        classes = sorted({Path(each.name).parent.name for each in files})
        labels = [classes.index(Path(each.name).parent.name) for each in files]
        for each in files:
            pixels = Image.open(io.BytesIO(tar.extractfile(each).read())).convert("RGB")
            images.append(torch.frombuffer(bytearray(pixels.tobytes()), dtype=torch.uint8).reshape(32, 32, 3))
    return torch.stack(images).permute(0, 3, 1, 2).contiguous(), torch.tensor(labels)


def normalise(images: torch.Tensor) -> torch.Tensor:
    mean, deviation = (torch.tensor(each).view(1, 3, 1, 1) for each in (CIFAR_MEAN, CIFAR_DEVIATION))
    return (images.float() / 255 - mean) / deviation


def write_accuracy(folder: Path, module: nn.Module) -> None:
    """reference/accuracy: what the images are, what eager PyTorch calls them, and how sure it is (its logits)."""
    archive = shared_data() / "cifar10_test_1000.tar.gz"
    if not archive.is_file():
        say(f"no {archive.name} in {archive.parent}: accuracy is not compared")
        return
    images, labels = test_images(archive)
    with torch.inference_mode():
        logits = torch.cat([module(part)["logits"] for part in normalise(images).split(IMAGES_AT_ONCE)])
    predictions = logits.argmax(1)
    say(f"top-1 of {len(labels)} images: {(predictions == labels).float().mean():.1%}")
    target = folder / "reference/accuracy"
    target.mkdir()
    for name, values in {
        "images": images,
        "labels": labels.to(torch.uint8),
        "predictions": predictions.to(torch.uint8),
        "logits": logits,
    }.items():
        (target / f"{name}.bin").write_bytes(values.numpy().tobytes())


@dataclass
class Network:
    build: Callable[[], nn.Module]
    side: int  # of the square image
    batches: tuple[int, ...]


NETWORKS = {
    "resnet20": Network(lambda: build_cifar(20), 32, (1, 4)),
    "resnet56": Network(lambda: build_cifar(56), 32, (1, 4)),
    "resnet50": Network(lambda: build_imagenet("resnet50"), 224, (1, 2)),
    "mobilenet_v3_large": Network(lambda: build_imagenet("mobilenet_v3_large"), 224, (1, 2)),
    "efficientnet_b0": Network(lambda: build_imagenet("efficientnet_b0"), 224, (1, 2)),
}


def data_stamp(name: str) -> str:
    files = (shared_data() / f"{name}.th", shared_data() / "cifar10_test_1000.tar.gz")
    return " ".join(f"{each.name} {each.stat().st_size}" for each in files if each.is_file())


def export_vision(out: Path) -> None:
    for name, network in NETWORKS.items():
        is_cifar = network.side == 32
        export(
            out,
            name,
            network.build,
            (noise(2, 3, network.side, network.side, seed=0),),
            ({0: BATCH},),
            [(noise(batch, 3, network.side, network.side, seed=batch),) for batch in network.batches],
            stamp_of(Path(__file__), torchvision.__version__, data_stamp(name) if is_cifar else ""),
            add=write_accuracy if is_cifar else None,
            with_rounding=True,
        )


if __name__ == "__main__":
    export_vision(output_folder(__doc__))
