"""Sectors: sealed to Proving, in the range of their miner, stored once and left nowhere else."""

from __future__ import annotations

from functools import cache

from tests.testinfra.cluster import LAB, miners, output, plan

(SEAL,) = miners("seal")


@cache
def states() -> dict[int, str]:
    """State of every sector of the seal miner."""
    return {number: SEAL.call("SectorsStatus", number, False)["State"] for number in SEAL.call("SectorsList") or []}


def test_four_sectors_are_proving_and_none_has_failed() -> None:
    assert sum(state == "Proving" for state in states().values()) >= 4, states()
    assert set(states().values()) == {"Proving"}


def test_their_numbers_are_of_the_miners_own_range() -> None:
    first, last = plan()["miners"][SEAL.host]["instances"]["seal"]["sector_numbers"].split("-")
    assert all(int(first) <= number <= int(last) for number in states())


def test_each_is_in_the_store_and_on_no_workers_scratch() -> None:
    stored = output(SEAL.host, "ls /mnt/store/sealed /mnt/store/cache").split()
    missing = [number for number in states() if stored.count(f"s-t01000-{number}") != 2]
    left = {
        host: found
        for host in LAB.groups
        if (found := output(host, "ls /sealer/sealed /sealer/cache 2>/dev/null | grep s-t0 || true").split())
    }
    assert (missing, left) == ([], {})


def test_no_pc1_output_crossed_its_group() -> None:
    # Lotus looks at groups for PC2 only: the unsealed file may go from one AddPiece worker to any PC1 worker, and the
    # finalized sector to the store by way of any worker that attaches it.
    fetch = "grep -oE 'Fetch http://[0-9.]+:[0-9]+/remote/(sealed|cache)' || true"
    address_group = {LAB.hosts[host]: group for host, group in LAB.groups.items()}
    pc1 = {LAB.hosts[host] for host in LAB.pc1_hosts}
    sources = {
        host: {
            line.removeprefix("Fetch http://").partition(":")[0]
            for line in output(
                host, f"journalctl --no-pager --output cat --unit 'lotus-worker@*' | {fetch}"
            ).splitlines()
        }
        for host in LAB.groups
    }
    assert any(sources.values())
    assert {
        (host, source)
        for host, found in sources.items()
        for source in found
        if source in pc1 and address_group[source] != LAB.groups[host]
    } == set()
