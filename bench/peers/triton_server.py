"""Triton's own `tritonserver`, from the wheel nvidia-pytriton, with the models in its Python backend.

defaults: one instance and `dynamic_batching {}` (joins what waits, equal shapes only), up to 32 rows.
tuned: two instances with one thread, up to 16 rows, and `allow_ragged_batch`, so that requests of unequal lengths come
in one batch and served_models.py pads them.
int8: tuned, with ONNX Runtime's int8 in place of PyTorch.

Triton listens on every address unless each door is told otherwise. Its backend runs the Python whose stub the wheel has
and whose libpython is on LD_LIBRARY_PATH; `python` on PATH decides which environment that is.
"""

from __future__ import annotations

import os
import sys
import sysconfig
from pathlib import Path

from served_models import DATATYPES, INPUTS, INSTANCES, OUTPUTS, ROWS, TUNED, server_arguments

HERE = Path(__file__).resolve().parent


def config(name: str, setting: str) -> str:
    """The model's config.pbtxt."""
    tuned = setting in TUNED
    ragged = " allow_ragged_batch: true" if tuned else ""

    def tensors(kind: str, dims: dict[str, list[int]], more: str) -> str:
        return "".join(
            f'{kind} {{ name: "{n}" data_type: TYPE_{DATATYPES[n]} dims: {d}{more} }}\n' for n, d in dims.items()
        )

    lines = [
        f'name: "{name}"',
        'backend: "python"',
        f"max_batch_size: {ROWS if tuned else 32}",
        "dynamic_batching { }",
        f'parameters {{ key: "setting" value: {{ string_value: "{setting}" }} }}',
    ]
    if tuned:
        lines.append(f"instance_group {{ count: {INSTANCES} kind: KIND_CPU }}")
    inputs = tensors("input", INPUTS[name], ragged)
    return "\n".join(lines) + "\n" + inputs + tensors("output", OUTPUTS[name], "")


def repository(folder: Path, setting: str, names: list[str]) -> Path:
    for name in names:
        (folder / name / "1").mkdir(parents=True)
        (folder / name / "1/model.py").symlink_to(HERE / "triton_model.py")
        (folder / name / "config.pbtxt").write_text(config(name, setting))
    return folder


def backends(folder: Path, bundle: Path) -> Path:
    """The wheel keeps the stubs apart, one for each version of Python; Triton looks for it beside the backend."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    (folder / "python").mkdir(parents=True)
    for path in (*(bundle / "backends/python").iterdir(), *(bundle / "python_backend_stubs" / version).iterdir()):
        (folder / "python" / path.name).symlink_to(path)
    return folder


def main() -> None:
    arguments = server_arguments(__doc__)
    packages = Path(sysconfig.get_path("purelib"))
    bundle = packages / "pytriton/tritonserver"
    environment = {
        **os.environ,
        "LD_LIBRARY_PATH": f"{sysconfig.get_config_var('LIBDIR')}:{packages / 'nvidia_pytriton.libs'}",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    command = [
        str(bundle / "bin/tritonserver"),
        f"--model-repository={repository(arguments.folder / 'repository', arguments.setting, arguments.models)}",
        f"--backend-directory={backends(arguments.folder / 'backends', bundle)}",
        "--http-address=127.0.0.1", f"--http-port={arguments.http}",
        "--grpc-address=127.0.0.1", f"--grpc-port={arguments.grpc}",
        "--allow-metrics=false",
    ]  # fmt: skip
    os.execve(command[0], command, environment)


if __name__ == "__main__":
    main()
