"""A mesh of Compose's that is ours alone: a project name, an address and volumes of its own; ids of its own containers only."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from .containers import Container as Container
from .containers import Containers
from .engine import EngineError, compose_command, docker, run

ROOT = Path(__file__).resolve().parents[2]
FILES = (ROOT / "compose" / "compose.yaml", Path(__file__).with_name("compose.chaos.yaml"))
SCALE = {"gateway": 2, "scheduler": 2, "worker": 2, "cache": 2, "precision": 1, "front": 1}
METRICS = {"gateway": 9001, "scheduler": 9003, "worker": 9004, "cache": 9005, "precision": 9006}


def ensure_images(build: bool | None = None) -> None:
    """Builds the images if they are not of these sources (`make images`). `build` False: those that are there will do."""
    run(ROOT / "deploy" / "images" / "build", timeout=3 * 3600, environment={"SHOAL_IMAGES": "keep"} if build is False else None)


class Mesh(Containers):
    def __init__(
        self, project: str, publish: str, environment: dict[str, str] | None = None, scale: dict[str, int] | None = None
    ) -> None:
        super().__init__(project)
        self.publish = publish
        self._scale = dict(scale or SCALE)
        self._environment = {
            "SHOAL_PUBLISH": publish,
            "SHOAL_PRECISION_POLICY": "fp32",  # answers are compared
            **(environment or {}),
        }
        self._compose = [*compose_command(), "-p", project]
        for file in FILES:
            self._compose += ["-f", str(file)]

    # --- the whole ---------------------------------------------------------------------------------------------------

    def up(self) -> None:
        self._run_compose("up", "-d", "--no-build", *self._scales(), *self._scale, timeout=180)

    def down(self) -> None:
        """Everything that is ours goes, volumes too."""
        for container, state in self.states():
            if state.status == "paused":
                self.engine.unpause(container.id)
        for left in range(3, 0, -1):
            try:
                self._run_compose("down", "-v", "-t", "5", "--remove-orphans", timeout=180)
                return
            except EngineError:
                if left == 1:
                    raise
                # A container that was just being started again.
                ours = docker("ps", "-aq", "--filter", f"label=com.docker.compose.project={self.project}").split()
                if ours:
                    docker("rm", "-f", *ours)

    def serving(self) -> Iterable[str]:
        return self._scale

    def scale(self, service: str, replicas: int) -> None:
        self._scale[service] = replicas
        self._run_compose("up", "-d", "--no-build", "--no-recreate", "--no-deps", *self._scales(service), service, timeout=120)

    def upgrade(self, tag: str, *more: str, timeout: float) -> str:
        """As a user does it: compose/upgrade, to the images of that tag; what it said. Raises EngineError."""
        files = [word for file in FILES for word in ("-f", str(file))]
        command = (ROOT / "compose" / "upgrade", "-p", self.project, *files, *more)
        return run(*command, timeout=timeout, environment={**self._environment, "SHOAL_TAG": tag})

    def stay_with(self, tag: str) -> None:
        """What is started from now on is of these images."""
        self._environment["SHOAL_TAG"] = tag

    def replicas(self, service: str) -> int:
        return self._scale[service]

    def import_model(self, name: str, archive: Path, *more: str, timeout: float = 60.0) -> None:
        """When it returns the import has been acknowledged."""
        docker(
            *("run", "--rm", "--network", "none", "--label", f"com.docker.compose.project={self.project}"),
            *("-v", f"{self.project}_models:/models", "-v", f"{archive.resolve().parent}:/mine:ro"),
            *("shoal/shoal", "import", f"/mine/{archive.name}", "--name", name, "--models", "/models", *more),
            timeout=timeout,
        )

    def new_key(self, name: str, folder: Path, role: str = "admin") -> Path:
        """The key file of somebody new, who may come to the native door."""
        text = run(*self._compose, "run", "--rm", "-T", "keys", "new", name, "--role", role, "--out", "-", timeout=60, environment=self._environment)
        file = folder / f"{name}.key"
        file.touch(0o600)
        file.write_text(text)
        return file

    def logs(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for container in self.containers():
            try:
                # Both streams, in their order.
                said = run("sh", "-c", f"docker logs --timestamps {container.id} 2>&1")
            except EngineError as error:
                said = str(error)
            (folder / f"{container.name}.log").write_text(said)

    # -----------------------------------------------------------------------------------------------------------------

    def _scales(self, *services: str) -> list[str]:
        return [word for name in services or self._scale for word in ("--scale", f"{name}={self._scale[name]}")]

    def _run_compose(self, *arguments: str, timeout: float) -> None:
        run(*self._compose, *arguments, timeout=timeout, environment=self._environment)
