"""Which hosts are in which groups."""

from __future__ import annotations

from collections.abc import Iterator

from sealyard.problem import Problem
from sealyard.variables.inventory import (
    MINER_GROUPS,
    PARENT_GROUPS,
    ROLE_GROUPS,
    WORKER_GROUPS,
    Inventory,
    Plan,
    problem,
)
from sealyard.variables.options import nearest


def check_group_names(inventory: Inventory, plan: Plan) -> Iterator[Problem]:
    """A group whose name is nearly one of ours is that group misspelt: its hosts would be left out without a word."""
    ours = (*ROLE_GROUPS, *PARENT_GROUPS)
    for group, hosts in inventory.groups.items():
        if group in ours or group in ("all", "ungrouped"):
            continue
        near = nearest(group, ours)
        if near and not set(hosts) <= set(inventory.groups.get(near, ())):
            yield problem("groups", group, ", ".join(hosts) or "(empty)", "is no group of Sealyard", f"{near}:")


def check_host_has_a_group(inventory: Inventory, plan: Plan) -> Iterator[Problem]:
    """A host in no group at all would be planned as nothing and prepared by nobody."""
    for host in inventory.groups.get("ungrouped", ()):
        yield problem(
            host, "groups", "(none)", "is in no group", f"one of {', '.join(ROLE_GROUPS)}, or remove the host"
        )


def check_same_names(inventory: Inventory, plan: Plan) -> Iterator[Problem]:
    """Ansible takes a name that is both for either, now one, now the other."""
    for host in inventory.hostvars:
        if host in inventory.groups or host in PARENT_GROUPS:
            yield problem(
                "hosts", host, host, "is also the name of a group", f"another name for the host, such as {host}-1:"
            )


def check_miners(inventory: Inventory, plan: Plan) -> Iterator[Problem]:
    """One winning and one window process per actor, a seal miner, at most one deal miner."""
    reasons = {
        "winning_miner": "two of them sign two blocks in one round, which the chain punishes",
        "window_miner": "two of them send every proof twice",
        "deal_miner": "retrieval would go to the wrong one",
    }
    for group in MINER_GROUPS:
        hosts = inventory.hosts(group)
        wanted = {"seal_miner": "at least one host", "deal_miner": "no host or one"}.get(group, "exactly one host")
        if not hosts and group != "deal_miner":
            yield problem("groups", group, "(empty)", f"has no host and needs {wanted}", f"{group}: with {wanted}")
        elif len(hosts) > 1 and group != "seal_miner":
            text = f"has {len(hosts)} hosts and may have {wanted}: {reasons[group]}"
            yield problem("groups", group, ", ".join(hosts), text, f"{group}: with only one of them")


def check_private_daemon(inventory: Inventory, plan: Plan) -> Iterator[Problem]:
    """The winning miner signs with the wallet of a private daemon; the public one must have none."""
    if inventory.hosts(*MINER_GROUPS) and not inventory.hosts("daemon_private"):
        winning = inventory.hosts("winning_miner")
        remedy = f"daemon_private: with {winning[0] if winning else 'the winning miner'}"
        yield problem("groups", "daemon_private", "(empty)", "has no host, and miners need its wallet", remedy)


def check_devnet(inventory: Inventory, plan: Plan) -> Iterator[Problem]:
    """The first miner of a devnet is made beside the daemon that holds the genesis key."""
    daemons, miners = (list(inventory.groups.get(name, ())) for name in ("daemon_private", "winning_miner"))
    networks = {inventory.text(host, "sealing_network") for host in inventory.hostvars}
    if networks == {"devnet"} and daemons and miners and miners[0] != daemons[0]:
        text = f"is not {daemons[0]}, the first host of daemon_private, whose daemon makes a devnet's genesis and miner"
        remedy = f"winning_miner: with {daemons[0]}, or {miners[0]} first in daemon_private"
        yield problem("groups", "winning_miner", miners[0], text, remedy)


def check_worker_group(inventory: Inventory, plan: Plan) -> Iterator[Problem]:
    """Only a worker can be pinned to a group; the plan judges the group itself."""
    for host in inventory.hostvars:
        group = inventory.text(host, "sealing_worker_group")
        if group and not inventory.is_in(host, *WORKER_GROUPS):
            remedy = "remove it, or add the host to pc1_worker or pc2_worker"
            yield problem(host, "sealing_worker_group", group, "pins a host that is no worker", remedy)
