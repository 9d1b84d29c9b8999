"""Every way an inventory is known to go wrong: one clear error each, and no host touched.

Each case breaks a good inventory (lab or starter) once. All of them go through the filter; a few also go through the
real playbook, where every host is an address that answers nobody.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from sealyard.inventory.judgement import CHECKS
from sealyard.variables.inventory import Inventory as Facts
from sealyard.variables.options import cluster_options, role_options
from sealyard_filters import sealing_plan, sealing_plan_input, sealing_preflight, sealing_preflight_text

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent


@dataclass
class Inventory:
    """An inventory that a case may break: groups by name, variables by host."""

    groups: dict[str, list[str]]
    hostvars: dict[str, dict[str, Any]]

    def every(self, **variables: Any) -> None:
        """Set variables on every host, as group_vars/all does."""
        for own in self.hostvars.values():
            own.update(variables)

    def fork(self, **variables: Any) -> bool:
        """Make it an inventory of the distributed-miner fork; returns True, to be chained in a lambda."""
        self.every(sealing_stack="lotus_distributed", **variables)
        return True

    def add(self, name: str, address: str, *groups: str) -> None:
        """Add a host to groups."""
        self.hostvars[name] = deepcopy(self.hostvars["seal"]) | {"ansible_host": address}
        for group in ("all", *groups):
            self.groups[group].append(name)

    def without(self, name: str) -> None:
        """Remove a variable everywhere."""
        for own in self.hostvars.values():
            own.pop(name, None)

    def write(self, path: Path) -> Path:
        """Write it as one YAML inventory; ssh to its hosts would need an address that nobody has."""
        groups = {
            name: {"hosts": dict.fromkeys(hosts)}
            for name, hosts in self.groups.items()
            if name not in ("all", "ungrouped")
        }
        path.write_text(
            yaml.safe_dump({"all": {"hosts": self.hostvars, "children": groups}}, sort_keys=False), encoding="utf-8"
        )
        return path


@functools.cache
def _listed(name: str) -> str:
    command = [str(BIN / "ansible-inventory"), "-i", f"inventories/{name}", "--list"]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout


def good(name: str) -> Inventory:
    """Return inventories/NAME as plain data, with the starter's secrets filled in."""
    listed = json.loads(_listed(name))
    hostvars: dict[str, dict[str, Any]] = listed.pop("_meta")["hostvars"]

    def members(group: str) -> list[str]:
        entry = listed.get(group, {})
        return [*entry.get("hosts", []), *(host for child in entry.get("children", []) for host in members(child))]

    groups = {group: list(dict.fromkeys(members(group))) for group in listed}
    hosts = groups["all"] = list(dict.fromkeys(members("all")))
    groups.setdefault("ungrouped", [])
    inventory = Inventory(groups, {host: deepcopy(hostvars.get(host, {})) for host in hosts})
    if name == "starter":
        fill_in(inventory)
    return inventory


KEY = json.dumps({"Type": "bls", "PrivateKey": "AAAA"}).encode().hex()


def fill_in(inventory: Inventory) -> None:
    """Put in what the operator of the starter has to: where Lotus and the chain come from, and the wallet."""
    inventory.every(
        lotus_install_archives={"x86_64": {"url": "/srv/lotus.tar.gz", "sha256": "0" * 64}},
        lotus_daemon_snapshot="/srv/snapshot.car.zst",
        vault_lotus_daemon_wallet_keys=[KEY],
    )
    inventory.hostvars["post"]["lotus_daemon_wallet_keys"] = [KEY]


@dataclass(frozen=True)
class Case:
    """One mistake: how it is made, and the path, problem and remedy of the one error it gets."""

    name: str
    base: str
    breaks: Callable[[Inventory], Any]
    path: str
    problem: str
    remedy: str


def both_daemons_on_one_port(inventory: Inventory) -> None:
    """A host with both daemons, and no wallet for it."""
    inventory.groups["daemon_public"].append("post")
    inventory.hostvars["post"].update(
        lotus_daemon_wallet_keys=[], lotus_daemon_api_ports={"public": 1234, "private": 1234}
    )


def miner_among_workers_ports(inventory: Inventory) -> None:
    """A miner that also works, on the port of its first worker."""
    for group in ("worker", "pc1_worker"):
        inventory.groups[group].append("seal")
    worker = inventory.hostvars["pc1-a"]
    inventory.hostvars["seal"].update(worker | {"ansible_host": "10.231.0.14", "seal_miner_port": 3456})


def host_named_like_a_group(inventory: Inventory) -> None:
    """A second C2 host by the name of a group."""
    inventory.add("worker", "10.231.0.99", "worker", "gpu", "c2_worker")
    inventory.hostvars["worker"] = deepcopy(inventory.hostvars["c2-a"]) | {"ansible_host": "10.231.0.99"}


def deal_share_without_deal_miner(inventory: Inventory) -> None:
    """Two edits, one mistake."""
    inventory.every(sealing_deal_share=0.5)
    inventory.groups.pop("deal_miner")


def shared(inventory: Inventory, mount: dict[str, Any] | None = None, **pc1: Any) -> dict[str, dict[str, Any]]:
    """Let pc2-a mount pc1-a's scratch, with a mistake in `mount` or in pc1-a's variables; all variables."""
    inventory.hostvars["pc1-a"].update(
        {"sealing_rdma_address": "10.232.0.21/24", "sealing_exports": [{"path": "/sealer"}], **pc1}
    )
    mounts = [{"server": "pc1-a", "path": "/sealer", **(mount or {})}]
    inventory.hostvars["pc2-a"].update(sealing_rdma_address="10.232.0.31/24", sealing_mounts=mounts)
    return inventory.hostvars


CARDS = {
    "net": [
        {"name": "eno1", "pci": "0000:01:00.0", "numa_node": 0, "speed_bits_per_sec": None},
        {"name": "enp65s0np0", "pci": "0000:41:00.0", "numa_node": 0, "speed_bits_per_sec": None},
    ],
    "rdma": [
        {"name": "rocep65s0", "pci": "0000:41:00.0", "numa_node": 0, "netdev": "enp65s0np0", "port_state": {"1": 4}},
    ],
}


def rdma_cards(inventory: Inventory, **pc1: Any) -> dict[str, Any]:
    """Put pc1-a and pc2-a into group rdma, with a mistake in pc1-a's variables, which are returned."""
    inventory.groups["rdma"] = ["pc1-a", "pc2-a"]
    for host, number in (("pc1-a", 21), ("pc2-a", 31)):
        inventory.hostvars[host].update(
            sealing_rdma_address=f"10.232.0.{number}/24",
            rdma_nic_interfaces=[{"name": "enp65s0np0", "address": f"10.232.0.{number}/24"}],
            sealing_hardware=inventory.hostvars[host]["sealing_hardware"] | CARDS,
        )
    inventory.hostvars["pc1-a"].update(pc1)
    return inventory.hostvars["pc1-a"]


def system_disk_with(mount: str) -> dict[str, Any]:
    """Return facts of a host whose only disk also carries `mount`."""
    disks = [{"name": "sda", "system": True, "mounts": ["/", "/boot", mount]}]
    return {"sealing_hardware": {"disks": disks}}


def shared_between_groups(inventory: Inventory) -> None:
    """A mount more, by a host of another group."""
    shared(inventory)
    inventory.hostvars["pc2-b"].update(
        sealing_rdma_address="10.232.0.32/24", sealing_mounts=[{"server": "pc1-a", "path": "/sealer"}]
    )


def mounts_of_pc2(*mounts: dict[str, Any]) -> Callable[[Inventory], None]:
    """Return a mistake: these mounts of pc1-a beside a good one."""

    def breaks(inventory: Inventory) -> None:
        shared(inventory, sealing_exports=[{"path": "/sealer"}, {"path": "/data"}])
        inventory.hostvars["pc2-a"]["sealing_mounts"] += [{"server": "pc1-a", **mount} for mount in mounts]

    return breaks


CASES = [
    # --- pledging and the switch ---
    Case(
        "pledges faster than the plan seals",
        "lab",
        lambda i: i.hostvars["seal"].update(sealing_pledging="smooth", pledging_interval_sec=1),
        "seal/pledging_interval_sec",
        "is faster than the",
        "pledging_interval_sec: ",
    ),
    Case(
        "a batch of more sectors than PC1 slots",
        "lab",
        lambda i: i.hostvars["seal"].update(sealing_pledging="batch", pledging_sectors=100),
        "seal/pledging_sectors",
        "PC1 slots of the plan",
        "at most",
    ),
    Case(
        "pledging by a word",
        "lab",
        lambda i: i.hostvars["seal"].update(sealing_pledging="hourly"),
        "seal/sealing_pledging",
        "not one of manual, batch, smooth",
        "manual",
    ),
    Case(
        "more RDMA cards than switch ports",
        "lab",
        lambda i: (rdma_cards(i), [own.update(sealing_switch_ports=1) for own in i.hostvars.values()]),
        "all/sealing_switch_ports",
        "are the ports of switch",
        "another switch",
    ),
    # --- groups ---
    Case(
        "no winning miner",
        "lab",
        lambda i: i.groups.pop("winning_miner"),
        "groups/winning_miner",
        "has no host",
        "exactly one",
    ),
    Case(
        "two winning miners",
        "lab",
        lambda i: i.groups["winning_miner"].append("window"),
        "groups/winning_miner",
        "2 hosts",
        "only one",
    ),
    Case(
        "no window miner",
        "starter",
        lambda i: i.groups.pop("window_miner"),
        "groups/window_miner",
        "has no host",
        "exactly one",
    ),
    Case(
        "two window miners",
        "lab",
        lambda i: i.groups["window_miner"].append("winning"),
        "groups/window_miner",
        "2 hosts",
        "only one",
    ),
    Case(
        "no seal miner",
        "starter",
        lambda i: i.groups.pop("seal_miner"),
        "groups/seal_miner",
        "has no host",
        "at least one",
    ),
    Case(
        "two deal miners",
        "lab",
        lambda i: i.groups["deal_miner"].append("seal"),
        "groups/deal_miner",
        "2 hosts",
        "only one",
    ),
    Case(
        "no private daemon",
        "starter",
        lambda i: i.groups.pop("daemon_private"),
        "groups/daemon_private",
        "has no host",
        "post",
    ),
    Case(
        "misspelt inventory group",
        "lab",
        lambda i: i.groups.update(c2_workers=i.groups.pop("c2_worker")),
        "groups/c2_workers",
        "is no group of Sealyard",
        "c2_worker:",
    ),
    Case(
        "host in no group",
        "lab",
        lambda i: i.add("spare", "10.231.0.99", "ungrouped"),
        "spare/groups",
        "is in no group",
        "pc1_worker",
    ),
    Case(
        "host named like a group",
        "lab",
        host_named_like_a_group,
        "hosts/worker",
        "also the name of a group",
        "worker-1",
    ),
    Case(
        "devnet whose winning miner is not beside the genesis",
        "lab",
        lambda i: i.groups.update(daemon_private=["window", "winning"]),
        "groups/winning_miner",
        "is not window, the first host of daemon_private",
        "winning first in daemon_private",
    ),
    # --- workers and their groups ---
    Case(
        "misspelt worker group",
        "lab",
        lambda i: i.hostvars["pc2-a"].update(sealing_worker_group="A"),
        "pc2-a/sealing_worker_group",
        "not one of sealing_groups",
        "one of a, b",
    ),
    Case(
        "PC1 without PC2 in its group",
        "lab",
        lambda i: i.hostvars["pc2-b"].update(sealing_worker_group="a"),
        "all/sealing_groups.b",
        "has PC1 but no PC2",
        "add a pc2_worker host",
    ),
    Case(
        "PC1 and no PC2 at all",
        "starter",
        lambda i: i.groups.pop("pc2_worker"),
        "all/sealing_groups.g1",
        "has PC1 but no PC2",
        "add a pc2_worker host",
    ),
    Case(
        "worker without miner",
        "lab",
        lambda i: i.every(sealing_groups={"a": {"miner": "seal"}, "b": {"miner": "sael"}}),
        "all/sealing_groups.b.miner",
        "not a seal or deal miner",
        "seal",
    ),
    Case(
        "pinned host that is no worker",
        "lab",
        lambda i: i.hostvars["seal"].update(sealing_worker_group="a"),
        "seal/sealing_worker_group",
        "is no worker",
        "remove it",
    ),
    # --- cluster-wide values ---
    Case(
        "unknown network",
        "lab",
        lambda i: i.every(sealing_network="mainet"),
        "all/sealing_network",
        "not one of",
        "mainnet",
    ),
    Case(
        "unknown stack",
        "lab",
        lambda i: i.every(sealing_stack="lotusd"),
        "all/sealing_stack",
        "not one of",
        "sealing_stack: lotus",
    ),
    Case(
        "unknown sector size",
        "starter",
        lambda i: i.every(sealing_sector_size="32GB"),
        "all/sealing_sector_size",
        "not one of",
        "32GiB",
    ),
    Case(
        "sector size of another network",
        "starter",
        lambda i: i.every(sealing_sector_size="2KiB"),
        "all/sealing_sector_size",
        "no sector size of mainnet",
        "32GiB",
    ),
    Case(
        "actor of a test network on mainnet",
        "starter",
        lambda i: i.every(sealing_actor="t01234"),
        "all/sealing_actor",
        "prefix",
        "f01234",
    ),
    Case(
        "actor of mainnet on a devnet",
        "lab",
        lambda i: i.every(sealing_actor="f01000"),
        "all/sealing_actor",
        "prefix",
        "t01000",
    ),
    Case(
        "actor that is no ID",
        "starter",
        lambda i: i.every(sealing_actor="f3abcdef"),
        "all/sealing_actor",
        "not an ID address",
        "f01000",
    ),
    Case(
        "actor as a number", "lab", lambda i: i.every(sealing_actor=1000), "all/sealing_actor", "not a text", "quotes"
    ),
    Case("no actor", "starter", lambda i: i.without("sealing_actor"), "all/sealing_actor", "not set", "group_vars/all"),
    Case(
        "empty network",
        "lab",
        lambda i: i.every(sealing_network=None),
        "all/sealing_network",
        "not set",
        "devnet, calibration, mainnet",
    ),
    Case(
        "one host with another actor",
        "lab",
        lambda i: i.hostvars["c2-a"].update(sealing_actor="t01001"),
        "c2-a/sealing_actor",
        "differs",
        "once",
    ),
    Case(
        "deal share above one",
        "lab",
        lambda i: i.every(sealing_deal_share=25),
        "all/sealing_deal_share",
        "not a number from 0 to 1",
        "0.25",
    ),
    Case(
        "deal share without a deal miner",
        "lab",
        deal_share_without_deal_miner,
        "all/sealing_deal_share",
        "no deal_miner host",
        "sealing_deal_share: 0",
    ),
    # --- names and types ---
    Case(
        "misspelt variable",
        "lab",
        lambda i: i.every(sealing_reserved_core=0),
        "all/sealing_reserved_core",
        "no variable",
        "reserved_cores:",
    ),
    Case(
        "number as text",
        "lab",
        lambda i: i.every(sealing_scratch_bytes="8"),
        "all/sealing_scratch_bytes",
        "a text",
        "no quotes",
    ),
    Case(
        "regroup as a word",
        "lab",
        lambda i: i.every(sealing_allow_regroup="maybe"),
        "all/sealing_allow_regroup",
        "a text",
        "no quotes",
    ),
    # --- secrets and environment ---
    Case(
        "empty vault value",
        "starter",
        lambda i: i.every(vault_lotus_daemon_wallet_keys=[]),
        "all/vault_lotus_daemon_wallet_keys",
        "is empty",
        "vault.yml",
    ),
    Case(
        "placeholder in the vault",
        "starter",
        lambda i: i.every(vault_lotus_daemon_wallet_keys=["REPLACE-ME"]),
        "all/vault_lotus_daemon_wallet_keys",
        "placeholder",
        "vault.yml",
    ),
    Case(
        "a wallet on the public daemon",
        "starter",
        lambda i: i.hostvars["chain"].update(lotus_daemon_wallet_keys=[KEY]),
        "chain/lotus_daemon_wallet_keys",
        "wallet on the public daemon",
        "group_vars/daemon_private only",
    ),
    Case(
        "a wallet key that is an address",
        "starter",
        lambda i: i.hostvars["post"].update(lotus_daemon_wallet_keys=["f3abcdef"]),
        "post/lotus_daemon_wallet_keys",
        "no exported key",
        "lotus wallet export",
    ),
    Case(
        "a guard taken away",
        "lab",
        lambda i: i.hostvars["winning"].update(lotus_miner_environment={"LOTUS_MINER_NO_SLASHFILTER": "1"}),
        "winning/lotus_miner_environment.LOTUS_MINER_NO_SLASHFILTER",
        "two blocks",
        "remove LOTUS_MINER_NO_SLASHFILTER",
    ),
    Case(
        "a token in the environment",
        "lab",
        lambda i: i.hostvars["seal"].update(
            lotus_miner_environment={"FULLNODE_API_INFO": "eyJ:/ip4/1.2.3.4/tcp/1/http"}
        ),
        "seal/lotus_miner_environment.FULLNODE_API_INFO",
        "token",
        "remove FULLNODE_API_INFO",
    ),
    Case(
        "a role switched off by hand",
        "lab",
        lambda i: i.hostvars["window"].update(window_miner_config={"Subsystems": {"DisableWindowPoSt": True}}),
        "window/window_miner_config.Subsystems.DisableWindowPoSt",
        "decided by the inventory",
        "the groups",
    ),
    Case(
        "nobody gives out sector numbers",
        "lab",
        lambda i: (i.fork(), i.groups.update(sector_counter=[])),
        "groups/sector_counter",
        "has no host",
        "such as winning",
    ),
    Case(
        "two give out sector numbers",
        "lab",
        lambda i: (i.fork(), i.groups.update(sector_counter=["winning", "seal"])),
        "groups/sector_counter",
        "more than one host",
        "such as winning",
    ),
    Case(
        "a sector counter without a miner",
        "lab",
        lambda i: (i.fork(), i.groups.update(sector_counter=["daemon-public"])),
        "groups/sector_counter",
        "no miner host",
        "such as winning",
    ),
    Case(
        "a seed below what the plan gives out",
        "lab",
        lambda i: (i.fork(sealing_sector_number_start=500), i.hostvars["winning"].update(sector_counter_seed=100)),
        "winning/sector_counter_seed",
        "is below 499",
        "499, or leave it out",
    ),
    Case(
        "one official miner of the fork",
        "lab",
        lambda i: i.fork(sealing_miner_layout="single"),
        "all/sealing_miner_layout",
        "is one official miner, and sealing_stack is lotus_distributed",
        "split, or sealing_stack: lotus beside it",
    ),
    Case(
        "a layout of the miners that there is not",
        "lab",
        lambda i: i.every(sealing_miner_layout="sngle"),
        "all/sealing_miner_layout",
        "is not one of split, single",
        "sealing_miner_layout: single",
    ),
    Case(
        "a deal miner of the fork without libp2p",
        "lab",
        lambda i: (i.fork(), i.hostvars["deal"].update(deal_miner_config={"Subsystems": {"EnableMarkets": False}})),
        "deal/deal_miner_config.Subsystems.EnableMarkets",
        "no client reaches it",
        "remove it",
    ),
    Case(
        "more PC1 than the plan has memory for",
        "lab",
        lambda i: (i.fork(), i.hostvars["pc1-a"].update(sealing_worker_limits={"PreCommit1Max": 9})),
        "pc1-a/sealing_worker_limits.PreCommit1Max",
        "more PC1 at once than the 1",
        "PreCommit1Max: 1",
    ),
    Case(
        "a limit that the fork does not know",
        "lab",
        lambda i: (i.fork(), i.hostvars["pc1-a"].update(sealing_worker_limits={"PreCommitMax": 1})),
        "pc1-a/sealing_worker_limits.PreCommitMax",
        "no key of myscheduler.json",
        "PreCommit1Max",
    ),
    Case(
        "a limit of the first generation beside the second's file",
        "lab",
        lambda i: (i.fork(), i.hostvars["seal"].update(seal_miner_config={"Storage": {"PreCommit1HoldMax": 20}})),
        "seal/seal_miner_config.Storage.PreCommit1HoldMax",
        "of the first generation",
        "sealing_fork_generation: 1",
    ),
    Case(
        "a limit of the second generation for the first",
        "lab",
        lambda i: (
            i.fork(sealing_fork_generation=1),
            i.hostvars["pc1-a"].update(sealing_worker_limits={"PreCommit1Max": 1}),
        ),
        "pc1-a/sealing_worker_limits",
        "does not read",
        "sealing_fork_generation: 2",
    ),
    Case(
        "the fork with the official scheduler",
        "lab",
        lambda i: i.fork(sealing_scheduler="official"),
        "all/sealing_scheduler",
        "gives out no task",
        "playbooks/scheduler_switch.yml",
    ),
    Case(
        "upstream Lotus with myScheduler",
        "lab",
        lambda i: i.every(sealing_scheduler="myscheduler"),
        "all/sealing_scheduler",
        "no scheduler of stack lotus",
        "sealing_stack: lotus_distributed",
    ),
    Case(
        "a scheduler that is none",
        "lab",
        lambda i: i.every(sealing_scheduler="curio"),
        "all/sealing_scheduler",
        "",
        "official",
    ),
    Case(
        "the fork with its scheduler off",
        "lab",
        lambda i: (i.fork(), i.hostvars["seal"].update(seal_miner_config={"Storage": {"AllowMyScheduler": False}})),
        "seal/seal_miner_config.Storage.AllowMyScheduler",
        "gives out no task",
        "sealing_stack: lotus",
    ),
    Case(
        "a setting of upstream Lotus for the fork",
        "lab",
        lambda i: (i.fork(), i.hostvars["seal"].update(seal_miner_config={"Storage": {"Assigner": "spread"}})),
        "seal/seal_miner_config.Storage.Assigner",
        "no key of lotus miner",
        "remove it",
    ),
    Case(
        "a setting that Lotus does not know",
        "lab",
        lambda i: i.hostvars["seal"].update(seal_miner_config={"Sealing": {"BatchPreCommits": True}}),
        "seal/seal_miner_config.Sealing.BatchPreCommits",
        "no key of lotus miner",
        "Sealing.",
    ),
    Case(
        "a setting with a wrong value",
        "lab",
        lambda i: i.every(lotus_daemon_config={"Chainstore": {"EnableSplitstore": "yes"}}),
        "all/lotus_daemon_config.Chainstore.EnableSplitstore",
        "refused by Lotus",
        "true or false",
    ),
    Case(
        "a miner on a host without a daemon",
        "lab",
        lambda i: i.hostvars["seal"].update(lotus_miner_daemon_host="daemon-public"),
        "seal/lotus_miner_daemon_host",
        "not a host of daemon_private",
        "winning, window",
    ),
    Case(
        "a stack that is only planned",
        "lab",
        lambda i: i.every(sealing_stack="force_remote_worker", sealing_mount_transport="tcp"),
        "all/sealing_stack",
        "not yet be installed",
        "sealing_stack: lotus",
    ),
    Case(
        "an API moved by hand",
        "lab",
        lambda i: i.hostvars["seal"].update(seal_miner_config={"API": {"ListenAddress": "/ip4/0.0.0.0/tcp/2347/http"}}),
        "seal/seal_miner_config.API.ListenAddress",
        "decided by the inventory",
        "sealing_address",
    ),
    # --- the chain ---
    Case(
        "no snapshot on mainnet",
        "starter",
        lambda i: i.every(lotus_daemon_snapshot=""),
        "chain,post/lotus_daemon_snapshot",
        "for weeks",
        "lotus_daemon_sync_from_genesis: true",
    ),
    Case(
        "a snapshot on a devnet",
        "lab",
        lambda i: i.every(lotus_daemon_snapshot="/srv/snapshot.car"),
        "daemon-public,winning,window/lotus_daemon_snapshot",
        "devnet",
        'lotus_daemon_snapshot: ""',
    ),
    # --- where Lotus comes from ---
    Case(
        "no Lotus",
        "starter",
        lambda i: i.without("lotus_install_archives"),
        "all/lotus_install_archives",
        "names no Lotus",
        "lotus_install_builds_dir",
    ),
    Case(
        "no checksum",
        "starter",
        lambda i: i.every(lotus_install_archives={"x86_64": {"url": "/srv/lotus.tar.gz"}}),
        "all/lotus_install_archives.x86_64.sha256",
        "is missing",
        "sha256sum for /srv/lotus.tar.gz",
    ),
    Case(
        "checksum of another kind",
        "starter",
        lambda i: i.every(lotus_install_archives={"x86_64": {"url": "/srv/lotus.tar.gz", "sha256": "0" * 128}}),
        "all/lotus_install_archives.x86_64.sha256",
        "has 128 characters and needs 64",
        "sha256sum",
    ),
    Case(
        "archive without address",
        "starter",
        lambda i: i.every(lotus_install_archives={"x86_64": {"url": "", "sha256": "0" * 64}}),
        "all/lotus_install_archives.x86_64.url",
        "names no archive",
        "url:",
    ),
    Case(
        "archive of a misspelt machine",
        "starter",
        lambda i: i.every(lotus_install_archives={"x86-64": {"url": "/srv/lotus.tar.gz", "sha256": "0" * 64}}),
        "all/lotus_install_archives.x86-64",
        "no kind of machine",
        "x86_64:",
    ),
    # --- addresses ---
    Case(
        "address of another host",
        "lab",
        lambda i: i.hostvars["pc1-a"].update(ansible_host="10.231.0.22"),
        "pc1-b/ansible_host",
        "also the address",
        "own",
    ),
    Case(
        "API on every network",
        "lab",
        lambda i: i.hostvars["seal"].update(sealing_address="0.0.0.0"),
        "seal/sealing_address",
        "every network",
        "10.0.0.11",
    ),
    Case(
        "public API address",
        "starter",
        lambda i: i.hostvars["post"].update(ansible_host="8.8.8.8"),
        "post/ansible_host",
        "public",
        "private",
    ),
    Case(
        "loopback address",
        "lab",
        lambda i: i.hostvars["seal"].update(sealing_address="127.0.0.1"),
        "seal/sealing_address",
        "loopback",
        "10.0.0.11",
    ),
    Case(
        "name as address",
        "starter",
        lambda i: i.hostvars["post"].update(ansible_host="post.lan"),
        "post/ansible_host",
        "not an IP",
        "sealing_address:",
    ),
    Case(
        "two miners on one port",
        "starter",
        lambda i: i.hostvars["post"].update(window_miner_port=2345),
        "post/window_miner_port",
        "also winning_miner_port",
        "2346",
    ),
    Case(
        "no port at all",
        "lab",
        lambda i: i.hostvars["seal"].update(seal_miner_port=70000),
        "seal/seal_miner_port",
        "no port",
        "seal_miner_port: 2347",
    ),
    Case(
        "both daemons on one port",
        "starter",
        both_daemons_on_one_port,
        "post/lotus_daemon_api_ports.private",
        "also lotus_daemon_api_ports.public",
        "1235",
    ),
    Case(
        "a port forgotten",
        "starter",
        lambda i: i.hostvars["post"].update(lotus_daemon_api_ports={"public": 1234}),
        "post/lotus_daemon_api_ports.private",
        "no port",
        "1235",
    ),
    Case(
        "a miner among the workers' ports",
        "lab",
        miner_among_workers_ports,
        "seal/seal_miner_port",
        "ports of the host's workers",
        "2347",
    ),
    # --- storage ---
    Case(
        "no store",
        "starter",
        lambda i: i.without("sealing_stores"),
        "post,seal,worker-1/sealing_stores",
        "not set",
        "sealing_stores:",
    ),
    Case(
        "store on scratch",
        "lab",
        lambda i: i.every(sealing_stores=[{"name": "store", "path": "/sealer/store"}]),
        "all/sealing_stores[0].path",
        "overlaps the scratch",
        "/mnt/store",
    ),
    Case(
        "store without path",
        "lab",
        lambda i: i.every(sealing_stores=[{"name": "store"}]),
        "all/sealing_stores[0].path",
        "missing",
        "path:",
    ),
    Case(
        "relative store",
        "lab",
        lambda i: i.every(sealing_stores=[{"name": "store", "path": "mnt/store"}]),
        "all/sealing_stores[0].path",
        "absolute",
        "/mnt/store",
    ),
    Case(
        "store that the window miner does not see",
        "lab",
        lambda i: i.hostvars["window"].update(sealing_stores=[{"name": "other", "path": "/mnt/other"}]),
        "window/sealing_stores",
        "lacks store store",
        "add store store",
    ),
    # --- shares ---
    Case(
        "export of the system disk",
        "lab",
        lambda i: shared(i, sealing_exports=[{"path": "/sealer"}, {"path": "/"}]),
        "pc1-a/sealing_exports[1].path",
        "lies on the system disk",
        "mount point of a data disk",
    ),
    Case(
        "export from a partition of the system disk",
        "lab",
        lambda i: shared(i, ansible_facts=system_disk_with("/sealer")),
        "pc1-a/sealing_exports[0].path",
        "lies on the system disk sda",
        "mount point of a data disk",
    ),
    Case(
        "two exports of one path",
        "lab",
        lambda i: shared(i, sealing_exports=[{"path": "/sealer"}, {"path": "/sealer/"}]),
        "pc1-a/sealing_exports[1].path",
        "exported twice",
        "one entry",
    ),
    Case(
        "export of what another host exports",
        "lab",
        lambda i: shared(i)["pc2-a"].update(sealing_exports=[{"path": "/sealer"}]),
        "pc2-a/sealing_exports[0].path",
        "is itself mounted from pc1-a",
        "export it on pc1-a alone",
    ),
    Case(
        "mount of a host that exports nothing",
        "lab",
        lambda i: shared(i, {"server": "pc1-b"}),
        "pc2-a/sealing_mounts[0].server",
        "exports nothing",
        "sealing_exports: [{path: /sealer}] for pc1-b",
    ),
    Case(
        "mount of a host that is not there",
        "lab",
        lambda i: shared(i, {"server": "pc1a"}),
        "pc2-a/sealing_mounts[0].server",
        "no host of the inventory",
        "server: pc1-a",
    ),
    Case(
        "mount of the host itself",
        "lab",
        lambda i: shared(i, {"server": "pc2-a"}),
        "pc2-a/sealing_mounts[0].server",
        "is this host itself",
        "leave it out",
    ),
    Case(
        "mount of a directory that is not exported",
        "lab",
        lambda i: shared(i, {"source": "/scratch"}),
        "pc2-a/sealing_mounts[0].source",
        "not exported by pc1-a, which exports /sealer",
        "source: /sealer",
    ),
    Case(
        "mount point used twice",
        "lab",
        mounts_of_pc2({"path": "/sealer", "source": "/data"}),
        "pc2-a/sealing_mounts[1].path",
        "already the mount of pc1-a:/sealer",
        "of its own",
    ),
    Case(
        "mount over the system",
        "lab",
        mounts_of_pc2({"path": "/usr/share", "source": "/data"}),
        "pc2-a/sealing_mounts[1].path",
        "belongs to the system",
        "/sealer",
    ),
    Case(
        "one server by two transports",
        "lab",
        mounts_of_pc2({"path": "/data", "transport": "tcp"}),
        "pc2-a/sealing_mounts[1].transport",
        "would carry both over TCP",
        "transport: rdma",
    ),
    Case(
        "scratch that cannot be written",
        "lab",
        lambda i: shared(i, {"read_only": True, "scratch": True}),
        "pc2-a/sealing_mounts[0].read_only",
        "read-only",
        "read_only: false",
    ),
    Case(
        "export to no RDMA address",
        "lab",
        lambda i: shared(i)["pc1-a"].pop("sealing_rdma_address"),
        "pc1-a/sealing_rdma_address",
        "/sealer of this host is mounted over RDMA by pc2-a",
        "10.40.0.21/24",
    ),
    Case(
        "mount from no RDMA address",
        "lab",
        lambda i: shared(i)["pc2-a"].pop("sealing_rdma_address"),
        "pc2-a/sealing_rdma_address",
        "mounts /sealer of pc1-a over RDMA",
        "10.40.0.21/24",
    ),
    Case(
        "two RDMA networks",
        "lab",
        lambda i: shared(i, sealing_rdma_address="10.233.0.21/24"),
        "pc2-a/sealing_rdma_address",
        "is in another network",
        "10.40.0.21/24",
    ),
    Case(
        "RDMA address without a prefix",
        "lab",
        lambda i: shared(i, sealing_rdma_address="10.232.0.21"),
        "pc1-a/sealing_rdma_address",
        "has no prefix",
        "10.40.0.21/24",
    ),
    Case(
        "two hosts with one RDMA address",
        "lab",
        lambda i: shared(i, sealing_rdma_address="10.232.0.31/24"),
        "pc2-a/sealing_rdma_address",
        "also the address of pc1-a",
        "10.40.0.21/24",
    ),
    Case(
        "RDMA host without an address",
        "lab",
        lambda i: rdma_cards(i, rdma_nic_interfaces=[]).pop("sealing_rdma_address"),
        "pc1-a/sealing_rdma_address",
        "the host is in group rdma",
        "10.40.0.21/24",
    ),
    Case(
        "RDMA card that is not there",
        "lab",
        lambda i: rdma_cards(i, rdma_nic_interfaces=[{"name": "enp66s0np0", "address": "10.232.0.21/24"}]),
        "pc1-a/rdma_nic_interfaces[0].name",
        "is no network interface of this host, which has eno1, enp65s0np0",
        "enp65s0np0",
    ),
    Case(
        "card without an RDMA device",
        "lab",
        lambda i: rdma_cards(i, rdma_nic_interfaces=[{"name": "eno1", "address": "10.232.0.21/24"}]),
        "pc1-a/rdma_nic_interfaces[0].name",
        "has no RDMA device",
        "rdma_nic_soft: true",
    ),
    Case(
        "RDMA address and no card with an RDMA device",
        "lab",
        lambda i: (one := rdma_cards(i)).update(
            rdma_nic_interfaces=None, sealing_hardware=one["sealing_hardware"] | {"rdma": []}
        ),
        "pc1-a/sealing_rdma_address",
        "the host has 0 cards with an RDMA device",
        "rdma_nic_interfaces:",
    ),
    Case(
        "two RDMA cards with one address",
        "lab",
        lambda i: rdma_cards(i, rdma_nic_interfaces=[{"name": "enp65s0np0", "address": "10.232.0.31/24"}]),
        "pc2-a/rdma_nic_interfaces[0].address",
        "also the address of pc1-a",
        "one of its own",
    ),
    Case(
        "two RDMA cards of a host in one network",
        "lab",
        lambda i: rdma_cards(
            i, rdma_nic_interfaces=[{"name": "enp65s0np0", "address": f"10.232.0.{n}/24"} for n in (1, 2)]
        ),
        "pc1-a/rdma_nic_interfaces[1].address",
        "packets would leave by either card",
        "network of its own",
    ),
    Case(
        "RDMA card with an address that is none",
        "lab",
        lambda i: rdma_cards(i, rdma_nic_interfaces=[{"name": "enp65s0np0", "address": "10.232.0.21"}]),
        "pc1-a/rdma_nic_interfaces[0].address",
        "no IP address with a prefix",
        "10.40.0.21/24",
    ),
    Case(
        "two MTUs in one RDMA network",
        "lab",
        lambda i: rdma_cards(i, rdma_nic_mtu=1500),
        "pc2-a/rdma_nic_mtu",
        "is not the MTU of pc1-a",
        "rdma_nic_mtu: 1500",
    ),
    Case(
        "scratch shared by two groups",
        "lab",
        shared_between_groups,
        "pc1-a/sealing_exports",
        "is the scratch of groups a, b",
        "sealing_worker_group: a",
    ),
    Case(
        "a transport that is none",
        "lab",
        lambda i: shared(i, {"transport": "udp"}),
        "pc2-a/sealing_mounts[0].transport",
        "not one of rdma, tcp",
        "rdma",
    ),
]


def broken(case: Case) -> Inventory:
    """Return the case's inventory."""
    inventory = good(case.base)
    case.breaks(inventory)
    return inventory


def run_playbook(playbook: str, inventory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a real playbook on an inventory."""
    command = [str(BIN / "ansible-playbook"), "-i", str(inventory), playbook, *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def run_preflight(inventory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run preflight on an inventory."""
    return run_playbook("playbooks/preflight.yml", inventory, *arguments)


@pytest.mark.parametrize("name", ["lab", "starter"])
def test_the_inventories_of_the_repository_are_good(name: str) -> None:
    inventory = good(name)
    assert sealing_preflight(inventory.groups, inventory.hostvars) == []


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_one_mistake_is_one_clear_error(case: Case) -> None:
    inventory = broken(case)
    problems = sealing_preflight(inventory.groups, inventory.hostvars)
    assert [problem["path"] for problem in problems] == [case.path], sealing_preflight_text(problems)
    assert case.problem in problems[0]["problem"]
    assert case.remedy in problems[0]["remedy"]


@pytest.mark.parametrize(
    ("breaks", "path", "remedy"),
    [
        (
            lambda i: i.groups.update(sector_counter=["window"]),
            "groups/sector_counter",
            "playbooks/sector_counter_move.yml",
        ),
        (lambda i: i.every(sealing_stack="lotus"), "winning/sealing_stack", "playbooks/scheduler_switch.yml"),
    ],
    ids=["counter", "stack"],
)
def test_what_a_playbook_must_move_is_not_moved_by_itself(
    breaks: Callable[[Inventory], Any], path: str, remedy: str, tmp_path: Path
) -> None:
    inventory = good("lab")
    inventory.fork()
    applied = tmp_path / "applied.json"
    applied.write_text(json.dumps(sealing_plan(sealing_plan_input(inventory.groups, inventory.hostvars))))
    assert sealing_preflight(inventory.groups, inventory.hostvars, applied=str(applied)) == []
    breaks(inventory)
    problems = sealing_preflight(inventory.groups, inventory.hostvars, applied=str(applied))
    assert [problem["path"] for problem in problems] == [path], sealing_preflight_text(problems)
    assert remedy in problems[0]["remedy"]
    let = sealing_preflight(
        inventory.groups, inventory.hostvars, applied=str(applied), counter_moves=True, stack_switches=True
    )
    assert let == []


def test_all_mistakes_come_at_once() -> None:
    lab = [case for case in CASES if case.base == "lab"][::8]  # of one variable only the last mistake would be left
    inventory = good("lab")
    for case in lab:
        case.breaks(inventory)
    text = sealing_preflight_text(sealing_preflight(inventory.groups, inventory.hostvars))
    assert "errors in the inventory" in text
    assert sum(case.path in text for case in lab) >= 5


PLAYED = CASES[::12]


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Future[subprocess.CompletedProcess[str]]]]:
    """Preflight's run on each of these cases; several at a time, because each takes seconds of one processor."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        yield {
            case.name: pool.submit(
                run_preflight, broken(case).write(tmp_path_factory.mktemp("case") / "hosts.yml"), "--check"
            )
            for case in PLAYED
        }
        pool.shutdown(cancel_futures=True)


@pytest.mark.parametrize("case", PLAYED, ids=lambda case: case.name)
def test_the_playbook_says_it_and_touches_no_host(
    case: Case, played: dict[str, Future[subprocess.CompletedProcess[str]]]
) -> None:
    run = played[case.name].result()
    assert run.returncode != 0
    assert f"{case.path}:" in run.stdout + run.stderr
    assert "unreachable=0" in run.stdout
    assert "Traceback" not in run.stdout + run.stderr


def starter(tmp_path: Path) -> Path:
    """Return a copy of the starter inventory as it is shipped."""
    return Path(shutil.copytree(ROOT / "inventories/starter", tmp_path / "starter"))


def listed(run: subprocess.CompletedProcess[str]) -> str:
    """Return what the playbook said, after checking that it refused and reached for no host."""
    said = run.stdout + run.stderr
    assert run.returncode != 0, said
    assert "unreachable=0" in said or "PLAY RECAP" not in said, said
    assert "Traceback" not in said
    return said


def test_the_starter_as_shipped_is_refused_for_what_is_not_filled_in(tmp_path: Path) -> None:
    said = listed(run_preflight(starter(tmp_path)))
    for wanted in (
        "post/lotus_daemon_wallet_keys: (cannot be read)",
        "refers to vault_lotus_daemon_wallet_keys, which is not there",
        "all/lotus_install_archives.x86_64.url: REPLACE-ME",
        "all/lotus_install_archives.x86_64.sha256: REPLACE-ME",
        "chain,post/lotus_daemon_snapshot: REPLACE-ME",
    ):
        assert wanted in said
    assert "4 errors" in said, said


def test_the_vault_example_is_refused_as_it_stands(tmp_path: Path) -> None:
    inventory = starter(tmp_path)
    (inventory / "group_vars/all/vault.yml.example").rename(inventory / "group_vars/all/vault.yml")
    assert "all/vault_lotus_daemon_wallet_keys: (placeholder)" in listed(run_preflight(inventory))


def test_a_value_that_cannot_be_decrypted_is_told_with_the_option_that_helps(tmp_path: Path) -> None:
    inventory = starter(tmp_path)
    password = tmp_path / "password"
    password.write_text("one")
    command = [
        str(BIN / "ansible-vault"),
        "encrypt_string",
        "--vault-password-file",
        str(password),
        "k",
        "--name",
        "vault_x",
    ]
    encrypted = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    (inventory / "group_vars/all/vault.yml").write_text(encrypted)
    said = listed(run_preflight(inventory))
    assert "all/vault_x: (cannot be read)" in said
    assert "--ask-vault-pass" in said


def test_an_empty_inventory_is_an_error(tmp_path: Path) -> None:
    empty = tmp_path / "hosts.yml"
    empty.write_text("all: {}")
    assert "inventory/all: (empty)" in listed(run_preflight(empty))


def test_a_variable_that_refers_to_nothing_is_told_by_name(tmp_path: Path) -> None:
    inventory = good("lab")
    inventory.every(lotus_install_builds_dir="{{ folder_of_builds }}/amd")
    said = listed(run_preflight(inventory.write(tmp_path / "hosts.yml")))
    assert "all/lotus_install_builds_dir: (cannot be read)" in said
    assert "'folder_of_builds' is undefined" in said


def test_limit_does_not_hide_a_mistake_elsewhere(tmp_path: Path) -> None:
    inventory = good("lab")
    inventory.groups["winning_miner"].append("window")
    said = listed(run_preflight(inventory.write(tmp_path / "hosts.yml"), "--limit", "pc1-a", "--check"))
    assert "groups/winning_miner: winning, window" in said


def test_a_good_inventory_passes_without_a_host_in_reach(tmp_path: Path) -> None:
    def passes(extra: Sequence[str]) -> subprocess.CompletedProcess[str]:
        folder = tmp_path / "-".join(["run", *extra])
        folder.mkdir()
        return run_preflight(good("lab").write(folder / "hosts.yml"), *extra)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for run in pool.map(passes, ([], ["--check"], ["--limit", "pc1-a"])):
            assert run.returncode == 0, run.stdout + run.stderr


def test_site_stops_in_preflight(tmp_path: Path) -> None:
    """All mistakes at once, the unreadable too."""
    inventory = good("lab")
    inventory.groups["winning_miner"].append("window")
    inventory.hostvars["seal"]["sealing_scratch_bytes"] = "{{ nothing }}"
    said = listed(run_playbook("site.yml", inventory.write(tmp_path / "hosts.yml")))
    assert "groups/winning_miner: winning, window" in said
    assert "seal/sealing_scratch_bytes: (cannot be read)" in said
    assert "2 errors" in said


def test_every_check_is_broken_by_some_case() -> None:
    """A check that nothing here can trip is a check that nobody knows to work."""
    roles, cluster = role_options(ROOT / "roles"), cluster_options()
    tripped = set()
    for case in CASES:
        inventory = broken(case)
        as_data = Facts(inventory.groups, inventory.hostvars, roles, cluster)
        plan = sealing_plan(sealing_plan_input(inventory.groups, inventory.hostvars))
        tripped |= {check.__name__ for check in CHECKS if list(check(as_data, plan))}
    # These need a template that cannot be rendered, a machine that was read, and a plan that is in force.
    apart = {"check_readable", "check_declared_hardware", "check_counter_place", "check_stack_that_runs", "check_moves"}
    assert {check.__name__ for check in CHECKS} - tripped == apart
