"""A mesh of somebody else's: only what may be broken is, and whatever happens it is given back as it was."""

import random
import signal
import tempfile
import threading
import time
import unittest
from pathlib import Path
from typing import cast
from unittest import mock

from chaos import attach, ending
from chaos.attach import DONE_HERE, NOT_DONE_HERE, Refused, Wanted, catalogue_for, not_done, plan_for
from chaos.attached import AsItWas, AttachedMesh, Visitor, others_at_it
from chaos.content import Content, Question
from chaos.disk import Disk
from chaos.docker_api import Api, Gone, split_streams
from chaos.doors import Access, Doors
from chaos.engine import EngineError
from chaos.fake_engine import NETWORK, FakeEngine
from chaos.faults import FAULTS, Surroundings
from chaos.history import Writer
from chaos.load_process import LoadProcess
from chaos.mesh import Mesh
from chaos.run import carry_out
from chaos.schedule import Planned

USUAL = {"gateway": 2, "scheduler": 1, "worker": 3, "cache": 1, "precision": 1, "front": 1}
LONELY = dict.fromkeys(USUAL, 1)


def wanted(seconds: float = 180.0, seed: int = 1, only: str = "", lonely: bool = False) -> Wanted:
    return Wanted("mesh", seconds, seed, frozenset(filter(None, only.split(","))), lonely, Path("."), 0.25, 300.0)


class WhatIsDone(unittest.TestCase):
    def test_services_of_one_replica_are_left_alone(self) -> None:
        for seed in range(100):
            plan, alone = plan_for(USUAL, wanted(seed=seed))
            self.assertEqual({each.service for each in plan.faults} - {"gateway", "worker"}, set(), f"seed {seed}")
            self.assertEqual(alone, ["cache", "front", "precision", "scheduler"])

    def test_unless_it_is_asked_for(self) -> None:
        plans = [plan_for(LONELY, wanted(seed=seed, lonely=True)) for seed in range(100)]
        self.assertEqual({each.service for plan, _ in plans for each in plan.faults}, set(USUAL))
        self.assertEqual([alone for _, alone in plans], [[]] * 100)

    def test_only_what_can_be_undone_from_here(self) -> None:
        kinds = {each.kind for seed in range(100) for each in plan_for(USUAL, wanted(seed=seed, lonely=True))[0].faults}
        self.assertEqual(kinds, set(DONE_HERE))

    def test_a_service_that_is_not_there_is_not_broken(self) -> None:
        for seed in range(50):
            plan, _ = plan_for({"gateway": 2, "worker": 2, "front": 1, "scheduler": 1}, wanted(seed=seed, lonely=True))
            self.assertFalse({each.service for each in plan.faults} & {"cache", "precision"})

    def test_only_the_kinds_that_are_wanted(self) -> None:
        plan, _ = plan_for(USUAL, wanted(only="freeze,disconnect"))
        self.assertEqual({each.kind for each in plan.faults}, {"freeze", "disconnect"})

    def test_a_kill_has_the_time_in_which_it_must_be_over(self) -> None:
        for seed in range(100):
            faults = plan_for(USUAL, wanted(seed=seed))[0].faults
            for one, following in zip(faults, faults[1:]):
                if one.kind == "kill":
                    self.assertGreater(following.at - one.at, 11.0)

    def test_nothing_may_be_broken(self) -> None:
        for replicas in (LONELY, {**LONELY, "front": 2}):
            with self.assertRaisesRegex(Refused, r"gateway, .*worker.* one replica each.*--scale worker=2.*--lonely"):
                plan_for(replicas, wanted())

    def test_no_fault_fits(self) -> None:
        with self.assertRaisesRegex(Refused, "--lonely"):
            plan_for(USUAL, wanted(only="kill_front"))

    def test_every_kind_is_done_or_the_reason_is_said(self) -> None:
        self.assertEqual(FAULTS.keys() - set(DONE_HERE) - NOT_DONE_HERE.keys(), set())
        self.assertEqual(set(DONE_HERE) & NOT_DONE_HERE.keys(), set())
        _, alone = catalogue_for(USUAL, lonely=False)
        said = not_done(alone)
        self.assertLessEqual(FAULTS.keys() - set(DONE_HERE), said.keys())
        self.assertIn("faults of cache, precision, scheduler", said)
        self.assertIn("kill_front", said)
        self.assertNotIn("kill_front", not_done([]))

    def test_refusals_come_before_anything_is_done(self) -> None:
        with FakeEngine("mesh", **LONELY) as engine, tempfile.TemporaryDirectory() as folder, mock.patch.dict("os.environ", DOCKER_HOST=f"unix://{engine.path}"):
            with mock.patch.object(ending, "listen"), mock.patch("sys.stderr"):
                self.assertEqual(attach.main(["mesh", "--report", folder]), attach.REFUSED)
                self.assertEqual(attach.main(["mesh", "--report", folder, "--minutes", "10"]), attach.REFUSED)
                self.assertEqual(attach.main(["mesh", "--report", folder, "--only", "bit_flips"]), attach.REFUSED)
                engine.add("mesh", "chaos", 1)
                self.assertEqual(attach.main(["mesh", "--report", folder]), attach.REFUSED)
            self.assertEqual([each for each in engine.asked if not each.startswith("GET ")], [])


class GivenBack(unittest.TestCase):
    def setUp(self) -> None:
        self.engine = self.enterContext(FakeEngine("mesh", **USUAL))
        self.engine.add("mesh", "keys", 1, status="exited")
        self.engine.add("other", "worker", 9)
        self.mesh = AttachedMesh("mesh", self.engine.api())
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.before = self.engine.states()

    def surroundings(self) -> Surroundings:
        return Surroundings(cast(Mesh, self.mesh), cast(LoadProcess, None), Disk(self.folder), False)

    def planned(self, kind: str, seconds: float = 0.0) -> Planned:
        return Planned(1, 0.0, kind, "front" if kind == "kill_front" else "worker", 0.5, seconds, 0.1)

    def test_other_projects_are_not_seen(self) -> None:
        self.assertEqual(self.mesh.replicas(), USUAL)

    def test_each_fault_is_undone(self) -> None:
        for kind in DONE_HERE:
            with self.subTest(kind):
                self.engine.asked.clear()
                fault = FAULTS[kind](self.planned(kind), self.surroundings())
                fault.begin()
                if kind not in ("kill", "kill_front"):  # these are over at once
                    self.assertNotEqual(self.engine.states(), self.before)
                fault.end()
                self.assertEqual(self.engine.states(), self.before)
                self.assertTrue([each for each in self.engine.asked if each.startswith("POST ")])

    def test_a_kill_whose_start_failed_is_undone(self) -> None:
        fault = FAULTS["kill"](self.planned("kill"), self.surroundings())
        self.engine.refuses = lambda asked: asked.endswith("/start")
        with self.assertRaisesRegex(EngineError, "not now"):
            fault.begin()
        self.engine.refuses = lambda asked: False
        fault.end()
        self.assertEqual(self.engine.states(), self.before)

    def test_a_signal_ends_the_run_and_undoes_the_fault(self) -> None:
        old = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
        self.addCleanup(lambda: (signal.signal(signal.SIGTERM, old[0]), signal.signal(signal.SIGINT, old[1]), ending._asked.clear()))
        ending.listen()
        for kind in ("freeze", "stop_start", "disconnect"):
            with self.subTest(kind):
                ending._asked.clear()
                events = Writer(self.folder / "events.jsonl", time.monotonic())
                begun = threading.Event()

                def interrupt() -> None:
                    while self.engine.states() == self.before:
                        time.sleep(0.01)
                    begun.set()
                    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)
                    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

                interrupting = threading.Thread(target=interrupt)
                interrupting.start()
                with self.assertRaises(ending.Ended), mock.patch("builtins.print"):
                    carry_out(self.planned(kind, 60.0), self.surroundings(), events)
                interrupting.join()
                events.close()
                self.assertTrue(begun.is_set())
                self.assertEqual(self.engine.states(), self.before)

    def test_everything_at_once_is_restored_by_an_engine_that_first_refuses(self) -> None:
        as_it_was = AsItWas(self.mesh)
        api = self.engine.api()
        one, two, three = (each.id for each in self.mesh.containers("worker"))
        api.kill(one)
        api.pause(two)
        api.disconnect(NETWORK, three)
        api.disconnect(NETWORK, one)
        refusals = iter([True] * 5)
        self.engine.refuses = lambda asked: asked.startswith("POST") and next(refusals, False)
        self.assertEqual(as_it_was.restore(), [])
        self.assertEqual(self.engine.states(), self.before)

    def test_what_the_engine_does_not_undo_is_told(self) -> None:
        as_it_was = AsItWas(self.mesh)
        one, two, three = (each.id for each in self.mesh.containers("worker"))
        api = self.engine.api()
        api.stop(one)
        api.pause(two)
        api.disconnect(NETWORK, three)
        self.engine.refuses = lambda asked: asked.startswith("POST")
        left = as_it_was.restore(within=0.0)
        self.assertEqual(
            left, ["docker start mesh_worker_1", "docker unpause mesh_worker_2", f"docker network connect {NETWORK} mesh_worker_3"]
        )

    def test_a_container_that_somebody_removed_meanwhile_is_not_ours_to_restore(self) -> None:
        as_it_was = AsItWas(self.mesh)
        del self.engine.containers[self.mesh.containers("worker")[0].id]
        self.assertEqual(as_it_was.restore(within=0.0), [])

    def test_a_mesh_that_is_not_whole(self) -> None:
        self.assertEqual(self.mesh.ills(), [])
        api = self.engine.api()
        api.pause(self.mesh.containers("worker")[0].id)
        api.disconnect(NETWORK, self.mesh.containers("gateway")[1].id)
        self.assertEqual(self.mesh.ills(), ["mesh_gateway_2 is on no network", "mesh_worker_1 is paused"])
        self.assertIn("there is no scheduler", AttachedMesh("other", api).ills())

    def test_the_doors_are_the_front_s(self) -> None:
        own = self.engine.api().inspect(self.mesh.containers("cache")[0].id)
        self.assertEqual(self.mesh.host(own), "front")
        self.assertEqual(self.mesh.host(None), "127.0.0.6")

    def test_who_does_the_same_here(self) -> None:
        ours = self.engine.add("mesh", "chaos", 1)
        self.engine.add("mesh", "chaos", 2, status="exited")
        self.engine.add("other", "chaos", 3)
        api = self.engine.api()
        self.assertEqual(others_at_it(api, "mesh", api.inspect(ours)), [])
        self.assertEqual(others_at_it(api, "mesh", None), ["mesh_chaos_1"])


class Key(unittest.TestCase):
    def setUp(self) -> None:
        self.engine = self.enterContext(FakeEngine("mesh", **USUAL))
        self.maker = self.engine.add("mesh", "keys", 1, status="exited")
        self.mesh = AttachedMesh("mesh", self.engine.api())
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.before = list(self.engine.keys), self.engine.states()

    def after(self) -> tuple:
        return list(self.engine.keys), self.engine.states()

    def test_it_is_made_and_forgotten(self) -> None:
        visitor = Visitor(self.mesh)
        file = visitor.come(self.folder)
        self.assertEqual(file.read_text(), f"secret of {Visitor.NAME}\n")
        self.assertEqual(file.stat().st_mode & 0o777, 0o600)
        self.assertIn(Visitor.NAME, self.engine.keys)
        self.assertEqual(visitor.go(), [])
        self.assertEqual(self.after(), self.before)

    def test_one_that_a_run_ended_by_force_has_left_is_forgotten_too(self) -> None:
        Visitor(self.mesh).come(self.folder)
        visitor = Visitor(self.mesh)
        visitor.come(self.folder)
        self.assertEqual(visitor.go(), [])
        self.assertEqual(self.after(), self.before)

    def test_whoever_cannot_be_forgotten_is_told(self) -> None:
        visitor = Visitor(self.mesh)
        visitor.come(self.folder)
        self.engine.refuses = lambda asked: asked.endswith("/create")
        self.assertEqual(visitor.go(tries=1), [f"docker compose run --rm keys revoke {Visitor.NAME}"])

    def test_there_is_none_where_gateways_read_another_list(self) -> None:
        self.engine.containers[self.mesh.containers("gateway")[1].id]["Mounts"][0] |= {"Type": "bind", "Source": "/mine"}
        with self.assertRaisesRegex(EngineError, "does not write"):
            Visitor(self.mesh).come(self.folder)
        self.assertEqual(self.after()[0], self.before[0])

    def test_there_is_none_where_the_list_is_somebody_s_file(self) -> None:
        for container in self.engine.containers.values():
            container["Mounts"] = [{"Type": "bind", "Source": "/mine/public", "Destination": "/keys", "RW": False}]
        visitor = Visitor(self.mesh)
        with self.assertRaisesRegex(EngineError, "kept outside of the mesh"):
            visitor.come(self.folder)
        self.assertEqual(visitor.go(), [])
        self.assertFalse([each for each in self.engine.asked if each.startswith("POST")])

    def test_there_is_none_without_the_service_that_makes_them(self) -> None:
        del self.engine.containers[self.maker]
        visitor = Visitor(self.mesh)
        with self.assertRaisesRegex(EngineError, "has been removed"):
            visitor.come(self.folder)
        self.assertEqual(visitor.go(), [])


class EngineOverItsSocket(unittest.TestCase):
    def test_what_it_says_is_told(self) -> None:
        with FakeEngine("mesh", worker=1) as engine:
            api = engine.api()
            with self.assertRaisesRegex(Gone, "No such container: nobody"):
                api.inspect("nobody")
            worker = next(iter(engine.containers))
            with self.assertRaisesRegex(EngineError, r"unpause failed \(409\): it is exited") as refused:
                api.kill(worker)
                api.unpause(worker)
            self.assertNotIsInstance(refused.exception, Gone)

    def test_what_is_so_already_is_no_error(self) -> None:
        with FakeEngine("mesh", worker=1) as engine:
            worker = next(iter(engine.containers))
            engine.api().start(worker)
            engine.api().stop(worker)
            engine.api().stop(worker)
            self.assertEqual(engine.containers[worker]["State"]["Status"], "exited")

    def test_nobody_there(self) -> None:
        with self.assertRaisesRegex(EngineError, "unix:///nowhere/engine.sock does not answer"):
            Api("unix:///nowhere/engine.sock").version()

    def test_an_engine_that_is_spoken_to_in_another_way(self) -> None:
        with self.assertRaisesRegex(EngineError, "DOCKER_HOST"):
            Api("ssh://elsewhere")

    def test_both_streams_of_a_container(self) -> None:
        frame = lambda stream, text: bytes([stream, 0, 0, 0]) + len(text).to_bytes(4, "big") + text  # noqa: E731
        streams = split_streams(frame(1, b"one") + frame(2, b"wrong") + frame(1, b" two"))
        self.assertEqual(streams, {1: b"one two", 2: b"wrong"})


class WhatIsAsked(unittest.TestCase):
    def drawn(self, content: Content) -> list[Question]:
        draw = random.Random(1)
        return [content.draw(draw, number) for number in range(300)]

    def test_no_model_but_minilm(self) -> None:
        asked = self.drawn(Content(1, identities=False))
        self.assertEqual({each.model for each in asked}, {"minilm"})
        self.assertEqual({each.known[0] for each in asked if each.known}, {"sentence", "text"})

    def test_no_text_where_no_door_reads_it(self) -> None:
        content = Content(1, identities=False)
        content.leave_out("text")
        self.assertEqual({each.known[0] for each in self.drawn(content) if each.known}, {"sentence"})
        self.assertEqual({each.known[0] for each in content.every_known() if each.known}, {"sentence"})

    def test_doors_that_are_there(self) -> None:
        doors = Doors(Access("front"), ["native", "http", "grpc", "embeddings"])
        ids, text = Content(1).every_known()[0], Content(1).every_known()[-1]
        doors.leave_out(["native"])
        self.assertEqual((doors.of(ids), doors.of(text)), (["http", "grpc"], ["embeddings"]))
        doors.leave_out(["http", "embeddings"])
        self.assertEqual((doors.of(ids), doors.of(text)), (["grpc"], []))


if __name__ == "__main__":
    unittest.main()
