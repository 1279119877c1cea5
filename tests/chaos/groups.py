"""Control groups, of either version: how much memory a container uses, how fast its disk may be, what share of a busy host
the whole mesh has."""

from __future__ import annotations

import os
from pathlib import Path

from .engine import docker

ROOT = Path("/sys/fs/cgroup")
USUAL = 1024  # shares of a group that nobody said anything of


class Groups:
    """Of a container, as this host sees them. Raises OSError if it has ended."""

    def __init__(self, pid: int, container: str) -> None:
        """`container`: its id; so that a process which took the number of one that has ended is not taken for it."""
        self._folders: dict[str, Path] = {}
        for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if container not in path:
                continue
            for controller in controllers.split(","):  # version 2 has one group for all, without a name
                self._folders[controller] = ROOT / controller / path.lstrip("/")
        if not self._folders:
            raise OSError(f"process {pid} is not in a group of {container[:12]}")

    def memory(self) -> int:
        """Bytes in use without what the kernel may drop (files that were read), as `docker stats` counts."""
        if "memory" in self._folders:
            folder, used, droppable = self._folders["memory"], "memory.usage_in_bytes", "total_inactive_file"
        else:
            folder, used, droppable = self._folders[""], "memory.current", "inactive_file"
        figures = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        return max(0, int((folder / used).read_text()) - int(figures.get(droppable, 0)))

    def why_no_throttle(self) -> str | None:
        file = self._throttle_file("write")
        return None if os.access(file, os.W_OK) else f"disks cannot be throttled here: {file} cannot be written"

    def throttle(self, device: str, bytes_per_second: int) -> None:
        """Zero: no more."""
        number = os.stat(device).st_rdev
        name = f"{os.major(number)}:{os.minor(number)}"
        if "blkio" not in self._folders:
            rate = bytes_per_second or "max"
            self._throttle_file("write").write_text(f"{name} rbps={rate} wbps={rate}")
            return
        for way in ("read", "write"):
            file = self._throttle_file(way)
            if file.exists():  # else the container has ended
                file.write_text(f"{name} {bytes_per_second}")

    def _throttle_file(self, way: str) -> Path:
        if "blkio" in self._folders:
            return self._folders["blkio"] / f"blkio.throttle.{way}_bps_device"
        return self._folders.get("", ROOT) / "io.max"


class Share:
    """A group for the mesh and its load, with so many times the usual share of the processors: on a host that does other
    things as well, what is measured is the mesh and not its neighbours."""

    def __init__(self, name: str, times: int) -> None:
        self._times = times
        self._folder = ROOT / "cpu" / name if (ROOT / "cpu").is_dir() else ROOT / name
        self._is_old = (ROOT / "cpu").is_dir()
        self.name = f"/{name}"

    def open(self) -> None:
        """Raises OSError if that is not ours to do."""
        inner = self._folder / "load"
        inner.mkdir(parents=True, exist_ok=True)
        if self._is_old:
            (self._folder / "cpu.shares").write_text(str(USUAL * self._times))
        else:
            (self._folder / "cpu.weight").write_text(str(min(10_000, 100 * self._times)))

    def take_in(self, pid: int) -> None:
        """With all that it starts from now on."""
        (self._folder / "load" / "cgroup.procs").write_text(str(pid))

    def take_in_proxies(self, publish: str) -> None:
        """Of the ports that this host publishes at `publish`: Docker carries every connection through a process beside its
        daemon, and new ones each time their container starts. One that starves looks like a door that does not answer."""
        for process in Path("/proc").iterdir():
            try:
                words = (process / "cmdline").read_bytes().split(b"\0") if process.name.isdigit() else []
                if words and words[0].endswith(b"docker-proxy") and publish.encode() in words:
                    self.take_in(int(process.name))
            except OSError:
                continue  # it has ended

    def let_go(self, pid: int) -> None:
        root = ROOT / "cpu" if self._is_old else ROOT
        (root / "cgroup.procs").write_text(str(pid))

    def close(self) -> None:
        for folder in (self._folder / "load", self._folder):
            try:
                folder.rmdir()
            except OSError:
                return  # something is in it still; an empty group costs nothing


def why_no_shares() -> str | None:
    if os.geteuid() != 0:
        return "only root may make a control group"
    if docker("info", "--format", "{{.CgroupDriver}}").strip() != "cgroupfs":
        return "Docker leaves control groups to systemd here"
    return None
