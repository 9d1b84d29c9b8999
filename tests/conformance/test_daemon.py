"""The daemon: configuration it refuses, its files and its API."""

import base64
import json
import stat
from pathlib import Path

import pytest

from tests.conformance.conftest import Genesis
from tests.conformance.devnet import MESSAGE_SEC, START_SEC, Daemon, Devnet, Miner
from tests.conformance.processes import until
from tests.conformance.rpc import PERMISSIONS, Rpc, RpcError, http_status


def mode(path: Path) -> str:
    return f"{stat.S_IMODE(path.stat().st_mode):04o}"


def test_config_without_enable_splitstore_is_refused(devnet: Devnet, genesis: Genesis, chain: Daemon) -> None:
    daemon = devnet.daemon("no-splitstore")
    daemon.configure(splitstore=False)
    process = daemon.launch(f"--genesis={genesis.car}")
    assert process.wait_exit(START_SEC) == 1
    assert "Config does not contain explicit set of EnableSplitstore field, refusing to load" in process.log()


def test_multiaddr_in_protected_peers_is_refused(devnet: Devnet, genesis: Genesis, chain: Daemon) -> None:
    daemon = devnet.daemon("protects-multiaddr")
    daemon.configure(protected=[chain.multiaddr()])
    process = daemon.launch(f"--genesis={genesis.car}")
    assert process.wait_exit(START_SEC) == 1
    assert "failed to parse peer ID in protected peers array" in process.log()


def test_second_process_on_the_repo_is_refused(devnet: Devnet, chain: Daemon) -> None:
    done = chain.cli("daemon", check=False, limit_sec=START_SEC)
    assert done.status == 1
    assert "repo is already locked (process is already running)" in done.stderr


def test_file_modes(chain: Daemon) -> None:
    assert mode(chain.repo / "token") == "0600"
    assert mode(chain.repo / "keystore") == "0700"
    assert {mode(key) for key in (chain.repo / "keystore").iterdir()} == {"0600"}
    assert mode(chain.repo / "api") == "0644"
    assert mode(chain.repo / "config.toml") == "0644"


def test_each_api_has_its_own_version(chain: Daemon) -> None:
    for path, number in (("v0", 0x010500), ("v1", 0x020300)):
        answer = chain.rpc.call("Version", version=path)
        assert (answer["Version"], answer["APIVersion"]) == ("1.36.2+2k+git.c6f4d024", number)


def test_version_command_with_a_daemon(chain: Daemon) -> None:
    assert "Daemon:  1.36.2+2k+git.c6f4d024+api1.5.0" in chain.cli("version").stdout


def test_alive_but_never_ready_alone(chain: Daemon, winning: Miner) -> None:
    base = f"http://{chain.rpc.address}/health"
    until("livez to be 200", lambda: http_status(f"{base}/livez")[0] == 200, START_SEC)
    assert http_status(f"{base}/readyz")[0] == 503


@pytest.mark.parametrize(("permission", "allowed"), PERMISSIONS.items())
def test_api_info_carries_the_permission(chain: Daemon, permission: str, allowed: list[str]) -> None:
    name, _, info = chain.cli("auth", "api-info", "--perm", permission).stdout.strip().partition("=")
    token, _, address = info.partition(":")
    assert (name, address) == ("FULLNODE_API_INFO", f"/ip4/{chain.host}/tcp/1234/http")
    payload = token.split(".")[1]
    assert json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))) == {"Allow": allowed}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "--perm flag not set, use with one of: read, write, sign, admin"),
        (("--perm", "owner"), "--perm flag has to be one of: [read write sign admin]"),
    ],
)
def test_there_is_no_other_permission(chain: Daemon, arguments: tuple[str, ...], message: str) -> None:
    done = chain.cli("auth", "api-info", *arguments, check=False)
    assert (done.status, done.stdout) == (1, "")
    assert message in done.stderr


def test_bad_token_is_401(chain: Daemon) -> None:
    body = {"jsonrpc": "2.0", "id": 1, "method": "Filecoin.ChainHead", "params": []}
    assert Rpc(chain.rpc.address, "not.a.token").post(body)[0] == 401


def test_unknown_method(chain: Daemon) -> None:
    with pytest.raises(RpcError) as error:
        chain.rpc.call("Nonsense")
    assert error.value.code == -32601


def test_read_token_may_not_create_tokens(chain: Daemon) -> None:
    token = chain.cli("auth", "create-token", "--perm", "read").stdout.strip()
    reader = Rpc(chain.rpc.address, token)
    assert reader.call("ChainHead")["Height"] >= 0
    with pytest.raises(RpcError, match=r"missing permission to invoke 'AuthNew' \(need 'admin'\)"):
        reader.call("AuthNew", ["read"])


def test_snapshot_import_ends_well_and_repeats(devnet: Devnet, genesis: Genesis, chain: Daemon, winning: Miner) -> None:
    snapshot = devnet.root / "snapshot.car"
    height = chain.height()
    chain.cli("chain", "export", "--recent-stateroots=901", str(snapshot))
    daemon = devnet.daemon("imported")
    daemon.configure()
    flags = ("--import-snapshot", str(snapshot), "--halt-after-import")
    first = daemon.launch(f"--genesis={genesis.car}", *flags)
    assert first.wait_exit(MESSAGE_SEC) == 0, first.log()[-3000:]
    repeat = daemon.launch(*flags)
    assert repeat.wait_exit(MESSAGE_SEC) == 0, repeat.log()[-3000:]
    daemon.start("--bootstrap=false")
    assert daemon.height() >= height
    assert daemon.stop() == 0
