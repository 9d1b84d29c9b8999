"""`lotus-miner init` and `run` of the fork: flags into a role, the counter first, json files before the node."""

from __future__ import annotations

import os

from .. import buildinfo, miner_start, params
from ..cli import Call
from ..common import CommandError, Exit, Json, log, violation
from ..config import check_environment
from ..lotus_cli import fullnode_info, sync_wait
from ..net import RpcClient
from ..repo import Repo
from ..stack import CURRENT, text
from . import limits
from .counter import Counter

COUNTER_TYPES = ("alloce", "get")


def run(call: Call) -> None:
    if call.command == "run":
        start(call)
        return
    miner_start.run(call)
    repo = Repo(call.text("miner-repo"), "miner")
    meta: Json = repo.meta()
    # 1.12 knows its own counter alone; a later version derives what is allocated from it.
    meta.pop("allocated", None)
    repo.set_meta(meta)


def role_counter(call: Call, directory: str) -> tuple[str, Counter | None]:
    """(address to ask, server) of --sctype; anything but the two words means the local counter, without a message."""
    kind, address = call.text("sctype"), call.text("sclisten")
    if kind not in COUNTER_TYPES:
        if kind:
            violation("sctype-unknown", f"--sctype={kind}: {directory} counts sector numbers on its own")
        return "", None
    if not address:
        log("ERROR", "main", "sclisten must be set")
        raise Exit(0)
    log("INFO", "main", f"sctype is : {kind} , sclisten is: {address}")
    if kind == "get":
        return address, None
    counter = Counter(directory, address)
    log("INFO", "main", f"The scFilePath is : {counter.path}")
    counter.start()
    if not counter.running:
        violation("counter-server-missing", f"{counter.path}: unreadable, this alloce miner serves no numbers")
    return address, counter


def start(call: Call) -> None:
    check_environment()
    if call.args:
        violation("arguments-ignored", f"lotus-miner run: {' '.join(call.args)}")
    directory = call.text("miner-repo")
    address, counter = role_counter(call, directory)
    info = fullnode_info(call.text("repo"))
    api = RpcClient(info, "v1")
    remote = int(api.call("Version")["APIVersion"])
    if remote != CURRENT.full_v1:
        raise CommandError(
            f"lotus-daemon API version doesn't match: expected: {text(CURRENT.full_v1)}, got: {text(remote)}"
        )
    if not call.on("nosync"):
        log("INFO", "main", "Checking full node sync status")
        sync_wait(api)
    repo = Repo(directory, "miner")
    if not repo.exists():
        raise CommandError(f"repo at '{directory}' is not initialized, run 'lotus-miner init' to set it up")
    if call.text("miner-api"):
        os.environ["LOTUS_API_LISTENADDRESS"] = f"/ip4/127.0.0.1/tcp/{call.text('miner-api')}/http"
    if buildinfo.GENERATION == 2:
        write_files(directory)
    try:
        repo.lock()
    except CommandError as error:
        raise CommandError(f"initializing node: failed to lock repo: {error}") from None
    from .miner import ForkMiner, Role

    try:
        on = call.on
        role = Role(on("window-post"), on("winning-post"), on("p2p"), call.text("sctype"), address, counter)
        miner = ForkMiner(repo, info, role)
        if buildinfo.NETWORK != "2k" and os.environ.get("TRUST_PARAMS") != "1":
            lacking = params.missing(miner.sector_bytes)
            if lacking:
                raise CommandError(f"fetching proof parameters: {lacking}")
        miner.run()
    finally:
        repo.unlock()


def write_files(directory: str) -> None:
    """Both json files, where absent, under the text of --miner-repo as it stands."""
    for name, value in (
        (limits.FILE, limits.WRITTEN | {"WorkerName": os.uname().nodename}),
        (limits.EXTERNAL_FILE, limits.EXTERNAL_WRITTEN),
    ):
        try:
            limits.write_missing(directory, name, value)
        except OSError as error:
            log("ERROR", "main", f"persisting myScheduler metadata: {error}")
