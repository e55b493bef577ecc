"""The caveats' documentation is complete, and says what the program says."""

from __future__ import annotations

import re
from pathlib import Path

from robreport.caveats import CAVEATS, as_markdown


def test_the_page_is_what_the_program_says(root: Path) -> None:
    assert (root / "docs" / "caveats.md").read_text("utf-8") == as_markdown()


def test_every_code_that_a_metric_raises_is_explained(root: Path) -> None:
    raised = set()
    for path in (root / "plugins").rglob("*.py"):
        text = path.read_text("utf-8")
        raised |= set(re.findall(r'code="([a-z-]+)"', text))
        raised |= set(re.findall(r'return "([a-z]+(?:-[a-z]+)+)", (?:Check|once_more)\(', text))
    assert raised == set(CAVEATS)
