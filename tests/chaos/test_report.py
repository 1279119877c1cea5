"""The page is one file that needs nothing else, shows what happened, and is well formed."""

import json
import tempfile
import unittest
import xml.etree.ElementTree as xml
from html.parser import HTMLParser
from pathlib import Path

from chaos import report
from chaos.checker import Limits, verdict
from chaos.history import History
from chaos.test_checker import Story


class Page(HTMLParser):
    """Finds what would be fetched, and tags that are not closed."""

    VOID = {"meta", "br"}

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.open: list[str] = []
        self.words = ""

    def handle_starttag(self, tag: str, attributes: list) -> None:
        self.fetched += [value for name, value in attributes if name in ("src", "href")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, tag

    def handle_startendtag(self, tag: str, attributes: list) -> None:
        pass

    def handle_data(self, data: str) -> None:
        self.words += data


class Report(unittest.TestCase):
    def setUp(self) -> None:
        self.story = Story()

    def page(self) -> tuple[Page, str, dict]:
        history = self.story.read()
        checks = verdict(history, Limits())
        with tempfile.TemporaryDirectory() as folder:
            report.write(Path(folder), history, checks, Limits(), "make chaos MINUTES=1 SEED=1")
            text = (Path(folder) / "report.html").read_text()
            read = json.loads((Path(folder) / "report.json").read_text())
        page = Page()
        page.feed(text)
        return page, text, read

    def test_it_is_whole_and_fetches_nothing(self) -> None:
        page, text, read = self.page()
        self.assertEqual((page.open, page.fetched), ([], []))
        self.assertNotIn("http", text)
        self.assertIn("Chaos: passed", page.words)
        self.assertIn("make chaos MINUTES=1 SEED=1", page.words)
        self.assertTrue(read["passed"])
        self.assertEqual(len(read["seconds_of_load"]), 60)
        picture = text[text.index("<svg") : text.index("</svg>") + 6]
        self.assertGreater(len(xml.fromstring(picture)), 20)

    def test_it_says_what_failed_and_what_was_not_done(self) -> None:
        self.story.end_of(100).update(outcome="wrong", said="<nearest> to sentence 3")
        self.story.lines.append({"t": 34.0, "ev": "fault", "number": 3, "kind": "clock_skew", "service": "cache", "not_done": "no libfaketime"})
        page, text, read = self.page()
        self.assertIn("Chaos: failed", page.words)
        self.assertIn("<nearest> to sentence 3", page.words)
        self.assertNotIn("<nearest>", text)
        self.assertIn("clock_skew: no libfaketime", page.words)
        self.assertFalse(read["passed"])

    def test_of_a_run_in_which_nothing_happened(self) -> None:
        self.assertIn("<svg", report.as_html(History(), verdict(History(), Limits()), ""))


if __name__ == "__main__":
    unittest.main()
