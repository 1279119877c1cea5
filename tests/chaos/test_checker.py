"""A checker that cannot fail is a defect: each kind of violation, made by hand, must be found, and nothing else with it."""

import unittest

from chaos.checker import Limits, verdict
from chaos.history import History, read

LIMITS = Limits()
MEBIBYTE = 1 << 20


class Story:
    """A good run of a minute at 20 requests a second: a kill at 20 s, a freeze from 30 to 33 s, an overload from 40 to 45 s.
    Tests spoil it."""

    def __init__(self) -> None:
        self.lines: list[dict] = [
            {"t": -1.0, "ev": "about", "seed": 1, "seconds": 60.0, "rate": 20.0},
            {"t": 0.0, "ev": "phase", "phase": "calm"},
            {"t": 10.0, "ev": "phase", "phase": "faults"},
            {"t": 40.0, "ev": "phase", "phase": "overload"},
            {"t": 45.0, "ev": "phase", "phase": "after"},
            {"t": 20.0, "ev": "fault", "number": 1, "kind": "kill", "service": "worker", "kill": True, "ended": 21.0, "said": "worker killed"},
            {"t": 30.0, "ev": "fault", "number": 2, "kind": "freeze", "service": "cache", "ended": 33.0, "said": "cache frozen"},
            {"t": 15.0, "ev": "acknowledged", "what": "import", "name": "kept_1"},
            {"t": 62.0, "ev": "kept", "what": "import", "name": "kept_1", "kept": True, "said": ""},
            {"t": 63.0, "ev": "container", "container": "worker_1", "service": "worker", "status": "running", "restarts": 1, "exit_code": 0},
        ]
        self.flood: dict = {"t": 45.5, "ev": "flood", "planned": 930.0, "deadline": 2.0, "sent": 900, "ok": 600, "in_time": 600.0, "no_outcome": 0, "failures": {"overloaded": 290, "deadline_exceeded": 10}, "longest_seconds": 2.1, "lag_seconds": 0.05}
        self.lines.append(self.flood)
        for second in range(60):
            self.lines.append(self.memory(second, 100))
        for number in range(1200):
            self.request(number, number / 20)

    @staticmethod
    def memory(at: float, mebibytes: int) -> dict:
        size = mebibytes * MEBIBYTE
        return {"t": at, "ev": "memory", "service": "worker", "container": "worker_1", "bytes": size, "private": size, "limit": 400 * MEBIBYTE}

    def phase(self, at: float) -> str:
        return next(line["phase"] for line in reversed(self.lines[1:5]) if line["t"] <= at)

    def request(self, number: int, at: float, **end: object) -> None:
        self.lines.append(
            {"t": at, "ev": "send", "id": number, "door": "native", "model": "identity", "class": "standard", "deadline": 2.0, "phase": self.phase(at)}
        )
        self.lines.append({"t": at + 0.01, "ev": "end", "id": number, "outcome": "right", "tries": 1, **end})

    def end_of(self, number: int) -> dict:
        return next(line for line in self.lines if line["ev"] == "end" and line["id"] == number)

    def fail(self, low: float, high: float, code: str = "unavailable", lasts: float = 0.01) -> None:
        for number in range(int(low * 20), int(high * 20)):
            self.end_of(number).update(outcome="error", code=code, said="no", t=number / 20 + lasts)

    def broken(self, limits: Limits = LIMITS) -> set[str]:
        return {check.name for check in verdict(self.read(), limits) if check.passed is False}

    def read(self) -> History:
        return read(self.lines)


ONE, TIME = "one outcome for each request", "outcome by the deadline and a quarter of a second"
RIGHT, KEPT = "every answer is that of the reference", "nothing acknowledged is lost"
REPEATABLE, ERRORS = "errors are such as a client may repeat", "errors after retries"
RECOVERY, GOODPUT = "recovery after a kill", "goodput while faults last"
ROLLING = {"rolling_restart": "rolling restart", "rolling_upgrade": "rolling upgrade"}
FLOOD = "one outcome for each request of the flood"
OVERLOAD, BOUNDED, RETURNS = "after three times the load", "memory is bounded", "memory comes back"
THERE, PUT = "all containers run at the end", "the load was put on the mesh"


class Checker(unittest.TestCase):
    def setUp(self) -> None:
        self.story = Story()

    def found(self, *names: str) -> None:
        self.assertEqual(self.story.broken(), set(names))

    def test_a_good_run_passes(self) -> None:
        self.found()
        self.assertEqual([c.name for c in verdict(self.story.read(), LIMITS) if c.passed is None], list(ROLLING.values()))

    def test_a_request_without_an_outcome(self) -> None:
        self.story.lines.remove(self.story.end_of(100))
        self.found(ONE)

    def test_a_request_with_two_outcomes(self) -> None:
        self.story.lines.append({**self.story.end_of(100), "t": 6.0})
        self.found(ONE)

    def test_an_outcome_of_a_request_that_was_never_sent(self) -> None:
        self.story.lines.append({"t": 6.0, "ev": "end", "id": 99_999, "outcome": "right"})
        self.found(ONE)

    def test_an_outcome_just_in_time_and_one_too_late(self) -> None:
        self.story.end_of(100)["t"] = 5.0 + 2.25
        self.found()
        self.story.end_of(100)["t"] = 5.0 + 2.26
        self.found(TIME)

    def test_lateness_of_the_load_itself_excuses_as_much_and_no_more(self) -> None:
        self.story.end_of(100)["t"] = 5.0 + 2.5
        self.story.lines.append({"t": 7.5, "ev": "lag", "seconds": 0.3})
        self.found()
        self.story.end_of(100)["t"] = 5.0 + 2.7
        self.found(TIME)

    def test_the_load_that_is_late_twice_excuses_the_sum(self) -> None:
        self.story.lines += [{"t": 7.9, "ev": "lag", "seconds": 0.9}, {"t": 9.0, "ev": "lag", "seconds": 1.0}]
        self.story.end_of(100)["t"] = 5.0 + 4.1
        self.found()
        self.story.end_of(100)["t"] = 5.0 + 4.3
        self.found(TIME)

    def test_what_the_load_was_late_before_the_deadline_excuses_nothing(self) -> None:
        self.story.lines.append({"t": 7.1, "ev": "lag", "seconds": 4.0})  # 0.6 of them count
        self.story.end_of(100)["t"] = 5.0 + 2.8
        self.found()
        self.story.end_of(100)["t"] = 5.0 + 2.9
        self.found(TIME)

    def test_lateness_of_the_load_at_another_time_excuses_nothing(self) -> None:
        self.story.end_of(100)["t"] = 5.0 + 2.5
        self.story.lines.append({"t": 12.0, "ev": "lag", "seconds": 3.0})
        self.found(TIME)

    def test_a_wrong_answer(self) -> None:
        self.story.end_of(100).update(outcome="wrong", said="nearest to sentence 3")
        self.assertIn(RIGHT, self.story.broken())

    def test_a_wrong_answer_that_came_second(self) -> None:
        self.story.lines.append({**self.story.end_of(500), "t": 26.0, "outcome": "wrong"})
        self.found(ONE, RIGHT)

    def test_a_lost_import(self) -> None:
        self.story.lines[8]["kept"] = False
        self.found(KEPT)

    def test_an_import_that_nobody_looked_for(self) -> None:
        del self.story.lines[8]
        self.found(KEPT)

    def test_an_error_that_may_not_be_repeated(self) -> None:
        self.story.end_of(600).update(outcome="error", code="internal", said="a defect")
        self.found(REPEATABLE)

    def test_poison_is_counted_apart(self) -> None:
        self.story.request(5000, 25.0, outcome="error", code="poisoned", said="it ended 2 workers")
        next(line for line in self.story.lines if line["ev"] == "send" and line["id"] == 5000)["phase"] = "poison"
        self.found()

    def test_poison_among_others_is_none(self) -> None:
        self.story.end_of(600).update(outcome="error", code="poisoned")
        self.found(REPEATABLE)

    def test_what_became_of_the_flood(self) -> None:
        spoiled: list[dict] = [
            {"no_outcome": 1, "ok": 599},
            {"ok": 599},
            {"failures": {"overloaded": 299, "internal": 1}},
            {"longest_seconds": 2.81},
            {"planned": 1010.0},
        ]
        for spoil in spoiled:
            with self.subTest(spoil):
                self.story = Story()
                self.story.flood.update(spoil)
                self.found(FLOOD)
        self.story = Story()
        self.story.flood.update(longest_seconds=2.81, lag_seconds=0.07)
        self.found()
        self.story.lines.remove(self.story.flood)
        self.found(FLOOD)

    def test_more_errors_than_one_in_a_thousand(self) -> None:
        self.story.fail(35.0, 35.05)
        self.found()
        self.story.fail(35.0, 35.15)
        self.found(ERRORS)

    def test_errors_of_the_overload_are_no_errors_of_the_load(self) -> None:
        self.story.fail(40.0, 44.0, "overloaded")
        self.found()

    def test_nor_are_those_of_the_seconds_to_come_back_from_it(self) -> None:
        self.story.fail(45.0, 48.0, "overloaded")
        self.found()
        self.story.fail(50.5, 50.6, "overloaded")
        self.found(ERRORS)

    def test_a_mesh_that_is_away_for_four_seconds_after_a_kill(self) -> None:
        self.story.fail(20.0, 24.0)
        self.found(ERRORS, RECOVERY, GOODPUT)

    def test_two_seconds_are_no_more_than_promised(self) -> None:
        self.story.fail(20.0, 22.0)
        self.assertNotIn(RECOVERY, self.story.broken())

    def test_a_mesh_that_answers_slowly_after_a_kill_has_not_recovered(self) -> None:
        for number in range(400, 480):
            self.story.end_of(number)["t"] = number / 20 + 1.0
        self.found(RECOVERY)

    def test_a_mesh_that_never_recovers(self) -> None:
        self.story.fail(20.0, 30.0)
        self.assertIn(RECOVERY, self.story.broken())

    def test_little_goodput_while_a_fault_lasts(self) -> None:
        self.story.fail(30.0, 32.0)
        self.found(ERRORS, GOODPUT)

    def test_a_failed_request_of_a_rolling_restart_and_of_an_upgrade(self) -> None:
        for kind, name in ROLLING.items():
            with self.subTest(kind):
                self.story = Story()
                self.story.lines[6].update(kind=kind)
                self.found()
                self.story.fail(31.0, 31.05)
                self.found(name)

    def test_a_rolling_restart_that_could_not_be_done_and_one_that_went_wrong(self) -> None:
        for kind, name in ROLLING.items():
            with self.subTest(kind):
                self.story = Story()
                self.story.lines[6].update(kind=kind, not_done="there is no engine")
                self.found()
                self.story.lines[6].update(not_done="it failed: not healthy after 30 s: worker_3")
                self.found(name)

    def test_no_return_to_calm_after_the_overload(self) -> None:
        for number in range(900, 1040):
            self.story.end_of(number)["t"] = number / 20 + 0.4
        self.found(OVERLOAD)

    def test_a_return_within_five_seconds(self) -> None:
        for number in range(900, 980):
            self.story.end_of(number)["t"] = number / 20 + 0.4
        self.found()

    def test_memory_at_its_limit(self) -> None:
        self.story.lines.append(self.story.memory(25.5, 395))
        self.found(BOUNDED)

    def test_memory_at_a_limit_that_was_lowered_on_purpose(self) -> None:
        self.story.lines.append(self.story.memory(31.5, 395))
        self.story.lines[6].update(kind="memory_limit")
        self.found()

    def test_memory_that_does_not_come_back(self) -> None:
        for second in range(50, 60):
            self.story.lines.append(self.story.memory(second + 0.5, 250))
        self.found(RETURNS)

    def test_memory_that_full_batches_need_is_kept_and_may_not_grow_further(self) -> None:
        for second in range(41, 60):
            self.story.lines.append(self.story.memory(second + 0.1, 250))
        self.found()
        for second in range(50, 60):
            self.story.lines.append(self.story.memory(second + 0.2, 399))
        self.found(BOUNDED)
        self.story.lines.append(self.story.memory(59.5, 450))
        self.found(BOUNDED, RETURNS)

    def test_a_container_that_is_away_at_the_end(self) -> None:
        self.story.lines[9].update(status="exited", exit_code=134)
        self.found(THERE)

    def test_a_run_in_which_nothing_was_sent(self) -> None:
        self.story.lines = [line for line in self.story.lines if line["ev"] not in ("send", "end")]
        self.assertIn(PUT, self.story.broken())

    def test_a_run_in_which_the_load_stopped_half_way(self) -> None:
        self.story.lines = [line for line in self.story.lines if line["ev"] not in ("send", "end") or line["t"] < 24.0]
        self.assertIn(PUT, self.story.broken())

    def test_a_run_that_was_not_calm_to_begin_with(self) -> None:
        self.story.fail(2.0, 8.0)
        self.assertIn(PUT, self.story.broken())


if __name__ == "__main__":
    unittest.main()
