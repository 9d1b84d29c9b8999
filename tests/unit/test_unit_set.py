"""library/unit_set.py: which units are enabled, started, restarted, put off and retired."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import unit_set

SHOWN = """\
Id=lotus-worker@pc1-0.service
LoadState=loaded
ActiveState=active
UnitFileState=enabled
NeedDaemonReload=no
MainPID=321
ExecMainStartTimestampMonotonic=5000000

Id=lotus-miner-redeclare-window.timer
LoadState=loaded
ActiveState=active
UnitFileState=disabled
NeedDaemonReload=yes
ActiveEnterTimestampMonotonic=7000000

Id=lotus-worker@new.service
LoadState=not-found
ActiveState=inactive
UnitFileState=
NeedDaemonReload=no
MainPID=0
ExecMainStartTimestampMonotonic=0
ActiveEnterTimestampMonotonic=0
"""


def test_states_are_read_from_systemctl_show() -> None:
    states = unit_set.parse_states(SHOWN, boot_time=1000.0)
    worker, timer, new = states.values()
    assert (worker.known, worker.active, worker.enabled, worker.started_at) == (True, "active", True, 1005.0)
    assert worker.main_pid == 321 and not worker.stale_definition
    assert (timer.enabled, timer.stale_definition, timer.started_at) == (False, True, 1007.0)
    assert (new.known, new.started_at) == (False, 0.0)


def state(name: str, active: str = "active", enabled: bool = True, started_at: float = 100.0) -> unit_set.State:
    return unit_set.State(name, True, active, enabled, False, started_at, 1)


def aged(path: Path, seconds: float) -> str:
    path.write_text("")
    os.utime(path, (seconds, seconds))
    return str(path)


def test_only_the_unit_whose_file_is_younger_than_its_start_restarts(tmp_path: Path) -> None:
    old, young = aged(tmp_path / "old", 99), aged(tmp_path / "young", 101)
    units = [{"name": "a", "files": [old, str(tmp_path / "missing")]}, {"name": "b", "files": [old, young]}]
    states = {"a": state("a"), "b": state("b")}
    steps = unit_set.steps_for(units, states, [], None, may_restart=True)
    assert (steps.start, steps.restart, steps.enable) == ([], ["b"], [])


def test_a_dry_run_tells_a_restart_from_what_would_change(tmp_path: Path) -> None:
    file = aged(tmp_path / "f", 99)
    units = [{"name": "a", "files": [file]}, {"name": "b", "files": [str(tmp_path / "other")]}]
    states = {"a": state("a"), "b": state("b")}
    assert unit_set.steps_for(units, states, [], None, False, [file]).deferred == ["a"]


def test_a_forbidden_restart_is_put_off_and_is_no_change(tmp_path: Path) -> None:
    units = [{"name": "window", "files": [aged(tmp_path / "f", 101)]}]
    steps = unit_set.steps_for(units, {"window": state("window")}, [], None, may_restart=False)
    assert steps.deferred == ["window"] and not steps.any()


@pytest.mark.parametrize("active", ["inactive", "failed", "deactivating"])
def test_what_does_not_run_is_started(active: str) -> None:
    steps = unit_set.steps_for([{"name": "a", "files": []}], {"a": state("a", active)}, [], None, may_restart=False)
    assert steps.start == ["a"]


def test_a_retired_unit_that_has_failed_is_not_found_again(monkeypatch: pytest.MonkeyPatch) -> None:
    run: list[tuple[str, ...]] = []

    def systemctl(*arguments: str, good: tuple[int, ...] = (0,)) -> str:
        run.append((*arguments, str(good)))
        return ""

    monkeypatch.setattr(unit_set, "systemctl", systemctl)
    unit_set.carry_out(unit_set.Steps(retire=["old.service"]), [])
    assert run[1:] == [("stop", "old.service", "(0,)"), ("reset-failed", "old.service", "(0, 1)")]


def test_units_that_left_the_plan_are_retired_and_foreign_ones_are_not() -> None:
    units = [{"name": "lotus-worker@pc1-0.service", "files": []}]
    present = ["lotus-worker@pc1-0.service", "lotus-worker@old.service", "sshd.service"]
    states = {"lotus-worker@pc1-0.service": state("lotus-worker@pc1-0.service")}
    steps = unit_set.steps_for(units, states, present, "lotus-worker@*.service", may_restart=True)
    assert steps.retire == ["lotus-worker@old.service"] and steps.any()


def test_the_service_that_a_timer_starts_is_looked_at_for_a_changed_definition() -> None:
    units = [
        {
            "name": "lotus-pledge.timer",
            "files": [f"/etc/systemd/system/lotus-pledge.{kind}" for kind in ("timer", "service")],
        },
        {
            "name": "lotus-worker@pc1-0.service",
            "files": ["/etc/systemd/system/lotus-worker@.service", "/etc/sealyard/a.service"],
        },
    ]
    assert unit_set.helper_units(units) == ["lotus-pledge.service"]


def test_allowed_cpus_come_from_proc(tmp_path: Path) -> None:
    (tmp_path / "7").mkdir()
    (tmp_path / "7/status").write_text("Name:\tlotus\nCpus_allowed:\tf\nCpus_allowed_list:\t0-3,8\n")
    assert unit_set.allowed_cpus(7, str(tmp_path)) == "0-3,8"
    assert unit_set.allowed_cpus(8, str(tmp_path)) == ""
