"""Every rule of the field that the stand-ins watch, broken once on purpose."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from standin import params
from standin.config import Config, check_environment
from standin.net import ApiInfo, RpcClient, RpcError, check_public
from standin.paths import LocalStore
from standin.worker import WorkerProcess

from tests.ports import free_port

BUILD = Path(__file__).parents[1] / "standins" / "build.py"


@pytest.fixture
def violations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    file = tmp_path / "violations" / "violations.ndjson"
    monkeypatch.setenv("STANDIN_VIOLATIONS", str(file))
    monkeypatch.setenv("STANDIN_BLOCK_DELAY_MS", "20")

    def rules() -> list[str]:
        return [json.loads(line)["rule"] for line in file.read_text().splitlines()] if file.exists() else []

    return rules


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("standins")
    subprocess.run([sys.executable, str(BUILD), str(directory), "--nofile-floor", "16"], check=True)
    return directory


def eventually(probe: Callable[[], Any], what: str) -> Any:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        found = probe()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"never: {what}")


class Net:
    """Daemons of one devnet on loopback."""

    def __init__(self, programs: Path, root: Path) -> None:
        self.programs, self.root = programs, root
        self.running: list[subprocess.Popen[bytes]] = []
        self.run("lotus-seed", "--sector-dir", f"{root}/pre", "pre-seal", "--num-sectors", "2")
        self.run("lotus-seed", "genesis", "new", f"{root}/g.json")
        self.run("lotus-seed", "genesis", "add-miner", f"{root}/g.json", f"{root}/pre/pre-seal-t01000.json")

    def run(self, program: str, *words: str) -> str:
        return subprocess.run([self.programs / program, *words], check=True, capture_output=True, text=True).stdout

    def daemon(
        self, name: str, bootstrap: tuple[str, ...] = (), announce: str = "", host: str = "127.0.0.1"
    ) -> RpcClient:
        repo = self.root / name
        repo.mkdir()
        port = free_port()
        text = f'[API]\nListenAddress = "/ip4/{host}/tcp/{port}/http"\n'
        text += '[Libp2p]\nListenAddresses = ["/ip4/127.0.0.1/tcp/0"]\n'
        text += f"BootstrapPeers = {json.dumps(bootstrap)}\n"
        text += f"AnnounceAddresses = {json.dumps([announce] if announce else [])}\n"
        text += "[Chainstore]\nEnableSplitstore = false\n"
        (repo / "config.toml").write_text(text)
        first = not (self.root / "dev.car").exists()
        genesis = (
            [f"--lotus-make-genesis={self.root}/dev.car", f"--genesis-template={self.root}/g.json"]
            if first
            else [f"--genesis={self.root}/dev.car"]
        )
        with (self.root / f"{name}.log").open("w") as log:
            command = [str(self.programs / "lotus"), "--repo", str(repo), "daemon", *genesis]
            self.running.append(subprocess.Popen(command, stdout=log, stderr=log))
        eventually((repo / "api").exists, f"{name} serves: {(self.root / f'{name}.log').read_text()}")
        return RpcClient(ApiInfo((repo / "token").read_text(), f"/ip4/127.0.0.1/tcp/{port}/http"), "v1")

    def import_key(self, api: RpcClient) -> None:
        key = json.loads(bytes.fromhex((self.root / "pre" / "pre-seal-t01000.key").read_text()))
        api.call("WalletImport", [key])

    def close(self) -> None:
        for process in self.running:
            process.terminate()
        for process in self.running:
            process.wait(10)


@pytest.fixture
def net(programs: Path, tmp_path: Path, violations: Callable[[], list[str]]) -> Iterator[Net]:
    made = Net(programs, tmp_path)
    yield made
    made.close()


def address(api: RpcClient) -> str:
    info = api.call("NetAddrsListen")
    return f"{info['Addrs'][0]}/p2p/{info['ID']}"


def beat(api: RpcClient, process: str, role: str) -> None:
    api.call("StandIn.WaitHead", ["", 0, {"process": process, "actor": "t01000", "roles": [role]}])


@pytest.mark.parametrize("role", ["winning", "window"])
def test_two_processes_of_one_role_on_two_daemons(net: Net, violations: Callable[[], list[str]], role: str) -> None:
    one = net.daemon("one")
    two = net.daemon("two", (address(one),))
    eventually(lambda: one.call("NetPeers"), "the daemons are linked")
    beat(one, "a", role)
    beat(two, "b", role)
    eventually(lambda: one.call("StandIn.Provers", [role]) == ["b"], "b reaches the other daemon")
    assert violations() == []  # b after a is a restart

    def noticed() -> bool:
        beat(one, "a", role)  # beats are passed on at a bounded rate, as a live process sends them
        return f"two-{role}-processes" in violations()

    eventually(noticed, "a again: both live")


def test_a_restarted_prover_is_no_violation(net: Net, violations: Callable[[], list[str]]) -> None:
    one = net.daemon("one")
    for process in ("a", "b", "c"):
        beat(one, process, "window")
    assert violations() == []


def test_two_blocks_of_one_height(net: Net, violations: Callable[[], list[str]]) -> None:
    api = net.daemon("one")
    net.import_key(api)
    base = api.call("StandIn.WaitHead", ["", 0])
    order = {"actor": "t01000", "base": base["cid"], "height": 1}
    assert api.call("StandIn.Mine", [order | {"process": "a"}])["block"]["height"] == 1
    assert api.call("StandIn.Mine", [order | {"process": "a"}])["block"] is None
    assert violations() == []
    with pytest.raises(RpcError, match="<!!> SLASH FILTER DETECTED FAULT due to witness"):
        api.call("StandIn.Mine", [order | {"process": "b"}])
    assert violations() == ["two-winning-processes"]


def test_sector_number_given_twice(net: Net, violations: Callable[[], list[str]]) -> None:
    api = net.daemon("one")
    net.import_key(api)
    worker = api.call("StateMinerInfo", ["t01000", None])["Worker"]
    for sealed in ("x", "y"):
        sector = {"SectorNumber": 7, "SealedCID": sealed}
        order = {
            "From": worker,
            "To": "t01000",
            "Method": "PreCommitSectorBatch2",
            "Params": {"Sectors": [sector], "Process": sealed},
        }
        api.call("MpoolPushMessage", [order, None])
        base = api.call("StandIn.WaitHead", ["", 0])
        api.call(
            "StandIn.Mine", [{"actor": "t01000", "process": "p", "base": base["cid"], "height": base["height"] + 1}]
        )
        assert violations() == ([] if sealed == "x" else ["sector-number-twice"])


def test_wallet_on_a_daemon_that_announces_itself(net: Net, violations: Callable[[], list[str]]) -> None:
    api = net.daemon("one", announce="/ip4/203.0.113.7/tcp/1347")
    assert violations() == []
    api.call("WalletNew", ["bls"])
    assert violations() == ["wallet-on-public-daemon"]


def test_api_on_every_address(net: Net, violations: Callable[[], list[str]]) -> None:
    net.daemon("one", host="0.0.0.0")
    assert violations() == ["api-on-public-address"]


@pytest.mark.parametrize(
    ("host", "bad"),
    [
        ("0.0.0.0", True),
        ("::", True),
        ("8.8.8.8", True),
        ("10.231.0.12", False),
        ("127.0.0.1", False),
        ("fd00::1", False),
    ],
)
def test_public_addresses(violations: Callable[[], list[str]], host: str, bad: bool) -> None:
    check_public("an API", host)
    assert violations() == (["api-on-public-address"] if bad else [])


@pytest.mark.parametrize(
    ("role", "text"),
    [("miner", "[Sealing]\nBatchPreCommits = true\n"), ("daemon", "[Chainstore]\nEnableSplitstore = true\nX = 1\n")],
)
def test_unknown_config_key(tmp_path: Path, violations: Callable[[], list[str]], role: str, text: str) -> None:
    (tmp_path / "config.toml").write_text(text)
    Config(str(tmp_path / "config.toml"), role)
    assert violations() == ["unknown-config-key"]


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        ("LOTUS_WORKER_PRECOMIT1", True),
        ("PC1_2K_MAX_CONCURENT", True),
        ("FIN_2K_MAX_CONCURRENT", True),
        ("PC1_2K_MAX_CONCURRENT", False),
        ("LOTUS_SEALING_MAXPRECOMMITBATCH", False),
        ("LOTUS_MOCK_BEACON", False),
        ("STANDIN_C2_MS", False),
    ],
)
def test_unknown_environment_variable(
    violations: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch, name: str, bad: bool
) -> None:
    monkeypatch.setenv(name, "1")
    check_environment()
    assert violations() == (["unknown-environment-variable"] if bad else [])


def test_unknown_sectorstore_key(tmp_path: Path, violations: Callable[[], list[str]]) -> None:
    (tmp_path / "sectorstore.json").write_text('{"ID": "x", "Group": ["a"]}')
    LocalStore.read_meta(str(tmp_path))
    assert violations() == ["unknown-config-key"]


@pytest.mark.parametrize(
    ("groups", "kind", "path_type", "bad"),
    [
        (["b"], "sealed", "sealing", True),
        ([], "cache", "sealing", True),
        (["a"], "sealed", "sealing", False),
        (["b"], "unsealed", "sealing", False),
        (["b"], "sealed", "storage", False),
    ],
)
def test_fetch_across_groups(
    violations: Callable[[], list[str]], groups: list[str], kind: str, path_type: str, bad: bool
) -> None:
    index: Any = SimpleNamespace(storage_info=lambda _ident: {"AllowTo": ["a"]})
    store = LocalStore(index, "http://here/remote", lambda: "", 1)
    store.paths["mine"] = ("/nowhere", {"Groups": groups})
    store._check_groups(
        {"Miner": 1000, "Number": 2}, kind, [{"ID": "there", "BaseURLs": ["http://there"]}], "mine", path_type
    )
    assert violations() == (["fetch-across-groups"] if bad else [])


@pytest.mark.parametrize(("tasks", "bad"), [({"C2"}, True), ({"PC2"}, False)])
def test_gpu_shared_by_two_c2_workers(violations: Callable[[], list[str]], tasks: set[str], bad: bool) -> None:
    claims = []
    for _ in range(2):
        process: Any = WorkerProcess.__new__(WorkerProcess)
        process.executor = SimpleNamespace(tasks=tasks, name="c2", info={"Resources": {"GPUs": ["GPU-1"]}})
        process._claim_gpus()
        claims.append(process)
    assert violations() == (["gpu-shared-by-two-c2"] if bad else [])


def test_parameters_are_looked_for_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIL_PROOFS_PARAMETER_CACHE", str(tmp_path))
    assert "v28-stacked-proof-of-replication" in params.missing(2048)
    params.write(str(tmp_path))
    assert params.missing(2048) == ""
    assert "8-8-0" in params.missing(32 << 30)
