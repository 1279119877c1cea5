"""Alert rules, by promtool (it is in the image of Prometheus)."""

import unittest
from pathlib import Path

import yaml

from images import ROOT
from running_compose import docker, image

HERE = Path(__file__).parent


def promtool(*arguments: str) -> str:
    mounts = ["-v", f"{HERE}:/tests:ro", "-v", f"{ROOT}/compose/prometheus:/etc/prometheus:ro"]
    return docker("run", "--rm", "--network=none", *mounts, "--entrypoint=promtool", image("prometheus"), *arguments)


class Alerts(unittest.TestCase):
    def test_the_configuration_is_valid(self) -> None:
        self.assertIn("is valid", promtool("check", "config", "/etc/prometheus/prometheus.yml"))

    def test_each_fires_when_it_should(self) -> None:
        self.assertIn("SUCCESS", promtool("test", "rules", "/tests/alerts_test.yml"))

    def test_each_is_tested_and_says_what_to_do(self) -> None:
        rules = yaml.safe_load((ROOT / "compose/prometheus/alerts.yml").read_text())
        tested = (HERE / "alerts_test.yml").read_text()
        for rule in (rule for group in rules["groups"] for rule in group["rules"] if "alert" in rule):
            with self.subTest(alert=rule["alert"]):
                self.assertIn(rule["labels"]["severity"], ("page", "ticket"))
                self.assertEqual(set(rule["annotations"]), {"summary", "action"})
                self.assertRegex(tested, rf"\b{rule['alert']}\b")


if __name__ == "__main__":
    unittest.main()
