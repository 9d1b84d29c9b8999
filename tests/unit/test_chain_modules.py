"""library/{host_state,daemon_peers,lotus_wallet}.py and filter lotus_builds: the parts of the chain that are Python."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import daemon_peers
import host_state
import lotus_wallet
import pytest
from sealyard.errors import SealyardError
from sealyard.hosts.builds import lotus_builds
from sealyard_host import packages


def test_swap_table() -> None:
    table = "Filename\tType\tSize\tUsed\tPriority\n/dev/dm-1 partition 1048572 0 -2\n/swap.sealyard file 2048 0 -3\n"
    assert host_state.swap_bytes(table) == {"/dev/dm-1": 1073737728, "/swap.sealyard": 2097152}
    assert host_state.swap_bytes("") == {}


def test_installed_packages() -> None:
    status = (
        "Package: chrony\nStatus: install ok installed\nDescription: clock\n more: text\n\n"
        "Package: ntp\nStatus: deinstall ok config-files\n"
    )
    assert packages.installed(status) == {"chrony"}


def test_account_of_root() -> None:
    assert host_state.account("root") == {"uid": 0, "gid": 0, "home": "/root"}


def test_this_machine_gives_the_files_it_gives() -> None:
    assert host_state.reachable_nofile(64) == 64
    assert 64 < host_state.reachable_nofile(2**40) < 2**40


def test_state_of_a_host_that_lacks_everything() -> None:
    state = host_state.state(64, "no-such-user", ["no.such.setting", "kernel.ostype"], ["no-such-package"])
    assert state["uid"] is None and state["home"] == "" and state["missing_packages"] == ["no-such-package"]
    assert state["sysctl"] == {"no.such.setting": "", "kernel.ostype": "Linux"}


def test_peers_are_kept_when_a_run_does_not_see_them() -> None:
    known = {"a/public": "/ip4/1.1.1.1/tcp/1/p2p/A", "gone/private": "x", "b/private": "/ip4/1.1.1.2/tcp/1/p2p/OLD"}
    learnt = {"b/private": "/ip4/1.1.1.2/tcp/1/p2p/NEW"}
    merged = daemon_peers.merge(known, learnt, ["a/public", "b/private", "c/private"])
    assert merged == {"a/public": "/ip4/1.1.1.1/tcp/1/p2p/A", "b/private": "/ip4/1.1.1.2/tcp/1/p2p/NEW"}
    assert list(merged) == ["a/public", "b/private"]


@pytest.mark.parametrize("text", ["", "[]", "{broken"])
def test_broken_memory_of_peers_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "peers.json").write_text(text)
    assert daemon_peers.load(tmp_path / "peers.json") == {}
    assert daemon_peers.load(tmp_path / "missing.json") == {}


def exported(private: str) -> str:
    return json.dumps({"Type": "bls", "PrivateKey": private}).encode().hex()


def put_key(repo: Path, name: str, private: str) -> None:
    (repo / "keystore").mkdir(exist_ok=True)
    file_name = base64.b32encode(name.encode()).decode().rstrip("=")
    (repo / "keystore" / file_name).write_text(json.dumps({"Type": "bls", "PrivateKey": private}))


def test_wallet_keys_of_a_keystore(tmp_path: Path) -> None:
    put_key(tmp_path, "wallet-t3abc", "AAAA")
    put_key(tmp_path, "default", "AAAA")
    put_key(tmp_path, "libp2p-host", "BBBB")
    (tmp_path / "keystore" / "not base32!").write_text("")
    assert lotus_wallet.keystore_keys(tmp_path) == {("bls", "AAAA"): "t3abc"}
    assert lotus_wallet.key_of(exported("AAAA") + "\n") in lotus_wallet.keystore_keys(tmp_path)
    assert lotus_wallet.keystore_keys(tmp_path / "bare") == {}


@pytest.mark.parametrize("key", ["", "zz", "t3abc", "7b7d"])
def test_malformed_key_is_not_repeated(key: str) -> None:
    with pytest.raises(lotus_wallet.Refused) as error:
        lotus_wallet.key_of(key)
    assert str(error.value) == "a wallet key is not the hexadecimal text that lotus wallet export prints"


def fake_lotus(folder: Path, script: str) -> str:
    path = folder / "lotus"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


def test_import_goes_through_standard_input(tmp_path: Path) -> None:
    binary = fake_lotus(
        tmp_path, 'echo "$@" >"$LOTUS_PATH/args"; cat >"$LOTUS_PATH/in"; echo "imported key t3abc successfully!"'
    )
    assert lotus_wallet.import_key(binary, str(tmp_path), exported("AAAA"), first=True) == "t3abc"
    assert (tmp_path / "args").read_text() == "wallet import --as-default\n"
    assert (tmp_path / "in").read_text() == exported("AAAA") + "\n"


def test_refused_import_does_not_show_the_key(tmp_path: Path) -> None:
    binary = fake_lotus(tmp_path, "cat >&2; exit 1")
    with pytest.raises(lotus_wallet.Refused) as error:
        lotus_wallet.import_key(binary, str(tmp_path), exported("AAAA"), first=False)
    assert exported("AAAA") not in str(error.value) and "status 1" in str(error.value)


def test_builds_are_told_apart_by_content(tmp_path: Path) -> None:
    for name, text in (("a", "one"), ("b", "one"), ("c", "two")):
        folder = tmp_path / name / "lotus_v1.36.2"
        folder.mkdir(parents=True)
        (folder / "lotus").write_text(text)
        (folder / "README").write_text(name)
    builds = lotus_builds({name: str(tmp_path / name) for name in ("a", "b", "c")})
    assert builds["a"]["dir"] == str(tmp_path / "a" / "lotus_v1.36.2") and builds["a"]["binaries"] == ["lotus"]
    assert builds["a"]["id"] == builds["b"]["id"] != builds["c"]["id"]


def test_builds_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(SealyardError, match="set lotus_install_builds"):
        lotus_builds({})
    with pytest.raises(SealyardError, match=r"lotus_install_builds.amd: there is no folder"):
        lotus_builds({"amd": str(tmp_path / "missing")})
    with pytest.raises(SealyardError, match="holds none of lotus, lotus-miner"):
        lotus_builds({"default": str(tmp_path)})
