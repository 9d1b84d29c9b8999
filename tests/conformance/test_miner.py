"""The miner process: its files, its API, its storage paths and what it says of itself."""

import base64
import json
import stat
import uuid
from pathlib import Path

import pytest

from tests.conformance.conftest import Miners
from tests.conformance.devnet import ACTOR, START_SEC, Devnet
from tests.conformance.rpc import PERMISSIONS, Rpc, RpcError, http_status


def mode(path: Path) -> str:
    return f"{stat.S_IMODE(path.stat().st_mode):04o}"


def test_second_process_on_the_repo_is_refused(miners: Miners) -> None:
    done = miners.seal.cli("run", "--nosync", check=False, limit_sec=START_SEC)
    assert done.status == 1
    assert "repo is already locked (process is already running)" in done.stderr


def test_file_modes(miners: Miners) -> None:
    repo = miners.seal.repo
    assert mode(repo / "token") == "0600"
    assert mode(repo / "keystore") == "0700"
    assert {mode(key) for key in (repo / "keystore").iterdir()} == {"0600"}
    assert mode(repo / "api") == "0644"
    assert mode(repo / "config.toml") == "0644"


@pytest.mark.parametrize(("permission", "allowed"), PERMISSIONS.items())
def test_api_info_carries_the_permission(miners: Miners, permission: str, allowed: list[str]) -> None:
    done = miners.seal.cli("auth", "api-info", "--perm", permission)
    name, _, info = done.stdout.strip().partition("=")
    token, _, address = info.partition(":")
    assert (name, address) == ("MINER_API_INFO", f"/ip4/{miners.seal.host}/tcp/2345/http")
    payload = token.split(".")[1]
    assert json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))) == {"Allow": allowed}


def test_there_is_no_other_permission(miners: Miners) -> None:
    done = miners.seal.cli("auth", "api-info", "--perm", "owner", check=False)
    assert (done.status, done.stdout) == (1, "")
    assert "--perm flag has to be one of: [read write sign admin]" in done.stderr


def test_attach_writes_the_metadata(miners: Miners) -> None:
    meta = json.loads((miners.store / "sectorstore.json").read_text())
    uuid.UUID(meta.pop("ID"))
    assert meta == {
        "Weight": 10,
        "CanSeal": False,
        "CanStore": True,
        "MaxStorage": 0,
        "Groups": None,
        "AllowTo": None,
        "AllowTypes": None,
        "DenyTypes": None,
        "AllowMiners": None,
        "DenyMiners": None,
    }


def test_attached_paths_are_in_storage_json(miners: Miners) -> None:
    listed = json.loads((miners.deal.repo / "storage.json").read_text())
    assert listed == {"StoragePaths": [{"Path": str(miners.store)}]}


def test_attaching_twice_changes_nothing(miners: Miners) -> None:
    before = (miners.deal.repo / "storage.json").read_text()
    done = miners.deal.cli("storage", "attach", str(miners.store), check=False)
    assert done.status == 1
    assert f"path with ID {miners.store_id} already opened: '{miners.store}'" in done.stderr
    assert (miners.deal.repo / "storage.json").read_text() == before


def test_initialising_a_path_twice_is_refused(miners: Miners) -> None:
    before = (miners.store / "sectorstore.json").read_text()
    done = miners.seal.cli("storage", "attach", "--init", "--store", str(miners.store), check=False)
    assert done.status == 1
    assert "path is already initialized" in done.stderr
    assert (miners.store / "sectorstore.json").read_text() == before


def test_attaching_an_uninitialised_path_is_refused(devnet: Devnet, miners: Miners) -> None:
    empty = devnet.root / "not-a-path"
    empty.mkdir()
    done = miners.seal.cli("storage", "attach", str(empty), check=False)
    assert done.status == 1
    assert f"{empty}/sectorstore.json: no such file or directory" in done.stderr


def test_storage_list_shows_the_store(miners: Miners) -> None:
    text = miners.deal.cli("storage", "list").stdout
    assert f"{miners.store_id}:\n" in text
    assert f"\tLocal: {miners.store}\n" in text
    assert f"\tURL: http://{miners.deal.host}:2345/remote" in text
    assert "\tWeight: 10; Use: Store" in text


def test_miner_without_sealing_still_lists_itself(miners: Miners) -> None:
    text = miners.window.cli("sealing", "workers").stdout
    assert text.count("Worker ") == 1
    assert ", host " in text
    (own,) = miners.window.workers().values()
    assert own["Enabled"] is True
    assert set(own["Tasks"]) == {
        "seal/v0/commit/1",
        "seal/v0/fetch",
        "seal/v0/finalize",
        "seal/v0/finalize/replicaupdate",
        "seal/v0/finalizeunsealed",
        "seal/v0/provereplicaupdate/1",
    }


def test_proving_deadlines_are_the_actors(miners: Miners) -> None:
    for miner in (miners.window, miners.deal):
        lines = miner.cli("proving", "deadlines").stdout.splitlines()
        assert lines[0] == f"Miner: {ACTOR}"
        assert lines[1].split("  ")[0] == "deadline"
        for column in ("open", "partitions", "sectors (faults)", "proven partitions"):
            assert column in lines[1]
        rows = lines[2:]
        assert len(rows) == 48
        assert [row.split()[0] for row in rows] == [str(index) for index in range(48)]
        assert sum("(current)" in row for row in rows) == 1
        assert sum(int(row.split()[3]) for row in rows) >= 2


def test_window_miner_knows_no_sector_of_its_own(miners: Miners) -> None:
    assert miners.window.cli("sectors", "list").stdout.strip() == ""
    assert miners.window.sectors() == []


def test_proving_check_elsewhere_calls_healthy_sectors_bad(miners: Miners) -> None:
    rows = [row.split(maxsplit=3) for row in miners.window.cli("proving", "check", "0").stdout.splitlines()]
    assert rows[0] == ["deadline", "partition", "sector", "status"]
    assert sorted(row[2:] for row in rows[1:]) == [
        [str(n), f"bad (getting commR: No state for /{n}: datastore: key not found)"] for n in (0, 1)
    ]


def test_proving_check_wants_a_deadline(miners: Miners) -> None:
    done = miners.window.cli("proving", "check", check=False)
    assert done.status == 1
    assert "incorrect number of arguments, got 0" in done.stderr


def test_attached_sectors_can_be_proven(miners: Miners) -> None:
    """By a miner that sealed nothing and has only attached their path."""
    answer = miners.window.compute_window_post(0)
    assert answer is not None
    assert [deadline["Deadline"] for deadline in answer] == [0]
    assert answer[0]["Partitions"] == [{"Index": 0, "Skipped": []}]
    assert answer[0]["Proofs"][0]["PoStProof"] == 10
    assert answer[0]["Proofs"][0]["ProofBytes"]


def test_deadline_without_sectors_has_no_proof(miners: Miners) -> None:
    assert miners.window.compute_window_post(5) is None


def test_miner_with_window_post_off_cannot_prove(miners: Miners) -> None:
    done = miners.deal.cli("proving", "compute", "windowed-post", "0", check=False)
    assert done.status == 1
    assert "panic in rpc method 'Filecoin.ComputeWindowPoSt'" in done.stderr


def test_genesis_miner_lists_the_presealed_sectors(miners: Miners) -> None:
    assert sorted(miners.winning.sectors()) == [0, 1]
    assert miners.winning.state(0) == "Proving"


def test_metrics(miners: Miners) -> None:
    status, text = http_status(f"http://{miners.seal.rpc.address}/debug/metrics")
    assert status == 200
    names = {line.split("{")[0].split(" ")[0] for line in text.splitlines() if not line.startswith("#")}
    assert any(name.startswith("lotus_sched_") for name in names)
    assert any(name.startswith("lotus_storage_path_") for name in names)


@pytest.mark.parametrize("route", ["livez", "readyz"])
def test_only_daemons_have_health(miners: Miners, route: str) -> None:
    assert http_status(f"http://{miners.seal.rpc.address}/health/{route}")[0] == 404


def test_bad_token_is_401(miners: Miners) -> None:
    body = {"jsonrpc": "2.0", "id": 1, "method": "Filecoin.ActorAddress", "params": []}
    assert Rpc(miners.seal.rpc.address, "not.a.token").post(body)[0] == 401


def test_unknown_method(miners: Miners) -> None:
    with pytest.raises(RpcError) as error:
        miners.seal.rpc.call("Nonsense")
    assert error.value.code == -32601
    assert error.value.message == "method 'Filecoin.Nonsense' not found"


def test_api_reports_the_node_release(miners: Miners) -> None:
    answer = miners.seal.rpc.call("Version")
    assert (answer["Version"], answer["APIVersion"]) == ("1.36.2+2k+git.c6f4d024", 0x010500)


def test_redeclare_wants_to_know_what(miners: Miners) -> None:
    done = miners.window.cli("storage", "redeclare", check=False)
    assert done.status == 1
    assert "You must specify a storage path, or --id, or --all" in done.stderr


def test_nothing_to_publish(miners: Miners) -> None:
    done = miners.seal.cli("sectors", "batching", "precommit", "--publish-now", check=False)
    assert done.status == 1
    assert "no sectors to publish" in done.stderr
