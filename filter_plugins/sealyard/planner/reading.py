"""The input document, described in input.schema.json, checked and made into typed values."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping, Sequence
from typing import Any, Final

from sealyard import stacks
from sealyard.lotus.tasks import GROUPS as TASK_GROUPS
from sealyard.plan.applied import REMEDY, misshapen
from sealyard.planner.document import MINER_ROLES, ROLES, Document, Export, Host, Mount, Settings
from sealyard.planner.machines import Machines, drop_shared_uuids, gpu_uuids
from sealyard.planner.reader import Reader
from sealyard.problem import Problem

TRANSPORTS: Final = ("rdma", "tcp")
DEVNET_START: Final = 2
"""The genesis of a devnet has two sectors."""


def read_document(document: Mapping[str, Any]) -> Document:
    """Return the typed input; everything wrong with it is in `errors`, and what can be read is still there."""
    errors: list[Problem] = []
    reader = Reader(errors)
    if not isinstance(document, Mapping):
        reader.bad("", document, "the input is not a dictionary", "a dictionary with settings, groups and hosts")
        return Document(Settings(), {}, {}, {}, errors)
    reader.known(document, "", "document")
    raw = reader.mapping(document, "settings", "")
    reader.known(raw, "settings", "settings")
    settings = _settings(raw, reader)
    groups = _groups(document, reader)
    hosts = _Hosts(document, raw, reader).read()
    current = reader.mapping(document, "current", "")
    if bad := misshapen(current):
        reader.bad("current", None, f"is no plan that Sealyard wrote: look at {bad}", REMEDY)
        current = {}
    return Document(settings, hosts, groups, current, errors)


def _settings(raw: Mapping[str, Any], reader: Reader) -> Settings:
    values = {one.name: reader.by_schema("settings", raw, one.name, "settings") for one in dataclasses.fields(Settings)}
    values["stack"] = reader.choice(raw, "stack", "settings", stacks.names(), "lotus")
    if values["sector_number_start"] is None:
        values["sector_number_start"] = DEVNET_START if values["network"] == "devnet" else 0
    return Settings(**values)


def _groups(document: Mapping[str, Any], reader: Reader) -> dict[str, str | None]:
    groups: dict[str, str | None] = {}
    for name, value in reader.mapping(document, "groups", "").items():
        value = {} if value is None else value
        if not isinstance(value, Mapping):
            reader.bad(f"groups.{name}", value, "is not a dictionary", "{miner: HOST} or {}")
            value = {}
        reader.known(value, f"groups.{name}", "group")
        groups[str(name)] = reader.text(value, "miner", f"groups.{name}", None)
    return groups


class _Hosts:
    """Reads the hosts; what a host does not say of itself, the settings say for all."""

    def __init__(self, document: Mapping[str, Any], settings: Mapping[str, Any], reader: Reader) -> None:
        self.raw = reader.mapping(document, "hosts", "")
        self.settings = settings
        self.reader = reader
        self.machines = Machines(reader.mapping(document, "machines", ""), reader)
        self.stores = reader.stores(settings, "settings")
        self.measured = reader.measured(settings, "settings")

    def read(self) -> dict[str, Host]:
        """Return the hosts by name, in the order of names."""
        hosts: dict[str, Host] = {}
        for name in sorted(self.raw, key=str):
            value = self.raw[name]
            if isinstance(value, Mapping):
                hosts[str(name)] = self.host(str(name), value)
            else:
                self.reader.bad(f"hosts.{name}", value, "is not a dictionary", "{roles: [...], hardware: {...}}")
        drop_shared_uuids(hosts.values())
        return hosts

    def host(self, name: str, value: Mapping[str, Any]) -> Host:
        """Return one host."""
        path = f"hosts.{name}"
        reader = self.reader
        reader.known(value, path, "host")
        roles = self.roles(value, path)
        tasks = frozenset(task for role, task in TASK_GROUPS.items() if role in roles)
        known: Mapping[str, Any] | None = None
        key = b""
        uuids: dict[str, str] = {}
        if tasks or value.get("hardware") is not None:
            declared, where = self.machines.resolved(value.get("hardware"), f"{path}.hardware")
            known, key = self.machines.read(declared, where)
            uuids = gpu_uuids(declared, known, self.machines.machines, where, reader)
        scratch = self.own(value, path, "scratch_bytes")
        scratch_path = (self.own(value, path, "scratch_path") or "/sealer").rstrip("/") or "/"
        transport = reader.choice(value, "mount_transport", path, TRANSPORTS, "rdma")
        return Host(
            name=name,
            tasks=tasks,
            miner_roles=tuple(short for role, short in MINER_ROLES.items() if role in roles),
            roles=roles,
            hardware=known,
            hardware_key=key,
            gpu_uuids=uuids,
            group=reader.text(value, "group", path, None),
            rack=reader.text(value, "rack", path, None),
            switch=reader.text(value, "switch", path, None),
            reserved_cores=self.own(value, path, "reserved_cores") or 0,
            sdr_producers=self.own(value, path, "sdr_producers"),
            scratch_path=scratch_path,
            scratch_bytes=scratch,
            scratch_declared=scratch is not None,
            measured_sec={**self.measured, **reader.measured(value, path)}
            if value.get("measured_sec")
            else self.measured,
            stores=reader.stores(value, path) if value.get("stores") is not None else self.stores,
            worker_port=self.own(value, path, "worker_port"),
            address=reader.text(value, "address", path, None),
            rdma_address=reader.text(value, "rdma_address", path, None),
            rdma_addresses=tuple(map(str, value.get("rdma_addresses") or filter(None, [value.get("rdma_address")]))),
            mount_transport=transport,
            exports=self.exports(value, path),
            mounts=self.mounts(value, path, transport, scratch_path),
            smooth_pledging=value.get("smooth_pledging") is True,
        )

    def own(self, value: Mapping[str, Any], path: str, key: str) -> Any:
        """Return what the host says, else what the settings say, else the settings' default."""
        if value.get(key) is None:
            return self.reader.by_schema("settings", self.settings, key, "settings")
        found = self.reader.by_schema("host", value, key, path)
        return self.reader.by_schema("settings", {}, key, "settings") if found is None else found

    def roles(self, value: Mapping[str, Any], path: str) -> frozenset[str]:
        """Return the inventory groups of a host, and tell of those that are none."""
        listed = value.get("roles")
        if not isinstance(listed, Sequence) or isinstance(listed, str) or not all(isinstance(r, str) for r in listed):
            self.reader.bad(f"{path}.roles", listed, "is not a list of inventory groups", "[pc1_worker]")
            return frozenset()
        for role in sorted(set(listed) - set(ROLES)):
            near = difflib.get_close_matches(role, ROLES, n=1, cutoff=0.5)
            remedy = near[0] if near else f"one of {', '.join(ROLES)}"
            self.reader.bad(f"{path}.roles", role, "is no group of the planner", remedy)
        return frozenset(str(role) for role in listed)

    def exports(self, value: Mapping[str, Any], path: str) -> tuple[Export, ...]:
        """Return what the host gives to others."""
        listed = self.reader.entries(value, "exports", path, "path")
        return tuple(Export(_directory(one["path"]), one.get("sync") is not False) for one in listed)

    def mounts(self, value: Mapping[str, Any], path: str, transport: str, scratch_path: str) -> tuple[Mount, ...]:
        """Return what the host takes from others."""
        listed = self.reader.entries(value, "mounts", path, "path")
        return tuple(_mount(one, transport, scratch_path) for one in listed if isinstance(one.get("server"), str))


def _directory(path: str) -> str:
    return path.rstrip("/") or "/"


def _mount(one: Mapping[str, Any], transport: str, scratch_path: str) -> Mount:
    path = _directory(str(one["path"]))
    scratch = one.get("scratch")
    return Mount(
        server=str(one["server"]),
        source=_directory(str(one.get("source") or path)),
        path=path,
        transport=str(one.get("transport") or transport),
        read_only=one.get("read_only") is True,
        scratch=scratch is True or (scratch is None and path == scratch_path),
    )
