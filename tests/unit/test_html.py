"""sealyard.pages.plan_page: the page is whole, safe, self-contained, and shows what the plan says."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from sealyard.hardware.cpu_list import parse_cpus
from sealyard.hardware.declared import normalise
from sealyard.pages.plan_page import render
from sealyard.plan import words
from sealyard.planner.planner import plan

TOPOLOGIES: dict[str, dict[str, Any]] = {
    path.stem: json.loads(path.read_text())
    for path in sorted((Path(__file__).parents[1] / "topologies").glob("*.json"))
}
PC1 = {"cpu": "EPYC 7542 x1", "memory": "1TiB", "scratch": "8x 2TB NVMe", "nic": "ConnectX-5 100G"}
PC2 = {"cpu": "EPYC 7402 x1", "memory": "512GiB", "gpus": ["2x RTX 3080"], "scratch": "8x 2TB NVMe", "nic": "2x 10GbE"}


class Checker(HTMLParser):
    """Every tag closed in order; every reference and every text kept."""

    VOID = ("meta", "rect", "line", "path", "br", "link", "img")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.classes: list[str] = []
        self.text = ""
        self.references: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for key, value in attrs:
            if key == "class":
                self.classes.append(value or "")
            if key in ("src", "href", "xlink:href") or key.startswith("on"):
                self.references.append(f"{key}={value}")
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data + "\n"


def assert_page(page: str) -> Checker:
    checker = Checker()
    checker.feed(page)
    checker.close()
    assert checker.open == []
    assert checker.references == []
    assert "script" not in checker.tags
    assert not re.search(r"url\((?!#)|@import|https?:", page)
    return checker


def fleet(hosts: dict[str, dict[str, Any]], **settings: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """A plan and its hardware; a seal miner is added."""
    document = {"settings": settings, "hosts": {"seal": {"roles": ["seal_miner"]}} | hosts}
    return plan(document), {name: h["hardware"] for name, h in hosts.items()}


def small() -> tuple[dict[str, Any], dict[str, Any]]:
    return fleet(
        {
            "pc1-1": {"roles": ["pc1_worker"], "hardware": PC1},
            "pc1-2": {"roles": ["pc1_worker"], "hardware": dict(PC1)},
            "pc2-1": {"roles": ["pc2_worker", "c2_worker"], "hardware": PC2},
        }
    )


def test_page_says_what_the_plan_says() -> None:
    plan_, hardware = small()
    found = assert_page(render(plan_, hardware))
    capacity = plan_["capacity"]
    assert words.rate_text(capacity["sectors_per_day"]) in found.text
    assert f"{capacity['bottleneck']} binds the cluster" in found.text
    for name in ("pc1-1, pc1-2", "pc2-1", "g1"):
        assert name in found.text
    moved = next(iter(capacity["groups"].values()))["bytes_per_day_between_hosts"]
    assert moved > 0 and f"{words.bytes_text(moved)}/day" in found.text
    assert "RTX 3080" in found.text and "mlx5_0 100G" in found.text


def test_the_forks_numbers_come_from_its_counter() -> None:
    plan_, hardware = small()
    assert "sector numbers 0-" in assert_page(render(plan_, hardware)).text
    host = next(iter(plan_["miners"]))
    plan_["miners"] |= {
        "seal": plan_["miners"][host]
        | {"instances": {"seal": {"flags": ["--sctype=get", "--sclisten=10.0.0.2:1357"]}}},
        "win": {
            "roles": ["winning"],
            "instances": {"winning": {"flags": ["--sctype=alloce", "--sclisten=10.0.0.2:1357"]}},
        },
    }
    for name in ("seal", "win"):
        plan_["hosts"].setdefault(name, plan_["hosts"][host])
    text = assert_page(render(plan_, hardware)).text
    assert "gives out the sector numbers at 10.0.0.2:1357" in text and "sector numbers from 10.0.0.2:1357" in text
    assert "sector numbers 0-" not in text


def test_every_core_is_drawn_once_with_its_worker() -> None:
    roles = ["pc1_worker", "pc2_worker", "c2_worker"]
    hosts: dict[str, dict[str, Any]] = {name: {"roles": roles, "hardware": t} for name, t in TOPOLOGIES.items()}
    for name, host in hosts.items():
        plan_, hardware = fleet({name: host}, scratch_bytes=16 * 10**12)
        slice_ = plan_["hosts"][name]
        if not slice_["workers"]:
            continue
        page = render(plan_, hardware)
        assert_page(page)
        drawn = re.findall(r"<title>([^<]*) · CPU ([\d,]+)</title>", page)
        cpus = [int(c) for _, text in drawn for c in text.split(",")]
        assert sorted(cpus) == [c["cpu"] for c in normalise(host["hardware"])["cpus"] if c["online"]], name
        owners = {int(c): who for who, text in drawn for c in text.split(",")}
        for worker in slice_["workers"]:
            assert {owners[c] for c in parse_cpus(worker["cpus"])} == {worker["name"]}
        for cpu in parse_cpus(slice_["reserved_cpus"]):
            assert owners[cpu] == "kept for the system"


def test_alike_hosts_share_a_drawing() -> None:
    hosts: dict[str, dict[str, Any]] = {f"p{i}": {"roles": ["pc1_worker"], "hardware": dict(PC1)} for i in range(150)}
    hosts |= {f"q{i}": {"roles": ["pc2_worker", "c2_worker"], "hardware": dict(PC2)} for i in range(60)}
    page = render(*fleet(hosts))
    found = assert_page(page)
    assert page.count("<figure>") == 2
    assert "p0 … p149" in found.text and "× 150" in found.text
    assert len(page) < 120_000


def test_notices_come_first_and_name_the_remedy() -> None:
    plan_, hardware = small()
    plan_["errors"] = [{"path": "hosts.x", "value": "<b>", "problem": "is wrong", "remedy": "write <this>"}]
    plan_["moves"] = [{"host": "pc1-2", "from": "g1", "to": "g2", "what": "group", "may_hold_sectors": True}]
    plan_["warnings"] = ["pc1-1: scratch is not known", "pc1-2: scratch is not known", "C2 binds"]
    page = render(plan_, hardware)
    found = assert_page(page)
    assert page.index("nothing of this plan may be applied") < page.index("What each stage can do")
    assert "write <this>" in found.text and "<b>" in found.text
    assert "pc1-1, pc1-2: scratch is not known" in found.text
    assert "Drain them first" in found.text


def test_names_are_escaped_everywhere() -> None:
    evil = '"><script>alert(1)</script>&'
    hardware = dict(PC2, gpus=[{"name": f"RTX {evil}", "memory": "24GiB"}])
    plan_, hw = fleet({evil: {"roles": ["pc1_worker", "pc2_worker"], "hardware": hardware, "rack": evil}}, actor=evil)
    page = render(plan_, hw)
    assert evil in assert_page(page).text and evil not in page


@pytest.mark.parametrize("document", [{}, {"hosts": {}}, {"hosts": {"a": {"roles": ["pc1_worker"], "hardware": {}}}}])
def test_a_plan_with_nothing_to_show_is_still_a_page(document: dict[str, Any]) -> None:
    assert assert_page(render(plan(document), {})).text.strip()
    assert assert_page(render({"errors": [], "hosts": {}}, {})).text.strip()


def test_unknown_hardware_is_listed_without_a_drawing() -> None:
    plan_, hardware = small()
    del hardware["pc1-1"]
    page = render(plan_, hardware)
    assert "No hardware known" in page and page.count("<figure>") == 2


def test_it_is_legible_in_print_and_in_the_dark() -> None:
    page = render(*small())
    assert "@media print" in page and "prefers-color-scheme:dark" in page


def test_the_same_plan_gives_the_same_bytes() -> None:
    plan_, hardware = small()
    backwards = plan_ | {
        "hosts": dict(reversed(plan_["hosts"].items())),
        "groups": dict(reversed(plan_["groups"].items())),
    }
    assert render(plan_, hardware) == render(backwards, dict(reversed(hardware.items())))


def test_words() -> None:
    assert words.names_text(["pc1-10", "pc1-9", "pc1-8", "seal", "pc1-2"]) == "pc1-2, pc1-8 … pc1-10, seal"
    assert words.bytes_text(481e9) == "481 GB" and words.bytes_text(0) == "0 B" and words.bytes_text(1.5e15) == "1.5 PB"
    assert words.memory_text(1 << 40) == "1 TiB" and words.memory_text(512 << 30) == "512 GiB"
    assert words.plural(1, "host") == "1 host" and words.plural(2000, "host") == "2,000 hosts"
