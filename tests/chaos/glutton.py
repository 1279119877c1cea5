"""A model whose request may need any amount of memory: the outer product of its input with itself. `export` writes it, once."""

from __future__ import annotations

from pathlib import Path


def export(folder: Path) -> Path:
    path = folder / "glutton.pt2"
    if path.exists():
        return path
    import torch  # a second to load, and only here

    class Glutton(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
            return {"y": (x.unsqueeze(2) * x.unsqueeze(1)).sum(dim=2)}

    width = torch.export.Dim("width", min=1, max=1 << 20)
    program = torch.export.export(Glutton().eval(), (torch.ones(1, 8),), dynamic_shapes=({1: width},))
    folder.mkdir(parents=True, exist_ok=True)
    torch.export.save(program, path)
    return path
