"""Whether there is a Docker engine for a test, and images of the sources that are tested.

A suite that needs containers calls `require_engine()` before anything else, and `build_images()` before it starts a mesh.
"""

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
SKIPPED = 77  # SKIP_RETURN_CODE of these suites in ctest


def compose_command() -> list[str]:
    """`docker compose` where it is, else Compose 1.29."""
    if subprocess.run(["docker", "compose", "version"], capture_output=True).returncode == 0:
        return ["docker", "compose"]
    return ["docker-compose"]


def missing() -> str:
    """What there is not, in a sentence that says what to do; empty: all is there."""
    if not shutil.which("docker"):
        return "there is no command docker: install Docker Engine and Compose"
    if subprocess.run(["docker", "version"], capture_output=True, timeout=30).returncode != 0:
        return "no Docker engine answers: start one (dockerd), or see that this user may use it (group docker)"
    if compose_command() == ["docker-compose"] and not shutil.which("docker-compose"):
        return "there is no Compose: apt-get install docker-compose"
    return ""


def require_engine() -> None:
    """Ends this process as skipped, and says so loudly, where containers cannot be run."""
    if why := missing():
        print(f"\n*** SKIPPED, NOTHING WAS TESTED: {why} ***\n", file=sys.stderr, flush=True)
        sys.exit(SKIPPED)


def build_images() -> None:
    """Builds what is not of these sources (deploy/images/build); returns at once if everything is."""
    subprocess.run([ROOT / "deploy/images/build"], check=True)
