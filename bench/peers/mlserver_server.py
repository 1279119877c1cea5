"""MLServer with the models in a custom runtime (mlserver_runtime.py).

defaults: one worker process that does one request after another, as the documentation's custom runtimes do.
tuned: two worker processes with one thread, each of which joins up to 16 waiting rows; lines of log for every request
are off. MLServer knows no binary tensors over HTTP; its gRPC takes raw ones.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from served_models import INSTANCES, server_arguments


def main() -> None:
    arguments = server_arguments(__doc__)
    tuned = arguments.setting == "tuned"
    settings: dict[str, object] = {
        "host": "127.0.0.1",
        "http_port": arguments.http,
        "grpc_port": arguments.grpc,
        "metrics_endpoint": None,
    }
    if tuned:
        settings |= {"parallel_workers": INSTANCES, "debug": False}
    folder = arguments.folder / "repository"
    for name in arguments.models:
        (folder / name).mkdir(parents=True)
        model = {
            "name": name,
            "implementation": "mlserver_runtime.Runtime",
            "parameters": {"version": "1", "extra": {"setting": arguments.setting}},
        }
        (folder / name / "model-settings.json").write_text(json.dumps(model))
    (folder / "settings.json").write_text(json.dumps(settings))
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parent)}
    command = Path(sys.executable).parent / "mlserver"
    os.execve(command, [command, "start", folder], environment)


if __name__ == "__main__":
    main()
