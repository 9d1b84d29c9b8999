"""Names, types and values of variables."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from sealyard.problem import Problem
from sealyard.variables.inventory import Inventory, Plan, problem
from sealyard.variables.options import FORMER, RENAMED, Unreadable, findings, nearest, shown

SECTOR_SIZES = {
    "devnet": ("2KiB", "8MiB", "512MiB"),
    "calibration": ("32GiB", "64GiB"),
    "mainnet": ("32GiB", "64GiB"),
}
"""Sector sizes each network proves. lotus: build/buildconstants/params_{2k,calibnet,mainnet}.go@v1.36.2"""


def check_readable(inventory: Inventory, plan: Plan) -> Iterator[Problem]:
    """A variable that refers to one that is not there would stop the run in the middle."""
    for host, variables in inventory.hostvars.items():
        for name, value in variables.items():
            if not isinstance(value, Unreadable):
                continue
            reason = value.reason
            missing = re.search(r"'(vault_\w+)' is undefined", reason)
            if missing:
                reason = f"refers to {missing.group(1)}, which is not there"
                remedy = f"{missing.group(1)}: in an encrypted group_vars/all/vault.yml (see vault.yml.example)"
            elif "vault" in reason.lower():
                reason = "is encrypted, and no vault password that was given fits"
                remedy = "run with --ask-vault-pass or --vault-password-file FILE"
            else:
                remedy = f"{name}: with a value, or define what it refers to"
            yield problem(host, name, "(cannot be read)", reason, remedy)


def check_variables(inventory: Inventory, plan: Plan) -> Iterator[Problem]:
    """Names with a role's prefix that the role does not know are typos; values must have the declared type."""
    prefixes = sorted((*inventory.roles, "sealing"), key=len, reverse=True)
    known = {name: option for options in inventory.roles.values() for name, option in options.items()}
    known.update(inventory.cluster)
    known.update({old: inventory.cluster[new] for old, new in FORMER.items() if new in inventory.cluster})
    for host, variables in inventory.hostvars.items():
        for name, value in variables.items():
            if name in known:
                if value is None and (default := inventory.cluster.get(name, {}).get("default")):
                    remedy = f"{name}: {default}, its default, or take the line out"
                    yield problem(host, name, "(empty)", "is empty, which takes its default away", remedy)
                for finding in findings(name, value, known[name]):
                    value_text = shown(name + finding.where, finding.value, known[name])
                    yield problem(host, name + finding.where, value_text, finding.problem, finding.remedy)
                continue
            owner = next((prefix for prefix in prefixes if name.startswith(f"{prefix}_")), None)
            if owner:
                near = nearest(name, list(known))
                whose = "the cluster" if owner == "sealing" and owner not in inventory.roles else f"role {owner}"
                own = RENAMED.get(name, f"sealing_{name.removeprefix(f'{owner}_')}")
                near = own if own in inventory.cluster else near
                remedy = f"{near}:" if near else f"a name that does not start with {owner}_"
                yield problem(host, name, shown(name, value), f"is no variable of {whose}", remedy)


def check_cluster_values(inventory: Inventory, plan: Plan) -> Iterator[Problem]:
    """Required cluster variables are set, not empty and the same on every host."""
    hosts = list(inventory.hostvars)
    for name, option in inventory.cluster.items():
        if not option.get("required"):
            continue
        values = {host: inventory.hostvars[host].get(name) for host in hosts}
        unset = [host for host in hosts if values[host] in (None, "")]
        choices = option.get("choices")
        remedy = f"{name}: {'with one of ' + ', '.join(choices) if choices else 'in group_vars/all'}"
        for host in unset:
            yield problem(host, name, "(empty)", "is not set", remedy)
        count = Counter(str(value) for host, value in values.items() if host not in unset)
        usual = max(count, key=lambda value: (count[value], value), default="")
        for host in hosts:
            if host not in unset and str(values[host]) != usual:
                text = f"differs from the other hosts' {usual}; a cluster has one"
                yield problem(host, name, str(values[host]), text, f"{name}: once, in group_vars/all")


def check_sector_size(inventory: Inventory, plan: Plan) -> Iterator[Problem]:
    """Each network proves only some sector sizes."""
    for host in inventory.hostvars:
        network, size = inventory.text(host, "sealing_network"), inventory.text(host, "sealing_sector_size")
        sizes = SECTOR_SIZES.get(network, ())
        known = {one for several in SECTOR_SIZES.values() for one in several}
        if sizes and size in known and size not in sizes:
            remedy = f"sealing_sector_size: {sizes[0]}, or one of {', '.join(sizes)}"
            yield problem(host, "sealing_sector_size", size, f"is no sector size of {network}", remedy)


def check_actor(inventory: Inventory, plan: Plan) -> Iterator[Problem]:
    """The actor is an ID address with the network's prefix: f0… on mainnet, t0… elsewhere."""
    for host in inventory.hostvars:
        actor, network = inventory.text(host, "sealing_actor"), inventory.text(host, "sealing_network")
        prefix = "f" if network == "mainnet" else "t"
        if not actor:
            continue
        if not re.fullmatch(r"[ft]0[0-9]+", actor):
            remedy = f"sealing_actor: {prefix}0 and the actor's number, such as {prefix}01000"
            yield problem(host, "sealing_actor", actor, "is not an ID address", remedy)
        elif network in SECTOR_SIZES and not actor.startswith(prefix):
            text = f"has the address prefix of another network than {network}"
            yield problem(host, "sealing_actor", actor, text, f"sealing_actor: {prefix}{actor[1:]}")
