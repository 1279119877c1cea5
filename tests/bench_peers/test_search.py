"""The search for the highest rate, against servers that are a function of the rate."""

import unittest
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from search import MOST_WINDOWS, TOLERANCE, Exhausted, Trials, find_highest


@dataclass
class Verdict:
    fits: bool


def search(first: float, answers: Callable[[float, int], bool], repeats: int = 3) -> tuple[float, Trials[Verdict]]:
    """`answers(rate, number)`: whether the n-th window at this rate fits."""
    trials = Trials(lambda rate, number: Verdict(answers(rate, number)), repeats)
    return find_highest(first, trials.bears, trials.holds), trials


def below(bearable: float, rate: float, _: int) -> bool:
    return rate < bearable


def count(trials: Trials[Verdict]) -> int:
    return sum(len(windows) for windows in trials.windows.values())


class Search(unittest.TestCase):
    def test_finds_what_a_steady_server_bears_from_below_and_from_above(self) -> None:
        for first in (10, 60, 99, 101, 140, 1000):
            with self.subTest(first=first):
                found, trials = search(first, lambda rate, _: rate < 100)
                self.assertLess(found, 100)
                self.assertGreater(found * TOLERANCE, 100)
                self.assertLess(count(trials), MOST_WINDOWS)

    def test_from_three_quarters_of_the_closed_rate_a_dozen_windows_are_enough(self) -> None:
        for bearable in (80, 100, 120, 133):
            with self.subTest(bearable=bearable):
                _, trials = search(0.75 * 133, partial(below, bearable))
                self.assertLessEqual(count(trials), 12)

    def test_one_failed_window_does_not_count(self) -> None:
        stalled = [True]

        def answers(rate: float, _: int) -> bool:
            return rate < 100 and not (80 < rate and stalled and stalled.pop())

        found, _ = search(75, answers)
        self.assertGreater(found * TOLERANCE, 100)

    def test_a_failure_is_confirmed_by_a_second_window(self) -> None:
        _, trials = search(75, lambda rate, _: rate < 100)
        for rate, windows in trials.windows.items():
            if rate > 100:
                self.assertEqual([window.fits for window in windows], [False, False])

    def test_one_lucky_window_does_not_make_a_peak(self) -> None:
        found, trials = search(75, lambda rate, number: rate < 100 or (rate < 120 and number == 1))
        self.assertLess(found, 100)
        self.assertEqual(len(trials.windows[found]), 3)

    def test_where_most_windows_of_three_fit_the_rate_is_borne(self) -> None:
        found, _ = search(100, lambda rate, number: rate <= 100 and number != 1)
        self.assertEqual(found, 100)

    def test_a_server_that_bears_nothing_has_no_peak(self) -> None:
        found, trials = search(75, lambda rate, _: False)
        self.assertEqual(found, 0)
        self.assertEqual(trials.best(), 0)

    def test_with_one_repeat_each_window_decides(self) -> None:
        found, trials = search(75, lambda rate, _: rate < 100, repeats=1)
        self.assertGreater(found * TOLERANCE, 100)
        self.assertTrue(all(len(windows) == 1 for windows in trials.windows.values()))

    def test_a_search_without_an_end_is_given_up_with_the_best_so_far(self) -> None:
        trials = Trials(lambda rate, number: Verdict(rate <= 75 or (rate < 1000 and number == 1)), 3)
        with self.assertRaises(Exhausted):
            find_highest(75, trials.bears, trials.holds)
        self.assertEqual(count(trials), MOST_WINDOWS)
        self.assertGreaterEqual(trials.best(), 75)

    def test_a_server_that_bears_everything_ends_the_search_too(self) -> None:
        with self.assertRaises(Exhausted):
            search(75, lambda rate, _: True)


if __name__ == "__main__":
    unittest.main()
