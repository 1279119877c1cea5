"""compose/upgrade: replicas give way to those of another tag, under load, and not one request is lost; what goes wrong leaves
the mesh as it was. Comes last in its suite: what runs then is of another tag."""

import subprocess
import sys
import unittest

from images import ROOT
from load import Load
from running_compose import PROJECT, SERVICES, docker, environment, image, the_mesh

TAG, BROKEN = f"{PROJECT}-upgrade", f"{PROJECT}-broken"


def upgrade(*arguments: str, tag: str, project: str = PROJECT) -> tuple[int, str]:
    """Its exit code and all that it said."""
    command = [ROOT / "compose/upgrade", "-p", project, *arguments]
    done = subprocess.run(command, env=environment(SHOAL_TAG=tag), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=240)
    print(done.stdout, file=sys.stderr, end="")
    return done.returncode, done.stdout


def running() -> dict[str, set[tuple[str, str]]]:
    """(id, name of the image) of each container, by service."""
    return {service: {(each["Id"], each["Config"]["Image"]) for each in the_mesh().containers(service)} for service in SERVICES}


def setUpModule() -> None:
    the_mesh().wait_until_healthy(gateway=1, scheduler=1, worker=2, cache=1, precision=1, prometheus=1)
    for tag in (TAG, BROKEN):
        for service in SERVICES:
            of = "cache" if (tag, service) == (BROKEN, "worker") else service  # which a worker's key does not let in
            name = f"shoal/{service}:{tag}"
            docker("tag", image(of), name)
            unittest.addModuleCleanup(docker, "image", "rm", name)


class Upgrade(unittest.TestCase):
    def test_called_wrongly_it_says_what_is_wrong_and_does_nothing(self) -> None:
        before = running()
        for arguments, how, said in (
            (["nobody"], {"tag": TAG}, "there is no service nobody"),
            ([], {"tag": "never-built"}, "there is no image shoal/scheduler:never-built on this host"),
            ([], {"tag": TAG, "project": "shoalnobody"}, "nothing of this project runs"),
            (["-f", "nowhere.yaml"], {"tag": TAG}, "there is no file nowhere.yaml"),
        ):
            with self.subTest(said):
                code, told = upgrade(*arguments, **how)
                self.assertEqual(code, 1)
                self.assertIn(said, told)
        self.assertEqual(running(), before)

    def test_to_another_tag_under_load(self) -> None:
        chosen = ("scheduler", "worker", "gateway")
        before = running()
        code, told = upgrade("--dry-run", *chosen, tag=TAG)
        self.assertEqual((code, running()), (0, before))
        self.assertEqual([line.split()[1] for line in told.splitlines()[:-1]], ["scheduler:", "worker:", "worker:", "gateway:"])
        with Load() as load:
            code, _ = upgrade(*chosen, tag=TAG)
        print(f"answered {load.answered}, sent again {load.repeated}, lost {len(load.lost)}", file=sys.stderr)
        self.assertEqual((code, load.lost), (0, []))
        for door, answered in load.answered.items():
            self.assertGreater(answered, 100, door)
        after = running()
        for service in SERVICES:
            with self.subTest(service=service):
                if service not in chosen:
                    self.assertEqual(after[service], before[service])
                    continue
                self.assertEqual(len(after[service]), len(before[service]))
                self.assertFalse({one for one, _ in after[service]} & {one for one, _ in before[service]})
                self.assertEqual({name for _, name in after[service]}, {f"shoal/{service}:{TAG}"})
        code, told = upgrade(*chosen, tag=TAG)
        self.assertEqual((code, running()), (0, after))
        self.assertIn("nothing is left to do", told)

    def test_a_new_replica_that_does_not_become_healthy_is_removed_and_the_old_ones_stay(self) -> None:
        before = running()
        with Load() as load:
            code, told = upgrade("worker", "gateway", "--healthy-within", "20", tag=BROKEN)
        self.assertEqual((code, running(), load.lost), (1, before, []))
        self.assertRegex(told, r"worker_?-?\d* .*(ends by itself|not healthy after 20 s)")
        self.assertIn("is the key of a worker", told)  # what it said last
        everything = docker("ps", "-a", "--filter", f"label=com.docker.compose.project={PROJECT}", "--format", "{{.Image}}")
        self.assertNotIn(BROKEN, everything)


if __name__ == "__main__":
    unittest.main()
