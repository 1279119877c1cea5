"""Services as they run: what they may, what they share, and that they come back."""

import re
import subprocess
import sys
import time
import unittest
from collections.abc import Callable

from running_compose import ADDRESS, SERVICES, docker, embed, the_mesh, wait_for


def setUpModule() -> None:
    the_mesh().wait_until_healthy(gateway=1, scheduler=1, worker=2, cache=1, precision=1, prometheus=1)


def weights_of(container: dict) -> dict[str, tuple[int, int]]:
    """(resident, private) KiB of each file of the weights' volume that its process has mapped."""
    maps = docker("exec", container["Id"], "cat", "/proc/1/smaps")
    found: dict[str, tuple[int, int]] = {}
    for file, figures in re.findall(r"^\S+ \S+ \S+ \S+ \d+ +/weights/(\S+)\n((?:\w+: .*\n)+)", maps, re.MULTILINE):
        of = {name: int(number) for name, number in re.findall(r"^(\w+): +(\d+) kB", figures, re.MULTILINE)}
        rss, private = found.get(file, (0, 0))
        found[file] = (rss + of["Rss"], private + of["Private_Clean"] + of["Private_Dirty"])
    return found


class Confined(unittest.TestCase):
    def check_each(self, check: Callable[[str, dict], None]) -> None:
        for service in SERVICES:
            containers = the_mesh().containers(service)
            self.assertTrue(containers, service)
            for container in containers:
                with self.subTest(service=service):
                    check(service, container)

    def test_none_is_root(self) -> None:
        def check(_: str, container: dict) -> None:
            users = [line.split()[1] for line in docker("top", container["Id"], "-eo", "pid,uid,args").splitlines()[1:]]
            self.assertTrue(users)
            self.assertNotIn("0", users)

        self.check_each(check)

    def test_a_root_that_is_read_only_no_capabilities_and_bounded_memory(self) -> None:
        def check(_: str, container: dict) -> None:
            host = container["HostConfig"]
            self.assertTrue(host["ReadonlyRootfs"])
            self.assertEqual(host["CapDrop"], ["ALL"])
            self.assertFalse(host["CapAdd"] or host["Privileged"] or host["PidMode"])
            self.assertIn("no-new-privileges:true", host["SecurityOpt"])
            self.assertGreater(host["Memory"], 0)
            status = docker("exec", container["Id"], "cat", "/proc/1/status")
            self.assertRegex(status, r"CapEff:\s+0+\n")
            self.assertRegex(status, r"CapBnd:\s+0+\n")
            self.assertRegex(status, r"NoNewPrivs:\s+1\n")

        self.check_each(check)

    def test_nothing_can_be_written_into_the_image(self) -> None:
        def check(_: str, container: dict) -> None:
            for folder in ("/opt", "/usr/bin", "/etc", "/"):
                tried = subprocess.run(["docker", "exec", "--user=0", container["Id"], "touch", f"{folder}/x"], capture_output=True)
                self.assertNotEqual(tried.returncode, 0, folder)

        self.check_each(check)

    def test_only_the_front_and_prometheus_publish_and_only_at_the_address_that_was_said(self) -> None:
        def check(service: str, container: dict) -> None:
            bound = [each for ports in container["NetworkSettings"]["Ports"].values() for each in ports or []]
            self.assertEqual({each["HostIp"] for each in bound}, {ADDRESS} if service in ("front", "prometheus") else set())

        self.check_each(check)


class Weights(unittest.TestCase):
    def test_workers_map_the_same_memory(self) -> None:
        """What both have mapped is there once; the worker that read the archive first keeps the rest of it mapped there."""
        first, second = (weights_of(container) for container in the_mesh().containers("worker"))
        both = set(first) & set(second)
        self.assertIn(both, (set(first), set(second)))
        shared = sum(first[file][0] for file in both)
        print(f"{len(both)} objects, {shared >> 10} MiB, are mapped by both workers", file=sys.stderr)
        self.assertGreater(shared, 30 << 10, "KiB of weights: MiniLM's packed ones are more")
        for each in (first, second):
            self.assertEqual(sum(each[file][1] for file in both), 0, "KiB of it that one has for itself")


class Restarts(unittest.TestCase):
    def test_each_comes_back_when_it_is_killed(self) -> None:
        for service in ("gateway", "scheduler", "worker", "cache", "precision", "front"):
            with self.subTest(service=service):
                container = the_mesh().containers(service)[0]
                begin = time.monotonic()
                kill(container)
                wait_for(f"{service} again", 30, lambda: has_restarted(service, container))
                wait_for("an answer", 30, answers)
                print(f"{service} killed: it runs, and the mesh answers, {time.monotonic() - begin:.1f} s later", file=sys.stderr)
                the_mesh().wait_until_healthy(30, gateway=1, scheduler=1, worker=2, cache=1, precision=1)


def kill(container: dict) -> None:
    """SIGKILL from outside: inside nobody can kill the first process, and what `docker kill` ends is not started again."""
    docker("run", "--rm", "--pid=host", "--user=0", "--network=none", "--entrypoint=/bin/sh", container["Image"],
           "-c", f"kill -KILL {container['State']['Pid']}")  # fmt: skip


def has_restarted(service: str, before: dict) -> bool:
    return any(
        now["Id"] == before["Id"] and now["State"]["Running"] and now["State"]["Pid"] != before["State"]["Pid"]
        for now in the_mesh().containers(service)
    )


def answers() -> bool:
    try:
        return len(embed()) == 384
    except OSError:
        return False


if __name__ == "__main__":
    unittest.main()
