"""The distributed-miner fork: one duty each, numbers from one place, limits where the fork reads them."""

from __future__ import annotations

import json

import pytest

from lab import sealing
from tests.testinfra.cluster import LAB, Process, machine, miners, output, plan, workers

COUNTER_HOST, COUNTER_PORT = "winning", 1357
COUNTER_FILE = "/var/lib/lotus/miner-winning/sectorid"
KEYS = 14
"""Of myscheduler.json, by the contract."""


def flags(miner: Process) -> dict[str, str]:
    """Flags that the plan gives a miner."""
    given: list[str] = plan()["miners"][miner.host]["instances"][miner.name]["flags"]
    return {name: value for name, _, value in (flag.partition("=") for flag in given)}


def numbers(miner: Process) -> list[int]:
    """Sectors that a miner has."""
    return [int(number) for number in miner.call("SectorsList") or []]


@pytest.mark.parametrize("miner", miners(), ids=str)
def test_a_miner_has_the_duties_of_the_plan(miner: Process) -> None:
    duties = miner.call("StandIn.Duties")
    assert {name: str(duties[name]).lower() for name in ("window", "winning", "p2p")} == {
        "window": flags(miner)["--window-post"],
        "winning": flags(miner)["--winning-post"],
        "p2p": flags(miner)["--p2p"],
    }
    assert duties["sctype"] == flags(miner).get("--sctype", "")
    assert duties["counter"] == (miner.host == COUNTER_HOST)


def test_one_miner_proves_and_one_makes_blocks() -> None:
    duties = [miner.call("StandIn.Duties") for miner in miners()]
    assert [sum(duty[name] for duty in duties) for name in ("window", "winning", "counter")] == [1, 1, 1]


@pytest.mark.parametrize("miner", miners("window", "winning"), ids=str)
def test_a_miner_that_proves_seals_nothing(miner: Process) -> None:
    # The genesis sectors are the winning miner's on a devnet.
    assert [number for number in numbers(miner) if number > 1] == []
    assert len(miner.call("WorkerStats")) == 1


def test_no_number_is_given_out_twice_and_the_counter_is_above_all() -> None:
    given = [number for miner in miners() for number in numbers(miner)]
    assert len(given) == len(set(given))
    last = output(COUNTER_HOST, f"cat {COUNTER_FILE}")
    assert last.strip() == str(int(last)) and int(last) >= max(given)


def test_the_number_is_copied_to_two_places() -> None:
    places = ["/var/lib/sealyard/sector-counter/highest", "/mnt/store/sector-counter/sectorid"]
    last = output(COUNTER_HOST, f"systemctl start lotus-sector-counter-copy && cat {COUNTER_FILE}")
    assert {int(output(COUNTER_HOST, f"cat {place}")) for place in places} == {int(last)}


@pytest.mark.parametrize("host", LAB.hosts)
def test_only_miners_reach_the_counter(host: str) -> None:
    address = LAB.hosts[COUNTER_HOST]
    tried = machine(host).run("timeout 5 bash -c %s", f"</dev/tcp/{address}/{COUNTER_PORT}")
    assert (tried.rc == 0) == (host in plan()["miners"])


@pytest.mark.parametrize("worker", workers(), ids=str)
def test_the_miner_counts_by_the_plans_limits(worker: Process) -> None:
    (miner,) = [m for m in miners(worker.planned["miner_role"]) if m.host == worker.planned["miner"]]
    name = worker.planned["myscheduler"]["WorkerName"]
    (entry,) = [e for e in miner.call("WorkerStats").values() if e["Enabled"] and e["Info"]["Hostname"] == name]
    reported = entry["Info"]["Resources"]
    wanted = {key: value for key, value in worker.planned["myscheduler"].items() if key in reported}
    assert len(wanted) >= KEYS - 1 and {key: reported[key] for key in wanted} == wanted
    assert set(worker.planned["tasks"]) == {"AP", "PC1", "PC2", "C2"} & set(entry["TaskTypes"].split())


@pytest.mark.parametrize("worker", workers(), ids=str)
def test_limits_lie_in_one_path_and_paths_have_the_forks_keys(worker: Process) -> None:
    paths = [path["path"] for path in plan()["hosts"][worker.host]["paths"] if worker.name in path["workers"]]
    found = [path for path in paths if machine(worker.host).file(f"{path}/myscheduler.json").exists]
    assert len(found) == 1
    assert len(json.loads(output(worker.host, f"cat {found[0]}/myscheduler.json"))) == KEYS
    for path in paths:
        store = json.loads(output(worker.host, f"cat {path}/sectorstore.json"))
        assert set(store) == {"ID", "Weight", "CanSeal", "CanStore", "MaxStorage"}


@pytest.mark.parametrize("miner", miners("window", "seal", "deal"), ids=str)
def test_a_miner_that_never_ends_by_itself_is_killed(miner: Process) -> None:
    asked = output(miner.host, f"systemctl show --property TimeoutStopUSec,SendSIGKILL {miner.unit}").split()
    assert sorted(asked) == ["SendSIGKILL=yes", "TimeoutStopUSec=20s"]


@pytest.mark.parametrize("miner", miners("seal", "deal"), ids=str)
def test_nothing_is_pledged_unasked(miner: Process) -> None:
    states = output(miner.host, "systemctl is-active lotus-pledge.timer; systemctl is-enabled lotus-pledge.timer; true")
    assert not {"active", "activating", "enabled"} & set(states.split())


def test_four_sectors_are_proving() -> None:
    (seal,) = miners("seal")
    states = [seal.call("SectorsStatus", number, False)["State"] for number in numbers(seal)]
    assert states.count("Proving") >= 4


def test_no_rule_of_the_fork_was_broken() -> None:
    assert sealing.violations(LAB) == []
