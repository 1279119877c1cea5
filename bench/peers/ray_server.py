"""Ray Serve with the models as HTTP deployments (ray_deployment.py), one application each.

defaults: one replica that does one request after another, as the documentation's first deployments do.
tuned: two replicas with one thread, each with `serve.batch` over up to 16 requests; no dashboard; what Ray calls
throughput optimised, behind its own proxy.

Ray listens on the host's address even if told 127.0.0.1, but not on Windows and macOS, where it stays on the loopback;
a variable switches that on. Its HAProxy (RAY_SERVE_ENABLE_HA_PROXY) always listens on every address, so it is not used.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from served_models import server_arguments

ENVIRONMENT = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_USAGE_STATS_ENABLED": "0"}
TUNED = {"RAY_SERVE_THROUGHPUT_OPTIMIZED": "1", "RAY_SERVE_ENABLE_DIRECT_INGRESS": "0"}


def main() -> None:
    arguments = server_arguments(__doc__)
    tuned = arguments.setting == "tuned"
    os.environ.update(ENVIRONMENT | (TUNED if tuned else {}))
    os.environ["PYTHONPATH"] = str(Path(__file__).resolve().parent)
    import ray  # reads the environment as it is imported
    from ray import serve

    from ray_deployment import deployment, stay_on_loopback

    options = {"include_dashboard": False, "object_store_memory": 100_000_000} if tuned else {}
    on_start = {"worker_process_setup_hook": stay_on_loopback}
    ray.init(_temp_dir=str(arguments.folder), runtime_env=on_start, **options)
    serve.start(http_options={"host": "127.0.0.1", "port": arguments.http})
    for name in arguments.models:
        application = deployment(name, arguments.setting).bind(name, arguments.setting)
        serve.run(application, name=name, route_prefix=f"/v2/models/{name}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())  # Ray shuts down at exit
    signal.pause()


if __name__ == "__main__":
    main()
