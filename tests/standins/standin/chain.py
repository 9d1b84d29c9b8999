"""The stand-ins' chain: a list of blocks replayed into miners, sectors, balances and receipts, without consensus."""

from __future__ import annotations

import json
import os

from .common import ADDRESS_PREFIX, Json, actor_number, fake_cid

DEADLINES = 48
DEADLINE_EPOCHS = 60
PERIOD_EPOCHS = DEADLINES * DEADLINE_EPOCHS
# Where the genesis puts t01000: deadline 0, with the pre-sealed sectors, opens at epoch 658.
FIRST_PERIOD_EPOCH = -2222
CHALLENGE_LOOKBACK_EPOCHS = 20
PARTITION_SECTORS = 2
PRE_COMMIT_CHALLENGE_EPOCHS = 10
SEED_CONFIDENCE_EPOCHS = 6
MESSAGE_CONFIDENCE_EPOCHS = 5
SECTOR_LIFE_EPOCHS = 1_555_200
ATTO = 10**18
EXIT_OK, EXIT_ILLEGAL_ARGUMENT = 0, 16


def local(address: str) -> str:
    """An address with this network's prefix: t01000 and f01000 are the same actor."""
    return ADDRESS_PREFIX + address[1:] if address[:1] in ("t", "f") else address


class Miner:
    """On-chain state of one storage provider."""

    def __init__(self, spec: Json) -> None:
        self.number = actor_number(spec["ID"])
        self.owner = spec["Owner"]
        self.worker = spec["Worker"]
        self.peer = spec.get("PeerId") or ""
        self.sector_size = int(spec["SectorSize"])
        self.sectors: dict[int, Json] = {}
        self.precommits: dict[int, Json] = {}
        self.allocated: set[int] = set()
        self.proven: dict[int, set[int]] = {}
        self.balance = 0
        for sector in spec["Sectors"]:
            number = int(sector["SectorID"])
            self.allocated.add(number)
            self.sectors[number] = {
                "SealedCID": sector["CommR"]["/"],
                "Activation": 0,
                "Expiration": SECTOR_LIFE_EPOCHS,
                "Deadline": 0,
                "Active": True,
                "Faulty": False,
            }

    def deadline_sectors(self, deadline: int) -> list[int]:
        return sorted(n for n, s in list(self.sectors.items()) if s["Deadline"] == deadline)

    def partitions(self, deadline: int) -> list[list[int]]:
        numbers = self.deadline_sectors(deadline)
        return [numbers[i : i + PARTITION_SECTORS] for i in range(0, len(numbers), PARTITION_SECTORS)]

    def raw_power(self) -> int:
        return self.sector_size * sum(1 for s in list(self.sectors.values()) if s["Active"] and not s["Faulty"])

    def place(self, number: int, sealed: str, height: int) -> None:
        """Give a proven sector to a deadline that can still change (not the current one nor the next): the one with the
        fewest partitions afterwards, rather into an open partition than into a new one, then the lowest."""
        now = deadline_index(height)
        closed = {now, (now + 1) % DEADLINES}
        load = {d: len(self.deadline_sectors(d)) for d in range(DEADLINES) if d not in closed}
        best = min(load, key=lambda d: (load[d] // PARTITION_SECTORS, load[d] % PARTITION_SECTORS == 0, d))
        self.sectors[number] = {
            "SealedCID": sealed,
            "Activation": height,
            "Expiration": height + SECTOR_LIFE_EPOCHS,
            "Deadline": best,
            "Active": False,
            "Faulty": False,
        }


def deadline_index(height: int) -> int:
    return (height - FIRST_PERIOD_EPOCH) % PERIOD_EPOCHS // DEADLINE_EPOCHS


def deadline_info(height: int) -> Json:
    """dline.Info of the deadline the height lies in."""
    period = height - (height - FIRST_PERIOD_EPOCH) % PERIOD_EPOCHS
    index = deadline_index(height)
    opened = period + index * DEADLINE_EPOCHS
    return {
        "CurrentEpoch": height,
        "PeriodStart": period,
        "Index": index,
        "Open": opened,
        "Close": opened + DEADLINE_EPOCHS,
        "Challenge": opened - CHALLENGE_LOOKBACK_EPOCHS,
        "FaultCutoff": opened - 70,
        "WPoStPeriodDeadlines": DEADLINES,
        "WPoStProvingPeriod": PERIOD_EPOCHS,
        "WPoStChallengeWindow": DEADLINE_EPOCHS,
        "WPoStChallengeLookback": CHALLENGE_LOOKBACK_EPOCHS,
        "FaultDeclarationCutoff": 70,
    }


class Chain:
    """Blocks and the state they lead to. Not thread-safe: the daemon holds its lock around every use."""

    def __init__(self, genesis: Json, path: str = "") -> None:
        self.genesis = genesis
        self.path = path
        self.repeats: list[str] = []
        self.blocks: list[Json] = []
        self._reset()

    def _reset(self) -> None:
        self.miners = {actor_number(m["ID"]): Miner(m) for m in self.genesis["Miners"]}
        self.balances: dict[str, int] = {}
        self.nonces: dict[str, int] = {}
        self.receipts: dict[str, Json] = {}
        self.messages: dict[str, Json] = {}
        for account in self.genesis["Accounts"]:
            self.balances[account["Meta"]["Owner"]] = int(account["Balance"])
        for spec in self.genesis["Miners"]:
            self.miners[actor_number(spec["ID"])].balance = int(spec.get("PowerBalance") or 0)
        first = {
            "height": 0,
            "parent": "",
            "cid": self.genesis_cid(),
            "timestamp": int(self.genesis["Timestamp"]),
            "miner": f"{ADDRESS_PREFIX}00",
            "process": "",
            "messages": [],
        }
        self.blocks = [first]
        self.by_cid = {first["cid"]: 0}

    def genesis_cid(self) -> str:
        return fake_cid("genesis", json.dumps(self.genesis, sort_keys=True))

    @property
    def head(self) -> Json:
        return self.blocks[-1]

    @property
    def height(self) -> int:
        return int(self.blocks[-1]["height"])

    def load(self) -> None:
        if not os.path.exists(self.path):
            return
        with open(self.path, encoding="utf-8") as stream:
            for line in stream:
                try:
                    block = json.loads(line)
                except ValueError:
                    break  # a kill in the middle of a write leaves half a last line
                if block["parent"] == self.head["cid"]:
                    self._apply(block)
        self.repeats.clear()

    def append(self, block: Json) -> None:
        self._apply(block)
        if self.path:
            with open(self.path, "a", encoding="utf-8") as stream:
                stream.write(json.dumps(block) + "\n")

    def replace(self, blocks: list[Json]) -> None:
        """Take another list of blocks (without the genesis) and replay it."""
        self._reset()
        for block in blocks:
            self._apply(block)
        if self.path:
            with open(self.path + ".tmp", "w", encoding="utf-8") as stream:
                stream.writelines(json.dumps(b) + "\n" for b in self.blocks[1:])
            os.replace(self.path + ".tmp", self.path)

    def _apply(self, block: Json) -> None:
        height = int(block["height"])
        for message in block["messages"]:
            if message["CID"] in self.receipts:
                continue
            self.nonces[message["From"]] = max(self.nonces.get(message["From"], 0), int(message["Nonce"]) + 1)
            code = self._execute(message, height)
            self.messages[message["CID"]] = message
            self.receipts[message["CID"]] = {"ExitCode": code, "Height": height, "TipSet": block["cid"]}
        previous = self.height
        self.blocks.append(block)
        self.by_cid[block["cid"]] = len(self.blocks) - 1
        miner = self.miners.get(actor_number(block["miner"]))
        if miner:
            miner.balance += 5 * ATTO
        for epoch in range(previous + 1, height + 1):
            if (epoch - FIRST_PERIOD_EPOCH) % DEADLINE_EPOCHS == 0:
                self._close_deadline(deadline_index(epoch - 1))

    def _close_deadline(self, deadline: int) -> None:
        for miner in self.miners.values():
            done = miner.proven.pop(deadline, set())
            for index, numbers in enumerate(miner.partitions(deadline)):
                if index not in done:
                    for number in numbers:
                        miner.sectors[number]["Faulty"] = True

    def _execute(self, message: Json, height: int) -> int:
        method, params = message["Method"], message["Params"] or {}
        sender = local(message["From"])
        if method == "Send":
            amount = int(message["Value"])
            if self.balances.get(sender, 0) < amount:
                return 6
            self.balances[sender] = self.balances.get(sender, 0) - amount
            self.balances[local(message["To"])] = self.balances.get(local(message["To"]), 0) + amount
            return EXIT_OK
        try:
            miner = self.miners[actor_number(message["To"])]
        except KeyError:
            return EXIT_ILLEGAL_ARGUMENT
        if sender not in (local(miner.owner), local(miner.worker)):
            return 18
        if method == "ChangePeerID":
            miner.peer = params["PeerId"]
        elif method == "PreCommitSectorBatch2":
            numbers = [int(s["SectorNumber"]) for s in params["Sectors"]]
            again = [n for n in numbers if n in miner.allocated]
            if again:
                self.repeats.append(
                    f"{message['To']} sector {again[0]} precommitted twice, now by {params.get('Process')}"
                )
                return EXIT_ILLEGAL_ARGUMENT
            for sector in params["Sectors"]:
                miner.allocated.add(int(sector["SectorNumber"]))
                miner.precommits[int(sector["SectorNumber"])] = {"Height": height, "SealedCID": sector["SealedCID"]}
        elif method == "ProveCommitSectors3":
            for number in map(int, params["Sectors"]):
                committed = miner.precommits.pop(number, None)
                if committed is None or height < committed["Height"] + PRE_COMMIT_CHALLENGE_EPOCHS:
                    return EXIT_ILLEGAL_ARGUMENT
                miner.place(number, committed["SealedCID"], height)
        elif method == "SubmitWindowedPoSt":
            deadline = int(params["Deadline"])
            if deadline_index(height) != deadline:
                return EXIT_ILLEGAL_ARGUMENT
            groups = miner.partitions(deadline)
            for index in params["Partitions"]:
                miner.proven.setdefault(deadline, set()).add(int(index))
                for number in groups[int(index)] if int(index) < len(groups) else []:
                    miner.sectors[number].update(Active=True, Faulty=False)
        elif method == "TerminateSectors":
            for number in params["Sectors"]:
                miner.sectors.pop(int(number), None)
        return EXIT_OK


def tipset(block: Json) -> Json:
    """The API's TipSet of a block."""
    return {
        "Cids": [{"/": block["cid"]}],
        "Blocks": [
            {
                "Miner": block["miner"],
                "Ticket": {"VRFProof": ""},
                "ElectionProof": {"WinCount": 1, "VRFProof": ""},
                "BeaconEntries": None,
                "WinPoStProof": None,
                "Parents": [{"/": block["parent"]}] if block["parent"] else [],
                "ParentWeight": str(int(block["height"]) * 256),
                "Height": block["height"],
                "ParentStateRoot": {"/": fake_cid("state", block["parent"])},
                "ParentMessageReceipts": {"/": fake_cid("rec", block["parent"])},
                "Messages": {"/": fake_cid("msgs", block["cid"])},
                "BLSAggregate": {"Type": 2, "Data": ""},
                "Timestamp": block["timestamp"],
                "BlockSig": {"Type": 2, "Data": ""},
                "ForkSignaling": 0,
                "ParentBaseFee": "100",
            }
        ],
        "Height": block["height"],
    }
