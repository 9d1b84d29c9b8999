"""Sectors: sealed to Proving, in the range of their miner, stored once and left nowhere else."""

from __future__ import annotations

from tests.testinfra.cluster import LAB, miners, output, plan

(SEAL,) = miners("seal")
STATES = {number: SEAL.call("SectorsStatus", number, False)["State"] for number in SEAL.call("SectorsList") or []}


def test_four_sectors_are_proving_and_none_has_failed() -> None:
    assert sum(state == "Proving" for state in STATES.values()) >= 4, STATES
    assert set(STATES.values()) == {"Proving"}


def test_their_numbers_are_of_the_miners_own_range() -> None:
    first, last = plan()["miners"][SEAL.host]["instances"]["seal"]["sector_numbers"].split("-")
    assert all(int(first) <= number <= int(last) for number in STATES)


def test_each_is_in_the_store_and_on_no_workers_scratch() -> None:
    stored = output(SEAL.host, "ls /mnt/store/sealed /mnt/store/cache").split()
    missing = [number for number in STATES if stored.count(f"s-t01000-{number}") != 2]
    left = {
        host: found
        for host in LAB.groups
        if (found := output(host, "ls /sealer/sealed /sealer/cache 2>/dev/null | grep s-t0 || true").split())
    }
    assert (missing, left) == ([], {})


def test_no_sector_crossed_its_group() -> None:
    address_group = {LAB.hosts[host]: group for host, group in LAB.groups.items()}
    crossed = []
    for host, group in LAB.groups.items():
        fetched = output(
            host, "journalctl --no-pager --output cat --unit 'lotus-worker@*' | grep -oE 'Fetch http://[0-9.]+' || true"
        )
        for line in fetched.splitlines():
            source = line.removeprefix("Fetch http://")
            if address_group.get(source, group) != group:
                crossed.append(f"{host} fetched from {source}")
    assert crossed == []
