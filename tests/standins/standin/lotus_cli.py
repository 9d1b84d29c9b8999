"""Commands of `lotus` that talk to a running daemon."""

from __future__ import annotations

import base64
import json
import os
import sys
import time
from collections.abc import Callable

from . import stack
from .chain import ATTO
from .cli import Call
from .common import CommandError, block_delay_sec, expand, out, parse_duration, table
from .net import PERMISSIONS, ApiInfo, RpcClient
from .repo import Repo
from .wallet import export_text, import_text


def fullnode_info(repo_path: str) -> ApiInfo:
    """FULLNODE_API_INFO (its first entry), else the daemon repo's files."""
    text = os.environ.get("FULLNODE_API_INFO")
    if text:
        return ApiInfo.parse(text.split(",")[0])
    return Repo(repo_path, "daemon").api_info()


def client(call: Call) -> RpcClient:
    return RpcClient(fullnode_info(call.text("repo")), "v1")


def fil(atto: str | int) -> str:
    whole, rest = divmod(int(atto), ATTO)
    return f"{whole} FIL" if not rest else f"{whole}.{str(rest).rjust(18, '0').rstrip('0')} FIL"


def print_config(role: str) -> None:
    """`config default|updated`: the contract's keys as TOML."""
    from . import contract

    section = ""
    for key, spec in contract.config_keys(role).items():
        if "example-subsystem" in key:
            continue
        head, _, name = key.rpartition(".")
        if head != section:
            out(f"[{head}]")
            section = head
        default = spec.get("default")
        out(f"  {'' if name == 'EnableSplitstore' else '#'}{name} = {json.dumps([] if default is None else default)}")


def wait_api(call: Call, connect: Callable[[], RpcClient]) -> None:
    deadline = time.monotonic() + parse_duration(call.text("timeout") or "30s")  # 1.12 has no flag for it
    while time.monotonic() < deadline:
        try:
            api = connect()
            api.call("Version", timeout_sec=5)
            return
        except CommandError as error:
            out(f"Not online yet... ({error})")
            time.sleep(min(1.0, max(0.0, deadline - time.monotonic())))
    raise CommandError("timed out waiting for api to come online")


def permissions_for(call: Call, hint: str) -> list[str]:
    if "perm" not in call.given:
        raise CommandError(hint)
    perm = call.text("perm")
    if perm not in PERMISSIONS:
        raise CommandError("--perm flag has to be one of: [read write sign admin]")
    return PERMISSIONS[: PERMISSIONS.index(perm) + 1]


def auth(call: Call, api: RpcClient, variable: str, info: ApiInfo) -> None:
    if call.command == "auth create-token":
        token = api.call("AuthNew", [permissions_for(call, "--perm flag not set")])
        out(base64.b64decode(token).decode())
        return
    token = api.call(
        "AuthNew", [permissions_for(call, "--perm flag not set, use with one of: read, write, sign, admin")]
    )
    out(f"{variable}={base64.b64decode(token).decode()}:{info.address}")


def answered(call: Call, role: str, connect: Callable[[], RpcClient]) -> bool:
    """Run a command that `lotus` and `lotus-miner` have alike and that needs no API at its start; False for others."""
    if call.command in ("config default", "config updated"):
        print_config(role)
    elif call.command == "wait-api":
        wait_api(call, connect)
    elif call.command == "fetch-params":
        fetch_params(call)
    else:
        return False
    return True


def run(call: Call) -> None:
    if answered(call, "daemon", lambda: client(call)):
        return
    command = COMMANDS.get(call.command)
    if command is None:
        raise CommandError(f"{call.command}: not part of the stand-in")
    command(call, client(call))


def fetch_params(call: Call) -> None:
    from .common import parse_size
    from .params import missing

    if not call.args:
        raise CommandError('must specify sector size to fetch params for (e.g. "32GiB", "512MiB")')
    try:
        size_bytes = parse_size(call.args[0])
    except ValueError as error:
        raise CommandError(f'error parsing sector size (specify as "32GiB", for instance): {error}') from None
    lacking = missing(size_bytes)
    if lacking:
        raise CommandError(f"fetching proof parameters: {lacking}")


def _wallet_list(call: Call, api: RpcClient) -> None:
    addresses = api.call("WalletList")
    if call.on("addr-only"):
        for address in addresses:
            out(address)
        return
    try:
        default = api.call("WalletDefaultAddress")
    except CommandError:
        default = ""
    rows = [["Address", "Balance", "Nonce", "Default"]]
    for address in addresses:
        rows.append(
            [
                address,
                fil(api.call("WalletBalance", [address])),
                str(api.call("MpoolGetNonce", [address])),
                "X" if address == default else "",
            ]
        )
    out(table(rows))


def _wallet_import(call: Call, api: RpcClient) -> None:
    if call.args:
        try:
            with open(expand(call.args[0]), encoding="utf-8") as stream:
                text = stream.read()
        except OSError as error:
            raise CommandError(f"open {call.args[0]}: {(error.strerror or '').lower()}") from None
    else:
        text = sys.stdin.readline()
    form = call.text("format")
    if form not in ("hex-lotus", "json-lotus"):
        raise CommandError(f"unrecognized format: {form}")
    address = api.call("WalletImport", [import_text(text, form)])
    if call.on("as-default"):
        api.call("WalletSetDefault", [address])
    out(f"imported key {address} successfully!")


def _wallet_export(call: Call, api: RpcClient) -> None:
    if not call.args:
        raise CommandError("must specify key to export")
    key = api.call("WalletExport", [call.args[0]])
    out(export_text(key))


def _wallet_new(call: Call, api: RpcClient) -> None:
    out(api.call("WalletNew", [call.args[0] if call.args else "secp256k1"]))


def _wallet_balance(call: Call, api: RpcClient) -> None:
    address = call.args[0] if call.args else api.call("WalletDefaultAddress")
    balance = api.call("WalletBalance", [address])
    out(fil(balance) if balance != "0" else "0 FIL (warning: may display 0 if chain sync in progress)")


def _wallet_delete(call: Call, api: RpcClient) -> None:
    if not call.args:
        raise CommandError("must specify address to delete")
    api.call("WalletDelete", [call.args[0]])


def _wallet_default(_call: Call, api: RpcClient) -> None:
    out(api.call("WalletDefaultAddress"))


def _wallet_set_default(call: Call, api: RpcClient) -> None:
    if not call.args:
        raise CommandError("must pass address to set as default")
    api.call("WalletSetDefault", [call.args[0]])


def _send(call: Call, api: RpcClient) -> None:
    if len(call.args) != 2:
        raise CommandError(f"incorrect number of arguments, got {len(call.args)}")
    sender = call.text("from") or api.call("WalletDefaultAddress")
    value = str(int(float(call.args[1].split()[0]) * ATTO))
    signed = api.call(
        "MpoolPushMessage", [{"From": sender, "To": call.args[0], "Value": value, "Method": "Send"}, None]
    )
    out(signed["CID"]["/"])


def _net_id(_call: Call, api: RpcClient) -> None:
    out(api.call("ID"))


def _net_listen(_call: Call, api: RpcClient) -> None:
    info = api.call("NetAddrsListen")
    for address in info["Addrs"]:
        out(f"{address}/p2p/{info['ID']}")


def _net_peers(_call: Call, api: RpcClient) -> None:
    for peer in api.call("NetPeers"):
        out(f"{peer['ID']}, [{' '.join(peer['Addrs'])}]")


def _net_connect(call: Call, api: RpcClient) -> None:
    from .p2p import split_peer

    if not call.args:
        raise CommandError(f"incorrect number of arguments, got {len(call.args)}")
    for multiaddr in call.args:
        peer = split_peer(multiaddr)[2]
        out(f"connect {peer}: ", end="")
        try:
            api.call("NetConnect", [{"ID": peer, "Addrs": [multiaddr.rsplit("/p2p/", 1)[0]]}])
        except CommandError:
            out("failure")
            raise
        out("success")


def _net_disconnect(call: Call, api: RpcClient) -> None:
    for peer in call.args:
        api.call("NetDisconnect", [peer])
        out(f"disconnect {peer}: success")


def _net_protect(call: Call, api: RpcClient) -> None:
    method = "NetProtectAdd" if call.command == "net protect" else "NetProtectRemove"
    api.call(method, [call.args])


def _net_list_protected(_call: Call, api: RpcClient) -> None:
    for peer in api.call("NetProtectList"):
        out(peer)


def _net_reachability(_call: Call, _api: RpcClient) -> None:
    out("AutoNAT status:  Unknown")


def _chain_head(call: Call, api: RpcClient) -> None:
    head = api.call("ChainHead")
    out(str(head["Height"]) if call.on("height") else "\n".join(c["/"] for c in head["Cids"]))


def _chain_list(call: Call, api: RpcClient) -> None:
    for block in api.call("StandIn.Blocks", [call.number("count") or 30]):
        stamp = time.strftime("%b %e %H:%M:%S", time.localtime(block["timestamp"]))
        out(f"{block['height']}: ({stamp}) [ {block['cid']}: {block['miner']}, ]")


def _chain_export(call: Call, api: RpcClient) -> None:
    if len(call.args) != 1:
        raise CommandError("must specify filename to export chain to")
    chain = api.call("StandIn.ChainExport")
    with open(expand(call.args[0]), "w", encoding="utf-8") as stream:
        stream.write(json.dumps({"standin-snapshot": chain["genesis"]}) + "\n")
        stream.writelines(json.dumps(b) + "\n" for b in chain["blocks"])


def _sync_status(_call: Call, api: RpcClient) -> None:
    state = api.call("SyncState")
    out("sync status:")
    for worker in state["ActiveSyncs"]:
        target = worker["Target"]
        out(f"worker {worker['WorkerID']}:")
        out(f"\tBase:\t[{worker['Base']['Cids'][0]['/']}]")
        out(f"\tTarget:\t[{target['Cids'][0]['/']}] ({target['Height']})")
        out(f"\tHeight diff:\t{target['Height'] - worker['Height']}")
        out("\tStage: complete")
        out(f"\tHeight: {worker['Height']}")
        out("\tElapsed: 1ms")


def _sync_wait(call: Call, api: RpcClient) -> None:
    sync_wait(api, call.on("watch"))


def sync_wait(api: RpcClient, watch: bool = False) -> None:
    """Until the head is younger than a block time, as the real command."""
    while True:
        head = api.call("ChainHead")
        out(f"Worker: 1; Base: {head['Height']}; Target: {head['Height']} (diff: 0)")
        out(f"State: complete; Current Epoch: {head['Height']}; Todo: 0")
        if not watch and time.time() - head["Blocks"][0]["Timestamp"] < max(4.0, 3 * block_delay_sec()):
            out("\nDone!")
            return
        time.sleep(1)


def _mpool_pending(call: Call, api: RpcClient) -> None:
    for message in api.call("MpoolPending", [None]):
        out(message["CID"]["/"] if call.on("cids") else json.dumps(message, indent=2))


def _state_power(call: Call, api: RpcClient) -> None:
    from .common import size_text

    if call.args:
        power = api.call("StateMinerPower", [call.args[0], None])
        mine, total = int(power["MinerPower"]["RawBytePower"]), int(power["TotalPower"]["RawBytePower"])
        out(f"{mine}({size_text(mine)}) / {total}({size_text(total)}) ~= {100 * mine / max(1, total):.4f}%")
        return
    total = sum(
        int(api.call("StateMinerPower", [m, None])["MinerPower"]["RawBytePower"])
        for m in api.call("StateListMiners", [None])
    )
    out(f"{total}({size_text(total)})")


def _state_sectors(call: Call, api: RpcClient) -> None:
    if len(call.args) != 1:
        raise CommandError("must specify miner to list sectors for")
    method = "StateMinerSectors" if call.command == "state sectors" else "StateMinerActiveSectors"
    params = [call.args[0], None, None] if method == "StateMinerSectors" else [call.args[0], None]
    for sector in api.call(method, params):
        out(f"{sector['SectorNumber']}: {sector['SealedCID']['/']}")


def _state_miner_info(call: Call, api: RpcClient) -> None:
    if not call.args:
        raise CommandError("must specify miner to get information for")
    info = api.call("StateMinerInfo", [call.args[0], None])
    balance = api.call("StateMinerAvailableBalance", [call.args[0], None])
    out(f"Available Balance: {fil(balance)}")
    out(f"Owner:\t{info['Owner']}\nWorker:\t{info['Worker']}\nPeerID:\t{info['PeerId'] or ''}\nMultiaddrs:\t")
    out(f"Consensus Fault End:\t{info['ConsensusFaultElapsed']}\nSectorSize:\t{info['SectorSize']}")


def _state_list_miners(_call: Call, api: RpcClient) -> None:
    for miner in api.call("StateListMiners", [None]):
        out(miner)


def _state_network_version(_call: Call, api: RpcClient) -> None:
    out(f"Network Version: {api.call('StateNetworkVersion', [None])}")


def _state_lookup(call: Call, api: RpcClient) -> None:
    if len(call.args) != 1:
        raise CommandError("must pass address of account to lookup")
    out(api.call("StateLookupID", [call.args[0], None]))


def _state_get_actor(call: Call, api: RpcClient) -> None:
    if not call.args:
        raise CommandError("must pass address of actor to get")
    actor = api.call("StateGetActor", [call.args[0], None])
    out(f"Address:\t{call.args[0]}\nBalance:\t{fil(actor['Balance'])}\nNonce:\t\t{actor['Nonce']}")


def _state_sector_size(call: Call, api: RpcClient) -> None:
    from .common import size_text

    size_bytes = api.call("StateMinerInfo", [call.args[0], None])["SectorSize"]
    out(f"{size_text(size_bytes)} ({size_bytes} B)")


def _state_proving_deadline(call: Call, api: RpcClient) -> None:
    info = api.call("StateMinerProvingDeadline", [call.args[0], None])
    for name in ("PeriodStart", "Index", "Open", "Close", "Challenge", "FaultCutoff"):
        out(f"{name}:\t{info[name]}")


def _state_wait(call: Call, api: RpcClient) -> None:
    if not call.args:
        raise CommandError("must specify message cid to wait for")
    found = api.call("StateWaitMsg", [{"/": call.args[0]}, 0])
    out(f"Executed in tipset: [{found['TipSet'][0]['/']}]\nExit Code: {found['Receipt']['ExitCode']}")


def _version(_call: Call, api: RpcClient) -> None:
    from .common import NODE_VERSION

    out(f"Daemon:  {api.call('Version')['Version']}+api{stack.text(stack.CURRENT.full_v0)}")
    out(f"Local: lotus version {NODE_VERSION}")


def _info(_call: Call, api: RpcClient) -> None:
    head = api.call("ChainHead")
    out(f"Network: {api.call('StateNetworkName')}\nChain: [sync ok] [basefee 100 aFIL] [epoch {head['Height']}]")
    out(f"Peers: {len(api.call('NetPeers'))}")
    wallets = api.call("WalletList")
    if wallets:
        out(f"Default address: \n      {_default_address(api)}")
        out(f"Wallets: {len(wallets)}")


def _default_address(api: RpcClient) -> str:
    try:
        return str(api.call("WalletDefaultAddress"))
    except CommandError:
        return "address not set"


def _status(_call: Call, api: RpcClient) -> None:
    status = api.call("NodeStatus", [False])
    out(f"Sync Epoch: {status['SyncStatus']['Epoch']}\nEpochs Behind: {status['SyncStatus']['Behind']}")
    out(f"Peers to Publish Messages: {status['PeerStatus']['PeersToPublishMsgs']}")
    out(f"Peers to Publish Blocks: {status['PeerStatus']['PeersToPublishBlocks']}")


def _stop(_call: Call, api: RpcClient) -> None:
    api.call("Shutdown")


def _auth(call: Call, api: RpcClient) -> None:
    auth(call, api, "FULLNODE_API_INFO", api.info)


def _log(call: Call, api: RpcClient) -> None:
    if call.command == "log list":
        out("\n".join(api.call("LogList")))
    elif call.command == "log alerts":
        for alert in api.call("LogAlerts") or []:
            out(f"active {alert['Type']['System']}:{alert['Type']['Subsystem']}")
    elif not call.args:
        raise CommandError("level is required")


def _backup(call: Call, api: RpcClient) -> None:
    if len(call.args) != 1:
        raise CommandError(f"incorrect number of arguments, got {len(call.args)}")
    api.call("CreateBackup", [os.path.abspath(call.args[0])])
    out("Success")


def _f3(call: Call, api: RpcClient) -> None:
    if call.command == "f3 status":
        out(f"Running: {str(api.call('F3IsRunning')).lower()}")
    elif call.command == "f3 list-miners":
        for miner in api.call("StandIn.F3Participants"):
            out(miner)
    else:
        out(f"Network Name: {api.call('F3GetManifest')['NetworkName']}")


COMMANDS: dict[str, Callable[[Call, RpcClient], None]] = {
    "wallet list": _wallet_list,
    "wallet import": _wallet_import,
    "wallet export": _wallet_export,
    "wallet new": _wallet_new,
    "wallet balance": _wallet_balance,
    "wallet default": _wallet_default,
    "wallet set-default": _wallet_set_default,
    "wallet delete": _wallet_delete,
    "send": _send,
    "net id": _net_id,
    "net listen": _net_listen,
    "net peers": _net_peers,
    "net connect": _net_connect,
    "net disconnect": _net_disconnect,
    "net protect": _net_protect,
    "net unprotect": _net_protect,
    "net list-protected": _net_list_protected,
    "net reachability": _net_reachability,
    "chain head": _chain_head,
    "chain list": _chain_list,
    "chain export": _chain_export,
    "sync status": _sync_status,
    "sync wait": _sync_wait,
    "mpool pending": _mpool_pending,
    "state power": _state_power,
    "state sectors": _state_sectors,
    "state active-sectors": _state_sectors,
    "state miner-info": _state_miner_info,
    "state list-miners": _state_list_miners,
    "state network-version": _state_network_version,
    "state lookup": _state_lookup,
    "state get-actor": _state_get_actor,
    "state sector-size": _state_sector_size,
    "state miner-proving-deadline": _state_proving_deadline,
    "state wait-msg": _state_wait,
    "version": _version,
    "info": _info,
    "status": _status,
    "daemon stop": _stop,
    "auth create-token": _auth,
    "auth api-info": _auth,
    "log list": _log,
    "log set-level": _log,
    "log alerts": _log,
    "backup": _backup,
    "f3 status": _f3,
    "f3 manifest": _f3,
    "f3 list-miners": _f3,
}
