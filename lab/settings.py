"""Which lab this is: its name, addresses, folder and hosts, all taken from inventories/lab."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from lab.shell import LabError

ROOT = Path(__file__).resolve().parent.parent
LAB_DIR = ROOT / ".lab"
INVENTORY = ROOT / "inventories" / "lab"
SUBNET = "10.231.0"
"""First three numbers of the addresses written in inventories/lab."""
SUBNETS = {"lab": SUBNET, "molecule": "10.231.1", "interrupted": "10.231.2", "distributed": "10.231.3"}
"""Every lab that may run beside the others, with the first three numbers of its addresses."""
STACKS = ("lotus", "lotus_distributed")
STACK_OF = {"distributed": "lotus_distributed"}
"""Labs that run another stack than upstream Lotus unless told otherwise."""
FORK_INVENTORY = {
    "sealing_stack: lotus\n": "sealing_stack: lotus_distributed\n",
    "  b: { miner: seal }\n": "",
    "sealing_worker_group: b\n": "sealing_worker_group: a\n",
}
"""What the fork's inventory has instead: it knows no groups, so all workers of a miner are one."""
STORE_PATH = "/mnt/store"
STORE_HOSTS = ("winning", "window", "seal", "deal", "pc2-a", "pc2-b")
"""Hosts that mount the long-term store: whoever proves from it or finalizes into it."""


PARAMETERS_PATH = "/mnt/proof-parameters"
"""Where every host sees the parameters that `up` has put together, read-only."""


@dataclass(frozen=True)
class Lab:
    """One lab. `hosts` maps inventory host names to addresses; `groups` maps worker hosts to their sealing group.

    `pc1_hosts` are the hosts whose output must stay in its group.
    """

    name: str
    hosts: dict[str, str]
    groups: dict[str, str]
    pc1_hosts: frozenset[str]
    inventory: Path
    stack: str = "lotus"

    @property
    def subnet(self) -> str:
        """The network in CIDR form."""
        return f"{SUBNETS[self.name]}.0/24"

    @property
    def network(self) -> str:
        """Name of the podman network."""
        return f"sealyard-{self.name}"

    @property
    def volume(self) -> str:
        """Name of the podman volume that holds the long-term store."""
        return f"sealyard-{self.name}-store"

    @property
    def folder(self) -> Path:
        """Where this lab's key, programs, parameters and records are kept on this machine."""
        return folder_of(self.name)

    @property
    def key(self) -> Path:
        """Private ssh key of the lab's root logins."""
        return self.folder / "id_ed25519"

    @property
    def record(self) -> Path:
        """Who sealed what, kept so that a later `up` can print the table again."""
        return self.folder / "sealed.json"

    def container(self, host: str) -> str:
        """Name of the container that plays `host`."""
        return f"{self.name}-{host}"


def folder_of(name: str) -> Path:
    """Where the lab of that name keeps its files on this machine."""
    return LAB_DIR if name == "lab" else LAB_DIR / name


def choice_file(name: str) -> Path:
    """What the lab of that name was told to run."""
    return folder_of(name) / "binaries.json"


def stack_of(name: str) -> str:
    """The stack that the lab was started with, else the one its name stands for."""
    file = choice_file(name)
    chosen = json.loads(file.read_text()) if file.exists() else {}
    return str(chosen.get("stack") or STACK_OF.get(name, STACKS[0]))


def load(name: str = "lab", stack: str | None = None) -> Lab:
    """The lab called `name`, for another `stack` than so far where one is given; LabError when there is none."""
    if name not in SUBNETS:
        raise LabError(f"no lab is called {name!r}: use one of {', '.join(SUBNETS)}")
    if stack not in (None, *STACKS):
        raise LabError(f"--stack {stack}: use one of {', '.join(STACKS)}")
    stack = stack or stack_of(name)
    tree = yaml.safe_load((INVENTORY / "hosts.yml").read_text())
    hosts = _hosts(tree)
    inventory = INVENTORY if (name, stack) == ("lab", STACKS[0]) else _copy_inventory(name, stack)
    groups = {}
    for host in hosts:
        variables = inventory / "host_vars" / f"{host}.yml"
        if variables.exists() and "sealing_worker_group" in (read := yaml.safe_load(variables.read_text())):
            groups[host] = str(read["sealing_worker_group"])
    addresses = {host: SUBNETS[name] + address.removeprefix(SUBNET) for host, address in hosts.items()}
    pc1_hosts = frozenset(tree["all"]["children"]["worker"]["children"]["pc1_worker"]["hosts"])
    return Lab(name, addresses, groups, pc1_hosts, inventory, stack)


def _hosts(tree: dict[str, Any]) -> dict[str, str]:
    found: dict[str, str] = {}
    for group in tree.values():
        for host, variables in ((group or {}).get("hosts") or {}).items():
            if variables and "ansible_host" in variables:
                found[host] = variables["ansible_host"]
        found.update(_hosts((group or {}).get("children") or {}))
    return found


def _copy_inventory(name: str, stack: str) -> Path:
    """The lab's inventory with the addresses of lab `name`, so that two labs run beside each other, and its stack."""
    copy = folder_of(name) / "inventory"
    for source in sorted(INVENTORY.rglob("*.yml")):
        if any(part in ("plan", ".plan") for part in source.relative_to(INVENTORY).parts):
            continue
        text = source.read_text().replace(SUBNET + ".", SUBNETS[name] + ".")
        for upstream, fork in FORK_INVENTORY.items() if stack != STACKS[0] else ():
            text = text.replace(upstream, fork)
        target = copy / source.relative_to(INVENTORY)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text.replace('"{{ inventory_dir }}/../../.lab"', f'"{copy.parent}"'))
    return copy
