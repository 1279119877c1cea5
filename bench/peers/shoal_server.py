"""`shoal up`, the whole mesh in one process, started like the peers.

defaults: it measures at its start how many workers of how many threads serve best.
tuned: two workers with one thread each, as many as the tuned peers have.
"""

from __future__ import annotations

import os

from generator import SHOAL
from served_models import INSTANCES, ROOT, server_arguments


def main() -> None:
    arguments = server_arguments(__doc__)
    served = arguments.folder / "models"
    served.mkdir()
    for name in arguments.models:
        (served / name).symlink_to((ROOT / "build/fixtures/models" / name).resolve())
    command = [
        str(SHOAL), "up", "--models", str(served),
        "--http", f"127.0.0.1:{arguments.http}", "--grpc", f"127.0.0.1:{arguments.grpc}",
        "--native", f"tcp://127.0.0.1:{arguments.native}", "--set", f"mesh.run_directory={arguments.folder / 'run'}",
    ]  # fmt: skip
    if arguments.setting == "tuned":
        command += ["--workers", str(INSTANCES), "--threads", "1"]
    os.execv(command[0], command)


if __name__ == "__main__":
    main()
