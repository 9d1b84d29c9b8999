"""`lotus daemon`: chain, message pool, wallet, peers and the API."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
import time
from typing import Any

from . import buildinfo
from .chain import DEADLINES, MESSAGE_CONFIDENCE_EPOCHS, Chain, deadline_info, local, tipset
from .cli import Call
from .common import (
    ADDRESS_PREFIX,
    NODE_VERSION,
    CommandError,
    Exit,
    Json,
    actor_number,
    block_delay_sec,
    cid,
    expand,
    fake_cid,
    id_address,
    log,
    read_json,
    rfc3339,
    set_log_level,
    violation,
    write_json,
)
from .config import Config, check_environment
from .net import (
    HttpServer,
    Method,
    Request,
    Response,
    RpcServer,
    check_public,
    multiaddr_hostport,
)
from .p2p import Link, Network, split_peer
from .repo import B58, Repo
from .stack import CURRENT
from .wallet import Wallet

SYNC_COMPLETE = 4
LIVE_SEC = 300
PRESENCE_SEC = 5.0


def is_peer_id(text: str) -> bool:
    return 46 <= len(text) <= 62 and all(c in B58 for c in text)


class Daemon:
    config_kind = Config

    def __init__(self, call: Call, repo: Repo) -> None:
        self.call = call
        self.repo = repo
        self.config = self.config_kind(repo.at("config.toml"), "daemon")
        self.wallet = Wallet(repo)
        self.lock = threading.RLock()
        self.changed = threading.Condition(self.lock)
        self.pool: dict[str, Json] = {}
        self.stop = threading.Event()
        self.last_change = 0.0
        self.session = fake_cid(os.getpid(), time.time())
        self.started = time.time()
        self.protected: set[str] = set()
        self.holders: dict[tuple[str, str], str] = {}
        self.superseded: dict[tuple[str, str], set[str]] = {}
        self.reported: set[str] = set()
        self.seen_presence: dict[str, int] = {}
        self.sent_presence: dict[str, float] = {}
        self.presence_count = int(time.time() * 1000)
        self.mined: dict[tuple[str, int], Json] = {}
        self.f3: list[tuple[str, str]] = []
        self.chain = self._open_chain()

    # start

    def _open_chain(self) -> Chain:
        os.makedirs(self.repo.at("datastore", "chain"), exist_ok=True)
        genesis_file = self.repo.at("datastore", "chain", "genesis.json")
        known = read_json(genesis_file) if os.path.exists(genesis_file) else None
        wanted: Json = None
        if self.call.text("lotus-make-genesis"):
            template_file = self.call.text("genesis-template")
            if not template_file:
                raise CommandError("must also pass file with genesis template to `--genesis-template`")
            try:
                wanted = read_json(expand(template_file))
            except OSError as error:
                raise CommandError(f"open {error.filename}: no such file or directory") from None
            if known is None:
                wanted["Timestamp"] = wanted.get("Timestamp") or int(time.time())
                write_json(expand(self.call.text("lotus-make-genesis")), {"standin-genesis": wanted})
        elif self.call.text("genesis"):
            try:
                wanted = read_json(expand(self.call.text("genesis")))["standin-genesis"]
            except OSError as error:
                raise CommandError(f"reading genesis: open {error.filename}: no such file or directory") from None
            except (ValueError, KeyError):
                raise CommandError("loading genesis car file failed: invalid header") from None
        elif buildinfo.NETWORK != "2k":
            wanted = {
                "NetworkVersion": CURRENT.public_network_version,
                "NetworkName": buildinfo.NETWORK,
                "Accounts": [],
                "Miners": [],
                "Timestamp": 1598306400,
            }
        if wanted is None and (known is None or os.environ.get("LOTUS_SKIP_GENESIS_CHECK") != "_yes_"):
            raise CommandError(
                "No genesis block provided, provide the file with 'lotus daemon --genesis=[genesis file]'"
            )
        if known is not None and wanted is not None and os.environ.get("LOTUS_SKIP_GENESIS_CHECK") != "_yes_":
            check = dict(wanted, Timestamp=wanted.get("Timestamp") or known["Timestamp"])
            if check != known:
                raise CommandError("genesis in the repo is not the one expected by this version of Lotus!")
        genesis = known or wanted
        if known is None:
            write_json(genesis_file, genesis)
        chain = Chain(genesis, self.repo.at("datastore", "chain", "blocks.ndjson"))
        chain.load()
        return chain

    def import_snapshot(self, source: str) -> None:
        log("INFO", "main", f"importing chain from {source}...")
        try:
            if source.startswith(("http://", "https://")):
                import urllib.request

                with urllib.request.urlopen(source, timeout=60) as answer:
                    text = answer.read().decode()
            else:
                with open(expand(source), encoding="utf-8") as stream:
                    text = stream.read()
            head, *lines = text.splitlines()
            genesis = json.loads(head)["standin-snapshot"]
            blocks = [json.loads(line) for line in lines if line]
        except OSError as error:
            raise CommandError(f"importing chain failed: {error}") from None
        except (ValueError, KeyError):
            raise CommandError("importing chain failed: invalid header") from None
        self.chain.genesis = genesis
        write_json(self.repo.at("datastore", "chain", "genesis.json"), genesis)
        log("INFO", "main", "setting genesis")
        self.chain.replace(blocks)
        log("INFO", "main", f"accepting [{self.chain.head['cid']}] as new head")

    def run(self) -> None:
        for text in self.config.many("Libp2p.ProtectedPeers"):
            if not is_peer_id(text):
                raise CommandError(f"failed to parse peer ID in protected peers array: failed to parse peer ID: {text}")
        bootstrap = self.config.many("Libp2p.BootstrapPeers")
        for text in bootstrap:
            if not text.endswith(split_peer(text)[2]):
                raise CommandError(f"invalid bootstrap peer: {text}")
        for text in self.config.many("Libp2p.AnnounceAddresses") + self.config.many("Libp2p.ListenAddresses"):
            if not text.startswith("/"):
                raise CommandError(f"failed to parse multiaddr {text!r}: must begin with /")
        listen = self.config.text("API.ListenAddress")
        if "api" in self.call.given:
            listen = f"/ip4/127.0.0.1/tcp/{self.call.text('api')}/http"
        host, _, port = multiaddr_hostport(listen).rpartition(":")
        self.rpc = RpcServer(self.repo.verify, ["read"])
        self._methods()
        server = HttpServer(host.strip("[]"), int(port), self._http)
        check_public("lotus daemon API", host.strip("[]"))
        p2p_host, p2p_port = "0.0.0.0", 0
        for text in self.config.many("Libp2p.ListenAddresses"):
            parts = text.split("/")
            if parts[1] == "ip4" and len(parts) == 5 and parts[3] == "tcp":
                p2p_host, p2p_port = parts[2], int(parts[4])
                break
        self.net = Network(p2p_host, p2p_port, self.repo.peer_id(), self._hello, self._receive, self._opened)
        self.p2p_host = p2p_host
        self.repo.secret()
        self._check_wallet()
        self._load_pool()
        if self.call.on("bootstrap"):
            self.net.keep(bootstrap)
        self.protected.update(self.config.many("Libp2p.ProtectedPeers"))
        self.repo.open_journal()
        server.start()
        self.repo.write_api(f"/{'ip6' if ':' in server.host else 'ip4'}/{server.host}/tcp/{server.port}/http")
        log("INFO", "main", f"lotus repo: {self.repo.path}")
        self.stop.wait()
        log("WARN", "node", "received shutdown")
        log("WARN", "node", "Shutting down...")
        server.close()
        self.net.close()
        self.repo.unlock()
        log("WARN", "node", "Graceful shutdown successful")

    def _check_wallet(self) -> None:
        """Keys have no place on a daemon that announces itself to the world."""
        if self.config.many("Libp2p.AnnounceAddresses") and self.wallet.list():
            violation(
                "wallet-on-public-daemon",
                f"{self.repo.path} announces {self.config.many('Libp2p.AnnounceAddresses')[0]} and holds keys",
            )

    # peers

    def _hello(self) -> Json:
        with self.lock:
            return {
                "peer": self.repo.peer_id(),
                "genesis": self.chain.blocks[0]["cid"],
                "height": self.chain.height,
                "head": self.chain.head["cid"],
            }

    def _opened(self, link: Link, hello: Json) -> None:
        with self.lock:
            pool = list(self.pool.values())
        if int(hello["height"]) > self.chain.height:
            link.send({"t": "get", "from": max(1, self.chain.height - 20)})
        if pool:
            link.send({"t": "messages", "messages": pool})

    def _receive(self, link: Link, message: Json) -> None:
        kind = message["t"]
        if kind == "block":
            self._block(message["block"], link)
        elif kind == "get":
            with self.lock:
                blocks = [b for b in self.chain.blocks[1:] if b["height"] >= message["from"]]
            link.send({"t": "blocks", "from": message["from"], "blocks": blocks})
        elif kind == "blocks":
            self._blocks(message, link)
        elif kind == "messages":
            for item in message["messages"]:
                self._pool_add(item, link)
        elif kind == "presence":
            self._presence(message["presence"], link)

    def _block(self, block: Json, link: Link | None) -> bool:
        with self.lock:
            if block["cid"] in self.chain.by_cid:
                return False
            self._check_double(block)
            if block["parent"] != self.chain.head["cid"]:
                if link and block["height"] > self.chain.height:
                    link.send({"t": "get", "from": max(1, self.chain.height - 20)})
                return False
            self.chain.append(block)
            self._head_changed()
        self.net.broadcast({"t": "block", "block": block}, link)
        return True

    def _blocks(self, message: Json, link: Link) -> None:
        blocks = message["blocks"]
        with self.lock:
            for block in blocks:
                if block["cid"] not in self.chain.by_cid:
                    self._check_double(block)
            if not blocks or blocks[-1]["height"] <= self.chain.height:
                return
            if blocks[0]["parent"] not in self.chain.by_cid:
                if message["from"] > 1:
                    link.send({"t": "get", "from": 1})
                return
            if blocks[0]["parent"] == self.chain.head["cid"]:
                for block in blocks:
                    self.chain.append(block)
            else:
                fresh = [b for b in blocks if b["cid"] not in self.chain.by_cid]
                if fresh and fresh[0]["parent"] == self.chain.head["cid"]:
                    for block in fresh:
                        self.chain.append(block)
                else:
                    keep = self.chain.by_cid[blocks[0]["parent"]]
                    self.chain.replace(self.chain.blocks[1 : keep + 1] + blocks)
            head = self.chain.head
            self._head_changed()
        self.net.broadcast({"t": "block", "block": head}, link)

    def _check_double(self, block: Json) -> None:
        """Two blocks of one miner at one height: on the real network that is a slashed actor."""
        key = (block["miner"], int(block["height"]))
        other = self.mined.get(key)
        if other is not None and other["cid"] != block["cid"] and other["process"] != block["process"]:
            self._report(
                "two-winning-processes",
                f"{block['miner']} mined height {block['height']} twice: {other['process']} and {block['process']}",
            )
        self.mined[key] = block
        if len(self.mined) > 500:
            for old in sorted(self.mined, key=lambda k: k[1])[:250]:
                del self.mined[old]

    def _report(self, rule: str, detail: str) -> None:
        key = f"{rule}{detail.split(':')[0].split(' mined')[0]}"
        if key not in self.reported:
            self.reported.add(key)
            violation(rule, detail)

    def _head_changed(self) -> None:
        self.last_change = time.time()
        for repeat in self.chain.repeats:
            violation("sector-number-twice", repeat)
        self.chain.repeats.clear()
        before = len(self.pool)
        self.pool = {k: m for k, m in self.pool.items() if k not in self.chain.receipts}
        if len(self.pool) != before:
            self._save_pool()
        self.changed.notify_all()

    def _presence(self, presence: Json, link: Link | None) -> None:
        """A proving process was seen. A, then B, then A again means both live: a restart never brings A back."""
        process = presence["process"]
        with self.lock:
            if presence["count"] <= self.seen_presence.get(process, 0):
                return
            self.seen_presence[process] = presence["count"]
            for role in presence["roles"]:
                key = (presence["actor"], role)
                holder = self.holders.get(key)
                if holder == process:
                    continue
                past = self.superseded.setdefault(key, set())
                if process in past:
                    self._report(f"two-{role}-processes", f"{presence['actor']}: {holder} and {process}")
                if holder:
                    past.add(holder)
                self.holders[key] = process
        self.net.broadcast({"t": "presence", "presence": presence}, link)

    # message pool

    def _load_pool(self) -> None:
        path = self.repo.at("datastore", "mpool.json")
        if os.path.exists(path):
            self.pool = {m["CID"]: m for m in read_json(path) if m["CID"] not in self.chain.receipts}

    def _save_pool(self) -> None:
        write_json(self.repo.at("datastore", "mpool.json"), list(self.pool.values()))

    def _pool_add(self, message: Json, link: Link | None = None) -> None:
        with self.lock:
            if message["CID"] in self.pool or message["CID"] in self.chain.receipts:
                return
            self.pool[message["CID"]] = message
            self._save_pool()
        self.net.broadcast({"t": "messages", "messages": [message]}, link)

    def push(self, message: Json, _spec: Json = None) -> Json:
        sender = local(str(message["From"]))
        if not self.wallet.has(sender):
            raise CommandError(f"mpool push: failed to sign message: {sender}: key not found")
        with self.lock:
            nonce = self.chain.nonces.get(sender, 0)
            nonce = max([nonce] + [int(m["Nonce"]) + 1 for m in self.pool.values() if m["From"] == sender])
            body = {
                "From": sender,
                "To": local(str(message["To"])),
                "Method": message.get("Method", "Send"),
                "Value": str(message.get("Value", "0")),
                "Params": message.get("Params"),
                "Nonce": nonce,
            }
            body["CID"] = fake_cid(json.dumps(body, sort_keys=True), time.time())
            self._pool_add(body)
        return {"Message": body, "Signature": {"Type": 2, "Data": ""}, "CID": cid(body["CID"])}

    # mining

    def mine(self, request: Json) -> Json:
        """A block of `actor` on `base`, at most one per height and daemon; the slash filter answers the second."""
        actor = local(request["actor"])
        with self.lock:
            head = self.chain.head
            miner = self.chain.miners.get(actor_number(actor))
            if miner is None or not self.wallet.has(miner.worker):
                raise CommandError(f"failed to sign new block: key not found: {miner.worker if miner else actor}")
            if request["base"] != head["cid"]:
                key = (actor, int(request["height"]))
                other = self.mined.get(key)
                if other is not None and other["process"] != request["process"]:
                    self._report(
                        "two-winning-processes",
                        f"{actor} mined height {request['height']} twice: {other['process']} and {request['process']}",
                    )
                    raise CommandError(f"<!!> SLASH FILTER DETECTED FAULT due to witness {other['cid']}")
                return {"block": None}
            messages = sorted(self.pool.values(), key=lambda m: (m["From"], m["Nonce"]))
            height = int(head["height"]) + 1
            block = {
                "height": height,
                "parent": head["cid"],
                "timestamp": max(int(head["timestamp"]), int(time.time())),
                "miner": actor,
                "process": request["process"],
                "messages": messages,
            }
            block["cid"] = fake_cid(height, head["cid"], actor, request["process"], time.time())
            self._block(block, None)
        return {"block": {"cid": block["cid"], "height": height}}

    def wait_head(self, known: str, timeout_sec: float, presence: Json = None) -> Json:
        """Block until the head is another one than `known`, or the time is over; carries the presence of provers."""
        if presence and presence.get("roles"):
            now = time.time()
            if now - self.sent_presence.get(presence["process"], 0) >= min(PRESENCE_SEC, block_delay_sec() * 5):
                self.sent_presence[presence["process"]] = now
                self.presence_count += 1
                self._presence(dict(presence, count=self.presence_count), None)
        deadline = time.monotonic() + timeout_sec
        with self.lock:
            while self.chain.head["cid"] == known and not self.stop.is_set():
                rest = deadline - time.monotonic()
                if rest <= 0:
                    break
                self.changed.wait(rest)
            head = self.chain.head
            return {"cid": head["cid"], "height": head["height"], "timestamp": head["timestamp"]}

    def wait_message(self, key: Json, confidence: int = MESSAGE_CONFIDENCE_EPOCHS, *_rest: Json) -> Json:
        text = key["/"] if isinstance(key, dict) else str(key)
        deadline = time.monotonic() + 50
        with self.lock:
            while time.monotonic() < deadline and not self.stop.is_set():
                receipt = self.chain.receipts.get(text)
                if receipt and self.chain.height >= receipt["Height"] + confidence:
                    return self._lookup(text)
                self.changed.wait(max(0.01, deadline - time.monotonic()))
        raise CommandError("waiting for message: context deadline exceeded")

    def _lookup(self, text: str) -> Json:
        receipt = self.chain.receipts.get(text)
        if receipt is None:
            return None
        return {
            "Message": cid(text),
            "Receipt": {"ExitCode": receipt["ExitCode"], "Return": None, "GasUsed": 1000000, "EventsRoot": None},
            "ReturnDec": None,
            "TipSet": [cid(receipt["TipSet"])],
            "Height": receipt["Height"],
        }

    # HTTP

    def _http(self, request: Request) -> Response:
        if request.path in ("/rpc/v0", "/rpc/v1", "/rpc/v2"):
            if request.method != "POST":
                return Response(400, b"websocket upgrade is not part of the stand-in\n")
            return self.rpc.handle(request)
        if request.path == "/health/livez":
            return Response(200 if time.time() - self.last_change < LIVE_SEC else 503)
        if request.path == "/health/readyz":
            return Response(503)
        if request.path == "/debug/metrics":
            text = f"# TYPE lotus_chain_node_height gauge\nlotus_chain_node_height {self.chain.height}\n"
            text += f'lotus_info{{commit="",network="{buildinfo.NETWORK}",version="{NODE_VERSION}"}} 1\n'
            text += f"# TYPE lotus_peer_count gauge\nlotus_peer_count {len(self.net.links)}\n"
            text += f"# TYPE lotus_mpool_message_count gauge\nlotus_mpool_message_count {len(self.pool)}\n"
            return Response(200, text.encode())
        return Response(404, b"404 page not found\n")

    # API

    def _miner(self, address: str) -> Any:
        miner = self.chain.miners.get(actor_number(str(address)))
        if miner is None:
            raise CommandError(f"failed to load miner actor: actor not found: {address}")
        return miner

    def _listen(self) -> list[str]:
        hosts = [self.p2p_host]
        if self.p2p_host == "0.0.0.0":
            hosts = sorted({"127.0.0.1", *local_addresses()})
        return self.config.many("Libp2p.AnnounceAddresses") or [f"/ip4/{h}/tcp/{self.net.port}" for h in hosts]

    def _methods(self) -> None:
        add = self.rpc.add
        add("read", "Version", self._version)
        add("read", "Session", lambda: self.session)
        self.rpc.v0["Filecoin.Version"] = Method("read", lambda: dict(self._version(), APIVersion=CURRENT.full_v0))
        add("read", "StartTime", lambda: rfc3339(self.started))
        add("read", "AuthVerify", self.repo.auth_verify)
        add("admin", "AuthNew", self.repo.auth_new)
        add("admin", "Shutdown", self.stop.set)
        add("read", "ID", self.repo.peer_id)
        add("read", "NetAddrsListen", lambda: {"ID": self.repo.peer_id(), "Addrs": self._listen()})
        add(
            "read",
            "NetPeers",
            lambda: [{"ID": p, "Addrs": [link.address]} for p, link in sorted(self.net.links.items())],
        )
        add("write", "NetConnect", lambda info: self.net.dial(f"{info['Addrs'][0]}/p2p/{info['ID']}") and None)
        add("write", "NetDisconnect", lambda peer: self.net.disconnect(peer))
        add("admin", "NetProtectAdd", lambda peers: self.protected.update(peers))
        add("admin", "NetProtectRemove", lambda peers: self.protected.difference_update(peers))
        add("read", "NetProtectList", lambda: sorted(self.protected))
        add("read", "NetAutoNatStatus", lambda: {"Reachability": 0, "PublicAddrs": None})
        add("read", "LogList", lambda: ["chain", "main", "net"])
        add("write", "LogSetLevel", set_log_level)
        add("admin", "LogAlerts", lambda: [])
        add("read", "ChainHead", lambda: tipset(self.chain.head))
        add("read", "ChainGetGenesis", lambda: tipset(self.chain.blocks[0]))
        add(
            "read",
            "ChainGetTipSetByHeight",
            lambda height, _key=None: tipset(self.chain.blocks[min(int(height), self.chain.height)]),
        )
        add("read", "SyncState", self._sync_state)
        add(
            "read", "MpoolPending", lambda _key=None: [{"Message": m, "CID": cid(m["CID"])} for m in self.pool.values()]
        )
        add("sign", "MpoolPushMessage", self.push)
        add("read", "MpoolGetNonce", lambda address: self.chain.nonces.get(local(address), 0))
        add("write", "WalletNew", self._wallet_new)
        add("write", "WalletHas", lambda address: self.wallet.has(address))
        add("write", "WalletList", lambda: self.wallet.list())
        add("read", "WalletBalance", lambda address: str(self.chain.balances.get(local(address), 0)))
        add("write", "WalletDefaultAddress", self._wallet_default)
        add("write", "WalletSetDefault", lambda address: self.wallet.set_default(local(address)))
        add("admin", "WalletExport", lambda address: self.wallet.get(local(address)))
        add("admin", "WalletImport", self._wallet_import)
        add("admin", "WalletDelete", lambda address: self.wallet.delete(local(address)))
        add("read", "WalletValidateAddress", lambda address: address)
        add("read", "StateNetworkName", lambda: self.chain.genesis["NetworkName"])
        add("read", "StateNetworkVersion", lambda _key=None: self.chain.genesis["NetworkVersion"])
        add("read", "StateListMiners", lambda _key=None: [id_address(n) for n in sorted(self.chain.miners)])
        add("read", "StateMinerInfo", self._miner_info)
        add("read", "StateMinerPower", self._miner_power)
        add("read", "StateMinerSectors", lambda a, _filter=None, _key=None: self._sectors(a, False))
        add("read", "StateMinerActiveSectors", lambda a, _key=None: self._sectors(a, True))
        add("read", "StateMinerSectorCount", self._sector_count)
        add(
            "read",
            "StateMinerFaults",
            lambda a, _key=None: rle(n for n, s in list(self._miner(a).sectors.items()) if s["Faulty"]),
        )
        add("read", "StateMinerRecoveries", lambda a, _key=None: rle([]))
        add(
            "read",
            "StateMinerProvingDeadline",
            lambda a, _key=None: self._miner(a) and deadline_info(self.chain.height),
        )
        add("read", "StateMinerDeadlines", self._deadlines)
        add("read", "StateMinerPartitions", self._partitions)
        add("read", "StateMinerAvailableBalance", lambda a, _key=None: str(self._miner(a).balance))
        add("read", "StateMinerAllocated", lambda a, _key=None: rle(self._miner(a).allocated))
        add("read", "StateSectorGetInfo", self._sector_info)
        add("read", "StateSectorPreCommitInfo", self._precommit_info)
        add("read", "StateLookupID", self._lookup_id)
        add("read", "StateAccountKey", lambda address, _key=None: local(address))
        add("read", "StateGetActor", self._actor)
        add("read", "StateSearchMsg", lambda _key, text, *_r: self._lookup(text["/"]))
        add("read", "StateWaitMsg", self.wait_message)
        add("read", "NodeStatus", self._node_status)
        add("read", "F3IsRunning", lambda: os.environ.get("LOTUS_DISABLE_F3_SUBSYSTEM", "") in ("", "0", "false", "no"))
        add("read", "F3GetManifest", lambda: {"NetworkName": self.chain.genesis["NetworkName"]})
        add("read", "StandIn.Provers", lambda role: [p for (_, r), p in self.holders.items() if r == role])
        add("sign", "StandIn.F3Participate", self._f3_participate)
        add("read", "StandIn.F3Participants", lambda: sorted({f"{a} {p}" for a, p in self.f3}))
        add("admin", "CreateBackup", self._backup)
        add("read", "StandIn.WaitHead", self.wait_head)
        add("write", "StandIn.Mine", self.mine)
        add("read", "StandIn.ChainExport", lambda: {"genesis": self.chain.genesis, "blocks": self.chain.blocks[1:]})
        add("read", "StandIn.Blocks", lambda count: self.chain.blocks[-int(count) :])

    def _version(self) -> Json:
        return {"Version": NODE_VERSION, "APIVersion": CURRENT.full_v1, "BlockDelay": max(1, round(block_delay_sec()))}

    def _sync_state(self) -> Json:
        head = tipset(self.chain.head)
        now = rfc3339(self.last_change or self.started)
        return {
            "ActiveSyncs": [
                {
                    "WorkerID": 1,
                    "Base": head,
                    "Target": head,
                    "Stage": SYNC_COMPLETE,
                    "Height": self.chain.height,
                    "Start": now,
                    "End": now,
                    "Message": "",
                }
            ],
            "VMApplied": len(self.chain.receipts),
        }

    def _wallet_new(self, kind: str) -> str:
        from .wallet import new_key

        if kind not in ("bls", "secp256k1", "delegated"):
            raise CommandError(f"unsupported key type: {kind}")
        address = self.wallet.add(new_key(kind))
        self._check_wallet()
        return address

    def _wallet_default(self) -> str:
        address = self.wallet.default()
        if address is None:
            raise CommandError("failed to get default key: key info not found")
        return address

    def _wallet_import(self, key: Json) -> str:
        from .wallet import key_address

        if self.wallet.has(key_address(key)):
            raise CommandError(
                f"saving to keystore: checking key before put 'wallet-{key_address(key)}': key already exists"
            )
        address = self.wallet.add(key)
        self._check_wallet()
        return address

    def _miner_info(self, address: str, _key: Json = None) -> Json:
        miner = self._miner(address)
        return {
            "Owner": miner.owner,
            "Worker": miner.worker,
            "NewWorker": "<empty>",
            "ControlAddresses": None,
            "WorkerChangeEpoch": -1,
            "PeerId": miner.peer or None,
            "Multiaddrs": None,
            "WindowPoStProofType": 5,
            "SectorSize": miner.sector_size,
            "WindowPoStPartitionSectors": 2,
            "ConsensusFaultElapsed": -1,
            "PendingOwnerAddress": None,
            "Beneficiary": miner.owner,
            "BeneficiaryTerm": None,
            "PendingBeneficiaryTerm": None,
        }

    def _miner_power(self, address: str, _key: Json = None) -> Json:
        raw = str(self._miner(address).raw_power())
        total = str(sum(m.raw_power() for m in self.chain.miners.values()))
        return {
            "MinerPower": {"RawBytePower": raw, "QualityAdjPower": raw},
            "TotalPower": {"RawBytePower": total, "QualityAdjPower": total},
            "HasMinPower": raw != "0",
        }

    def _on_chain(self, miner: Any, number: int) -> Json:
        sector = miner.sectors[number]
        return {
            "SectorNumber": number,
            "SealProof": 5,
            "SealedCID": cid(sector["SealedCID"]),
            "DeprecatedDealIDs": None,
            "Activation": sector["Activation"],
            "Expiration": sector["Expiration"],
            "DealWeight": "0",
            "VerifiedDealWeight": "0",
            "InitialPledge": "0",
            "ExpectedDayReward": "0",
            "ExpectedStoragePledge": "0",
            "PowerBaseEpoch": sector["Activation"],
            "ReplacedDayReward": "0",
            "SectorKeyCID": None,
            "Flags": 0,
            "DailyFee": "0",
        }

    def _sectors(self, address: str, active: bool) -> Json:
        miner = self._miner(address)
        return [
            self._on_chain(miner, n)
            for n in sorted(miner.sectors)
            if not active or (miner.sectors[n]["Active"] and not miner.sectors[n]["Faulty"])
        ]

    def _sector_count(self, address: str, _key: Json = None) -> Json:
        sectors = list(self._miner(address).sectors.values())
        return {
            "Live": len(sectors),
            "Active": sum(s["Active"] and not s["Faulty"] for s in sectors),
            "Faulty": sum(s["Faulty"] for s in sectors),
        }

    def _deadlines(self, address: str, _key: Json = None) -> Json:
        miner = self._miner(address)
        return [
            {"PostSubmissions": rle(miner.proven.get(d, set())), "DisputableProofCount": 0, "DailyFee": "0"}
            for d in range(DEADLINES)
        ]

    def _partitions(self, address: str, deadline: int, _key: Json = None) -> Json:
        miner = self._miner(address)
        out = []
        for numbers in miner.partitions(int(deadline)):
            faulty = [n for n in numbers if miner.sectors[n]["Faulty"]]
            out.append(
                {
                    "AllSectors": rle(numbers),
                    "FaultySectors": rle(faulty),
                    "RecoveringSectors": rle([]),
                    "LiveSectors": rle(numbers),
                    "ActiveSectors": rle(n for n in numbers if miner.sectors[n]["Active"] and n not in faulty),
                }
            )
        return out

    def _sector_info(self, address: str, number: int, _key: Json = None) -> Json:
        miner = self._miner(address)
        return self._on_chain(miner, int(number)) if int(number) in miner.sectors else None

    def _precommit_info(self, address: str, number: int, _key: Json = None) -> Json:
        found = self._miner(address).precommits.get(int(number))
        if found is None:
            return None
        return {
            "Info": {"SectorNumber": number, "SealedCID": cid(found["SealedCID"]), "SealProof": 5},
            "PreCommitDeposit": "0",
            "PreCommitEpoch": found["Height"],
        }

    def _lookup_id(self, address: str, _key: Json = None) -> str:
        address = local(address)
        if address[1] == "0":
            return address
        known = list(self.chain.balances)
        if address not in known:
            raise CommandError(f"resolution lookup failed ({address}): resolve address {address}: actor not found")
        return f"{ADDRESS_PREFIX}0{100 + known.index(address)}"

    def _actor(self, address: str, _key: Json = None) -> Json:
        address = local(address)
        if address[1] == "0" and actor_number(address) in self.chain.miners:
            balance = self.chain.miners[actor_number(address)].balance
        elif address in self.chain.balances:
            balance = self.chain.balances[address]
        else:
            raise CommandError("actor not found")
        return {
            "Code": cid(fake_cid("actor")),
            "Head": cid(fake_cid(address, self.chain.height)),
            "Nonce": self.chain.nonces.get(address, 0),
            "Balance": str(balance),
            "DelegatedAddress": None,
        }

    def _node_status(self, _chain: bool = False) -> Json:
        behind = max(0, int((time.time() - int(self.chain.head["timestamp"])) / block_delay_sec()))
        return {
            "SyncStatus": {"Epoch": self.chain.height, "Behind": behind},
            "PeerStatus": {"PeersToPublishMsgs": len(self.net.links), "PeersToPublishBlocks": len(self.net.links)},
            "ChainStatus": {"BlocksPerTipsetLastHundred": 1, "BlocksPerTipsetLastFinality": 1},
        }

    def _f3_participate(self, actor: str, process: str) -> None:
        if (actor, process) not in self.f3:
            self.f3.append((actor, process))
        log("INFO", "f3", f"started participating in F3 for miner {actor_number(actor)}")

    def _backup(self, path: str) -> None:
        base = os.environ.get("LOTUS_BACKUP_BASE_PATH")
        if not base:
            raise CommandError("LOTUS_BACKUP_BASE_PATH env var not set")
        if not os.path.abspath(path).startswith(os.path.abspath(base)):
            raise CommandError(f"backup file must be in the path specified in LOTUS_BACKUP_BASE_PATH: {path}")
        write_json(path, {"standin-backup": self.repo.meta()}, mode=0o600)


def rle(numbers: Any) -> list[int]:
    """A bitfield as RLE+ JSON: runs of zeros and ones by turns, zeros first."""
    out: list[int] = []
    position = 0
    for number in sorted(set(numbers)):
        if out and number == position:
            out[-1] += 1
        else:
            out += [number - position, 1]
        position = number + 1
    return out or [0]


def unrle(runs: list[int]) -> list[int]:
    out: list[int] = []
    position = 0
    for index, run in enumerate(runs):
        if index % 2:
            out.extend(range(position, position + run))
        position += run
    return out


def local_addresses() -> list[str]:
    """This host's addresses, without asking a name server."""
    probe = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        probe.connect(("10.255.255.255", 1))
        return [probe.getsockname()[0]]
    except OSError:
        return []
    finally:
        probe.close()


def run(call: Call, kind: type[Daemon] = Daemon) -> None:
    check_environment()
    repo = Repo(call.text("repo"), "daemon")
    log("INFO", "main", f"lotus repo: {repo.path}")
    config_file = call.text("config")
    if not repo.exists():
        repo.init()
        if config_file:
            import shutil

            shutil.copyfile(expand(config_file), repo.at("config.toml"))
    repo.lock()
    try:
        daemon = kind(call, repo)
        repo.secret()
        source = call.text("import-snapshot") or call.text("import-chain")
        if call.on("remove-existing-chain") and source:
            daemon.chain.replace([])
        if source:
            daemon.import_snapshot(source)
            if call.on("halt-after-import"):
                log("INFO", "main", "Chain import complete, halting as requested...")
                return
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: daemon.stop.set())
        daemon.run()
    except CommandError as error:
        raise Exit(1, f"ERROR: {error}\n") from None
    finally:
        repo.unlock()
