"""Everything an inventory can get wrong, found before any host is touched.

`check_inventory` is pure: it reads plain data and returns a list of problems, all of them at once, one per mistake.
Each check is a small function over `Inventory`; the numbers in brackets are invariants of facts/sealing-model.yml.
"""

from __future__ import annotations

import difflib
import ipaddress
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from sealplan.inventory_variables import Options, Problem, Unreadable, findings, nearest, shown

ROLE_GROUPS = (
    "daemon_public",
    "daemon_private",
    "winning_miner",
    "window_miner",
    "seal_miner",
    "deal_miner",
    "pc1_worker",
    "pc2_worker",
    "c2_worker",
    "storage_server",
    "sector_counter",
)
PARENT_GROUPS = ("daemon", "miner", "worker", "gpu", "rdma")
MINER_GROUPS = ("winning_miner", "window_miner", "seal_miner", "deal_miner")
WORKER_GROUPS = ("pc1_worker", "pc2_worker", "c2_worker")
LOTUS_GROUPS = ("daemon_public", "daemon_private", *MINER_GROUPS, *WORKER_GROUPS)

SECTOR_SIZES = {
    "devnet": ("2KiB", "8MiB", "512MiB"),
    "calibration": ("32GiB", "64GiB"),
    "mainnet": ("32GiB", "64GiB"),
}
"""Sector sizes each network proves. lotus: build/buildconstants/params_{2k,calibnet,mainnet}.go@v1.36.2"""

PRIVATE_NETWORKS = tuple(
    ipaddress.ip_network(block)
    for block in (
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "fc00::/7",
        "::1/128",
    )
)

PLACEHOLDER = re.compile(r"replace[-_ ]?(me|this|with)|change[-_ ]?me|<[^>]+>|\bTODO\b|^x{3,}$", re.IGNORECASE)
SHA256 = re.compile(r"^(sha256:)?[0-9a-fA-F]{64}$")

FORBIDDEN_ENVIRONMENT = {
    "LOTUS_MINER_NO_SLASHFILTER": "it removes the guard against mining two blocks in one round [7]",
    "BELLPERSON_GPUS_PER_LOCK": "it takes the lock off a shared GPU [17]",
    "FULLNODE_API_INFO": "it holds a token; the roles pass tokens themselves [43]",
    "MINER_API_INFO": "it holds a token; the roles pass tokens themselves [43]",
}


@dataclass(frozen=True)
class Port:
    """A port that one role's process opens on a host."""

    group: str
    variable: str
    default: int


@dataclass(frozen=True)
class Inventory:
    """The inventory as plain data: `groups` name to hosts, `hostvars` host to variables, `roles` role to options."""

    groups: Mapping[str, Sequence[str]]
    hostvars: Mapping[str, Mapping[str, Any]]
    roles: Mapping[str, Options]
    cluster: Options

    def hosts(self, *groups: str) -> list[str]:
        """Return the hosts of any of `groups`, each once, in inventory order."""
        members = {host for group in groups for host in self.groups.get(group, ())}
        return [host for host in self.hostvars if host in members]

    def groups_of(self, host: str) -> list[str]:
        """Return the groups of ours that name `host`."""
        return [group for group in ROLE_GROUPS if host in self.groups.get(group, ())]

    def value(self, host: str, name: str, default: Any = None) -> Any:
        """Return a readable variable of `host`, else `default`."""
        found = self.hostvars[host].get(name)
        return default if found is None or isinstance(found, Unreadable) else found

    def text(self, host: str, name: str, default: str = "") -> str:
        """Return a variable of `host` if it is a text, else `default`."""
        found = self.value(host, name)
        return found if isinstance(found, str) else default

    def address(self, host: str) -> str:
        """Return the address at which other hosts reach `host`."""
        return self.text(host, "sealing_address") or self.text(host, "ansible_host") or host


Check = Callable[[Inventory], Iterator[Problem]]


def check_inventory(
    groups: Mapping[str, Sequence[str]],
    hostvars: Mapping[str, Mapping[str, Any]],
    roles: Mapping[str, Options],
    cluster: Options,
) -> list[Problem]:
    """Return every problem of an inventory: one per variable, and the same mistake on many hosts once.

    `roles` and `cluster` come from `inventory_variables`. An empty list means that the inventory may be applied.
    """
    if not hostvars:
        return [
            _problem(
                "inventory", "all", "(empty)", "has no hosts", "give one with -i inventories/NAME, or add hosts to it"
            )
        ]
    inventory = Inventory(groups, hostvars, roles, cluster)
    first: dict[str, Problem] = {}
    for check in CHECKS:
        for problem in check(inventory):
            first.setdefault(problem["path"], problem)
    return _merged(list(first.values()), list(hostvars))


def plan_problems(
    plan: Mapping[str, Any], hostvars: Mapping[str, Mapping[str, Any]], known: Sequence[Problem] = ()
) -> list[Problem]:
    """Return the plan's own errors and the moves it would make [28], less those whose path is in `known` already."""
    paths = {problem["path"] for problem in known}
    found = [
        Problem(
            path=str(error.get("path")),
            value=shown("", error.get("value")),
            problem=str(error.get("problem")),
            remedy=str(error.get("remedy")),
        )
        for error in plan.get("errors") or ()
    ]
    allowed = any(str(one.get("sealing_allow_regroup")).lower() in ("true", "yes") for one in hostvars.values())
    if not allowed:
        found += [_move_problem(move) for move in plan.get("moves") or ()]
    return [problem for problem in found if problem["path"] not in paths]


def _move_problem(move: Mapping[str, Any]) -> Problem:
    before, after = move.get("from"), move.get("to")
    problem = "the plan moves this host to another group, where its sectors in flight could not go on"
    remedy = f"sealing_worker_group: {before}; or drain the host, then run with -e sealing_allow_regroup=true"
    return _problem(str(move.get("host")), "sealing_worker_group", f"{before} -> {after}", problem, remedy)


def _problem(where: str, name: str, value: str, problem: str, remedy: str) -> Problem:
    return {"path": f"{where}/{name}", "value": value, "problem": problem, "remedy": remedy}


def _merged(problems: Sequence[Problem], hosts: Sequence[str]) -> list[Problem]:
    """Fold the same mistake of several hosts into one problem: a mistake in group_vars is one mistake."""
    by_mistake: dict[tuple[str, str, str, str], list[str]] = {}
    for problem in problems:
        where, _, name = problem["path"].partition("/")
        wheres = by_mistake.setdefault((name, problem["value"], problem["problem"], problem["remedy"]), [])
        if where not in wheres:
            wheres.append(where)
    return [_problem(_together(wheres, hosts), *mistake) for mistake, wheres in by_mistake.items()]


def _together(wheres: Sequence[str], hosts: Sequence[str]) -> str:
    if len(wheres) > 1 and set(wheres) == set(hosts):
        return "all"
    return ",".join(wheres[:4]) + (f" and {len(wheres) - 4} more" if len(wheres) > 4 else "")


# --- groups ----------------------------------------------------------------------------------------------------------


def check_group_names(inventory: Inventory) -> Iterator[Problem]:
    """A group whose name is nearly one of ours is that group misspelt: its hosts would be left out without a word."""
    ours = (*ROLE_GROUPS, *PARENT_GROUPS)
    for group, hosts in inventory.groups.items():
        if group in ours or group in ("all", "ungrouped"):
            continue
        near = nearest(group, ours)
        if near and not set(hosts) <= set(inventory.groups.get(near, ())):
            yield _problem("groups", group, ", ".join(hosts) or "(empty)", "is no group of Sealyard", f"{near}:")


def check_host_has_a_group(inventory: Inventory) -> Iterator[Problem]:
    """A host in no group at all would be planned as nothing and prepared by nobody."""
    for host in inventory.groups.get("ungrouped", ()):
        yield _problem(
            host, "groups", "(none)", "is in no group", f"one of {', '.join(ROLE_GROUPS)}, or remove the host"
        )


def check_same_names(inventory: Inventory) -> Iterator[Problem]:
    """Ansible takes a name that is both for either, now one, now the other."""
    for host in inventory.hostvars:
        if host in inventory.groups:
            yield _problem(
                "hosts", host, host, "is also the name of a group", f"another name for the host, such as {host}-1:"
            )


def check_miners(inventory: Inventory) -> Iterator[Problem]:
    """One winning and one window process per actor [6, 9, 10], a seal miner, at most one deal miner [14]."""
    reasons = {
        "winning_miner": "two of them sign two blocks in one round, which the chain punishes",
        "window_miner": "two of them send every proof twice",
        "deal_miner": "retrieval would go to the wrong one",
    }
    for group in MINER_GROUPS:
        hosts = inventory.hosts(group)
        wanted = {"seal_miner": "at least one host", "deal_miner": "no host or one"}.get(group, "exactly one host")
        if not hosts and group != "deal_miner":
            yield _problem("groups", group, "(empty)", f"has no host and needs {wanted}", f"{group}: with {wanted}")
        elif len(hosts) > 1 and group != "seal_miner":
            problem = f"has {len(hosts)} hosts and may have {wanted}: {reasons[group]}"
            yield _problem("groups", group, ", ".join(hosts), problem, f"{group}: with only one of them")


def check_private_daemon(inventory: Inventory) -> Iterator[Problem]:
    """The winning miner signs with the wallet of a private daemon; the public one must have none [5]."""
    if inventory.hosts(*MINER_GROUPS) and not inventory.hosts("daemon_private"):
        winning = inventory.hosts("winning_miner")
        remedy = f"daemon_private: with {winning[0] if winning else 'the winning miner'}"
        yield _problem("groups", "daemon_private", "(empty)", "has no host, and miners need its wallet", remedy)


def check_workers_have_miners(inventory: Inventory) -> Iterator[Problem]:
    """A group's miner must be a host that seals."""
    sealing = inventory.hosts("seal_miner", "deal_miner")
    for host in inventory.hostvars:
        for name, group in _declared_groups(inventory, host).items():
            miner = group.get("miner") if isinstance(group, Mapping) else None
            if miner is not None and miner not in sealing:
                near = _near_host(str(miner), sealing)
                problem = "is not a host of seal_miner or deal_miner, so the group's workers have no miner"
                remedy = f"miner: {near}" if near else f"miner: with one of {', '.join(sealing) or 'seal_miner'}"
                yield _problem(host, f"sealing_groups.{name}.miner", str(miner), problem, remedy)
            elif group is not None and not isinstance(group, Mapping):
                remedy = f"{name}: {{}} or {name}: {{miner: HOST}}"
                yield _problem(host, f"sealing_groups.{name}", shown("", group), "is not a dictionary", remedy)


def check_worker_group(inventory: Inventory) -> Iterator[Problem]:
    """A pinned group must be declared, and only workers can be pinned."""
    for host in inventory.hostvars:
        group = inventory.value(host, "sealing_worker_group")
        if not isinstance(group, str):
            continue
        declared = list(_declared_groups(inventory, host))
        if host not in inventory.hosts(*WORKER_GROUPS):
            problem = "pins a host that is no worker"
            yield _problem(
                host, "sealing_worker_group", group, problem, "remove it, or add the host to pc1_worker or pc2_worker"
            )
        elif declared and group not in declared:
            near = difflib.get_close_matches(group, declared, n=1, cutoff=0.5)
            remedy = f"sealing_worker_group: {near[0]}" if near else f"one of {', '.join(declared)}"
            problem = f"is not declared in sealing_groups ({', '.join(declared)})"
            yield _problem(host, "sealing_worker_group", group, problem, remedy)


def check_pc1_has_pc2(inventory: Inventory) -> Iterator[Problem]:
    """A sector stays in its group from PC1 to PC2 [39]: without a PC2 host there it stays for ever."""
    pc1, pc2 = inventory.hosts("pc1_worker"), inventory.hosts("pc2_worker")
    if pc1 and not pc2:
        yield _problem(
            "groups", "pc2_worker", "(empty)", f"has no host for what {pc1[0]} seals", "pc2_worker: with a host"
        )
        return
    served = {_pinned(inventory, host) for host in pc2}
    if None in served:
        return  # the planner puts a PC2 host that is free where one is missing
    for host in pc1:
        group = _pinned(inventory, host)
        if group and group not in served:
            problem = f"has PC1 hosts and no PC2 host in group {group}: its sectors would wait for ever"
            others = ", ".join(sorted(map(str, served)))
            remedy = f"sealing_worker_group: {group} on a host of pc2_worker, or one of {others} here"
            yield _problem(host, "sealing_worker_group", str(group), problem, remedy)


def _declared_groups(inventory: Inventory, host: str) -> Mapping[str, Any]:
    declared = inventory.value(host, "sealing_groups", {})
    return declared if isinstance(declared, Mapping) else {}


def _pinned(inventory: Inventory, host: str) -> str | None:
    """Return the declared group that `host` is pinned to, None where it is free or its group does not exist."""
    group, declared = inventory.text(host, "sealing_worker_group"), _declared_groups(inventory, host)
    return group if group and (not declared or group in declared) else None


def _near_host(host: str, hosts: Sequence[str]) -> str | None:
    near = difflib.get_close_matches(host, hosts, n=1, cutoff=0.5)
    return near[0] if near else None


# --- variables -------------------------------------------------------------------------------------------------------


def check_readable(inventory: Inventory) -> Iterator[Problem]:
    """A variable that refers to one that is not there would stop the run in the middle."""
    for host, variables in inventory.hostvars.items():
        for name, value in variables.items():
            if not isinstance(value, Unreadable):
                continue
            missing = re.search(r"'(vault_\w+)' is undefined", value.reason)
            if missing:
                remedy = f"{missing.group(1)}: in an encrypted group_vars/all/vault.yml (see vault.yml.example)"
            elif "vault" in value.reason.lower():
                remedy = "run with --ask-vault-pass or --vault-password-file FILE"
            else:
                remedy = f"{name}: with a value, or define what it refers to"
            yield _problem(host, name, "(cannot be read)", value.reason, remedy)


def check_variables(inventory: Inventory) -> Iterator[Problem]:
    """Names with a role's prefix that the role does not know are typos; values must have the declared type."""
    prefixes = sorted((*inventory.roles, "sealing"), key=len, reverse=True)
    known = {name: option for options in inventory.roles.values() for name, option in options.items()}
    known.update(inventory.cluster)
    for host, variables in inventory.hostvars.items():
        for name, value in variables.items():
            if name in known:
                for finding in findings(name, value, known[name]):
                    value_text = shown(name + finding.where, finding.value, known[name])
                    yield _problem(host, name + finding.where, value_text, finding.problem, finding.remedy)
                continue
            owner = next((prefix for prefix in prefixes if name.startswith(f"{prefix}_")), None)
            if owner:
                near = nearest(name, list(known))
                whose = "the cluster" if owner == "sealing" and owner not in inventory.roles else f"role {owner}"
                remedy = f"{near}:" if near else f"a name that does not start with {owner}_"
                yield _problem(host, name, shown(name, value), f"is no variable of {whose}", remedy)


def check_cluster_values(inventory: Inventory) -> Iterator[Problem]:
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
            yield _problem(host, name, "(empty)", "is not set", remedy)
        count = Counter(str(value) for host, value in values.items() if host not in unset)
        usual = max(count, key=lambda value: (count[value], value), default="")
        for host in hosts:
            if host not in unset and str(values[host]) != usual:
                problem = f"differs from the other hosts' {usual}; a cluster has one"
                yield _problem(host, name, str(values[host]), problem, f"{name}: once, in group_vars/all")


def check_sector_size(inventory: Inventory) -> Iterator[Problem]:
    """Each network proves only some sector sizes."""
    for host in inventory.hostvars:
        network, size = inventory.text(host, "sealing_network"), inventory.text(host, "sealing_sector_size")
        sizes = SECTOR_SIZES.get(network, ())
        known = {one for several in SECTOR_SIZES.values() for one in several}
        if sizes and size in known and size not in sizes:
            remedy = f"sealing_sector_size: {sizes[0]}, or one of {', '.join(sizes)}"
            yield _problem(host, "sealing_sector_size", size, f"is no sector size of {network}", remedy)


def check_actor(inventory: Inventory) -> Iterator[Problem]:
    """The actor is an ID address with the network's prefix: f0… on mainnet, t0… elsewhere."""
    for host in inventory.hostvars:
        actor, network = inventory.text(host, "sealing_actor"), inventory.text(host, "sealing_network")
        prefix = "f" if network == "mainnet" else "t"
        if not actor:
            continue
        if not re.fullmatch(r"[ft]0[0-9]+", actor):
            problem = "is not an ID address"
            yield _problem(
                host,
                "sealing_actor",
                actor,
                problem,
                f"sealing_actor: {prefix}0 and the actor's number, such as {prefix}01000",
            )
        elif network in SECTOR_SIZES and not actor.startswith(prefix):
            problem = f"has the address prefix of another network than {network}"
            yield _problem(host, "sealing_actor", actor, problem, f"sealing_actor: {prefix}{actor[1:]}")


def check_deal_share(inventory: Inventory) -> Iterator[Problem]:
    """A share lies between 0 and 1 and needs a deal miner to go to."""
    for host in inventory.hostvars:
        share = inventory.value(host, "sealing_deal_share")
        if not isinstance(share, int | float) or isinstance(share, bool):
            continue
        if not 0 <= share <= 1:
            yield _problem(
                host,
                "sealing_deal_share",
                str(share),
                "is not between 0 and 1",
                "sealing_deal_share: 0.25 for a quarter",
            )
        elif share > 0 and not inventory.hosts("deal_miner"):
            problem = "asks for deal sectors without a deal miner"
            yield _problem(
                host, "sealing_deal_share", str(share), problem, "sealing_deal_share: 0, or a host in deal_miner"
            )


def check_vault_values(inventory: Inventory) -> Iterator[Problem]:
    """A secret that is empty or still the example's placeholder would be found out only at the daemon."""
    for host, variables in inventory.hostvars.items():
        for name, value in variables.items():
            if not name.startswith("vault_") or isinstance(value, Unreadable):
                continue
            remedy = f"{name}: with the real value, in the encrypted group_vars/all/vault.yml"
            if value is None or (isinstance(value, str) and not value.strip()):
                yield _problem(host, name, "(empty)", "is empty", remedy)
            elif isinstance(value, str) and PLACEHOLDER.search(value):
                yield _problem(host, name, "(placeholder)", "still holds the placeholder of vault.yml.example", remedy)


def check_environment(inventory: Inventory) -> Iterator[Problem]:
    """Environment variables that take a guard away, or that would put a token where others can read it."""
    for host, variables in inventory.hostvars.items():
        for name, value in variables.items():
            if not (name.endswith("_environment") and isinstance(value, Mapping)):
                continue
            for key, setting in value.items():
                if key in FORBIDDEN_ENVIRONMENT and not (key == "BELLPERSON_GPUS_PER_LOCK" and str(setting) != "0"):
                    yield _problem(
                        host, f"{name}.{key}", "(not shown)", FORBIDDEN_ENVIRONMENT[key], f"remove {key} from {name}"
                    )


# --- addresses and ports ---------------------------------------------------------------------------------------------


def check_addresses(inventory: Inventory) -> Iterator[Problem]:
    """APIs give signing rights: they listen on one private address per host, never on all and never in public [42]."""
    owner: dict[str, str] = {}
    hosts = inventory.hosts(*LOTUS_GROUPS)
    for host in hosts:
        address = inventory.address(host)
        name = "sealing_address" if inventory.text(host, "sealing_address") else "ansible_host"
        remedy = "sealing_address: with the host's address in the private network, such as 10.0.0.11"
        problem = _address_problem(address, alone=len(hosts) == 1)
        if problem:
            yield _problem(host, name if inventory.text(host, name) else "sealing_address", address, problem, remedy)
        elif address in owner:
            yield _problem(
                host, name, address, f"is also the address of {owner[address]}", f"{name}: with an address of its own"
            )
        owner.setdefault(address, host)


def _address_problem(address: str, alone: bool) -> str | None:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return "is not an IP address, and the APIs need one to listen on"
    if parsed.is_unspecified:
        return "would open the APIs on every network of the host"
    if parsed.is_loopback and not alone:
        return "is the loopback address, which no other host can reach"
    if not any(parsed in network for network in PRIVATE_NETWORKS):
        return "is a public address, and an API there gives signing rights to the world"
    return None


# --- storage ---------------------------------------------------------------------------------------------------------


def check_stores(inventory: Inventory) -> Iterator[Problem]:
    """Finished sectors need a store that their PC2 host can write and that the miners who prove them can read [38]."""
    if not inventory.hosts("pc2_worker"):
        return
    needed_by = inventory.hosts("pc2_worker", *MINER_GROUPS)
    for host in needed_by:
        stores = inventory.value(host, "sealing_stores")
        if not stores:
            problem = "is not set: PC2 could not put finished sectors away, and no miner could prove them"
            remedy = "sealing_stores: [{name: store, path: /mnt/store}], mounted on miners and PC2 hosts"
            yield _problem(host, "sealing_stores", "(empty)", problem, remedy)
            continue
        yield from _check_store_paths(inventory, host, stores)
    written = {name: host for host in inventory.hosts("pc2_worker") for name in _store_paths(inventory, host)}
    for host in inventory.hosts("winning_miner", "window_miner"):
        for name in sorted(written.keys() - _store_paths(inventory, host).keys()):
            if inventory.value(host, "sealing_stores"):
                problem = (
                    f"lacks store {name}, into which {written[name]} puts sectors: this miner could not prove them"
                )
                yield _problem(
                    host, "sealing_stores", ", ".join(_store_paths(inventory, host)), problem, f"add store {name}"
                )


def _check_store_paths(inventory: Inventory, host: str, stores: Any) -> Iterator[Problem]:
    scratch = PurePosixPath(inventory.text(host, "sealing_scratch_path", "/sealer"))
    seen: dict[str, str] = {}
    for index, store in enumerate(stores if isinstance(stores, list | tuple) else ()):
        path = store.get("path") if isinstance(store, Mapping) else None
        if not isinstance(path, str) or not path:
            continue  # check_variables has said so
        here, where = PurePosixPath(path), f"sealing_stores[{index}].path"
        if not here.is_absolute() or here == PurePosixPath("/"):
            yield _problem(host, where, path, "is not the absolute path of a mount", "path: /mnt/store")
        elif here == scratch or here in scratch.parents or scratch in here.parents:
            problem = f"overlaps the scratch path {scratch}: finished sectors would fill it [37]"
            yield _problem(host, where, path, problem, "path: /mnt/store")
        elif str(here) in seen:
            yield _problem(host, where, path, f"is also the path of store {seen[str(here)]}", "a path of its own")
        seen.setdefault(str(here), str(store.get("name")))


def _store_paths(inventory: Inventory, host: str) -> dict[str, str]:
    stores = inventory.value(host, "sealing_stores", ())
    if not isinstance(stores, list | tuple):
        return {}
    return {
        str(one["name"]): str(one["path"])
        for one in stores
        if isinstance(one, Mapping) and {"name", "path"} <= one.keys()
    }


CHECKS: tuple[Check, ...] = (
    check_group_names,
    check_host_has_a_group,
    check_same_names,
    check_miners,
    check_private_daemon,
    check_workers_have_miners,
    check_worker_group,
    check_pc1_has_pc2,
    check_readable,
    check_variables,
    check_sector_size,
    check_actor,
    check_deal_share,
    check_vault_values,
    check_environment,
    check_addresses,
    check_stores,
    check_cluster_values,
)
