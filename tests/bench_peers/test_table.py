"""The tables, the store and the choice of rows."""

import tempfile
import unittest
from pathlib import Path

from generator import Window, percentile_ms, window_of
from rows import ROWS, choose
from store import Store
from table import latency, recovered, spread, tables

STATE = {"at": "2026-01-02T03:04:05", "cores": 2, "busy_cores": 0.1, "load_average": 0.2}


def window(rate: float | None = 100.0, **more: object) -> Window:
    figures: dict = {
        "rate": rate, "seed": 1, "seconds": 10.0, "offered": 100.0, "throughput": 99.0, "sent": 1000, "ok": 1000,
        "p50_ms": 20.0, "p99_ms": 150.0, "p99_9_ms": 180.0, "refused": 0, "refused_p50_ms": 0.0, "refused_p99_ms": 0.0,
        "failures": {}, "said": {}, "no_outcome": 0, "goodput": None, "unsent": 0, "generator_late": False,
        "buckets": [(20_000, 990), (150_000, 10)],
    }  # fmt: skip
    return Window(**(figures | more))  # type: ignore[arg-type]


def peak(rate: float, above: float) -> dict:
    trials = [window(rate, p99_ms=p99).kept() for p99 in (150.0, 160.0, 170.0)] + [window(above, p99_ms=300.0).kept()]
    closed = window(None, throughput=133.0).kept()
    memory = {"start_s": 2.0, "idle_mb": 300.0, "most_mb": 400.0}
    return {
        "state": STATE, "seconds": 10.0, **memory,
        "closed": closed, "highest": rate, "given_up": False, "trials": trials,
    }  # fmt: skip


def load(own: float, slowest: float) -> dict:
    points = {name: {"p99_9_ms": 190.0, "windows": [window(rate).kept()]} for name, rate in
              (("half", own / 2), ("four_fifths", own * 0.8), ("slowest", slowest))}  # fmt: skip
    beyond = window(3 * own, goodput=90.0, refused=2000, refused_p50_ms=1.0, refused_p99_ms=3.0)
    over = {"of": own, "windows": [beyond.kept()], "recovered_after_s": [0.5]}
    memory = {"start_s": 3.0, "idle_mb": 310.0, "most_mb": 450.0}
    return {"state": STATE, "seconds": 10.0, **memory, "peak": own, "points": points, "overload": over}


class Windows(unittest.TestCase):
    def test_a_window_fits_below_the_limit_with_hardly_a_failure_and_all_of_the_load_sent(self) -> None:
        self.assertTrue(window().fits)
        self.assertTrue(window(failures={"internal": 9}).fits)
        self.assertFalse(window(failures={"internal": 5}, no_outcome=5).fits)
        self.assertFalse(window(p99_ms=200.0).fits)
        self.assertFalse(window(ok=0, p99_ms=0.0).fits)
        self.assertFalse(window(unsent=1).fits)

    def test_percentiles_are_over_the_answers_of_all_windows(self) -> None:
        slow = window(buckets=[(20_000, 990), (400_000, 10)])
        self.assertEqual(percentile_ms([window(), slow], 99), 20.0)
        self.assertEqual(percentile_ms([window(), slow], 99.1), 150.0)
        self.assertEqual(percentile_ms([window(), slow], 99.9), 400.0)
        self.assertEqual(percentile_ms([], 99), 0.0)

    def test_a_report_of_shoal_bench_is_read(self) -> None:
        latency_of = {"p50_ms": 1.0, "p99_ms": 2.0, "p99_9_ms": 3.0, "buckets": [[900, 5]]}
        seen = {
            "sent": 8, "ok": 5, "refused": 2, "no_outcome": 1, "goodput_per_second": 4.5, "latency": latency_of,
            "refusal_latency": {"p50_ms": 0.1, "p99_ms": 0.2},
            "failures": {"overloaded": {"count": 2, "first_said": "full"}},
        }  # fmt: skip
        step = {"rate": 8.0, "seconds": 1.0, "offered_per_second": 8.0, "throughput_per_second": 5.0, "all": seen,
                "generator": {"late": True, "unsent": 0}}  # fmt: skip
        read = window_of({"seed": 3, "steps": [step]})
        self.assertEqual((read.ok, read.failed, read.goodput, read.seed), (5, 3, 4.5, 3))
        self.assertEqual((read.said, read.buckets), ({"overloaded": "full"}, [(900, 5)]))
        self.assertNotIn("buckets", read.kept())


class Table(unittest.TestCase):
    def test_every_figure_says_how_many_windows_it_is_from_and_their_spread(self) -> None:
        self.assertEqual(spread([3.0, 1.0, 2.0]), "2 (1 to 3, 3)")
        self.assertEqual(spread([2.5], 1), "2.5 (1)")
        self.assertEqual(spread([]), "–")

    def test_p99_9_of_few_answers_is_marked(self) -> None:
        point = {"p99_9_ms": 190.0, "windows": [window(ok=999).kept()]}
        self.assertEqual(latency(point), "20.0 (1) / 150 (1) / 190*")
        point["windows"] = [window(no_outcome=2).kept()]
        self.assertEqual(latency(point), "20.0 (1) / 150 (1) / 190; 2 failed")
        self.assertEqual(latency(None), "–")

    def test_a_server_that_does_not_recover_is_said_to(self) -> None:
        self.assertEqual(recovered([0.5, 1.5]), "1.0 (0.5 to 1.5, 2)")
        self.assertEqual(recovered([0.5, None]), "not within 60 s (2)")

    def test_the_whole(self) -> None:
        rows = {"ray/tuned": {"peak.sts": peak(50.0, 52.0), "load.sts": load(50.0, 50.0)}, "shoal/tuned": {
            "peak.sts": peak(200.0, 208.0), "load.sts": load(200.0, 50.0)}}  # fmt: skip
        raw = {"sts": {"state": STATE, "requests_per_s": {"onnxruntime.batch_8": [150.0, 160.0, 170.0]}}}
        sizes = {"shoal": {"own_mb": 60.0, "pytorch_mb": 450.0}}
        text = tables({"rows": rows, "raw": raw, "sizes": sizes})
        self.assertIn("| shoal/tuned | **200.0** (not 208.0; p99 160 (150 to 170, 3)) | 133.0 (1) |", text)
        self.assertIn("at the slowest one's (50.0/s)", text)
        self.assertIn("| no server: onnxruntime, batches of 8 | – | 160.0 (150.0 to 170.0, 3) |", text)
        self.assertIn("| 90.0 (1) | 0.45 (1) | 2000 (1) | 1.0 (1) / 3.0 (1) | none | 0 (1) | 0.5 (1) |", text)
        self.assertIn("| 2.5 (2.0 to 3.0, 2) | 305 (300 to 310, 2) | 425 (400 to 450, 2) | 60 + 450 |", text)
        self.assertNotIn("differ", text)
        self.assertNotIn("### ", text)  # bench/write_readme.py splits at these

    def test_a_peak_found_later_that_is_lower_asks_for_the_load_again(self) -> None:
        rows = {"ray/tuned": {"load.sts": load(50.0, 50.0)}, "triton/tuned": {"load.sts": load(200.0, 60.0)}}
        self.assertIn("The rates of the last column differ", tables({"rows": rows, "raw": {}}))

    def test_no_peak(self) -> None:
        self.assertIn("| none (tried 52.0) |", tables({"rows": {"x": {"peak.sts": peak(0.0, 52.0) | {"trials": [
            window(52.0).kept(), window(80.0).kept()]}}}, "raw": {}}))  # fmt: skip

    def test_nothing(self) -> None:
        self.assertEqual(tables({"rows": {}, "raw": {}}), "Nothing is measured.\n")


class Stored(unittest.TestCase):
    def test_parts_are_kept_and_others_are_left(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "sub/figures.json"
            store = Store(file)
            store.put("shoal/tuned", "peak.sts", {"highest": 200.0})
            store.put("triton/tuned", "peak.sts", {"highest": 0.0})
            again = Store(file)
            again.put("ray/tuned", "peak.sts", {"highest": 50.0})
            self.assertEqual(list(Store(file).all["rows"]), ["triton/tuned", "ray/tuned", "shoal/tuned"])
            self.assertEqual(Store(file).slowest("sts"), 50.0)
            self.assertEqual(Store(file).slowest("long"), 0.0)
            self.assertIsNone(again.of("ray/tuned", "load.sts"))

    def test_rows_are_chosen_by_server_or_by_name(self) -> None:
        self.assertEqual(choose(None), ROWS)
        self.assertEqual(
            [r.name for r in choose("shoal/tuned,triton")], ["triton/defaults", "triton/tuned", "shoal/tuned"]
        )
        self.assertEqual([r.name for r in choose("triton/grpc")], ["triton/grpc"])
        with self.assertRaises(ValueError):
            choose("vllm")


if __name__ == "__main__":
    unittest.main()
