"""The profile `observability`: replicas are found, rules are loaded, and every panel of the dashboard shows something."""

import json
import unittest
import urllib.parse
import urllib.request

from images import ROOT
from load import Load
from running_compose import PROMETHEUS, the_mesh, wait_for


def ask(path: str, **query: str) -> dict:
    with urllib.request.urlopen(f"{PROMETHEUS}/api/v1/{path}?{urllib.parse.urlencode(query)}", timeout=10) as answer:
        return json.load(answer)["data"]


def expressions() -> list[tuple[str, str]]:
    """(panel, expression), with what Grafana puts in for its variables."""
    panels = json.loads((ROOT / "compose/grafana/shoal.json").read_text())["panels"]
    found = [(panel["title"], target["expr"]) for panel in panels for target in panel.get("targets", [])]
    return [(title, expr.replace("$__rate_interval", "1m").replace("$model", ".*")) for title, expr in found]


class Observability(unittest.TestCase):
    def test_every_replica_is_found_and_gives_figures(self) -> None:
        the_mesh().wait_until_healthy(worker=2)
        wanted = {"shoal-gateway": 1, "shoal-scheduler": 1, "shoal-worker": 2, "shoal-cache": 1, "shoal-precision": 1}

        def found() -> bool:
            up = [target["labels"]["job"] for target in ask("targets")["activeTargets"] if target["health"] == "up"]
            return {job: up.count(job) for job in wanted} == wanted

        wait_for("a target for each replica", 60, found)

    def test_rules_are_loaded_and_work(self) -> None:
        def evaluated() -> bool:
            return all(rule["health"] == "ok" for rule in self.rules())

        wait_for("rules that were evaluated", 30, evaluated)
        self.assertGreater(len(self.rules()), 20)

    def rules(self) -> list[dict]:
        return [rule for group in ask("rules")["groups"] for rule in group["rules"]]

    def test_each_panel_has_a_series_under_load(self) -> None:
        left = expressions()
        self.assertGreater(len(left), 30)
        with Load():

            def all_found() -> bool:
                nonlocal left
                left = [(title, expr) for title, expr in left if not self.has_figures(expr)]
                # A plan is made on idle time, which may be long in coming.
                planned = float(ask("query", query="sum(shoal_precision_plans)")["result"][0]["value"][1]) > 0
                return not [expr for _, expr in left if planned or "shoal_precision_plan_" not in expr]

            try:
                wait_for("figures in each panel", 60, all_found)
            except AssertionError:
                self.fail(f"no series, or no number: {left}")

    def has_figures(self, expr: str) -> bool:
        return any(series["value"][1] != "NaN" for series in ask("query", query=expr)["result"])


if __name__ == "__main__":
    unittest.main()
