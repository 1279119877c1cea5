"""The profile `chaos`: a mesh that runs is broken, says whether it kept its promises, and is as it was afterwards."""

import json
import os
import re
import subprocess
import sys
import time
import unittest
import urllib.request

from images import ROOT, compose_command
from running_compose import docker, image

PROJECT = "shoalvisited"
ADDRESS = "127.0.0.4"
SCALE = {"worker": 2, "gateway": 2}
SEED = "20261128"


def compose(*arguments: str, succeeds: bool = True) -> subprocess.CompletedProcess[str]:
    command = [*compose_command(), "-f", ROOT / "compose/compose.yaml", "--project-name", PROJECT]
    if arguments[0] != "up":  # which would start it, too
        command += ["--profile", "chaos"]
    environment = {**os.environ, "SHOAL_PUBLISH": ADDRESS, "SHOAL_WEIGHTS": "512m", "SHOAL_PRECISION_POLICY": "fp32"}
    done = subprocess.run([*command, *arguments], env=environment, capture_output=True, text=True)
    if succeeds and done.returncode != 0:
        raise AssertionError(f"compose {' '.join(arguments)} failed:\n{done.stdout}{done.stderr}")
    return done


def containers(*more: str) -> list[dict]:
    """Of the project, one-off ones too, in the order of their names."""
    ids = docker("ps", "-aq", "--no-trunc", "--filter", f"label=com.docker.compose.project={PROJECT}", *more).split()
    return sorted(json.loads(docker("inspect", *ids)), key=lambda each: each["Name"]) if ids else []


def visitors() -> list[dict]:
    return containers("--filter", "label=com.docker.compose.service=chaos")


def models() -> list[dict]:
    asked = urllib.request.Request(f"http://{ADDRESS}:8000/v2/repository/index", b"{}", {"Content-Type": "application/json"})
    with urllib.request.urlopen(asked, timeout=10) as answer:
        return json.load(answer)


def in_volume(name: str, *command: str) -> str:
    return docker("run", "--rm", "--network=none", "-v", f"{PROJECT}_{name}:/it:ro", f"--entrypoint={command[0]}", image("chaos"), *command[1:])


def told(container: dict) -> tuple:
    networks = {name: sorted(of["Aliases"] or []) for name, of in container["NetworkSettings"]["Networks"].items()}
    return container["Id"], container["State"]["Status"], container["RestartCount"], networks


def mesh() -> dict[str, object]:
    """Everything that must be as it was: each container, what it does and where it is known by which names; who has a key;
    what is served, and which files there are."""
    found: dict[str, object] = {}
    found |= {each["Name"]: told(each) for each in containers()}
    found["keys"] = in_volume("keys", "cat", "/it/allowed.toml")
    found["models"] = models()
    found["files"] = in_volume("models", "find", "/it", "-type", "f")
    return found


class Chaos(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        cls.addClassCleanup(compose, "down", "--volumes", "--remove-orphans", "--timeout", "5")
        compose("down", "--volumes", "--remove-orphans", "--timeout", "5")
        compose("up", "--detach", "--no-build", *(f"--scale={service}={count}" for service, count in SCALE.items()))
        end = time.monotonic() + 90
        while True:
            try:
                if any(each.get("state") == "READY" for each in models()):
                    break
            except OSError:
                pass
            if time.monotonic() > end:
                raise AssertionError(f"nothing is served 90 s after `up`:\n{compose('ps').stdout}")
            time.sleep(0.5)

    def test_1_it_passes_and_leaves_nothing_behind(self) -> None:
        before = mesh()
        begin = time.monotonic()
        done = compose("run", "--rm", "-T", "chaos", "--minutes", "0.65", "--seed", SEED, succeeds=False)
        print(f"{time.monotonic() - begin:.0f} s:\n{done.stdout}", file=sys.stderr)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn("chaos: passed", done.stdout)
        self.assertIn("left alone, of one replica each: cache, front, precision, scheduler", done.stdout)
        self.assertEqual(mesh(), before)

        report = json.loads(in_volume("chaos", "cat", "/it/report.json"))
        self.assertTrue(report["passed"])
        faults = [each for each in report["faults"] if not each["not_done"]]
        self.assertGreaterEqual(len(faults), 2)
        self.assertEqual({each["service"] for each in faults} - set(SCALE), set())
        self.assertTrue(any(each["kind"] == "kill" for each in faults))
        checks = {check["name"]: check["passed"] for check in report["checks"]}
        for name in ("every answer is that of the reference", "nothing acknowledged is lost", "memory is bounded", "recovery after a kill"):
            self.assertIs(checks[name], True, name)
        left_out = [each["kind"] for each in report["faults"] if each["not_done"]]
        self.assertFalse([kind for kind in left_out if "door" in kind], "all doors were used")
        self.assertIn("Chaos: passed", in_volume("chaos", "cat", "/it/report.html"))

    def test_2_when_it_is_told_to_end_the_fault_is_undone_first(self) -> None:
        before = mesh()
        compose("run", "--detach", "chaos", "--minutes", "2", "--seed", SEED, "--only", "stop_start,disconnect")
        self.addCleanup(lambda: [docker("rm", "-f", each["Id"]) for each in visitors()])
        (visitor,) = visitors()
        self.check_confined(visitor)
        ids = [of[0] for name, of in before.items() if name.startswith("/") and isinstance(of, tuple)]
        end = time.monotonic() + 90
        # Those alone: containers that make keys come and go.
        while all(told(each) == before[each["Name"]] for each in json.loads(docker("inspect", *ids))):
            self.assertLess(time.monotonic(), end, docker("logs", visitor["Id"]))
        docker("stop", visitor["Id"])
        (ended,) = visitors()
        self.assertEqual(ended["State"]["ExitCode"], 130, docker("logs", visitor["Id"]))
        docker("rm", visitor["Id"])
        self.assertEqual(mesh(), before)

    def test_3_a_mesh_of_one_replica_each_is_left_alone(self) -> None:
        compose("up", "--detach", "--no-build", "--scale=worker=1", "--scale=gateway=1")
        before = mesh()
        done = compose("run", "--rm", "-T", "chaos", succeeds=False)
        self.assertEqual(done.returncode, 2, done.stdout + done.stderr)
        self.assertRegex(done.stdout + done.stderr, "nothing may be broken: .*--scale worker=2")
        self.assertEqual(mesh(), before)

    def check_confined(self, visitor: dict) -> None:
        host = visitor["HostConfig"]
        self.assertTrue(host["ReadonlyRootfs"])
        self.assertEqual(host["CapDrop"], ["ALL"])
        self.assertFalse(host["CapAdd"] or host["Privileged"] or host["PidMode"] or host["PortBindings"])
        self.assertGreater(host["Memory"], 0)
        self.assertEqual(host["RestartPolicy"]["Name"] or "no", "no")
        self.assertEqual(visitor["Config"]["StopTimeout"], 90)
        status = docker("exec", visitor["Id"], "cat", "/proc/1/status")
        for line in (r"CapEff:\s+0+\n", r"CapBnd:\s+0+\n", r"NoNewPrivs:\s+1\n"):
            self.assertTrue(re.search(line, status), line)


if __name__ == "__main__":
    unittest.main()
