"""`lotus-miner init` and `lotus-miner run`."""

from __future__ import annotations

import os
import shutil
import time

from . import buildinfo, params
from .cli import Call
from .common import (
    NETWORK_SIZES,
    SECTOR_SIZES,
    CommandError,
    Json,
    actor_number,
    block_delay_sec,
    expand,
    id_address,
    log,
    parse_size,
    read_json,
    write_json,
)
from .config import check_environment
from .lotus_cli import fullnode_info, sync_wait
from .net import RpcClient
from .paths import new_metadata
from .repo import Repo
from .tasks import prove

CONFIRM_EPOCHS = 10


def run(call: Call) -> None:
    if call.command == "run":
        start(call)
    elif call.command == "init restore":
        restore(call)
    else:
        init(call)


def start(call: Call) -> None:
    check_environment()
    info = fullnode_info(call.text("repo"))
    api = RpcClient(info, "v1")
    api.call("Version")
    if not call.on("nosync"):
        log("INFO", "main", "Checking full node sync status")
        sync_wait(api)
    repo = Repo(call.text("miner-repo"), "miner")
    if not repo.exists():
        raise CommandError(
            f"repo at '{call.text('miner-repo')}' is not initialized, run 'lotus-miner init' to set it up"
        )
    if call.text("miner-api"):
        os.environ["LOTUS_API_LISTENADDRESS"] = f"/ip4/127.0.0.1/tcp/{call.text('miner-api')}/http"
    try:
        repo.lock()
    except CommandError as error:
        raise CommandError(f"initializing node: failed to lock repo: {error}") from None
    from .miner import Miner

    try:
        miner = Miner(repo, info)
        miner.run()
    finally:
        repo.unlock()


def init(call: Call) -> None:
    log("INFO", "main", "Initializing lotus miner")
    sector_bytes = 32 << 30
    if "sector-size" in call.given:
        try:
            sector_bytes = parse_size(call.text("sector-size"))
        except ValueError as error:
            raise CommandError(str(error)) from None
        if sector_bytes not in SECTOR_SIZES.values():
            raise CommandError(f"unsupported sector size {sector_bytes}")
    log("INFO", "main", "Checking proof parameters")
    if buildinfo.NETWORK != "2k" and os.environ.get("TRUST_PARAMS") != "1":
        lacking = params.missing(sector_bytes)
        if lacking:
            raise CommandError(f"fetching proof parameters: {lacking}")
    log("INFO", "main", "Trying to connect to full node RPC")
    info = fullnode_info(call.text("repo"))
    api = RpcClient(info, "v1")
    api.call("Version")
    log("INFO", "main", "Checking full node sync status")
    if not call.on("genesis-miner") and not call.on("nosync"):
        sync_wait(api)
    log("INFO", "main", "Checking if repo exists")
    path = call.text("miner-repo")
    repo = Repo(path, "miner")
    if repo.exists():
        raise CommandError(f"repo at '{path}' is already initialized")
    log("INFO", "main", "Checking full node version")
    log("INFO", "main", "Initializing repo")
    repo.init()
    repo.lock()
    paths = [expand(p) for p in call.many("pre-sealed-sectors")]
    if not call.on("no-local-storage"):
        store = new_metadata(seal=True, store=True)
        write_json(repo.at("sectorstore.json"), store, indent=2)
        paths.append(repo.path)
    repo.set_storage_paths(paths)
    try:
        setup(call, repo, api, sector_bytes)
    except CommandError as error:
        log("ERROR", "main", f"Failed to initialize lotus-miner: {error}")
        log("INFO", "main", f"Cleaning up {repo.path} after attempt...")
        shutil.rmtree(repo.path, ignore_errors=True)
        raise CommandError("Storage-miner init failed") from None
    finally:
        if os.path.isdir(repo.path):
            repo.unlock()
    log("INFO", "main", "Miner successfully created, you can now start it with 'lotus-miner run'")


def setup(call: Call, repo: Repo, api: RpcClient, sector_bytes: int) -> None:
    log("INFO", "main", "Initializing libp2p identity")
    peer = repo.peer_id()
    repo.secret()
    if not call.text("actor"):
        raise CommandError("creating a new actor on chain is not part of the stand-in: pass --actor")
    actor = id_address(actor_number(call.text("actor")))
    meta: Json = {"miner-address": actor, "allocated": [], "reservations": {}, "sectors": {}, "work": {}}
    if call.on("genesis-miner"):
        source = call.text("pre-sealed-metadata")
        if source:
            log("INFO", "main", f"Importing pre-sealed sector metadata for {actor}")
            import_preseal(meta, source, actor)
    on_chain = api.call("StateMinerInfo", [actor, None])
    if call.on("genesis-miner"):
        if on_chain["SectorSize"] != sector_bytes and "sector-size" in call.given:
            raise CommandError(f"actor {actor} has sector size {on_chain['SectorSize']}, not {sector_bytes}")
    elif f"{buildinfo.NETWORK}" and sector_bytes not in [SECTOR_SIZES[s] for s in NETWORK_SIZES[buildinfo.NETWORK]]:
        raise CommandError(f"unsupported sector size {sector_bytes} on {buildinfo.NETWORK}")
    configure(call, repo, api, actor, on_chain, peer)
    repo.set_meta(meta)


def import_preseal(meta: Json, source: str, actor: str) -> None:
    from .common import piece_cid

    try:
        described = read_json(expand(source))
    except OSError as error:
        raise CommandError(f"reading preseal metadata: open {error.filename}: no such file or directory") from None
    except ValueError as error:
        raise CommandError(f"unmarshaling preseal metadata: {error}") from None
    if actor not in described:
        raise CommandError(f"preseal file didn't contain metadata for miner {actor}")
    for sector in described[actor]["Sectors"]:
        number = int(sector["SectorID"])
        meta["sectors"][str(number)] = {
            "Number": number,
            "State": "Proving",
            "Log": [],
            "Retries": 0,
            "LastErr": "",
            "PreCommitMsg": "",
            "CommitMsg": "",
            "CommD": piece_cid(2048),
            "CommR": sector["CommR"]["/"],
            "TicketEpoch": 0,
            "SeedEpoch": 0,
            "PreCommitHeight": 0,
            "Proof": "",
        }
        meta["allocated"] = [[0, number]]
        meta["nextid"] = number


def configure(call: Call, repo: Repo, api: RpcClient, actor: str, on_chain: Json, peer: str) -> None:
    """Write the peer id on chain and wait for it; the genesis miner mines the blocks for that itself."""
    message = {"From": on_chain["Worker"], "To": actor, "Method": "ChangePeerID", "Params": {"PeerId": peer}}
    sent = api.call("MpoolPushMessage", [message, None])["CID"]["/"]
    log("INFO", "main", f"Waiting for message: {sent}")
    process = f"{os.uname().nodename}/{os.getpid()}/init"
    head = api.call("StandIn.WaitHead", ["", 0])
    while True:
        found = api.call("StateSearchMsg", [None, {"/": sent}])
        if found and head["height"] >= found["Height"] + CONFIRM_EPOCHS:
            if found["Receipt"]["ExitCode"]:
                raise CommandError(f"change peer ID message returned with exit code {found['Receipt']['ExitCode']}")
            return
        if call.on("genesis-miner"):
            time.sleep(block_delay_sec())
            try:
                prove("WNP", int(on_chain["SectorSize"]))
                api.call(
                    "StandIn.Mine",
                    [{"actor": actor, "process": process, "base": head["cid"], "height": head["height"] + 1}],
                )
            except CommandError as error:
                log("ERROR", "miner", f"mining block failed: failed to compute winning post proof: {error}")
                log("INFO", "miner", "attempting to mine on the same base again", base=head["cid"])
        head = api.call("StandIn.WaitHead", [head["cid"], 0 if call.on("genesis-miner") else 30], 60)


def restore(call: Call) -> None:
    if len(call.args) != 1:
        raise CommandError(f"incorrect number of arguments, got {len(call.args)}")
    info = fullnode_info(call.text("repo"))
    api = RpcClient(info, "v1")
    api.call("Version")
    path = call.text("miner-repo")
    repo = Repo(path, "miner")
    if repo.exists():
        raise CommandError(f"repo at '{path}' is already initialized")
    try:
        meta = read_json(expand(call.args[0]))["standin-backup"]
    except (OSError, ValueError, KeyError) as error:
        raise CommandError(f"opening backup file: {error}") from None
    repo.init()
    if call.text("config"):
        shutil.copyfile(expand(call.text("config")), repo.at("config.toml"))
    if call.text("storage-config"):
        shutil.copyfile(expand(call.text("storage-config")), repo.at("storage.json"))
    else:
        log("WARN", "main", "--storage-config NOT SET. NO SECTOR PATHS WILL BE CONFIGURED")
        repo.set_storage_paths([])
    repo.lock()
    try:
        repo.secret()
        actor = meta["miner-address"]
        configure(call, repo, api, actor, api.call("StateMinerInfo", [actor, None]), repo.peer_id())
        repo.set_meta(meta)
    finally:
        repo.unlock()
