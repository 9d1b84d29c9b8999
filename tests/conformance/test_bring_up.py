"""From nothing to four miners on one actor: what each step leaves behind."""

import json

from tests.conformance.conftest import UNKNOWN_KEY, Genesis, Miners
from tests.conformance.devnet import ACTOR, SECTOR_SIZE_BYTES, START_SEC, Daemon, Devnet, Miner, genesis_init
from tests.conformance.processes import holds, until


def test_pre_seal_leaves_a_read_only_path(genesis: Genesis) -> None:
    for number in (0, 1):
        assert (genesis.presealed / "sealed" / f"s-{ACTOR}-{number}").stat().st_size == SECTOR_SIZE_BYTES
        assert (genesis.presealed / "cache" / f"s-{ACTOR}-{number}" / "p_aux").is_file()
    meta = json.loads((genesis.presealed / "sectorstore.json").read_text())
    assert (meta["Weight"], meta["CanSeal"], meta["CanStore"]) == (0, False, False)
    sealed = json.loads((genesis.presealed / f"pre-seal-{ACTOR}.json").read_text())[ACTOR]
    assert [sector["SectorID"] for sector in sealed["Sectors"]] == [0, 1]
    assert sealed["SectorSize"] == SECTOR_SIZE_BYTES
    key = json.loads(bytes.fromhex((genesis.presealed / f"pre-seal-{ACTOR}.key").read_text().strip()))
    assert key["Type"] == "bls"


def test_template_gains_the_miner(devnet: Devnet, genesis: Genesis) -> None:
    before = devnet.facts["template new"]
    assert (before["Accounts"], before["Miners"]) == ([], [])
    assert before["NetworkName"].startswith("localnet-")
    after = json.loads(genesis.template.read_text())
    assert [miner["ID"] for miner in after["Miners"]] == [ACTOR]
    assert len(after["Accounts"]) == 1


def test_wait_api_waits_until_the_daemon_serves(devnet: Devnet, chain: Daemon) -> None:
    status, stdout = devnet.facts["wait-api"]
    assert status == 0
    assert stdout.startswith("Not online yet")
    assert not devnet.facts["api file before start"]
    assert (chain.repo / "api").read_text().strip() == f"/ip4/{chain.host}/tcp/1234/http"


def test_imported_key_is_the_default_and_the_miners(chain: Daemon, winning: Miner) -> None:
    owner = json.loads((chain.runner.root / "presealed" / f"pre-seal-{ACTOR}.json").read_text())[ACTOR]["Owner"]
    assert chain.rpc.call("WalletDefaultAddress") == owner
    assert chain.rpc.call("StateAccountKey", chain.miner_info()["Worker"], []) == owner


def test_second_import_of_a_key_fails(chain: Daemon, genesis: Genesis) -> None:
    done = chain.cli("wallet", "import", "--as-default", str(genesis.presealed / f"pre-seal-{ACTOR}.key"), check=False)
    assert done.status == 1
    assert "key already exists" in done.stderr


def test_config_written_before_the_first_start_survives(devnet: Devnet, chain: Daemon, winning: Miner) -> None:
    assert (chain.repo / "config.toml").read_text() == devnet.facts["daemon config"]
    assert (winning.repo / "config.toml").read_text() == devnet.facts["winning config"]


def test_unknown_config_key_is_swallowed(winning: Miner) -> None:
    assert UNKNOWN_KEY in (winning.repo / "config.toml").read_text()
    assert winning.rpc.call("ActorAddress") == ACTOR
    assert "BatchPreCommits" not in winning.log


def test_genesis_init_mines_its_own_message(devnet: Devnet, winning: Miner) -> None:
    assert devnet.facts["height before init"] == 0
    assert devnet.facts["height after init"] > 0


def test_init_without_local_storage_lists_no_path(devnet: Devnet, miners: Miners) -> None:
    for miner in (miners.window, miners.seal, miners.deal):
        assert devnet.facts[f"{miner.name} storage.json"] == {"StoragePaths": None}


def test_last_init_owns_the_peer_id_on_chain(devnet: Devnet, miners: Miners) -> None:
    assert devnet.facts["peer id after genesis init"]
    assert devnet.facts["peer id after all inits"] != devnet.facts["peer id after genesis init"]


def test_second_init_in_a_repo_is_refused(miners: Miners) -> None:
    process = miners.deal.init()
    assert process.wait_exit(START_SEC) == 1
    assert f"repo at '{miners.deal.repo}' is already initialized" in process.log()


def test_init_never_ends_without_parameters(devnet: Devnet, genesis: Genesis, winning: Miner) -> None:
    empty = devnet.root / "no-params"
    empty.mkdir()
    daemon = devnet.daemon("starved-daemon")
    daemon.configure()
    daemon.start(
        f"--lotus-make-genesis={devnet.root / 'starved.car'}",
        f"--genesis-template={genesis.template}",
        "--bootstrap=false",
    )
    daemon.cli("wallet", "import", "--as-default", str(genesis.presealed / f"pre-seal-{ACTOR}.key"))
    miner = devnet.miner("starved", daemon)
    with devnet.runner.started(
        "starved-init",
        *genesis_init(genesis.presealed),
        env=miner.env | {"FIL_PROOFS_PARAMETER_CACHE": str(empty)},
    ) as process:
        pushed = until("the starved init to push its message", lambda: daemon.rpc.call("MpoolPending", []), START_SEC)
        # With parameters the first block came this fast; twice that is long enough to see that none comes.
        seen_sec = max(5.0, 2 * devnet.facts["first block sec"])
        holds(
            "init without parameters neither ends nor mines", lambda: process.alive() and daemon.height() == 0, seen_sec
        )
        assert daemon.rpc.call("MpoolPending", []) == pushed
    daemon.stop()
