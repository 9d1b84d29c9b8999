"""`--lotus DIR --params DIR` choose the binaries (default: stand-ins). One devnet serves the session."""

import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conformance.devnet import (
    ACTOR,
    MESSAGE_SEC,
    ONLY_SEALING,
    ONLY_WINDOW,
    ONLY_WINNING,
    SEAL_AT_ONCE,
    START_SEC,
    STORAGE_OFF,
    Daemon,
    Devnet,
    Miner,
    genesis_init,
)
from tests.conformance.processes import Runner, until

HERE = Path(__file__).parent
# Modules that disturb the devnet come last.
ORDER = [
    "binaries",
    "bring_up",
    "daemon",
    "miner",
    "numbers",
    "worker",
    "scheduling",
    "sealing",
    "restart",
    "window_post",
    "double_winning",
]
# Real ones: 4, 10, 60, 150 to 320 and 3 seconds. The real programs do not read these.
STANDIN_SEC = {"BLOCK_DELAY": 0.15, "HEARTBEAT": 2.0, "RETRY": 5.0, "C2": 15.0, "WDP": 0.5}
# A chain behind the wall clock waits for nothing: blocks come as fast as the machine proves. The first window PoSt is
# 658 epochs of 4 s away.
GENESIS_AGE_SEC = 2700
SEAL_RANGE, DEAL_RANGE = "2-999999", "1000000-1999999"
UNKNOWN_KEY = "[Sealing]\nBatchPreCommits = true\n"


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("conformance")
    group.addoption("--lotus", type=Path, help="directory of the four programs (default: stand-ins, built now)")
    group.addoption("--params", type=Path, help="proof parameters for 2 KiB sectors (real binaries only)")
    group.addoption("--keep", action="store_true", help="keep the devnet's directory, logs included")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "slow: more than two minutes with real binaries")
    # Finalisers run on SIGTERM too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def place(item: pytest.Item) -> int:
        subject = item.path.stem.removeprefix("test_")
        return ORDER.index(subject) if subject in ORDER else -1

    items.sort(key=place)


@pytest.fixture(scope="session")
def binaries(request: pytest.FixtureRequest) -> Iterator[Path]:
    given: Path | None = request.config.getoption("--lotus")
    if given is not None:
        yield given.resolve()
        return
    with tempfile.TemporaryDirectory(prefix="standins-") as directory:
        build = HERE.parent / "standins" / "build.py"
        subprocess.run([sys.executable, str(build), directory, "--nofile-floor", "16000"], check=True)
        yield Path(directory)


@pytest.fixture(scope="session")
def runner(request: pytest.FixtureRequest, binaries: Path) -> Iterator[Runner]:
    root = Path(tempfile.mkdtemp(prefix="conformance-", dir="/var/tmp"))
    params: Path | None = request.config.getoption("--params")
    standins = request.config.getoption("--lotus") is None
    if params is None:
        params = root / "params"
        params.mkdir()
        # The stand-ins look for the names only.
        for proof in ("stacked-proof-of-replication", "proof-of-spacetime-fallback"):
            (params / f"v28-{proof}-merkletree-poseidon_hasher-8-0-0-standin.params").write_text("stand-in\n")
    run = Runner(binaries, params.resolve(), root)
    if standins:
        run.heartbeat_sec = STANDIN_SEC["HEARTBEAT"]
        run.speed = {f"STANDIN_{name}_MS": f"{seconds * 1000:.0f}" for name, seconds in STANDIN_SEC.items()}
    try:
        yield run
    finally:
        run.kill_all()
        if request.config.getoption("--keep"):
            print(f"\nkept: {root}")
        else:
            shutil.rmtree(root, ignore_errors=True)


@pytest.fixture(scope="session")
def devnet(runner: Runner) -> Devnet:
    return Devnet(runner)


@dataclass
class Genesis:
    """What lotus-seed wrote."""

    presealed: Path
    template: Path
    car: Path


@pytest.fixture(scope="session")
def genesis(devnet: Devnet) -> Genesis:
    made = Genesis(devnet.root / "presealed", devnet.root / "localnet.json", devnet.root / "devgen.car")
    run = devnet.runner.run
    seed = ("--sector-dir", str(made.presealed))
    sizes = ("--miner-addr", ACTOR, "--sector-size", "2KiB", "--num-sectors", "2")
    run("lotus-seed", *seed, "pre-seal", *sizes, check=True)
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - GENESIS_AGE_SEC))
    run("lotus-seed", "genesis", "new", "--timestamp", stamp, str(made.template), check=True)
    devnet.facts["template new"] = json.loads(made.template.read_text())
    run(
        "lotus-seed",
        "genesis",
        "add-miner",
        str(made.template),
        str(made.presealed / f"pre-seal-{ACTOR}.json"),
        check=True,
    )
    return made


@pytest.fixture(scope="session")
def chain(devnet: Devnet, genesis: Genesis) -> Daemon:
    """The daemon that made the genesis; it never gets a bootstrap peer."""
    daemon = devnet.daemon("daemon")
    devnet.facts["daemon config"] = daemon.configure()
    env = {"LOTUS_PATH": str(daemon.repo)}
    waiter = devnet.runner.start("wait-api", "lotus", "wait-api", "--timeout", f"{START_SEC:.0f}s", env=env)
    until("wait-api to say something", lambda: "Not online yet" in waiter.stdout(), START_SEC)
    devnet.facts["api file before start"] = (daemon.repo / "api").exists()
    daemon.start(f"--lotus-make-genesis={genesis.car}", f"--genesis-template={genesis.template}", "--bootstrap=false")
    devnet.facts["wait-api"] = (waiter.wait_exit(START_SEC), waiter.stdout())
    daemon.cli("wallet", "import", "--as-default", str(genesis.presealed / f"pre-seal-{ACTOR}.key"))
    return daemon


@pytest.fixture(scope="session")
def winning(devnet: Devnet, chain: Daemon, genesis: Genesis) -> Miner:
    """The genesis miner: block producer only."""
    miner = devnet.miner("winning", chain)
    devnet.facts["winning config"] = miner.configure(ONLY_WINNING, STORAGE_OFF, UNKNOWN_KEY)
    devnet.facts["height before init"] = chain.height()
    began = time.monotonic()
    init = devnet.runner.start(
        "winning-init",
        *genesis_init(genesis.presealed),
        env=miner.env,
    )
    chain.wait_height(1)
    devnet.facts["first block sec"] = time.monotonic() - began
    assert init.wait_exit(MESSAGE_SEC) == 0, init.log()[-3000:]
    devnet.facts["height after init"] = chain.height()
    devnet.facts["peer id after genesis init"] = chain.miner_info()["PeerId"]
    miner.start()
    return miner


@dataclass
class Miners:
    """The four miners of the actor, and the store they share."""

    winning: Miner
    window: Miner
    seal: Miner
    deal: Miner
    store: Path
    store_id: str


@pytest.fixture(scope="session")
def miners(devnet: Devnet, chain: Daemon, winning: Miner, genesis: Genesis) -> Miners:
    window, seal, deal = (devnet.miner(name, chain) for name in ("window", "seal", "deal"))
    window.configure(ONLY_WINDOW, STORAGE_OFF)
    seal.configure(ONLY_SEALING, STORAGE_OFF, SEAL_AT_ONCE)
    deal.configure(ONLY_SEALING, STORAGE_OFF)
    inits = [(miner, miner.init()) for miner in (window, seal, deal)]
    for miner, process in inits:
        assert process.wait_exit(MESSAGE_SEC) == 0, process.log()[-3000:]
        devnet.facts[f"{miner.name} storage.json"] = json.loads((miner.repo / "storage.json").read_text())
    devnet.facts["peer id after all inits"] = chain.miner_info()["PeerId"]
    for miner, _ in inits:
        miner.launch()
    for miner, _ in inits:
        miner.wait_api()
    store = devnet.root / "store"
    store.mkdir()
    seal.cli("storage", "attach", "--init", "--store", str(store))
    for miner in (winning, window, deal):
        miner.cli("storage", "attach", str(store))
    window.cli("storage", "attach", str(genesis.presealed))
    return Miners(winning, window, seal, deal, store, json.loads((store / "sectorstore.json").read_text())["ID"])


@pytest.fixture(scope="session")
def apart(devnet: Devnet, miners: Miners) -> Miners:
    """The miners, after each sealing miner reserved the other's sector numbers."""
    for miner in (miners.seal, miners.deal):
        devnet.facts[f"{miner.name} numbers before"] = miner.cli("sectors", "numbers", "info").stdout
    miners.seal.cli("sectors", "numbers", "reserve", "deal", DEAL_RANGE)
    miners.deal.cli("sectors", "numbers", "reserve", "seal", SEAL_RANGE)
    return miners
