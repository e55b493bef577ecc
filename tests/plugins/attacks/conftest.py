"""What all tests of attacks share."""

from __future__ import annotations

import pytest

from robreport_plugins.attacks import retries


@pytest.fixture(autouse=True)
def _few_questions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the search that tests the attacks short; where it decides, a test asks for all of it."""
    monkeypatch.setattr(retries, "QUESTIONS", 20)
