"""A 2 KiB devnet on loopback: daemons, miners of actor t01000 and workers, each with its own address and repo."""

import json
import os
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.conformance.processes import Finished, Process, Runner, until
from tests.conformance.rpc import Rpc

ACTOR = "t01000"
SECTOR_SIZE_BYTES = 2048
DAEMON_PORT, LIBP2P_PORT, MINER_PORT, WORKER_PORT = 1234, 1347, 2345, 3456
# Generous: on two busy cores a real process needs 10 s to start, a confirmed message 60 s.
START_SEC, MESSAGE_SEC = 180.0, 600.0

STORAGE_OFF = "[Storage]\n" + "".join(
    f"Allow{task} = false\n"
    for task in (
        "SectorDownload",
        "AddPiece",
        "PreCommit1",
        "PreCommit2",
        "Commit",
        "Unseal",
        "ReplicaUpdate",
        "ProveReplicaUpdate2",
        "RegenSectorKey",
    )
)
ONLY_WINNING = "[Subsystems]\nDisableWindowPoSt = true\n"
ONLY_WINDOW = "[Subsystems]\nDisableWinningPoSt = true\n"
ONLY_SEALING = "[Subsystems]\nDisableWindowPoSt = true\nDisableWinningPoSt = true\n"
SEAL_AT_ONCE = '[Sealing]\nPreCommitBatchWait = "5s"\nCommitBatchWait = "5s"\nMaxPreCommitBatch = 1\n'


def path_metadata(
    *, seal: bool = False, store: bool = False, groups: Sequence[str] = (), allow_to: Sequence[str] = ()
) -> dict[str, Any]:
    """A sectorstore.json with a new ID."""
    return {
        "ID": str(uuid.uuid4()),
        "Weight": 10,
        "CanSeal": seal,
        "CanStore": store,
        "MaxStorage": 0,
        "Groups": list(groups) or None,
        "AllowTo": list(allow_to) or None,
        "AllowTypes": None,
        "DenyTypes": None,
        "AllowMiners": None,
        "DenyMiners": None,
    }


def genesis_init(presealed: Path) -> list[str]:
    """Command line that makes the first miner of a new network from its pre-sealed sectors."""
    return [
        "lotus-miner",
        "init",
        "--genesis-miner",
        f"--actor={ACTOR}",
        "--sector-size=2KiB",
        f"--pre-sealed-sectors={presealed}",
        f"--pre-sealed-metadata={presealed / f'pre-seal-{ACTOR}.json'}",
        "--nosync",
    ]


def bits(runs: Sequence[int]) -> set[int]:
    """The numbers in a bit field's JSON form: lengths of alternating runs, unset first."""
    found: set[int] = set()
    at = 0
    for index, length in enumerate(runs):
        if index % 2:
            found.update(range(at, at + length))
        at += length
    return found


@dataclass
class Node:
    """A program with a repo and an API; `host` is its loopback address."""

    runner: Runner
    name: str
    host: str
    process: Process | None = field(default=None, kw_only=True)

    @property
    def repo(self) -> Path:
        return self.runner.root / self.name

    @property
    def rpc(self) -> Rpc:
        return Rpc.of_repo(self.repo)

    def wait_api(self) -> None:
        def serves() -> bool:
            assert self.process is not None and self.process.alive(), self.process and self.process.log()[-3000:]
            return bool(self.rpc.call("Version"))

        until(f"the API of {self.name}", serves, START_SEC)

    def stop(self) -> int:
        assert self.process is not None
        return self.process.terminate()


@dataclass
class Daemon(Node):
    """One `lotus daemon`."""

    def configure(
        self, *, bootstrap: Sequence[str] = (), protected: Sequence[str] = (), splitstore: bool = True
    ) -> str:
        """Write config.toml before a start; returns its text."""
        lines = [
            "[API]",
            f'ListenAddress = "/ip4/{self.host}/tcp/{DAEMON_PORT}/http"',
            "[Libp2p]",
            f'ListenAddresses = ["/ip4/{self.host}/tcp/{LIBP2P_PORT}"]',
            f"BootstrapPeers = {json.dumps(list(bootstrap))}",
            f"ProtectedPeers = {json.dumps(list(protected))}",
            "[Chainstore]",
            *(["EnableSplitstore = false"] if splitstore else []),
        ]
        text = "\n".join(lines) + "\n"
        self.repo.mkdir(parents=True, exist_ok=True)
        (self.repo / "config.toml").write_text(text)
        return text

    def cli(self, *arguments: str, limit_sec: float = 120, check: bool = True) -> Finished:
        return self.runner.run(
            "lotus", *arguments, env={"LOTUS_PATH": str(self.repo)}, limit_sec=limit_sec, check=check
        )

    def launch(self, *flags: str) -> Process:
        """Start without waiting for the API."""
        self.process = self.runner.start(self.name, "lotus", "daemon", *flags, env={"LOTUS_PATH": str(self.repo)})
        return self.process

    def start(self, *flags: str) -> Process:
        process = self.launch(*flags)
        self.wait_api()
        return process

    @property
    def api_info(self) -> str:
        return f"{(self.repo / 'token').read_text().strip()}:/ip4/{self.host}/tcp/{DAEMON_PORT}/http"

    def height(self) -> int:
        return int(self.rpc.call("ChainHead")["Height"])

    def wait_height(self, height: int, limit_sec: float = MESSAGE_SEC) -> None:
        until(f"height {height} on {self.name}", lambda: self.height() >= height, limit_sec)

    def peer_id(self) -> str:
        return str(self.rpc.call("ID"))

    def multiaddr(self) -> str:
        return f"/ip4/{self.host}/tcp/{LIBP2P_PORT}/p2p/{self.peer_id()}"

    def peers(self) -> list[str]:
        return [peer["ID"] for peer in self.rpc.call("NetPeers") or []]

    def deadline_of(self, sector: int) -> int | None:
        """The deadline in which the chain expects the sector's proof."""
        for deadline in range(48):
            for partition in self.rpc.call("StateMinerPartitions", ACTOR, deadline, []) or []:
                if sector in bits(partition["AllSectors"]):
                    return deadline
        return None

    def miner_info(self) -> dict[str, Any]:
        return dict(self.rpc.call("StateMinerInfo", ACTOR, []))


@dataclass
class Miner(Node):
    """One `lotus-miner` repo of the actor."""

    daemon: Daemon

    @property
    def env(self) -> dict[str, str]:
        return {"LOTUS_MINER_PATH": str(self.repo), "FULLNODE_API_INFO": self.daemon.api_info}

    def configure(self, *sections: str) -> str:
        text = (
            f'[API]\nListenAddress = "/ip4/{self.host}/tcp/{MINER_PORT}/http"\n'
            f'RemoteListenAddress = "{self.host}:{MINER_PORT}"\n' + "".join(sections)
        )
        self.repo.mkdir(parents=True, exist_ok=True)
        (self.repo / "config.toml").write_text(text)
        return text

    def cli(self, *arguments: str, limit_sec: float = 120, check: bool = True) -> Finished:
        return self.runner.run("lotus-miner", *arguments, env=self.env, limit_sec=limit_sec, check=check)

    def init(self) -> Process:
        """Start the init of a further repo of the actor."""
        return self.runner.start(
            f"{self.name}-init",
            "lotus-miner",
            "init",
            f"--actor={ACTOR}",
            "--sector-size=2KiB",
            "--no-local-storage",
            "--nosync",
            env=self.env,
        )

    def launch(self) -> Process:
        self.process = self.runner.start(self.name, "lotus-miner", "run", "--nosync", env=self.env)
        return self.process

    def start(self) -> Process:
        process = self.launch()
        self.wait_api()
        return process

    @property
    def log(self) -> str:
        assert self.process is not None
        return self.process.log()

    def api_info(self, token: str | None = None) -> str:
        token = (self.repo / "token").read_text().strip() if token is None else token
        return f"{token}:/ip4/{self.host}/tcp/{MINER_PORT}/http"

    def pledge(self) -> int:
        return int(self.rpc.call("PledgeSector", limit_sec=60)["Number"])

    def sectors(self) -> list[int]:
        return [int(number) for number in self.rpc.call("SectorsList") or []]

    def state(self, sector: int) -> str:
        return str(self.rpc.call("SectorsStatus", sector, False)["State"])

    def wait_state(self, sector: int, states: Sequence[str], limit_sec: float) -> str:
        def probe() -> str | None:
            now = self.state(sector)
            return now if now in states else None

        return until(f"sector {sector} of {self.name} to be {' or '.join(states)}", probe, limit_sec)

    def jobs(self) -> list[dict[str, Any]]:
        """Every job of WorkerJobs, with the id of its worker added."""
        listed = self.rpc.call("WorkerJobs") or {}
        return [job | {"Worker": worker} for worker, jobs in listed.items() for job in jobs or []]

    def jobs_of(self, sector: int, task: str = "") -> list[dict[str, Any]]:
        return [job for job in self.jobs() if job["Sector"]["Number"] == sector and job["Task"].endswith(task)]

    def workers(self) -> dict[str, dict[str, Any]]:
        """WorkerStats by worker name."""
        return {stats["Info"]["Hostname"]: stats for stats in self.rpc.call("WorkerStats").values()}

    def compute_window_post(self, deadline: int) -> list[dict[str, Any]] | None:
        """The deadline's proof as this miner would make it now; nothing is sent."""
        took, _, answer = self.cli(
            "proving", "compute", "windowed-post", str(deadline), limit_sec=600
        ).stdout.partition("\n")
        assert took.startswith("Took ")
        parsed: list[dict[str, Any]] | None = json.loads(answer)
        return parsed

    def stored_sectors(self) -> dict[str, set[int]]:
        """Path ID to the sector numbers this miner's index knows there."""
        listed = self.rpc.call("StorageList") or {}
        return {path: {int(entry["Number"]) for entry in entries or []} for path, entries in listed.items()}


@dataclass
class Worker:
    """One `lotus-worker`, its repo prepared from files alone."""

    runner: Runner
    name: str
    host: str
    miner: Miner
    flags: Sequence[str]
    process: Process | None = None
    paths: list[Path] = field(default_factory=list)

    @property
    def repo(self) -> Path:
        return self.runner.root / "workers" / self.name

    @property
    def address(self) -> str:
        return f"{self.host}:{WORKER_PORT}"

    @property
    def env(self) -> dict[str, str]:
        return {"LOTUS_WORKER_PATH": str(self.repo), "MINER_API_INFO": self.miner.api_info()}

    def prepare(self, paths: Sequence[tuple[Path, dict[str, Any] | None]]) -> None:
        """Write storage.json, and sectorstore.json in each path that comes with one."""
        self.repo.mkdir(parents=True, exist_ok=True)
        for path, metadata in paths:
            path.mkdir(parents=True, exist_ok=True)
            if metadata is not None:
                (path / "sectorstore.json").write_text(json.dumps(metadata, indent=2))
            self.paths.append(path)
        listed = [{"Path": str(path)} for path, _ in paths]
        (self.repo / "storage.json").write_text(json.dumps({"StoragePaths": listed}, indent=2))

    def launch(self, env: Mapping[str, str] | None = None) -> Process:
        self.process = self.runner.start(
            self.name,
            "lotus-worker",
            "run",
            "--no-local-storage",
            "--no-swap",
            f"--listen={self.address}",
            f"--name={self.name}",
            *self.flags,
            env=self.env | dict(env or {}),
        )
        return self.process

    def start(self) -> Process:
        process = self.launch()
        process.wait_log("Worker registered successfully, waiting for tasks", START_SEC)
        return process

    def stop(self) -> int:
        assert self.process is not None
        return self.process.terminate()

    def cli(self, *arguments: str) -> Finished:
        return self.runner.run("lotus-worker", *arguments, env=self.env)

    @property
    def log(self) -> str:
        assert self.process is not None
        return self.process.log()

    def log_of_all_runs(self) -> str:
        return "".join(process.log() for process in self.runner.processes if process.name == self.name)


@dataclass
class Devnet:
    """Everything of one session; `facts` holds what was seen on the way up and cannot be seen again."""

    runner: Runner
    facts: dict[str, Any] = field(default_factory=dict)
    _next_host: int = 1
    # Two sessions on one machine must not meet: the second and third byte of 127.x.y.z come from the process id.
    _network: str = f"127.{64 + os.getpid() % 128}.{os.getpid() // 128 % 250 + 1}"

    @property
    def root(self) -> Path:
        return self.runner.root

    def address(self) -> str:
        """A loopback address nobody else in this session has."""
        self._next_host += 1
        return f"{self._network}.{self._next_host - 1}"

    def daemon(self, name: str) -> Daemon:
        return Daemon(self.runner, name, self.address())

    def miner(self, name: str, daemon: Daemon) -> Miner:
        return Miner(self.runner, name, self.address(), daemon)

    def worker(self, name: str, miner: Miner, *flags: str) -> Worker:
        return Worker(self.runner, name, self.address(), miner, flags)
