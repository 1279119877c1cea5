"""A small disk for the cache, which can be full and slow without harm to others: a file with ext4 behind a loop device; or
tmpfs where that cannot be, which can be full but never slow."""

from __future__ import annotations

import os
from pathlib import Path

from .engine import EngineError, run

OWNER = "10001:10001"  # of the images


class Disk:
    def __init__(self, folder: Path, mebibytes: int = 256) -> None:
        self._mebibytes = mebibytes
        self._file = folder / "ssd.img"
        self.device = ""
        self.why_no_device = ""

    def open(self) -> dict[str, str]:
        """The environment that tells Compose of it."""
        try:
            if os.geteuid() != 0:
                raise EngineError("only root may attach a loop device")
            self._file.parent.mkdir(parents=True, exist_ok=True)
            self._file.unlink(missing_ok=True)
            run("truncate", "-s", f"{self._mebibytes}M", self._file)
            run("mkfs.ext4", "-q", "-m", "0", "-E", f"root_owner={OWNER}", self._file)
            self.device = run("losetup", "--find", "--show", self._file).strip()
        except EngineError as error:
            self.why_no_device = f"the cache's disk is a tmpfs here: {error}"
            return {}
        return {"SHOAL_CHAOS_SSD_TYPE": "ext4", "SHOAL_CHAOS_SSD": self.device, "SHOAL_CHAOS_SSD_OPTIONS": "noatime"}

    def close(self) -> None:
        if self.device:
            run("losetup", "--detach", self.device)
            self.device = ""
        self._file.unlink(missing_ok=True)
