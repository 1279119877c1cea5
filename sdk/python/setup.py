"""Puts the wire's schema into the package when it is built. Its one home is schemas/ at the root of the repository; a
source distribution carries a copy beside the modules."""

from pathlib import Path
from shutil import copyfile

from setuptools import setup
from setuptools.command.build_py import build_py
from setuptools.command.sdist import sdist

HERE = Path(__file__).resolve().parent


def schema() -> Path:
    for path in (HERE.parent.parent / "schemas" / "mesh.capnp", HERE / "shoal" / "mesh.capnp"):
        if path.is_file():
            return path
    raise FileNotFoundError(
        "schemas/mesh.capnp is not there: build from a checkout of Shoal or its source distribution"
    )


class BuildWithSchema(build_py):
    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            copyfile(schema(), Path(self.build_lib) / "shoal" / "mesh.capnp")

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        copy = [] if self.editable_mode else [str(Path(self.build_lib) / "shoal" / "mesh.capnp")]
        return super().get_outputs(include_bytecode) + copy


class SourceWithSchema(sdist):
    def make_release_tree(self, base_dir: str, files: list[str]) -> None:
        super().make_release_tree(base_dir, files)
        copyfile(schema(), Path(base_dir) / "shoal" / "mesh.capnp")


setup(cmdclass={"build_py": BuildWithSchema, "sdist": SourceWithSchema})
