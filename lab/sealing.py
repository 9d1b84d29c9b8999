"""Sectors from the first byte to Proving: who did which task, for how long, with how many bytes from another host."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lab.settings import Lab
from lab.shell import LabError, run

SEAL_HOST = "seal"
SEAL_REPO = "/var/lib/lotus/miner-seal"
SEAL_ENVIRONMENT = "/etc/sealyard/lotus-miner-seal.env"
LOTUS_MINER = "/opt/lotus/current/bin/lotus-miner"
VIOLATIONS = "/var/log/lotus-standin/violations.ndjson"
FORK_ASSIGNED = re.compile(
    r"scheduled for sector s-t0\d+-(?P<sector>\d+) taskType (?P<task>\S+) to worker (?P<worker>\S+)"
)
SILENCE_LIMIT_SEC = 1500
"""With real Lotus on two cores two C2 at once take 5 minutes; nothing at all for 25 minutes is a fault."""
GONE = ("Removed", "Removing", "FailedUnrecoverable")
TASKS = {
    "seal/v0/addpiece": "AP",
    "seal/v0/precommit/1": "PC1",
    "seal/v0/precommit/2": "PC2",
    "seal/v0/commit/1": "C1",
    "seal/v0/commit/2": "C2",
    "seal/v0/finalize": "FIN",
    "seal/v0/finalizeunsealed": "FUS",
    "seal/v0/fetch": "GET",
}


@dataclass
class Task:
    """One task of one sector: `begin` and `end` in seconds since 1970, bytes as fetched from another host.

    `end` is None where the task was over before anyone looked, and only the scheduler's log knows of it.
    """

    sector: int
    task: str
    worker: str
    begin: float
    end: float | None
    fetched_bytes: int = 0


@dataclass(frozen=True)
class Fetch:
    """One transfer of a sector's file between two hosts, as the receiving worker logged it.

    `kind` is unsealed, sealed or cache.
    """

    sector: int
    kind: str
    source: str
    target: str
    size_bytes: int
    time: float


@dataclass(frozen=True)
class Assignment:
    """One task given to a worker, as the miner's scheduler logged it; `worker` is the id it has with the miner."""

    sector: int
    task: str
    worker: str
    time: float


@dataclass
class Record:
    """What is known about the sectors: states, tasks done, and transfers between groups.

    `crossed` are those a plan must prevent: what PC1 wrote. `strayed` are those Lotus may make whatever the groups say:
    unsealed data, because PC1 is placed without a look at where AP was done, and finalized sectors, because the worker
    that moves one to the store need not be the one that holds it.
    """

    states: dict[int, str] = field(default_factory=dict)
    tasks: list[Task] = field(default_factory=list)
    crossed: list[str] = field(default_factory=list)
    strayed: list[str] = field(default_factory=list)
    workers: dict[str, str] = field(default_factory=dict)

    def alive(self) -> list[int]:
        """Sectors that are on their way or have arrived."""
        return sorted(number for number, state in self.states.items() if state not in GONE)

    def proving(self) -> list[int]:
        """Sectors that have arrived."""
        return sorted(number for number, state in self.states.items() if state == "Proving")


def load(lab: Lab) -> Record:
    """The record of earlier runs of this lab; empty where there is none."""
    if not lab.record.exists():
        return Record()
    read = json.loads(lab.record.read_text())
    return Record(
        {int(number): state for number, state in read["states"].items()},
        [Task(**task) for task in read["tasks"]],
        list(read["crossed"]),
        list(read["strayed"]),
        dict(read["workers"]),
    )


def save(lab: Lab, record: Record) -> None:
    """Keep the record for the next `up`."""
    lab.record.write_text(json.dumps(asdict(record), indent=1) + "\n")


@contextlib.contextmanager
def probe(lab: Lab, wanted: int) -> Iterator[Iterator[dict[str, Any]]]:
    """The event lines of lab/probe.py, run on the seal host."""
    script = (Path(__file__).parent / "probe.py").read_text()
    command = [
        "podman",
        "exec",
        "--interactive",
        lab.container(SEAL_HOST),
        "python3",
        "-c",
        script,
        SEAL_REPO,
        str(wanted),
    ]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdin is not None and process.stdout is not None
    try:
        yield (json.loads(line) for line in process.stdout)
    finally:
        process.stdin.close()
        process.terminate()
        process.wait()


def watch(
    lab: Lab, record: Record, wanted: int, pledge: Callable[[int], None], tell: Callable[[Record, str], None]
) -> None:
    """Pledge what is missing to `wanted` sectors and follow them until all are Proving.

    `pledge` is called once with the number that is missing; `tell` gets the record and a line for every change.
    """
    open_tasks: dict[str, Task] = {}
    pledged = False
    last_change = time.monotonic()
    with probe(lab, wanted) as events:
        for event in events:
            if event["event"] == "trouble":
                if time.monotonic() - last_change > SILENCE_LIMIT_SEC:
                    break
                continue
            last_change = time.monotonic()
            for line in apply(record, open_tasks, event):
                tell(record, line)
            if not pledged and event["event"] == "sectors":
                pledged = True
                missing = wanted - len(record.alive())
                if missing > 0:
                    pledge(missing)
            if pledged and len(record.proving()) >= wanted and not open_tasks:
                return
    raise LabError("the seal miner stopped answering: bin/lab ssh seal journalctl -u lotus-miner-seal -n 50")


def apply(record: Record, open_tasks: dict[str, Task], event: dict[str, Any]) -> list[str]:
    """Enter one event of the probe into the record; returns what there is to say about it."""
    lines = []
    if event["event"] == "sectors":
        for number, state in ((int(key), value) for key, value in event["states"].items()):
            if record.states.get(number) != state:
                lines.append(f"sector {number}: {state}")
                record.states[number] = state
    elif event["event"] == "workers":
        record.workers.update(event["names"])
    elif event["event"] == "start":
        name = TASKS.get(event["task"], event["task"])
        task = Task(event["sector"], name, event["worker"], event["time"], event["time"])
        open_tasks[event["id"]] = task
        record.tasks.append(task)
        lines.append(f"sector {task.sector}: {name} on {task.worker}")
    elif event["event"] == "end" and event["id"] in open_tasks:
        open_tasks.pop(event["id"]).end = event["time"]
    return lines


def fetches(lab: Lab) -> list[Fetch]:
    """Every transfer between two hosts that the workers of the lab have logged."""
    hosts = {address: host for host, address in lab.hosts.items()}
    found = [
        parse_fetch(entry, target, hosts)
        for target in lab.hosts
        for entry in _journal(lab, target, "lotus-worker@*", "Fetch done")
    ]
    return sorted((fetch for fetch in found if fetch and fetch.source != fetch.target), key=lambda fetch: fetch.time)


def assignments(lab: Lab) -> list[Assignment]:
    """Every task that the seal miner has given out since its log was opened for it."""
    found = map(
        parse_assignment, _journal(lab, SEAL_HOST, "lotus-miner-seal", "SCHED ASSIGNED|has successfully scheduled")
    )
    return [assignment for assignment in found if assignment]


def _journal(lab: Lab, host: str, unit: str, text: str) -> list[dict[str, Any]]:
    command = ["journalctl", "--quiet", "--output=json", "--output-fields=MESSAGE", f"--grep={text}", f"--unit={unit}"]
    lines = run(["podman", "exec", lab.container(host), *command], check=False).stdout.splitlines()
    return [json.loads(line) for line in lines]


def parse_fetch(entry: dict[str, Any], target: str, hosts: dict[str, str]) -> Fetch | None:
    """A journal entry with Lotus's line `Fetch done {"url", "out", "took", "bytes", …}`; None for any other."""
    values = _logged(entry, "Fetch done")
    if not values:
        return None
    where = re.match(r"https?://([^:/]+).*/remote/([a-z-]+)/s-t0\d+-(\d+)$", values["url"])
    if not where:
        return None
    moment = int(entry["__REALTIME_TIMESTAMP"]) / 1e6
    return Fetch(int(where[3]), where[2], hosts.get(where[1], where[1]), target, int(values["bytes"]), moment)


def parse_assignment(entry: dict[str, Any]) -> Assignment | None:
    """A journal entry with Lotus's line `SCHED ASSIGNED {"sector", "task", "worker", …}`, or the fork's; else None."""
    values = _logged(entry, "SCHED ASSIGNED") or FORK_ASSIGNED.search(str(entry.get("MESSAGE")))
    if not values:
        return None
    moment = int(entry["__REALTIME_TIMESTAMP"]) / 1e6
    # The fork writes the id without its dashes.
    worker = str(values["worker"]) if isinstance(values, dict) else str(uuid.UUID(values["worker"]))
    return Assignment(int(values["sector"]), TASKS.get(values["task"], values["task"]), worker, moment)


def _logged(entry: dict[str, Any], text: str) -> dict[str, Any]:
    """The fields that follow `text` in a line of go-log; empty where the line is another."""
    message = entry.get("MESSAGE")
    start = message.find("{") if isinstance(message, str) and text in message else -1
    return dict(json.loads(str(message)[start:])) if start >= 0 else {}


def enter_assignments(record: Record, given: list[Assignment]) -> None:
    """Enter the tasks that were over before anyone saw them run."""
    for one in given:
        worker = record.workers.get(one.worker, one.worker)
        of_one = [a for a in given if (a.sector, a.task, a.worker) == (one.sector, one.task, one.worker)]
        seen = [t for t in record.tasks if (t.sector, t.task, t.worker) == (one.sector, one.task, worker)]
        if len(seen) < len(of_one):
            record.tasks.append(Task(one.sector, one.task, worker, one.time, None))


def enter_fetches(record: Record, transfers: list[Fetch], lab: Lab, host_of: Callable[[str], str]) -> None:
    """Book each transfer on the task it was made for, and note those that left their group.

    `host_of` turns a worker's name into its host.
    """
    for task in record.tasks:
        task.fetched_bytes = 0
    record.crossed, record.strayed = [], []
    for fetch in transfers:
        there = [t for t in record.tasks if t.sector == fetch.sector and host_of(t.worker) == fetch.target]
        if there:
            min(
                there, key=lambda task: max(task.begin - fetch.time, fetch.time - (task.end or task.begin), 0)
            ).fetched_bytes += fetch.size_bytes
        ours, theirs = lab.groups.get(fetch.target), lab.groups.get(fetch.source)
        if ours and theirs and ours != theirs:
            text = f"sector {fetch.sector}: {fetch.size_bytes} {fetch.kind} bytes from {fetch.source} (group {theirs})"
            pc1_output = fetch.source in lab.pc1_hosts and fetch.kind != "unsealed"
            (record.crossed if pc1_output else record.strayed).append(f"{text} to {fetch.target} (group {ours})")


def now(lab: Lab) -> str:
    """What the seal miner says of its sectors and of the jobs on its workers, in its own words."""
    said = []
    for question in ("sectors list --fast", "sealing jobs"):
        # The command asks the daemon, too: its token stays in the file of the unit.
        script = f"set -a; . {SEAL_ENVIRONMENT}; exec {LOTUS_MINER} --miner-repo={SEAL_REPO} {question}"
        asked = run(["podman", "exec", lab.container(SEAL_HOST), "sh", "-c", script], check=False)
        if asked.returncode != 0:
            return "the seal miner does not answer (yet)"
        said.append(asked.stdout.strip())
    return "\n".join(said)


def violations(lab: Lab) -> list[str]:
    """What the stand-ins wrote down about rules that were broken, on any host."""
    found = []
    for host in lab.hosts:
        text = run(["podman", "exec", lab.container(host), "cat", VIOLATIONS], check=False).stdout
        for line in text.splitlines():
            entry = json.loads(line)
            found.append(f"{host}: {entry.get('program')}: {entry.get('rule')}: {entry.get('detail')}")
    return found
