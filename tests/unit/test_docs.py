"""The pages of docs/ and the two READMEs say what is so."""

from __future__ import annotations

from lab import docs
from tests.unit.test_repository import ROOT


def test_the_page_of_variables_is_current() -> None:
    assert docs.PAGE.read_text("utf-8") == docs.page(ROOT / "roles"), "run: .venv/bin/python -m lab.docs"
