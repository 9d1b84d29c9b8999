"""Where Lotus and its chain come from, and what its settings may say."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from sealyard.problem import Problem
from sealyard.variables.inventory import LOTUS_GROUPS, MINER_GROUPS, PLACEHOLDER, Inventory, Plan, problem
from sealyard.variables.options import Unreadable, nearest, shown

SHA256 = re.compile(r"[0-9a-f]{64}")
ARCHIVE_KEYS = ("default", "x86_64", "aarch64", "amd", "intel")
INSTALL_SOURCES = ("lotus_install_archives", "lotus_install_builds_dir", "lotus_install_builds")


DECIDED_SETTINGS = {
    "API.ListenAddress": "remove it; the APIs listen on sealing_address",
    "API.RemoteListenAddress": "remove it; the APIs listen on sealing_address",
    "Subsystems.*": "remove it; the groups winning_miner, window_miner, seal_miner and deal_miner split the roles",
    "Proving.DisableBuiltinWindowPoSt": "remove it; there is no other process that proves",
    "Proving.DisableBuiltinWinningPoSt": "remove it; there is no other process that proves",
}


def check_install(inventory: Inventory, plan: Plan) -> Iterator[Problem]:
    """Binaries have a source, and what comes from an archive has its checksum."""
    for host in inventory.hosts(*LOTUS_GROUPS):
        archives = inventory.value(host, "lotus_install_archives", {})
        if not isinstance(archives, Mapping):
            continue
        own = inventory.value(host, "lotus_install_builds_dir") or inventory.value(host, "lotus_install_builds")
        unreadable = any(isinstance(inventory.hostvars[host].get(name), Unreadable) for name in INSTALL_SOURCES)
        if not archives and not own and not unreadable:
            remedy = "lotus_install_archives: {x86_64: {url: URL, sha256: SUM}}, or lotus_install_builds_dir: FOLDER"
            yield problem(host, "lotus_install_archives", "(empty)", "names no Lotus to install", remedy)
        for key, archive in archives.items():
            yield from _check_archive(host, str(key), archive)


def _check_archive(host: str, key: str, archive: Any) -> Iterator[Problem]:
    where = f"lotus_install_archives.{key}"
    if key not in ARCHIVE_KEYS:
        near = nearest(key, ARCHIVE_KEYS)
        remedy = f"{near}:" if near else f"one of {', '.join(ARCHIVE_KEYS)}"
        yield problem(host, where, key, "is no kind of machine", remedy)
        return
    fields = archive if isinstance(archive, Mapping) else {}
    url, checksum = str(fields.get("url") or ""), str(fields.get("sha256") or "")
    named = bool(url) and not PLACEHOLDER.search(url)
    if not named:
        remedy = "url: with a URL or a path on this machine"
        yield problem(host, f"{where}.url", url or "(empty)", "names no archive", remedy)
    remedy = f"sha256: the output of sha256sum for {url if named else 'it'}"
    if not checksum or PLACEHOLDER.search(checksum):
        text = "is missing: a changed archive would be installed unseen"
        yield problem(host, f"{where}.sha256", checksum or "(empty)", text, remedy)
    elif not SHA256.fullmatch(checksum):
        text = f"is no SHA-256: it has {len(checksum)} characters and needs 64 of 0-9 a-f"
        yield problem(host, f"{where}.sha256", shown("", checksum), text, remedy)


def check_daemon_host(inventory: Inventory, plan: Plan) -> Iterator[Problem]:
    """A miner talks to a private daemon."""
    daemons = inventory.hosts("daemon_private")
    for host in inventory.hosts(*MINER_GROUPS):
        daemon = inventory.text(host, "lotus_miner_daemon_host")
        if daemon and daemon not in daemons:
            remedy = f"lotus_miner_daemon_host: with one of {', '.join(daemons)}"
            yield problem(host, "lotus_miner_daemon_host", daemon, "is not a host of daemon_private", remedy)


def check_chain_start(inventory: Inventory, plan: Plan) -> Iterator[Problem]:
    """A public network is joined from a snapshot; a devnet has none."""
    for host in inventory.hosts("daemon_public", "daemon_private"):
        network, snapshot = inventory.text(host, "sealing_network"), inventory.text(host, "lotus_daemon_snapshot")
        if network == "devnet" and snapshot:
            text = "is set on a devnet, which makes its own chain"
            yield problem(host, "lotus_daemon_snapshot", snapshot, text, 'lotus_daemon_snapshot: ""')
        elif network in ("calibration", "mainnet") and (not snapshot or PLACEHOLDER.search(snapshot)):
            if inventory.value(host, "lotus_daemon_sync_from_genesis") is True:
                continue
            text = "is not set: the daemon would sync from the first block on, for weeks"
            remedy = "lotus_daemon_snapshot: PATH on the host or URL, or lotus_daemon_sync_from_genesis: true"
            yield problem(host, "lotus_daemon_snapshot", snapshot or "(empty)", text, remedy)


def check_settings(inventory: Inventory, plan: Plan) -> Iterator[Problem]:
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
                        yield problem(host, f"{name}.{table}.{key}", value, "is decided by the inventory", remedy)
