"""The cluster under test as its plan describes it, and the few questions the tests ask of its hosts."""

from __future__ import annotations

import json
import os
import shlex
from dataclasses import dataclass
from functools import cache
from typing import Any

import testinfra
import yaml

from lab.settings import load

DATA = "/var/lib/lotus"
SECRETS = "/etc/sealyard"
PORTS = {"winning": 2345, "window": 2346, "seal": 2347, "deal": 2348, "public": 1234, "private": 1235}

LAB = load(os.environ.get("SEALYARD_LAB", "lab"))

# Runs on the host and reads the token there, so that no test and no failure message ever holds it.
CALL = """
import json, sys, urllib.request
repo, method, params = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
address = open(repo + "/api").read().strip().split("/")
# What only the stand-ins answer has a name of its own.
name = method if "." in method else "Filecoin." + method
version = "v0" if "miner-" in repo or "/worker/" in repo else "v1"
request = urllib.request.Request(
    f"http://{address[2]}:{address[4]}/rpc/{version}",
    json.dumps({"jsonrpc": "2.0", "id": 1, "method": name, "params": params}).encode(),
    {"Authorization": "Bearer " + open(repo + "/token").read().strip(), "Content-Type": "application/json"})
print(urllib.request.urlopen(request, timeout=20).read().decode())
"""


@dataclass(frozen=True)
class Process:
    """One Lotus process: `kind` is daemon, miner or worker; `name` is public, seal, pc1-0 and the like."""

    host: str
    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.host}-{self.name}"

    @property
    def unit(self) -> str:
        """Its systemd unit."""
        return f"lotus-worker@{self.name}" if self.kind == "worker" else f"lotus-{self.kind}-{self.name}"

    @property
    def repo(self) -> str:
        """Its repo directory."""
        return f"{DATA}/worker/{self.name}" if self.kind == "worker" else f"{DATA}/{self.kind}-{self.name}"

    @property
    def address(self) -> str:
        """Private address of its host."""
        return LAB.hosts[self.host]

    @property
    def port(self) -> int:
        """Port of its API."""
        return int(self.planned["port"]) if self.kind == "worker" else PORTS[self.name]

    @property
    def planned(self) -> dict[str, Any]:
        """A worker's part of the plan."""
        found: dict[str, Any] = next(w for w in plan()["hosts"][self.host]["workers"] if w["name"] == self.name)
        return found

    @property
    def pid(self) -> int:
        """Number of its main process, 0 when it does not run."""
        return int(output(self.host, f"systemctl show --property MainPID --value {self.unit}"))

    def environment(self) -> dict[str, str]:
        """Environment of the running process."""
        text = output(self.host, f"tr '\\0' '\\n' </proc/{self.pid}/environ")
        return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)

    def journal(self) -> str:
        """What the unit has logged since the host started."""
        return output(self.host, f"journalctl --boot --no-pager --output cat --unit {self.unit}")

    def call(self, method: str, *params: Any) -> Any:
        """Result of a JSON-RPC call to its API."""
        arguments = " ".join(shlex.quote(text) for text in (CALL, self.repo, method, json.dumps(params)))
        document = json.loads(output(self.host, f"python3 -c {arguments}"))
        assert "error" not in document, document["error"]
        return document["result"]


@cache
def plan() -> dict[str, Any]:
    """The plan in force."""
    found: dict[str, Any] = json.loads((LAB.inventory / ".plan" / "plan.json").read_text())
    return found


@cache
def machine(host: str) -> Any:
    """Testinfra's handle of a host."""
    options = "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR -o IdentitiesOnly=yes"
    # One connection for all questions: a login each would cost a second or more.
    sockets = LAB.folder / "control"
    sockets.mkdir(exist_ok=True)
    return testinfra.get_host(
        f"ssh://root@{LAB.hosts[host]}",
        ssh_identity_file=str(LAB.key),
        ssh_extra_args=options,
        controlpath=str(sockets / f"testinfra-{host}"),
        controlpersist=120,
    )


def output(host: str, command: str) -> str:
    """What a shell command prints on a host; a failing command fails the test."""
    return str(machine(host).check_output("sh -c %s", command))


def members(group: str) -> list[str]:
    """Hosts that have a part of the given kind in the inventory: a miner role, or public or private for daemons."""
    tree = yaml.safe_load((LAB.inventory / "hosts.yml").read_text())["all"]["children"]
    return list((tree["daemon"]["children"].get(f"daemon_{group}") or {}).get("hosts") or {})


def daemons() -> list[Process]:
    """Every daemon of the cluster."""
    return [Process(host, "daemon", name) for name in ("public", "private") for host in members(name)]


def miners(*names: str) -> list[Process]:
    """Miners of the given roles, or all."""
    return [
        Process(host, "miner", role)
        for host, miner in sorted(plan()["miners"].items())
        for role in miner["roles"]
        if not names or role in names
    ]


def workers() -> list[Process]:
    """Every worker of the plan."""
    return [
        Process(host, "worker", worker["name"])
        for host, slice_ in sorted(plan()["hosts"].items())
        for worker in slice_["workers"]
    ]


def cpus(text: str) -> set[int]:
    """CPUs of a list such as 0-3,8."""
    found: set[int] = set()
    for part in filter(None, text.strip().split(",")):
        first, _, last = part.partition("-")
        found.update(range(int(first), int(last or first) + 1))
    return found
