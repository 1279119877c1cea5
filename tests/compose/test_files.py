"""compose/compose.yaml and the images, without running them."""

import json
import re
import subprocess
import sys
import unittest

import yaml

from images import ROOT, compose_command
from running_compose import SERVICES, compose, docker, image

# Of the compose specification, and known to 1.29 as well. v2 refuses keys that it does not know; 1.29 needs no `version`.
SERVICE_KEYS = {
    "build", "image", "command", "entrypoint", "environment", "volumes", "ports", "depends_on", "restart", "read_only",
    "cap_drop", "security_opt", "tmpfs", "stop_grace_period", "stop_signal", "sysctls", "mem_limit", "cpu_shares", "profiles", "secrets", "configs",
    "networks", "healthcheck", "user", "working_dir", "labels", "ulimits", "shm_size", "init", "logging", "expose",
}  # fmt: skip
BUILD_KEYS = {"context", "dockerfile", "target", "args", "labels"}
TOP_KEYS = {"services", "volumes", "networks", "secrets", "configs"}
MIB = 1 << 20


def size(name: str) -> int:
    return json.loads(docker("image", "inspect", name))[0]["Size"]


class Files(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        cls.written = yaml.safe_load((ROOT / "compose/compose.yaml").read_text())

    def test_compose_finds_it_valid(self) -> None:
        self.assertEqual(set(SERVICES) - set(compose("config", "--services").split()), set())

    def test_it_is_valid_without_profiles_and_variables(self) -> None:
        command = [*compose_command(), "-f", ROOT / "compose/compose.yaml", "config"]
        done = subprocess.run(command, env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertIn("127.0.0.1", done.stdout)
        self.assertNotIn("0.0.0.0:8000:8000", done.stdout)

    def test_compose_2_knows_every_key(self) -> None:
        self.assertEqual({key for key in self.written if not key.startswith("x-")} - TOP_KEYS, set())
        for name, service in self.written["services"].items():
            with self.subTest(service=name):
                self.assertEqual(set(service) - SERVICE_KEYS, set())
                self.assertEqual(set(service.get("build", {})) - BUILD_KEYS, set())

    def test_only_the_front_and_prometheus_have_ports_of_the_host(self) -> None:
        published = {name for name, service in self.written["services"].items() if "ports" in service}
        self.assertEqual(published, {"front", "prometheus"})
        for name in published:
            for port in self.written["services"][name]["ports"]:
                self.assertTrue(port.startswith("${SHOAL_PUBLISH:-127.0.0.1}:"), port)

    def test_the_engine_s_socket_is_given_to_chaos_alone_and_only_if_it_is_named(self) -> None:
        given = {name for name, service in self.written["services"].items() if "docker.sock" in str(service.get("volumes", ""))}
        self.assertEqual(given, {"chaos"})
        chaos = self.written["services"]["chaos"]
        self.assertEqual(chaos["profiles"], ["chaos"])
        self.assertEqual((chaos["read_only"], chaos["cap_drop"], chaos["security_opt"]), (True, ["ALL"], ["no-new-privileges:true"]))
        self.assertIn("mem_limit", chaos)
        self.assertFalse({"ports", "restart", "privileged", "depends_on"} & set(chaos))

    def test_what_scales_has_no_name_of_its_own(self) -> None:
        for name, service in self.written["services"].items():
            self.assertFalse({"container_name", "hostname"} & set(service), name)


class Images(unittest.TestCase):
    def test_sizes(self) -> None:
        base = size("debian:bookworm-slim")
        for name, most in (("worker", 1024 * MIB), ("gateway", base + 100 * MIB), ("chaos", base + 400 * MIB)):
            with self.subTest(image=name):
                found = size(image(name))
                print(f"{image(name)}: {found // MIB} MiB, {(found - base) // MIB} above its base", file=sys.stderr)
                self.assertLess(found, most)

    def test_each_runs_confined_and_is_not_root(self) -> None:
        for name in ("gateway", "scheduler", "worker", "cache", "precision"):
            with self.subTest(image=name):
                confined = ["--rm", "--read-only", "--cap-drop=ALL", "--network=none"]
                self.assertIn(f"[{name}]", docker("run", *confined, image(name), "--print-config"))
                self.assertNotIn(json.loads(docker("image", "inspect", image(name)))[0]["Config"]["User"], ("", "root", "0"))


class Dashboard(unittest.TestCase):
    def test_it_asks_for_figures_that_the_code_gives(self) -> None:
        code = "\n".join(file.read_text() for part in ("actors", "services") for file in (ROOT / part).rglob("*.[ch]pp"))
        given = set(re.findall(r'"(shoal_[a-z_]+)"', code))
        for asking in ("compose/grafana/shoal.json", "compose/prometheus/alerts.yml"):
            asked = set(re.findall(r"\bshoal_[a-z_]+[a-z]\b", (ROOT / asking).read_text())) - {"shoal_"}
            asked = {re.sub(r"_(bucket|sum|count)$", "", name) for name in asked}
            self.assertEqual(asked - given, set(), asking)


if __name__ == "__main__":
    unittest.main()
