"""lotus-seed: pre-sealed sectors and the genesis template."""

from __future__ import annotations

import os
import time
import uuid

from .cli import Call
from .common import (
    SECTOR_SIZES,
    CommandError,
    Json,
    actor_number,
    expand,
    fake_cid,
    out,
    parse_size,
    piece_cid,
    read_json,
    sealed_cid,
    sector_name,
    write_json,
)
from .paths import new_metadata
from .repo import base58
from .sectorfiles import write_finalized
from .stack import CURRENT
from .wallet import export_text, import_text, key_address, new_key

ATTO = 10**18


def run(call: Call) -> None:
    command = {
        "pre-seal": pre_seal,
        "genesis new": genesis_new,
        "genesis add-miner": genesis_add_miner,
        "genesis set-network-version": genesis_set_network_version,
        "genesis car": genesis_car,
    }.get(call.command)
    if command is None:
        raise CommandError(f"{call.command}: not part of the stand-in")
    command(call)


def pre_seal(call: Call) -> None:
    directory = expand(call.text("sector-dir"))
    try:
        size_bytes = parse_size(call.text("sector-size"))
    except ValueError as error:
        raise CommandError(str(error)) from None
    if size_bytes not in SECTOR_SIZES.values():
        raise CommandError(f"unsupported sector size for seal proof type: {size_bytes}")
    miner = call.text("miner-addr")
    number = actor_number(miner)
    os.makedirs(directory, mode=0o775, exist_ok=True)
    key_path = call.text("key")
    if key_path:
        with open(expand(key_path), encoding="utf-8") as stream:
            key = import_text(stream.read(), "hex-lotus")
    else:
        key = new_key("bls")
    owner = key_address(key)
    first = call.number("sector-offset")
    sectors: list[Json] = []
    for sector in range(first, first + call.number("num-sectors")):
        comm_r = sealed_cid(miner, sector, "pre-seal")
        write_finalized(directory, sector_name(number, sector), fake_cid(comm_r))
        deal = {
            "PieceCID": {"/": piece_cid(size_bytes)},
            "PieceSize": size_bytes,
            "VerifiedDeal": False,
            "Client": owner,
            "Provider": miner,
            "Label": str(sector),
            "StartEpoch": 0,
            "EndEpoch": 9001,
            "StoragePricePerEpoch": "0",
            "ProviderCollateral": "0",
            "ClientCollateral": "0",
        }
        sectors.append(
            {
                "CommR": {"/": comm_r},
                "CommD": {"/": piece_cid(size_bytes)},
                "SectorID": sector,
                "Deal": deal,
                "DealClientKey": {"Type": key["Type"], "PrivateKey": key["PrivateKey"]},
                "ProofType": 5,
            }
        )
    meta = {
        miner: {
            "ID": miner,
            "Owner": owner,
            "Worker": owner,
            "PeerId": peer(owner),
            "MarketBalance": "0",
            "PowerBalance": "0",
            "SectorSize": size_bytes,
            "Sectors": sectors,
        }
    }
    write_json(os.path.join(directory, f"pre-seal-{miner}.json"), meta, indent=4)
    path = os.path.join(directory, f"pre-seal-{miner}.key")
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(fd, "w") as stream:
        stream.write(export_text(key))
    store = new_metadata(seal=False, store=False, weight=0)
    write_json(os.path.join(directory, "sectorstore.json"), store, indent=2)


def peer(owner: str) -> str:
    return base58(bytes.fromhex("002408011220") + fake_cid("seed", owner).encode()[-32:])


def genesis_new(call: Call) -> None:
    if not call.args:
        raise CommandError("seed genesis new [genesis.json]")
    name = call.text("network-name") or f"localnet-{uuid.uuid4()}"
    template = {
        "NetworkVersion": CURRENT.devnet_network_version,
        "Accounts": [],
        "Miners": [],
        "NetworkName": name,
        "VerifregRootKey": {"Type": "multisig", "Balance": "0"},
        "RemainderAccount": {"Type": "multisig", "Balance": "0"},
        "Timestamp": 0,
    }
    if call.text("timestamp"):
        template["Timestamp"] = int(time.mktime(time.strptime(call.text("timestamp")[:19], "%Y-%m-%dT%H:%M:%S")))
    write_json(expand(call.args[0]), template, indent=2)


def genesis_add_miner(call: Call) -> None:
    if len(call.args) != 2:
        raise CommandError("seed genesis add-miner [genesis.json] [preseal.json]")
    path = expand(call.args[0])
    try:
        template, miners = read_json(path), read_json(expand(call.args[1]))
    except FileNotFoundError as error:
        raise CommandError(f"open {error.filename}: no such file or directory") from None
    except ValueError as error:
        raise CommandError(f"unmarshal: {error}") from None
    for address, miner in miners.items():
        wanted = 1000 + len(template["Miners"])
        if actor_number(address) != wanted:
            raise CommandError(f"generated wrong address from preseal file: expected t0{wanted}, got {address}")
        out(f"Adding miner {address} to genesis template")
        template["Miners"].append(
            dict(miner, ID=address, PowerBalance=str(10**6 * ATTO), MarketBalance=str(10**4 * ATTO))
        )
        balance = float(call.text("balance") or 50000000)
        template["Accounts"].append(
            {"Type": "account", "Balance": str(int(balance) * ATTO), "Meta": {"Owner": miner["Owner"]}}
        )
        out(f"Giving {miner['Owner']} some initial balance")
    write_json(path, template, indent=2)


def genesis_car(call: Call) -> None:
    """The file that `lotus daemon --genesis` reads, without a daemon."""
    if len(call.args) != 1:
        raise CommandError("Please specify a genesis template. (i.e, the one created with `genesis new`)")
    template = read_json(expand(call.args[0]))
    template["Timestamp"] = template.get("Timestamp") or int(time.time())
    write_json(expand(call.text("out") or "genesis.car"), {"standin-genesis": template})


def genesis_set_network_version(call: Call) -> None:
    if not call.args:
        raise CommandError("seed genesis set-network-version <genesisFile>")
    template = read_json(expand(call.args[0]))
    template["NetworkVersion"] = call.number("network-version")
    write_json(expand(call.args[0]), template, indent=2)
