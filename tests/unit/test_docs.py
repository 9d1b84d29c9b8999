"""The pages of docs/ and the two READMEs say what is so."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from functools import cache

import pytest
from sealyard.variables.inventory import ROLE_GROUPS

from lab import docs
from tests.unit.test_repository import ROOT, texts
from tests.unit.test_rooms import FLOORS

SVG = "{http://www.w3.org/2000/svg}"
ADDITIONS = ("A kind of task", "A stack", "A CPU, GPU or network card", "A vendor of cards", "A version of Lotus",
             "A key of config.toml", "A check of preflight", "An error text", "A playbook", "When something restarts",
             "An exporter", "A molecule scenario")  # fmt: skip
MOST_BULLETS = 6
SPEAKING = ("roles", "playbooks", "library", "module_utils", "filter_plugins")
TELLING = 12
"""Characters that make a piece of a message recognizable."""


def read(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def test_the_page_of_variables_is_current() -> None:
    assert docs.PAGE.read_text("utf-8") == docs.page(ROOT / "roles"), "run: .venv/bin/python -m lab.docs"


def test_the_drawing_has_the_rooms_on_their_floors() -> None:
    drawn = {
        text.text: float(text.get("y") or 0)
        for group in ElementTree.fromstring(read("docs/architecture.svg")).iter(f"{SVG}g")
        for text in group.iter(f"{SVG}text")
        if text.get("class") == "name"
    }
    floors = [rooms for rooms in FLOORS if "__main__" not in rooms]
    assert set(drawn) == {room for rooms in floors for room in rooms}
    heights = [{drawn[room] for room in rooms} for rooms in floors]
    assert all(len(of_floor) == 1 for of_floor in heights)
    assert heights == sorted(heights, key=max, reverse=True)


def test_the_page_of_the_architecture_has_every_room() -> None:
    rooms = re.findall(r"^\| (`.+?) \|", read("docs/architecture.md"), re.MULTILINE)
    named = [name for row in rooms for name in re.findall(r"`(\w+)`", row)]
    floors = [room for rooms in reversed(FLOORS) for room in rooms if not room.startswith("__")]
    assert sorted(named) == sorted(floors)


def test_every_way_to_extend_is_told_in_a_few_bullets() -> None:
    """That the files are there is tested with all others that are named (test_citations.py)."""
    parts = re.split(r"^## ", read("docs/extending.md"), flags=re.MULTILINE)[1:]
    assert sorted(part.splitlines()[0] for part in parts) == sorted(ADDITIONS)
    bullets = {part.splitlines()[0]: re.findall(r"^- ", part, re.MULTILINE) for part in parts}
    assert [name for name, found in bullets.items() if not 0 < len(found) <= MOST_BULLETS] == []


def test_every_link_between_pages_leads_somewhere() -> None:
    broken = []
    for path, text in texts(".md"):
        for target in re.findall(r"\]\((?!https?:)([^)]+)\)", text):
            name, _, anchor = target.partition("#")
            page = path.parent / name if name else path
            headings = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE) if anchor else []
            if not page.exists() or (anchor and anchor not in [slug(heading) for heading in headings]):
                broken.append(f"{path.relative_to(ROOT)}: {target}")
    assert broken == []


def slug(heading: str) -> str:
    """Return the anchor that a heading gets."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@cache
def spoken() -> list[str]:
    """Return the text of each file that speaks to operators, with the parts of its messages put together."""
    return [
        " ".join(re.sub(r"[\"']\s*\n\s*[rf]?[\"']", "", text).split())
        for path, text in texts(".py", ".yml", ".j2")
        if path.relative_to(ROOT).parts[0] in SPEAKING
    ]


def quoted() -> list[str]:
    rows = re.findall(r"^\| (.+?) \|", read("docs/troubleshooting.md"), re.MULTILINE)
    return [quote for row in rows for quote in re.findall(r"`([^`]+)`", row) if not quote.endswith(".service")]


@pytest.mark.parametrize("quote", quoted())
def test_what_troubleshooting_quotes_is_still_said(quote: str) -> None:
    pieces = [piece.strip() for piece in quote.split("…") if piece.strip()]
    assert max(map(len, pieces)) >= TELLING
    assert any(all(piece in text for piece in pieces) for text in spoken())


LANGUAGES = ("README.md", "README.zh.md")


def commands(text: str) -> list[str]:
    """Return the lines of all blocks of code, without the comments, which are in the reader's language."""
    lines = re.findall(r"^    (.*)$", text, re.MULTILINE)
    return [re.sub(r"(^|\s+)# .*$", "", line).rstrip() for line in lines]


def rows(text: str) -> list[list[str]]:
    """Return what each row of a table names and no language changes: code and targets of links."""
    return [sorted(re.findall(r"`[^`]+`|\]\([^)]+\)", row)) for row in re.findall(r"^\|.*\|$", text, re.MULTILINE)]


def packages(text: str) -> list[str]:
    """Return the second cells of the last table."""
    return re.findall(r"^\|[^|]+\| ([^|]+) \|", text.rpartition("\n## ")[2], re.MULTILINE)[1:]


def test_the_readmes_have_the_same_commands() -> None:
    english, chinese = (commands(read(page)) for page in LANGUAGES)
    assert len(english) > 30
    assert english == chinese


def test_the_readmes_have_the_same_headings() -> None:
    english, chinese = (re.findall(r"^(#+) ", read(page), re.MULTILINE) for page in LANGUAGES)
    assert english == chinese


def test_the_readmes_have_the_same_rows() -> None:
    english, chinese = (rows(read(page)) for page in LANGUAGES)
    assert [pair for pair in zip(english, chinese, strict=True) if pair[0] != pair[1]] == []
    assert packages(read(LANGUAGES[0])) == packages(read(LANGUAGES[1]))


def test_the_readmes_lead_to_the_same_places() -> None:
    english, chinese = (set(re.findall(r"\]\(([^)]+)\)", read(page))) for page in LANGUAGES)
    assert english ^ chinese == set(LANGUAGES)


@pytest.mark.parametrize("page", LANGUAGES)
def test_the_readmes_tell_every_group(page: str) -> None:
    told = re.findall(r"^\| `(\w+)` \|", read(page), re.MULTILINE)
    assert set(told) == {*ROLE_GROUPS, "rdma"}


def test_the_architecture_tells_the_order_of_a_run() -> None:
    steps = re.findall(r"^\d+\. `(playbooks/\w+\.yml)`", read("docs/architecture.md"), re.MULTILINE)
    assert steps == re.findall(r"import_playbook: (\S+)", read("site.yml"))
