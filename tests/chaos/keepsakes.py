"""What the mesh has acknowledged and must not lose: models that were imported while things went wrong, and every file beside
them (plans among them). At the end each is looked for: the files as they were, the models served and right."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from pathlib import Path

import numpy as np
import shoal

from .doors import Access
from .engine import EngineError
from .history import Writer
from .mesh import Mesh


class Keepsakes:
    def __init__(self, mesh: Mesh, writer: Writer, archive: Path, every: float, most: int) -> None:
        self._mesh = mesh
        self._writer = writer
        self._archive = archive
        self._every = every
        self._most = most
        self._names: list[str] = []
        self._files: dict[str, str] = {}
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._remember_files()
        self._thread.start()

    def stop(self) -> None:
        self._ends.set()
        self._thread.join(90)

    def look(self, access: Access) -> None:
        """After everything: writes down for each whether it was kept."""
        try:
            there = self._hashes()
        except EngineError as error:
            there, unreadable = {}, str(error)
        else:
            unreadable = ""
        for name, wanted in self._files.items():
            found = there.get(name)
            said = unreadable or ("" if found == wanted else "gone" if found is None else "its bytes are others")
            self._writer.write("kept", what="file", name=name, kept=not said, said=said)
        asyncio.run(self._ask(access))

    # -----------------------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while len(self._names) < self._most and not self._ends.wait(self._every):
            name = f"kept_{len(self._names) + 1}"
            try:
                self._mesh.import_model(name, self._archive)
            except EngineError:
                continue  # not acknowledged, so nothing is promised
            self._names.append(name)
            self._writer.write("acknowledged", what="import", name=name)
            self._remember_files()

    def _remember_files(self) -> None:
        try:
            hashes = self._hashes()
        except EngineError:
            return
        for name, found in hashes.items():
            if name not in self._files:
                self._files[name] = found
                self._writer.write("acknowledged", what="file", name=name)

    def _hashes(self) -> dict[str, str]:
        """Of what is in place: what is being written lies under a name that begins with a dot."""
        root = self._mesh.volume("models")
        found = {}
        for path in sorted(root.glob("*/*/*")):
            name = str(path.relative_to(root))
            if path.is_file() and not any(part.startswith(".") for part in Path(name).parts):
                found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
        return found

    async def _ask(self, access: Access) -> None:
        x = np.arange(6, dtype=np.float32).reshape(2, 3)
        async with access.connect() as mesh:
            for name in self._names:
                try:
                    if not any(each.name == name and each.state == "ready" for each in await mesh.models()):
                        await mesh.load(name, deadline=30.0)
                    answer = await mesh.infer(name, {"x": x}, deadline=30.0)
                    said = "" if np.array_equal(answer["y"], x) else "its answer is wrong"
                except shoal.ShoalError as error:
                    said = f"{error.code.name.lower()}: {error}"
                self._writer.write("kept", what="import", name=name, kept=not said, said=said)
