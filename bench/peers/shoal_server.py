"""`shoal up`, the whole mesh in one process, started like the peers.

defaults: it measures at its start how many workers of how many threads serve best.
tuned: two workers with one thread each, as many as the tuned peers have.
int8: tuned, and MiniLM by the plan that `shoal tune` makes of the sentences (build/peers/shoal_int8, once).
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from generator import SHOAL
from served_models import INSTANCES, ROOT, TUNED, server_arguments


def model_folder(name: str, setting: str) -> Path:
    fixture = ROOT / "build/fixtures/models" / name
    if setting != "int8" or name != "minilm":
        return fixture
    planned = ROOT / "build/peers/shoal_int8" / name
    if not planned.exists():
        version = planned.with_suffix(".new") / "1"
        shutil.rmtree(version.parent, ignore_errors=True)
        version.mkdir(parents=True)
        for file in ("model.pt2", "model.toml"):
            (version / file).symlink_to((fixture / "1" / file).resolve())
        requests = ROOT / "build/peers/mixes/sts.jsonl"
        subprocess.run([SHOAL, "tune", version / "model.pt2", "--data", requests], check=True)
        version.parent.rename(planned)
    return planned


def main() -> None:
    arguments = server_arguments(__doc__)
    served = arguments.folder / "models"
    served.mkdir()
    for name in arguments.models:
        (served / name).symlink_to(model_folder(name, arguments.setting).resolve())
    command = [
        str(SHOAL), "up", "--models", str(served),
        "--http", f"127.0.0.1:{arguments.http}", "--grpc", f"127.0.0.1:{arguments.grpc}",
        "--native", f"tcp://127.0.0.1:{arguments.native}", "--set", f"mesh.run_directory={arguments.folder / 'run'}",
        "--set", "precision.policy=file",  # int8 by its plan alone, the others in fp32
    ]  # fmt: skip
    if arguments.setting in TUNED:
        command += ["--workers", str(INSTANCES), "--threads", "1"]
    os.execv(command[0], command)


if __name__ == "__main__":
    main()
