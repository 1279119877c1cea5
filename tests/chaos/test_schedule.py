"""The plan is a function of seed, length and catalogue, and nothing else."""

import shlex
import tempfile
import unittest
from collections import Counter
from pathlib import Path

from chaos import __main__ as command
from chaos.faults import CATALOGUE, FAULTS
from chaos.schedule import ROLLING, Plan, make_plan


class Schedule(unittest.TestCase):
    def test_the_same_seed_gives_the_same_plan(self) -> None:
        for seconds in (60.0, 600.0):
            for seed in range(20):
                self.assertEqual(make_plan(seed, seconds, CATALOGUE), make_plan(seed, seconds, list(reversed(CATALOGUE))))

    def test_other_seeds_give_other_plans(self) -> None:
        plans = {make_plan(seed, 600.0, CATALOGUE).faults for seed in range(50)}
        self.assertEqual(len(plans), 50)

    def test_ten_minutes_have_every_kind_one_rolling_restart_and_one_rolling_upgrade(self) -> None:
        for seed in range(100):
            kinds = Counter(fault.kind for fault in make_plan(seed, 600.0, CATALOGUE).faults)
            self.assertEqual(set(kinds), set(FAULTS), f"seed {seed}")
            self.assertEqual([kinds[each] for each in ROLLING], [1, 1])
            self.assertGreaterEqual(kinds["kill"], 4)

    def test_faults_come_one_after_the_other_and_leave_the_ends_calm(self) -> None:
        for seconds in (60.0, 600.0):
            for seed in range(50):
                plan = make_plan(seed, seconds, CATALOGUE)
                self.assertGreaterEqual(plan.faults[0].at, plan.calm_first)
                self.assertEqual(plan.faults[0].kind, "kill")
                for one, following in zip(plan.faults, plan.faults[1:]):
                    self.assertGreater(following.at, one.at + one.seconds)
                last = plan.faults[-1]
                self.assertLess(last.at + last.seconds, plan.overload_at or seconds - 5.0)

    def test_a_minute_has_some_faults_and_no_long_ones(self) -> None:
        for seed in range(50):
            plan = make_plan(seed, 60.0, CATALOGUE)
            self.assertGreaterEqual(len(plan.faults), 4)
            self.assertIsNone(plan.overload_at)
            self.assertFalse({fault.kind for fault in plan.faults} & set(ROLLING))

    def test_five_minutes_have_what_rolls_if_nothing_else_is_wanted(self) -> None:
        for kind in ROLLING:
            catalogue = [trait for trait in CATALOGUE if trait.kind in (kind, "kill")]
            for seed in range(50):
                kinds = Counter(fault.kind for fault in make_plan(seed, 300.0, catalogue).faults)
                self.assertEqual(kinds[kind], 1, f"seed {seed}")

    def test_a_plan_is_read_as_it_was_written(self) -> None:
        plan = make_plan(7, 600.0, CATALOGUE)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "plan.json"
            plan.save(path)
            self.assertEqual(Plan.load(path), plan)


class Again(unittest.TestCase):
    def test_the_command_that_does_the_same_once_more_makes_the_same_plan(self) -> None:
        given = command.arguments_of(["--minutes", "2", "--only", "kill,freeze", "--share", "0.3"])
        words = shlex.split(command.again(given, 7))
        self.assertEqual(words[:4], ["make", "chaos", "MINUTES=2", "SEED=7"])
        more = command.arguments_of(["--minutes", "2", "--seed", "7", *shlex.split(words[4].removeprefix("CHAOS="))])
        self.assertEqual((more.only, more.share, more.most_rate), (given.only, given.share, given.most_rate))

    def test_of_what_is_usual_nothing_is_said(self) -> None:
        self.assertEqual(command.again(command.arguments_of([]), 7), "make chaos MINUTES=10 SEED=7")


if __name__ == "__main__":
    unittest.main()
