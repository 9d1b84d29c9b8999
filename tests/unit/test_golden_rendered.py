"""What lands on hosts: units, drop-ins, mounts and settings of a small cluster of each stack.

After a change that is meant: UPDATE_GOLDEN=1 .venv/bin/pytest tests/unit/test_golden_rendered.py, then read the diff.
"""

from __future__ import annotations

import base64
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.sealyard_host import unit_files

from tests.unit.rendered import ROOT, Cluster

GOLDEN = ROOT / "tests/golden/rendered"


def slurped(key: str) -> list[dict[str, Any]]:
    """The files `api` and `token` of a miner or daemon, as ansible.builtin.slurp gives them."""
    texts = {"api": "/ip4/10.0.0.9/tcp/2347/http", "token": "TOKEN"}
    return [
        {"item": [{"key": key}, name], "content": base64.b64encode(text.encode()).decode()}
        for name, text in texts.items()
    ]


PEER = "12D3KooWEYgNLRTbgs5Uhk38vvjHEaVYTJvAJVwHJLMmW2vF3ynu"
FOUND: dict[str, Any] = {
    "lotus_daemon_peers": {"peers": {"chain/public": f"/ip4/10.0.0.11/tcp/1347/p2p/{PEER}"}},
    "lotus_miner_daemon_files": {"results": slurped("daemon")},
    "nfs_rdma_server_nfsdctl": {"stat": {"exists": False}},
    "scratch_storage_made": {"uuid": "1e55-5ca1ab1e", "array_uuid": "5ca1ab1e:00000000:00000000:00000001"},
    "sealing_worker_cgroup_v2": {"stat": {"exists": True}},
    "sealing_worker_miner_files": {"results": slurped("seal/seal")},
    "sealing_worker_paths": {"left": {}},
}
LOTUS, FORK1, FORK2, REMOTE = "lotus", "lotus_distributed-1", "lotus_distributed-2", "force_remote_worker"
CASES: list[tuple[str, str, dict[str, Any], list[str]]] = [
    (LOTUS, "starter", {}, ["chain", "post", "seal", "worker-1"]),
    (LOTUS, "rdma", {}, ["store-1", "pc1-1"]),
    (FORK1, "distributed", {"sealing_fork_generation": 1}, ["seal", "pc1-1"]),
    (FORK2, "distributed", {}, ["chain", "winning", "seal", "pc1-1", "gpu-1"]),
    (REMOTE, "remote-worker", {}, []),
]
"""Folder of the golden files, inventory, variables as with -e, and hosts; with none, the first that serves and that
mounts."""
SECOND_OF_ITS_KIND = re.compile(r"(lotus-worker@|/worker/|/sealer/)[a-z0-9-]+-[1-9]")


def jobs(cluster: Cluster, host: str, stack: str) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Roles that site.yml runs on a host: role, tasks file, variables."""

    def within(group: str) -> bool:
        return host in cluster.groups.get(group, ())

    slice_: Mapping[str, Any] = cluster.plan["hosts"].get(host, {})
    for kind in ("public", "private"):
        if within(f"daemon_{kind}"):
            yield "lotus_daemon", "main", {"lotus_daemon_kind": kind}
            yield "lotus_daemon", "first_start", {"lotus_daemon_kind": kind}
    for role in ("winning", "window", "seal", "deal"):
        if within(f"{role}_miner"):
            yield f"{role}_miner", "main", {"pledging_mode": "smooth"}
    if slice_.get("exports"):
        if within("worker"):
            yield "scratch_storage", "main", {"scratch_storage_devices": ["/dev/nvme0n1", "/dev/nvme1n1"]}
        yield "nfs_rdma_server", "main", {}
    if slice_.get("mounts"):
        yield "nfs_rdma_client", "main", {}
    if slice_.get("workers") and within("worker") and stack != REMOTE:
        yield "sealing_worker", "main", {}


def rendered(stack: str, inventory: str, extra: dict[str, Any], hosts: list[str]) -> dict[str, str]:
    """Texts by HOST/PATH, of each kind of worker the first one."""
    cluster = Cluster(inventory, FOUND, extra)
    for key in ("exports", "mounts") if not hosts else ():
        hosts = [*hosts, next(name for name, slice_ in sorted(cluster.plan["hosts"].items()) if slice_.get(key))]
    return {
        f"{host}{path}": text
        for host in hosts
        for role, tasks_from, variables in jobs(cluster, host, stack)
        for path, text in cluster.files(host, role, tasks_from, **variables).items()
        if not path.endswith(".py") and not SECOND_OF_ITS_KIND.search(path)
    }


@pytest.mark.parametrize(("stack", "inventory", "extra", "hosts"), CASES, ids=[f"{c[0]}-{c[1]}" for c in CASES])
def test_what_lands_on_hosts_is_what_was_looked_at(
    stack: str, inventory: str, extra: dict[str, Any], hosts: list[str]
) -> None:
    found = rendered(stack, inventory, extra, hosts)
    assert found
    names = {path.split("/", 1)[0] for path in found}
    known = {
        str(path.relative_to(GOLDEN / stack))
        for name in names
        for path in (GOLDEN / stack / name).rglob("*")
        if path.is_file()
    }
    if os.environ.get("UPDATE_GOLDEN"):
        for path in known - set(found):
            (GOLDEN / stack / path).unlink()
        for path, text in found.items():
            (GOLDEN / stack / path).parent.mkdir(parents=True, exist_ok=True)
            (GOLDEN / stack / path).write_text(text)
        known = set(found)
    assert set(found) == known, "other files than before: UPDATE_GOLDEN=1 writes them anew"
    for path, text in found.items():
        assert text == (GOLDEN / stack / path).read_text(), f"{stack}/{path}: UPDATE_GOLDEN=1 writes it anew"


def test_no_golden_folder_without_a_case() -> None:
    assert {path.name for path in GOLDEN.iterdir()} == {case[0] for case in CASES}


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
@pytest.mark.parametrize(
    "host", sorted(path for path in GOLDEN.glob("*/*")), ids=lambda path: "-".join(path.parts[-2:])
)
def test_systemd_has_nothing_against_a_unit_of_ours(host: Path) -> None:
    units = {
        Path("/", path.relative_to(host)): path.read_text()
        for path in host.rglob("*")
        if path.is_file() and unit_files.unit_of(path)
    }
    asked = subprocess.run(["systemd-analyze", "verify", "--man=no", "basic.target"], capture_output=True, check=False)
    if asked.returncode:
        pytest.skip("systemd-analyze does not work here")
    assert unit_files.complaints(units) == []
