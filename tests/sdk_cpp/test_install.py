"""The C++ SDK as its users get it: installed, found by CMake, its examples built and run against `shoal up`; and what the
library shows and needs.

SHOAL_BUILD is the build folder, SHOAL_CMAKE and SHOAL_CXX the tools; SHOAL_BIN and SHOAL_FIXTURES as in the other tests.
"""

import os
import re
import subprocess
import tempfile
import unittest
from pathlib import Path

from running_mesh import RunningMesh

BUILD = Path(os.environ["SHOAL_BUILD"])
CMAKE = os.environ["SHOAL_CMAKE"]
SDK = Path(__file__).parents[2] / "sdk" / "cpp"


def run(*command: object, timeout: float = 240) -> str:
    done = subprocess.run(
        [str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=timeout
    )
    if done.returncode != 0:
        raise AssertionError(f"{command} ended with {done.returncode}:\n{done.stdout}")
    return done.stdout


class InstalledTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        cls._folder = tempfile.TemporaryDirectory(prefix="shoal-sdk-")
        folder = Path(cls._folder.name)
        cls.prefix = folder / "prefix"
        run(CMAKE, "--install", BUILD, "--prefix", cls.prefix, "--component", "sdk")
        cls.library = next(cls.prefix.glob("lib/**/libshoal_client.so"))
        cls.built = folder / "examples"
        run(
            *(CMAKE, "-S", SDK / "examples", "-B", cls.built, "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release"),
            *(f"-DCMAKE_PREFIX_PATH={cls.prefix}", f"-DCMAKE_CXX_COMPILER={os.environ['SHOAL_CXX']}"),
            *("-DCMAKE_CXX_FLAGS=-Wall -Wextra -Wpedantic -Werror",),
        )
        run(CMAKE, "--build", cls.built)

    @classmethod
    def tearDownClass(cls) -> None:
        cls._folder.cleanup()

    def test_what_is_installed_is_the_sdk_and_nothing_else(self) -> None:
        installed = [str(path.relative_to(self.prefix)) for path in self.prefix.rglob("*") if path.is_file()]
        for path in installed:
            self.assertRegex(path, r"^(include/shoal/\w+\.hpp|lib/.*shoal_client.*|share/doc/.*/client/(LICENSE|README.md))$")
        headers = {path.name for path in (SDK / "include" / "shoal").iterdir()}
        self.assertEqual(headers, {Path(path).name for path in installed if path.startswith("include/")})

    def test_the_headers_show_nothing_of_what_the_library_is_made_of(self) -> None:
        for header in (self.prefix / "include" / "shoal").iterdir():
            for included in re.findall(r'#include [<"](.*?)[>"]', header.read_text()):
                own = included.startswith("shoal/") and (self.prefix / "include" / included).is_file()
                standard = re.fullmatch(r"[a-z_]+", included)
                self.assertTrue(own or standard or included == "tl/expected.hpp", f"{header.name} includes {included}")

    def test_the_library_needs_zeromq_and_capnp_and_none_of_the_services_libraries(self) -> None:
        needed = set(re.findall(r"\(NEEDED\).*\[(.*?)\]", run("readelf", "-d", self.library)))
        own = {name for name in needed if not re.match(r"(libstdc\+\+|libgcc_s|libc|libm|ld-linux.*)\.so", name)}
        self.assertTrue(all(re.match(r"lib(zmq|capnp|kj)", name) for name in own), own)
        for program in (self.library, self.built / "first"):
            self.assertNotRegex(run("ldd", program), r"lib(caf|torch|c10|boost|rocksdb|spdlog|prometheus)")

    def test_the_library_shows_its_own_functions_only(self) -> None:
        shown = run("nm", "-D", "--defined-only", "--demangle", self.library).splitlines()
        names = [line.split(" ", 2)[2] for line in shown if line]
        self.assertTrue(any(name.startswith("shoal::client::mesh::infer(") for name in names), names)
        foreign = [name for name in names if not re.match(r"shoal::client::(?!detail)|SHOAL_CLIENT_\d+$", name)]
        self.assertEqual(foreign, [])

    def test_the_readme_shows_the_example_that_is_tested(self) -> None:
        self.assertIn((SDK / "examples" / "first.cpp").read_text(), (SDK / "README.md").read_text())

    def test_the_examples_run_against_a_mesh(self) -> None:
        with RunningMesh("--threads", "1") as mesh:
            self.assertRegex(run(self.built / "first", mesh.address, timeout=60), r"^1 2 3 after \d+ us of computing$")
            self.assertEqual(
                run(self.built / "many", mesh.address, timeout=60),
                "identity/1\nsum 499500\nanswered at least 100: 1, taken back at most 32: 1\n",
            )


if __name__ == "__main__":
    unittest.main()
