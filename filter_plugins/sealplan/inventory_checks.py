"""Everything an inventory can get wrong, found before any host is touched.

`check_inventory` is pure: it reads plain data and returns a list of problems, all of them at once, one per mistake.
Each check is a small function over `Inventory`; the numbers in brackets are invariants of facts/sealing-model.yml.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any

from sealplan.inventory import CLUSTER, PER_HOST
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
SHA256 = re.compile(r"[0-9a-f]{64}")

ARCHIVE_KEYS = ("default", "x86_64", "aarch64", "amd", "intel")
INSTALL_SOURCES = ("lotus_install_archives", "lotus_install_builds_dir", "lotus_install_builds")

FORBIDDEN_ENVIRONMENT = {
    "LOTUS_MINER_NO_SLASHFILTER": "it removes the guard against mining two blocks in one round [7]",
    "BELLPERSON_GPUS_PER_LOCK": "it takes the lock off a shared GPU [17]",
    "FULLNODE_API_INFO": "it holds a token; the roles pass tokens themselves [43]",
    "MINER_API_INFO": "it holds a token; the roles pass tokens themselves [43]",
}


DECIDED_SETTINGS = {
    "API.ListenAddress": "remove it; the APIs listen on sealing_address",
    "API.RemoteListenAddress": "remove it; the APIs listen on sealing_address",
    "Subsystems.*": "remove it; the groups winning_miner, window_miner, seal_miner and deal_miner split the roles",
    "Proving.DisableBuiltinWindowPoSt": "remove it; there is no other process that proves",
    "Proving.DisableBuiltinWinningPoSt": "remove it; there is no other process that proves",
}


@dataclass(frozen=True)
class Port:
    """A port that the process of one group opens on its host; `key` where the variable holds several."""

    group: str
    variable: str
    default: int
    key: str = ""

    @property
    def name(self) -> str:
        """The variable and the key."""
        return f"{self.variable}.{self.key}" if self.key else self.variable


PORTS = (
    Port("daemon_public", "lotus_daemon_api_ports", 1234, "public"),
    Port("daemon_private", "lotus_daemon_api_ports", 1235, "private"),
    Port("daemon_public", "lotus_daemon_libp2p_ports", 1347, "public"),
    Port("daemon_private", "lotus_daemon_libp2p_ports", 1348, "private"),
    Port("winning_miner", "winning_miner_port", 2345),
    Port("window_miner", "window_miner_port", 2346),
    Port("seal_miner", "seal_miner_port", 2347),
    Port("deal_miner", "deal_miner_port", 2348),
)
FIRST_WORKER_PORT = 3456
MOST_WORKERS = 256


@dataclass(frozen=True)
class Inventory:
    """The inventory as plain data: `groups` name to hosts, `hostvars` host to variables, `roles` role to options."""

    groups: Mapping[str, Sequence[str]]
    hostvars: Mapping[str, Mapping[str, Any]]
    roles: Mapping[str, Options]
    cluster: Options

    @cached_property
    def members(self) -> dict[str, frozenset[str]]:
        """The hosts of every group of the inventory."""
        return {group: frozenset(hosts) for group, hosts in self.groups.items()}

    def is_in(self, host: str, *groups: str) -> bool:
        """Tell whether `host` is in any of `groups`."""
        return any(host in self.members.get(group, ()) for group in groups)

    def hosts(self, *groups: str) -> list[str]:
        """Return the hosts of any of `groups`, each once, in inventory order."""
        return [host for host in self.hostvars if self.is_in(host, *groups)]

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
    plan: Mapping[str, Any] | None = None,
) -> list[Problem]:
    """Return every problem of an inventory and of its plan: one per variable, and the same mistake on many hosts once.

    `roles` and `cluster` come from `inventory_variables`. An empty list means that the inventory may be applied.
    """
    if not hostvars:
        remedy = "give one with -i inventories/NAME, or add hosts to it"
        return [_problem("inventory", "all", "(empty)", "has no hosts", remedy)]
    inventory = Inventory(groups, hostvars, roles, cluster)
    first: dict[str, Problem] = {}
    for check in CHECKS:
        for problem in check(inventory):
            first.setdefault(problem["path"], problem)
    told = {_without_suffix(path) for path in first}
    for problem in _plan_problems(inventory, plan or {}):
        host, _, name = _without_suffix(problem["path"]).partition("/")
        everywhere = host == "all" and any(path.endswith(f"/{name}") for path in told)
        if not everywhere and f"{host}/{name}" not in told:
            first.setdefault(problem["path"], problem)
    return _merged(list(first.values()), list(hostvars))


def _without_suffix(path: str) -> str:
    """Return `host/variable` of a path that goes on into the variable, such as `pc1-a/sealing_stores[0].path`."""
    host, _, rest = path.partition("/")
    return f"{host}/{re.split(r'[.[]', rest, maxsplit=1)[0]}"


def _plan_problems(inventory: Inventory, plan: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield the plan's errors by the inventory's names, and the moves it would make unasked [28]."""
    for error in plan.get("errors") or ():
        where, name = _inventory_name(str(error.get("path")))
        value = shown(name, error.get("value"))
        yield _problem(where, name, value, str(error.get("problem")), str(error.get("remedy")))
    if any(str(one.get("sealing_allow_regroup")).lower() in ("true", "yes") for one in inventory.hostvars.values()):
        return
    for move in plan.get("moves") or ():
        before, after, what = move.get("from"), move.get("to"), move.get("what", "group")
        problem = f"would move the host to another {what}: the sectors it may hold could not go on there"
        back = (
            f"sealing_worker_group: {before}" if what == "group" else f"miner: {before} for its group in sealing_groups"
        )
        remedy = f"{back}; or drain the host, then run with -e sealing_allow_regroup=true"
        yield _problem(str(move.get("host")), "sealing_worker_group", f"{before} -> {after}", problem, remedy)


def _inventory_name(path: str) -> tuple[str, str]:
    """Return host and variable of a path in the planner's input, such as `hosts.pc1-a.stores[0]`."""
    part, _, rest = path.partition(".")
    if part == "settings":
        return "all", _variable_of(rest, CLUSTER)
    if part == "hosts" and rest:
        host, _, field = rest.partition(".")
        return host, _variable_of(field, PER_HOST) if field else "groups"
    if part == "groups" and rest:
        return "all", f"sealing_groups.{rest}"
    return "groups", path


def _variable_of(field: str, variables: Mapping[str, str]) -> str:
    name = re.split(r"[.[]", field, maxsplit=1)[0]
    by_field = {field: variable for variable, field in variables.items()}
    return by_field.get(name, f"sealing_{name}") + field[len(name) :]


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


def check_parent_groups(inventory: Inventory) -> Iterator[Problem]:
    """Playbooks name the parents daemon, miner and worker: a host outside would be passed by without a word."""
    children = {"daemon": ("daemon_public", "daemon_private"), "miner": MINER_GROUPS, "worker": WORKER_GROUPS}
    for parent, groups in children.items():
        for group in groups:
            missing = [host for host in inventory.hosts(group) if not inventory.is_in(host, parent)]
            if missing:
                problem = f"is not under group {parent}, so the playbooks would pass {missing[0]} by"
                yield _problem("groups", group, ", ".join(missing), problem, f"{parent}: children: {group}:")


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


def check_worker_group(inventory: Inventory) -> Iterator[Problem]:
    """Only a worker can be pinned to a group; the plan judges the group itself."""
    for host in inventory.hostvars:
        group = inventory.text(host, "sealing_worker_group")
        if group and not inventory.is_in(host, *WORKER_GROUPS):
            remedy = "remove it, or add the host to pc1_worker or pc2_worker"
            yield _problem(host, "sealing_worker_group", group, "pins a host that is no worker", remedy)


# --- variables -------------------------------------------------------------------------------------------------------


def check_readable(inventory: Inventory) -> Iterator[Problem]:
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
            yield _problem(host, name, "(cannot be read)", reason, remedy)


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


def check_vault_values(inventory: Inventory) -> Iterator[Problem]:
    """A secret that is empty or still the example's placeholder would be found out only at the daemon."""
    for host, variables in inventory.hostvars.items():
        for name, value in variables.items():
            if not name.startswith("vault_") or isinstance(value, Unreadable):
                continue
            remedy = f"{name}: with the real value, in the encrypted group_vars/all/vault.yml"
            texts = [str(item or "") for item in value] if isinstance(value, list) else [str(value or "")]
            if not texts or not all(text.strip() for text in texts):
                yield _problem(host, name, "(empty)", "is empty", remedy)
            elif any(PLACEHOLDER.search(text) for text in texts):
                yield _problem(host, name, "(placeholder)", "still holds the placeholder of vault.yml.example", remedy)


def check_wallet_keys(inventory: Inventory) -> Iterator[Problem]:
    """Keys are only on private daemons [5], and are what `lotus wallet export` prints."""
    name = "lotus_daemon_wallet_keys"
    vault = [key for variables in inventory.hostvars.values() for key in variables if key.startswith("vault_")]
    for host in inventory.hostvars:
        keys = inventory.value(host, name)
        if not isinstance(keys, list) or not keys:
            continue
        if inventory.is_in(host, "daemon_public"):
            problem = "puts a wallet on the public daemon, which must have none"
            yield _problem(host, name, "(not shown)", problem, f"{name}: in group_vars/daemon_private only")
        elif any(not _is_wallet_export(key) and not PLACEHOLDER.search(str(key)) and str(key).strip() for key in keys):
            remedy = f"{vault[0] if vault else name}: with the hexadecimal text that lotus wallet export ADDRESS prints"
            yield _problem(host, name, "(not shown)", "holds a text that is no exported key", remedy)


def _is_wallet_export(text: Any) -> bool:
    try:
        key = json.loads(bytes.fromhex(str(text).strip()))
    except ValueError:
        return False
    return isinstance(key, Mapping) and {"Type", "PrivateKey"} <= key.keys()


def check_chain_start(inventory: Inventory) -> Iterator[Problem]:
    """A public network is joined from a snapshot; a devnet has none."""
    for host in inventory.hosts("daemon_public", "daemon_private"):
        network, snapshot = inventory.text(host, "sealing_network"), inventory.text(host, "lotus_daemon_snapshot")
        if network == "devnet" and snapshot:
            problem = "is set on a devnet, which makes its own chain"
            yield _problem(host, "lotus_daemon_snapshot", snapshot, problem, 'lotus_daemon_snapshot: ""')
        elif network in ("calibration", "mainnet") and (not snapshot or PLACEHOLDER.search(snapshot)):
            if inventory.value(host, "lotus_daemon_sync_from_genesis") is True:
                continue
            problem = "is not set: the daemon would sync from the first block on, for weeks"
            remedy = "lotus_daemon_snapshot: PATH on the host or URL, or lotus_daemon_sync_from_genesis: true"
            yield _problem(host, "lotus_daemon_snapshot", snapshot or "(empty)", problem, remedy)


def check_settings(inventory: Inventory) -> Iterator[Problem]:
    """Settings of config.toml that a host's groups decide: set by hand they would undo what the inventory says."""
    for host, variables in inventory.hostvars.items():
        for name, tables in variables.items():
            if not (
                name.startswith(("lotus_", *MINER_GROUPS)) and name.endswith("_config") and isinstance(tables, Mapping)
            ):
                continue
            for table, keys in tables.items():
                for key in keys if isinstance(keys, Mapping) else ():
                    remedy = DECIDED_SETTINGS.get(f"{table}.{key}") or DECIDED_SETTINGS.get(f"{table}.*")
                    if remedy:
                        value = shown("", keys[key])
                        yield _problem(host, f"{name}.{table}.{key}", value, "is decided by the inventory", remedy)


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


def check_install(inventory: Inventory) -> Iterator[Problem]:
    """Binaries have a source, and what comes from an archive has its checksum."""
    for host in inventory.hosts(*LOTUS_GROUPS):
        archives = inventory.value(host, "lotus_install_archives", {})
        if not isinstance(archives, Mapping):
            continue
        own = inventory.value(host, "lotus_install_builds_dir") or inventory.value(host, "lotus_install_builds")
        unreadable = any(isinstance(inventory.hostvars[host].get(name), Unreadable) for name in INSTALL_SOURCES)
        if not archives and not own and not unreadable:
            remedy = "lotus_install_archives: {x86_64: {url: URL, sha256: SUM}}, or lotus_install_builds_dir: FOLDER"
            yield _problem(host, "lotus_install_archives", "(empty)", "names no Lotus to install", remedy)
        for key, archive in archives.items():
            yield from _check_archive(host, str(key), archive)


def _check_archive(host: str, key: str, archive: Any) -> Iterator[Problem]:
    where = f"lotus_install_archives.{key}"
    if key not in ARCHIVE_KEYS:
        near = nearest(key, ARCHIVE_KEYS)
        yield _problem(
            host, where, key, "is no kind of machine", f"{near}:" if near else f"one of {', '.join(ARCHIVE_KEYS)}"
        )
        return
    fields = archive if isinstance(archive, Mapping) else {}
    url, checksum = str(fields.get("url") or ""), str(fields.get("sha256") or "")
    if not url or PLACEHOLDER.search(url):
        yield _problem(
            host, f"{where}.url", url or "(empty)", "names no archive", "url: with a URL or a path on this machine"
        )
    if not checksum or PLACEHOLDER.search(checksum):
        problem = "is missing: a changed archive would be installed unseen"
        yield _problem(
            host,
            f"{where}.sha256",
            checksum or "(empty)",
            problem,
            f"sha256: the output of sha256sum for {url or 'it'}",
        )
    elif not SHA256.fullmatch(checksum):
        problem = f"is no SHA-256: it has {len(checksum)} characters and needs 64 of 0-9 a-f"
        yield _problem(
            host, f"{where}.sha256", shown("", checksum), problem, f"sha256: the output of sha256sum for {url or 'it'}"
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


def check_ports(inventory: Inventory) -> Iterator[Problem]:
    """Two processes of a host cannot listen on one port."""
    for host in inventory.hostvars:
        owner: dict[int, str] = {}
        first = inventory.value(host, "sealing_worker_port", FIRST_WORKER_PORT)
        workers = range(first, first + MOST_WORKERS) if isinstance(first, int) else range(0)
        for port in PORTS:
            if not inventory.is_in(host, port.group):
                continue
            number = inventory.value(host, port.variable, port.default)
            if port.key and isinstance(number, Mapping):
                number = number.get(port.key)
            elif port.key:
                number = port.default
            remedy = f"{port.name}: {port.default}" if number != port.default else f"{port.name}: with a free port"
            if not isinstance(number, int) or isinstance(number, bool) or not 1024 <= number <= 65535:
                yield _problem(host, port.name, shown("", number), "is no port from 1024 to 65535", remedy)
                continue
            if number in owner:
                yield _problem(host, port.name, str(number), f"is also {owner[number]} of this host", remedy)
            elif number in workers and inventory.is_in(host, *WORKER_GROUPS):
                problem = f"lies among the ports of the host's workers, {workers[0]} to {workers[-1]}"
                yield _problem(host, port.name, str(number), problem, remedy)
            owner.setdefault(number, port.name)


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
    for host in inventory.hostvars:
        yield from _check_store_paths(inventory, host, inventory.value(host, "sealing_stores"))
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
    check_parent_groups,
    check_miners,
    check_private_daemon,
    check_worker_group,
    check_readable,
    check_variables,
    check_sector_size,
    check_actor,
    check_vault_values,
    check_wallet_keys,
    check_chain_start,
    check_settings,
    check_environment,
    check_install,
    check_addresses,
    check_ports,
    check_stores,
    check_cluster_values,
)
