"""What the export scripts share: writing a model into a models folder, with reference results from eager PyTorch.

A model lies at <out>/<name>/1/model.pt2 with an optional model.toml. Reference results lie beside it in `reference/`:
cases.json lists, for each case, the inputs and outputs (name, Open Inference Protocol type, shape, raw little-endian
file); they are computed eagerly under inference_mode with one thread. A folder is written aside and renamed, so that
it is either whole or not there, and is left alone while `stamp` matches what would be written.
"""

from __future__ import annotations

import argparse
import copy
import hashlib
import json
import shutil
import sys
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from torch.export.graph_signature import TensorArgument
from torch.utils._pytree import tree_leaves, tree_map_only

TYPES = {
    torch.bool: "BOOL", torch.uint8: "UINT8", torch.int8: "INT8", torch.int16: "INT16", torch.int32: "INT32",
    torch.int64: "INT64", torch.uint16: "UINT16", torch.float16: "FP16", torch.bfloat16: "BF16", torch.float32: "FP32",
    torch.float64: "FP64",
}  # fmt: skip

Case = tuple  # of the module's arguments; what is not a tensor is burned into the graph and not sent


def say(message: str) -> None:
    print(f"export: {message}", flush=True)


def output_folder(description: str) -> Path:
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="the models folder to write into")
    return parser.parse_args().out


def stamp_of(*parts: str | Path) -> str:
    """A hash of the sources and versions a model is made from."""
    digest = hashlib.sha256(torch.__version__.encode())
    for part in (Path(__file__), *parts):
        digest.update(part.read_bytes() if isinstance(part, Path) else part.encode())
    return digest.hexdigest()


def flatten(result: object) -> list[tuple[str, torch.Tensor]]:
    """Results by their public names: the keys the module returned, else output_0, output_1, ..."""

    def leaves(value: object, name: str) -> Iterable[tuple[str, torch.Tensor]]:
        if isinstance(value, torch.Tensor):
            yield name, value
        elif isinstance(value, dict):
            for key, inner in value.items():
                yield from leaves(inner, f"{name}.{key}")
        else:
            for index, inner in enumerate(value):
                yield from leaves(inner, f"{name}.{index}")

    named = list(leaves(result, ""))
    if isinstance(result, dict):
        return [(name[1:], value) for name, value in named]
    return [(f"output_{index}", value) for index, (_, value) in enumerate(named)]


def write_tensor(folder: Path, file: str, name: str, value: torch.Tensor) -> dict:
    value = value.detach().contiguous()
    (folder / file).write_bytes(value.reshape(-1).view(torch.uint8).numpy().tobytes() if value.numel() else b"")
    return {"name": name, "type": TYPES[value.dtype], "shape": list(value.shape), "file": file}


def write_reference(
    folder: Path, module: torch.nn.Module, names: list[str], cases: list[Case], with_rounding: bool
) -> None:
    folder.mkdir()
    in_double = copy.deepcopy(module).double() if with_rounding else None
    listed = []
    for index, case in enumerate(cases):
        sent = [each for each in tree_leaves(case) if isinstance(each, torch.Tensor)]
        inputs = [write_tensor(folder, f"{index}-in-{i}.bin", n, v) for i, (n, v) in enumerate(zip(names, sent))]
        with torch.inference_mode():
            results = flatten(module(*tree_map_only(torch.Tensor, torch.clone, case)))
        outputs = [write_tensor(folder, f"{index}-out-{i}.bin", n, v) for i, (n, v) in enumerate(results)]
        if in_double is not None:
            with torch.inference_mode():
                exact = flatten(in_double(*[value.double() for value in case]))
            for output, (_, given), (_, wanted) in zip(outputs, results, exact):
                output["rounding"] = float((given - wanted).abs().max() / wanted.abs().max())
        listed.append({"inputs": inputs, "outputs": outputs})
    (folder / "cases.json").write_text(json.dumps({"cases": listed}, indent=1))


def export(
    out: Path,
    name: str,
    build: Callable[[], torch.nn.Module],
    example: Case,
    dynamic_shapes: dict | None,
    cases: list[Case],
    stamp: str,
    toml: str | None = None,
    add: Callable[[Path, torch.nn.Module], None] | None = None,
    change: Callable[[torch.export.ExportedProgram], torch.export.ExportedProgram] = lambda program: program,
    with_rounding: bool = False,
) -> None:
    """Exports `build()` traced with `example` to <out>/<name>/1, unless what lies there has the same stamp.

    `change` may rewrite the exported program, `add` writes more into the folder. `with_rounding` notes with each output
    how far PyTorch's own fp32 is from the same network in double, as max|difference| / max|double|: no two orders of
    summation agree better than that.
    """
    target = out / name / "1"
    stamp_file = target / "stamp"
    if stamp_file.is_file() and stamp_file.read_text() == stamp:
        say(f"{name}: up to date")
        return
    say(f"{name}: exporting")
    torch.manual_seed(0)
    torch.set_num_threads(1)
    module = build().eval()
    fresh = out / name / ".writing"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's advice on attributes; nothing here is about results
        program = change(torch.export.export(module, example, dynamic_shapes=dynamic_shapes))
        torch.export.save(program, fresh / "model.pt2")
    if toml is not None:
        (fresh / "model.toml").write_text(toml)
    specs = program.graph_signature.input_specs
    names = [each.arg.name for each in specs if each.kind.name == "USER_INPUT" and isinstance(each.arg, TensorArgument)]
    write_reference(fresh / "reference", module, names, cases, with_rounding)
    if add is not None:
        add(fresh, module)
    (fresh / "stamp").write_text(stamp)
    shutil.rmtree(target, ignore_errors=True)
    fresh.rename(target)
    say(f"{name}: {(target / 'model.pt2').stat().st_size / 1e6:.1f} MB in {target}")


if __name__ == "__main__":
    sys.exit("this module is used by minilm.py, identity.py and fixtures.py")
