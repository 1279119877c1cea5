"""The package as its users get it: a wheel, installed apart from the source, and the examples run against a real mesh."""

import os
import shutil
import subprocess
import sys
import tempfile
import unittest
import zipfile
from pathlib import Path

from running_mesh import BIN, RunningMesh

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "sdk" / "python" / "examples"


def run(command: list[object], **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(part) for part in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        timeout=120,
        env={**os.environ, **environment},
    )


class Package(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        """Builds the wheel from a copy of the source, so that nothing is left in the tree, and unpacks it elsewhere."""
        folder = Path(cls.enterClassContext(tempfile.TemporaryDirectory()))
        skipped = shutil.ignore_patterns("__pycache__", "*.egg-info", "build")
        shutil.copytree(ROOT / "sdk" / "python", folder / "source" / "sdk" / "python", ignore=skipped)
        shutil.copytree(ROOT / "schemas", folder / "source" / "schemas")
        built = run(
            [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index", "--quiet"]
            + ["--wheel-dir", folder, folder / "source" / "sdk" / "python"]
        )
        if built.returncode != 0:
            raise AssertionError(built.stdout + built.stderr)
        (wheel,) = folder.glob("*.whl")
        cls.installed = folder / "installed"
        with zipfile.ZipFile(wheel) as archive:
            cls.names = archive.namelist()
            archive.extractall(cls.installed)
        cls.mesh = RunningMesh("--threads", "1") if BIN else None
        if cls.mesh is not None:
            cls.addClassCleanup(cls.mesh.stop)

    def example(self, name: str) -> str:
        if self.mesh is None:
            self.skipTest("SHOAL_BIN is not set")
        ended = run([sys.executable, "-W", "error", EXAMPLES / name, self.mesh.address], PYTHONPATH=str(self.installed))
        self.assertEqual(ended.returncode, 0, ended.stderr)
        return ended.stdout

    def test_the_wheel_holds_the_modules_the_schema_and_the_types(self):
        for name in ("shoal/__init__.py", "shoal/mesh.capnp", "shoal/py.typed", "shoal/_session.py"):
            self.assertIn(name, self.names)
        self.assertEqual([name for name in self.names if "test" in name or "example" in name], [])

    def test_what_is_installed_is_what_is_imported(self):
        ended = run(
            [sys.executable, "-c", "import shoal; print(shoal.__file__, shoal.__version__)"],
            PYTHONPATH=str(self.installed),
        )
        self.assertTrue(ended.stdout.startswith(str(self.installed)), ended.stderr)

    def test_first(self):
        self.assertIn("[[1. 2. 3.]] after", self.example("first.py"))

    def test_many(self):
        self.assertIn(f"sum up to {sum(range(1000))}, 0 failed, 0 were tried again", self.example("many.py"))

    def test_stream(self):
        lines = self.example("stream.py").splitlines()
        self.assertEqual(len(lines), 20)
        self.assertIn("reading 19: 19,", "\n".join(lines))

    def test_an_example_says_what_is_wrong(self):
        ended = run([sys.executable, EXAMPLES / "first.py", "tcp://127.0.0.1:1"], PYTHONPATH=str(self.installed))
        self.assertEqual(ended.returncode, 1)
        self.assertIn("UNAVAILABLE: no gateway", ended.stderr)


if __name__ == "__main__":
    unittest.main()
