"""What a comment, a data file or a page names can be found: in this repository, or in docs/sources.md."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import yaml

from tests.unit.test_repository import ROOT, by_name, texts

# What an operator makes, or a run does.
NOT_OURS = re.compile(r"inventories/(mine|NAME)\b|.*/vault\.yml$")
FOLDERS = ("bin", "benchmarks", "docs", "filter_plugins", "inventories", "lab", "library", "module_utils", "molecule",
           "playbooks", "roles", "tests")  # fmt: skip
NAMED = re.compile(rf"(?<![\w./{{}}~$:<>-])(?:{'|'.join(FOLDERS)})/[\w./*-]*\w")
MODULE = re.compile(r"(?<![\w./{}~$:<>-])\w[\w/]*\.py\b")
ELSEWHERE = re.compile(r"sealing-model\b|(?<![\w./-])(?:facts|design|shared/\w+)/[\w-]+\.|\bseed 0\d\d")
SOURCE = re.compile(r"\b[Ss]ource (0\d\d)\b")


def cited() -> Iterator[tuple[Path, str]]:
    """Yield what people read: code, data and pages, but not what makes a tree of files while it runs."""
    for path, text in texts(".py", ".yml", ".json", ".md", ".j2", ".toml"):
        inside = by_name(path)
        if not inside.startswith(
            ("benchmarks/", "tests/contracts/", "tests/topologies/", "tests/standins/", "tests/unit/")
        ):
            yield path, text


def there(name: str) -> bool:
    return any(True for _ in ROOT.glob(name)) if "*" in name else (ROOT / name).exists()


def test_a_path_that_is_named_is_there() -> None:
    found = [(path, name) for path, text in cited() for name in NAMED.findall(text)]
    assert len(found) > 200
    assert [f"{by_name(p)}: {name}" for p, name in found if not NOT_OURS.match(name) and not there(name)] == []


def test_a_module_that_is_named_is_there() -> None:
    ours = {path.name for path, _ in texts(".py")}
    found = [(path, name) for path, text in cited() for name in MODULE.findall(text)]
    assert len(found) > 20
    assert [f"{by_name(path)}: {name}" for path, name in found if name.rpartition("/")[2] not in ours] == []


def test_a_figure_names_a_place_that_people_can_reach() -> None:
    """Not a note of whoever collected it; what is not public stands in docs/sources.md with what is taken from it."""
    listed = set(SOURCE.findall((ROOT / "docs/sources.md").read_text(encoding="utf-8")))
    nowhere = [f"{by_name(path)}: {name}" for path, text in cited() for name in ELSEWHERE.findall(text)]
    unlisted = [f"{by_name(path)}: {name}" for path, text in cited() for name in SOURCE.findall(text)]
    assert nowhere == []
    assert len(unlisted) >= 10
    assert [place for place in unlisted if place.rpartition(" ")[2] not in listed] == []


def test_every_row_of_hardware_says_where_it_is_from() -> None:
    data = ROOT / "filter_plugins/sealyard/hardware/data"
    for name in ("cpus.yml", "gpus.yml"):
        rows = yaml.safe_load((data / name).read_text(encoding="utf-8"))["models"]
        assert [row["name"] for row in rows if not re.match(r"(AMD|Intel|NVIDIA|Machine)\b.*:", row["source"])] == []
