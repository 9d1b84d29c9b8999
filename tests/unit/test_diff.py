"""sealyard.plan.diff: what an inventory edit changes, moves first."""

from __future__ import annotations

import copy
from typing import Any

from sealyard.plan.diff import diff, text
from sealyard.planner.planner import plan

PC1 = {"cpu": "EPYC 7542 x1", "memory": "1TiB", "scratch": "8x 2TB NVMe"}
PC2 = {"cpu": "EPYC 7402 x1", "memory": "512GiB", "gpus": ["2x RTX 3080"], "scratch": "8x 2TB NVMe"}


def document(pc1: int = 4, **settings: Any) -> dict[str, Any]:
    hosts: dict[str, Any] = {"seal": {"roles": ["seal_miner"]}}
    hosts |= {f"pc1-{i}": {"roles": ["pc1_worker"], "hardware": dict(PC1)} for i in range(1, pc1 + 1)}
    hosts |= {f"pc2-{i}": {"roles": ["pc2_worker", "c2_worker"], "hardware": dict(PC2)} for i in (1, 2)}
    return {"settings": settings, "hosts": hosts}


def changed(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Plan, apply, edit, plan again."""
    applied = plan(old)
    return text(diff(applied, plan(new | {"current": applied})))


def test_nothing_applied_and_nothing_changed() -> None:
    first = plan(document())
    assert text(diff(None, first)) == ["nothing was applied yet: everything is new"]
    assert changed(document(), document()) == []


def test_a_host_more_is_new_and_nothing_else_moves() -> None:
    lines = changed(document(4), document(5))
    assert "1 worker host new: pc1-5" in lines
    assert not any(line.startswith("MOVE") or "restarts" in line for line in lines)


def test_a_host_less_leaves() -> None:
    lines = changed(document(4), document(3))
    assert any(line == "1 worker host gone: pc1-4" for line in lines)


def test_other_hardware_names_the_workers_that_restart() -> None:
    edited = document()
    edited["hosts"]["pc1-2"]["hardware"]["memory"] = "512GiB"
    lines = changed(document(), edited)
    assert any(line.startswith("pc1-2: stops pc1-") for line in lines)
    for host in edited["hosts"].values():
        if "pc1_worker" in host["roles"]:
            host["hardware"]["memory"] = "256GiB"
    assert any(line.startswith("sectors per day:") for line in changed(document(), edited))


def test_hosts_that_change_alike_share_a_line() -> None:
    edited = document(4)
    for name in ("pc1-1", "pc1-2", "pc1-3"):
        edited["hosts"][name]["worker_port"] = 4000
    lines = [line for line in changed(document(4), edited) if "restarts" in line]
    assert len(lines) == 1 and lines[0].startswith("pc1-1 … pc1-3: restarts") and "port" in lines[0]


def test_moves_come_first_and_say_what_is_at_stake() -> None:
    old = document()
    old["groups"] = {"a": {"miner": "seal"}, "b": {"miner": "seal"}}
    for i in (1, 2):
        old["hosts"][f"pc1-{i}"]["group"] = old["hosts"]["pc2-1"]["group"] = "a"
        old["hosts"][f"pc1-{i + 2}"]["group"] = old["hosts"]["pc2-2"]["group"] = "b"
    new = copy.deepcopy(old)
    new["hosts"]["pc1-2"]["group"] = "b"
    new["hosts"]["pc1-9"] = {"roles": ["pc1_worker"], "hardware": dict(PC1), "group": "a"}
    lines = changed(old, new)
    assert lines[0] == "MOVE pc1-2: group a -> b: it may hold sectors, drain it first"
    assert any("pc1-9" in line for line in lines[1:])


def test_miners_that_change_their_numbers_are_named() -> None:
    old = plan(document())
    new = copy.deepcopy(old)
    new["miners"]["seal"]["sector_numbers"] = "5-6"
    new["miners"]["deal"] = {"roles": ["deal"]}
    lines = text(diff(old, new))
    assert any(line.startswith("miner seal: sector_numbers 0-") and line.endswith("-> 5-6") for line in lines)
    assert "miner deal: roles - -> deal" in lines
