"""A devnet of fork stand-ins on loopback: one daemon, miners and workers as processes of their own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from standin.net import ApiInfo, RpcClient

from tests.ports import free_port

BUILD = Path(__file__).parents[1] / "standins" / "build.py"
PATIENCE_SEC = 60
SPEED = {
    "BLOCK_DELAY": 50,
    "HEARTBEAT": 200,
    "INIT_WAIT": 100,
    "RETRY": 300,
    "COUNTER_TIMEOUT": 500,
    "AP": 20,
    "PC1": 50,
    "PC2": 50,
    "C2": 100,
    "WDP": 50,
}
NO_BATCHES = "[Sealing]\nBatchPreCommits = false\nAggregateCommits = false\n"
AT_ONCE = {"AllowDelay": 0}
OFFICIAL = {"AddPieceMax": 1, "PreCommit1Max": 1, "PreCommit2Max": 1, "Commit2Max": 1, "AllowP2C2Parallel": True}
SEALER = {"AddPieceMax": 1, "PreCommit1Max": 1, "PreCommit2Max": 1, "Commit2Max": 1, "AllowP2C2Parallel": True}


def build(directory: Path, *options: str) -> Path:
    subprocess.run([sys.executable, str(BUILD), str(directory), *options], check=True)
    return directory


def eventually(probe: Callable[[], Any], what: str | Callable[[], str], patience_sec: float = PATIENCE_SEC) -> Any:
    deadline = time.monotonic() + patience_sec
    while time.monotonic() < deadline:
        found = probe()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"never: {what if isinstance(what, str) else what()}")


@dataclass
class Running:
    """A process, its log file, and the API it serves."""

    process: subprocess.Popen[bytes]
    log: Path
    repo: Path
    port: int = 0
    more: dict[str, Any] = field(default_factory=dict)

    def text(self) -> str:
        return self.log.read_text(errors="replace")

    def says(self, words: str) -> None:
        eventually(lambda: words in self.text(), lambda: f"{words!r} in\n{self.text()[-3000:]}")

    def alive(self) -> bool:
        return self.process.poll() is None

    def ends(self) -> int:
        return self.process.wait(PATIENCE_SEC)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(PATIENCE_SEC)

    def api(self, version: str = "v0") -> RpcClient:
        return RpcClient(ApiInfo((self.repo / "token").read_text(), f"/ip4/127.0.0.1/tcp/{self.port}/http"), version)

    def call(self, method: str, *params: Any) -> Any:
        return self.api().call(method, list(params))


class ForkNet:
    """Start with `daemon()`; every miner repo is a copy of the one that the template's init made."""

    def __init__(self, programs: Path, root: Path, template: Path | None = None) -> None:
        self.programs, self.root = programs, root
        self.running: list[Running] = []
        self.violations_file = root / "violations" / "violations.ndjson"
        self.environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("LOTUS", "GOLOG"))},
            "HOME": str(root),
            "STANDIN_VIOLATIONS": str(self.violations_file),
            "FIL_PROOFS_PARAMETER_CACHE": str((template or root) / "params"),
            **{f"STANDIN_{name}_MS": str(value) for name, value in SPEED.items()},
        }
        self.template = template
        self.node: Running | None = None

    # processes

    def environ(self, **more: str) -> dict[str, str]:
        node = {} if self.node is None else {"LOTUS_PATH": str(self.node.repo)}
        return self.environment | node | more

    def run(self, program: str, *words: str, check: bool = True, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.programs / program, *words],
            env=self.environ(**env),
            cwd=self.root,
            capture_output=True,
            text=True,
            check=check,
            timeout=PATIENCE_SEC,
        )

    def start(self, name: str, repo: Path, port: int, program: str, *words: str, **env: str) -> Running:
        log = self.root / f"{name}.{len(self.running)}.log"
        with log.open("w") as stream:
            process = subprocess.Popen(
                [self.programs / program, *words], env=self.environ(**env), cwd=self.root, stdout=stream, stderr=stream
            )
        made = Running(process, log, repo, port)
        self.running.append(made)
        return made

    def close(self) -> None:
        for one in self.running:
            if one.alive():
                one.process.send_signal(signal.SIGCONT)
                one.kill()

    def rules(self) -> list[str]:
        """Rules broken so far."""
        if not self.violations_file.exists():
            return []
        return [json.loads(line)["rule"] for line in self.violations_file.read_text().splitlines()]

    # parts

    def make_genesis(self) -> None:
        self.run("lotus-seed", "--sector-dir", f"{self.root}/pre", "pre-seal", "--num-sectors", "2")
        self.run("lotus-seed", "genesis", "new", f"{self.root}/g.json")
        self.run("lotus-seed", "genesis", "add-miner", f"{self.root}/g.json", f"{self.root}/pre/pre-seal-t01000.json")
        self.run("lotus-seed", "genesis", "car", "--out", f"{self.root}/dev.car", f"{self.root}/g.json")

    def daemon(self, name: str = "daemon", *words: str, bootstrap: str = "") -> Running:
        repo, port = self.root / name, free_port()
        if self.template and not repo.exists():
            shutil.copytree(self.template / "daemon", repo)
            if bootstrap:
                (repo / "keystore" / "NRUWE4BSOAWWQ33TOQ").unlink()  # libp2p-host: two daemons are two peers
        repo.mkdir(exist_ok=True)
        text = f'[API]\nListenAddress = "/ip4/127.0.0.1/tcp/{port}/http"\n'
        text += '[Libp2p]\nListenAddresses = ["/ip4/127.0.0.1/tcp/0"]\n'
        text += f"BootstrapPeers = {json.dumps([bootstrap] if bootstrap else [])}\n"
        (repo / "config.toml").write_text(text)
        genesis = (self.template or self.root) / "dev.car"
        made = self.start(name, repo, port, "lotus", "daemon", f"--genesis={genesis}", *words, LOTUS_PATH=str(repo))
        self.node = self.node or made
        eventually(lambda: (repo / "api").exists() or not made.alive(), made.text)
        return made

    def repo(self, name: str) -> Path:
        """A miner repo of its own, without paths and without sectors."""
        repo = self.root / name
        if not repo.exists():
            assert self.template is not None
            shutil.copytree(self.template / "miner", repo)
            (repo / "storage.json").write_text('{"StoragePaths": null}')
            (repo / "sectorstore.json").unlink(missing_ok=True)
        return repo

    def miner(self, name: str, *flags: str, config: str = NO_BATCHES, delay_sec: int = 0, **env: str) -> Running:
        """`lotus-miner run`; returns at once."""
        repo, port = self.repo(name), free_port()
        (repo / "api").unlink(missing_ok=True)  # a killed process leaves it
        api = f'[API]\nListenAddress = "/ip4/127.0.0.1/tcp/{port}/http"\nRemoteListenAddress = "127.0.0.1:{port}"\n'
        (repo / "config.toml").write_text(api + config)
        if not (repo / "externalWorker.json").exists():
            (repo / "externalWorker.json").write_text(json.dumps(OFFICIAL | {"AllowDelay": delay_sec}))
        variables = {"LOTUS_MINER_PATH": str(repo)} | env
        return self.start(name, repo, port, "lotus-miner", "run", "--nosync", *flags, **variables)

    def sealer(self, name: str, *flags: str, **options: Any) -> Running:
        """A miner that does nothing but seal, once its API answers. It must be killed: SIGTERM does not end it."""
        made = self.miner(name, "--window-post=false", "--winning-post=false", *flags, **options)
        return self.serving(made)

    def serving(self, made: Running) -> Running:
        eventually(lambda: (made.repo / "api").exists() or not made.alive(), made.text)
        assert made.alive(), made.text()
        return made

    def worker(
        self, name: str, miner: Running, settings: dict[str, Any] | None, *flags: str, program: str = "", **env: str
    ) -> Running:
        """A worker whose repo is its only path; `settings` is its myscheduler.json."""
        repo, port = self.root / name, free_port()
        repo.mkdir(exist_ok=True)
        if settings is not None:
            set_limits(repo, settings)
        info = f"{(miner.repo / 'token').read_text()}:/ip4/127.0.0.1/tcp/{miner.port}/http"
        variables = {"LOTUS_WORKER_PATH": str(repo), "MINER_API_INFO": info} | env
        before = self.programs
        self.programs = Path(program) if program else before
        made = self.start(name, repo, port, "lotus-worker", "run", "--listen", f"127.0.0.1:{port}", *flags, **variables)
        self.programs = before
        made.says("Worker registered successfully")
        return made

    def cli(self, miner: Running, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self.run("lotus-miner", *words, check=check, LOTUS_MINER_PATH=str(miner.repo))


def set_limits(repo: Path, settings: dict[str, Any]) -> None:
    """Replace myscheduler.json as it should be replaced."""
    (repo / "myscheduler.json.new").write_text(json.dumps(settings))
    (repo / "myscheduler.json.new").rename(repo / "myscheduler.json")


def stats(miner: Running) -> dict[str, Any]:
    """WorkerStats by host name."""
    return {stat["Info"]["Hostname"]: stat for stat in miner.call("WorkerStats").values()}


def state(miner: Running, sector: int) -> str:
    return str(miner.call("SectorsStatus", sector, False)["State"])
