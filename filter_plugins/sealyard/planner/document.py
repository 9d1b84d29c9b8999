"""The planner's input document, described in input.schema.json, checked and made into typed values."""

from __future__ import annotations

import difflib
import functools
import hashlib
import json
import marshal
import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from sealyard import stacks
from sealyard.hardware.declared import HardwareError, normalise
from sealyard.lotus.figures import SECTOR_SIZES
from sealyard.lotus.tasks import GROUPS as TASK_GROUPS
from sealyard.problem import Problem

LAYOUTS: Final = ("split", "single")
NETWORKS: Final = ("devnet", "calibration", "mainnet")
MINER_ROLES: Final = {"winning_miner": "winning", "window_miner": "window", "seal_miner": "seal", "deal_miner": "deal"}
ROLES: Final = (*TASK_GROUPS, *MINER_ROLES, "daemon_public", "daemon_private", "sector_counter", "storage_server")
MEASURED: Final = ("AP", "PC1", "PC2", "C2")

TRANSPORTS: Final = ("rdma", "tcp")


@dataclass(frozen=True, slots=True)
class Export:
    """A directory that a host gives to others; `sync` false loses acknowledged data when the server crashes."""

    path: str
    sync: bool = True


@dataclass(frozen=True, slots=True)
class Mount:
    """An export of `server` at `path`; `scratch` says that sectors are sealed there."""

    server: str
    source: str
    path: str
    transport: str
    read_only: bool
    scratch: bool


@dataclass(slots=True)
class Host:
    """One host as the planner sees it."""

    name: str
    tasks: frozenset[str]
    miner_roles: tuple[str, ...]
    roles: frozenset[str]
    hardware: Mapping[str, Any] | None
    hardware_key: bytes
    gpu_uuids: Mapping[str, str]
    group: str | None
    rack: str | None
    switch: str | None
    reserved_cores: int
    sdr_producers: int | None
    scratch_path: str
    scratch_bytes: int | None
    scratch_declared: bool
    measured_sec: Mapping[str, float]
    stores: tuple[tuple[str, str], ...]
    worker_port: int
    address: str | None
    rdma_address: str | None
    rdma_addresses: tuple[str, ...]
    """One for each RDMA card."""
    mount_transport: str
    exports: tuple[Export, ...]
    mounts: tuple[Mount, ...]
    smooth_pledging: bool
    """Whether this sealing miner pledges one sector at a time."""


@dataclass(slots=True)
class Settings:
    """Cluster-wide settings."""

    stack: str = "lotus"
    miner_layout: str = "split"
    """single: the first seal miner by name proves, makes blocks and seals; all other miner processes are retired."""
    network: str = "mainnet"
    sector_size: str = "32GiB"
    actor: str = "f01000"
    deal_share: float = 0.0
    allow_regroup: bool = False
    sector_number_start: int = 0
    sectors_per_miner: int = 10_000_000
    switch_ports: int = 32
    rdma_vlan: int | None = None
    rdma_dscp: int = 26
    rdma_priority: int = 3
    rdma_lossless: bool = True


@dataclass(slots=True)
class Document:
    """The whole input."""

    settings: Settings
    hosts: dict[str, Host]
    groups: dict[str, str | None]
    """Declared group to the miner it names."""
    current: Mapping[str, Any]
    errors: list[Problem] = field(default_factory=list)


@functools.cache
def input_schema() -> dict[str, Any]:
    """Return the JSON Schema of the input document."""
    loaded: dict[str, Any] = json.loads((Path(__file__).parent / "input.schema.json").read_text("utf-8"))
    return loaded


@functools.cache
def _schema_keys(kind: str) -> tuple[str, ...]:
    """Return the keys of one part of the input: "document", or a name under the schema's $defs."""
    part = input_schema() if kind == "document" else input_schema()["$defs"][kind]
    return tuple(part["properties"])


class _Reader:
    """Reads typed values out of a mapping and notes each one that is wrong."""

    def __init__(self, errors: list[Problem]) -> None:
        self.errors = errors
        self.told: set[tuple[str, str]] = set()

    def bad(self, path: str, value: object, problem: str, remedy: str) -> None:
        """Note a problem, once: what stands in the settings or in a shared machine is read for every host."""
        if (path, problem) not in self.told:
            self.told.add((path, problem))
            self.errors.append(Problem(path=path, value=_shown(value), problem=problem, remedy=remedy))

    def known(self, source: Mapping[str, Any], path: str, kind: str) -> None:
        """Note every key that the input's schema does not have; its value is not shown, it may be a secret."""
        names = _schema_keys(kind)
        for key in source:
            if key not in names:
                near = difflib.get_close_matches(str(key), names, n=1, cutoff=0.6)
                remedy = near[0] if near else f"one of {', '.join(names)}"
                self.bad(f"{path}.{key}" if path else str(key), None, "is not known here", remedy)

    def whole(self, source: Mapping[str, Any], key: str, path: str, default: int | None, least: int = 0) -> int | None:
        value = source.get(key)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int):
            self.bad(
                f"{path}.{key}", value, "is not a whole number", f"a whole number of at least {least}, without quotes"
            )
            return default
        if value < least:
            self.bad(f"{path}.{key}", value, f"is below {least}", f"a whole number of at least {least}")
            return default
        return value

    def text(self, source: Mapping[str, Any], key: str, path: str, default: str | None) -> str | None:
        value = source.get(key)
        if value is None:
            return default
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        if not isinstance(value, str) or not value:
            self.bad(f"{path}.{key}", value, "is not a text", "a text")
            return default
        return str(value)

    def choice(self, source: Mapping[str, Any], key: str, path: str, choices: Sequence[str], default: str) -> str:
        value = source.get(key)
        if value is None:
            return default
        if value not in choices:
            near = difflib.get_close_matches(str(value), choices, n=1, cutoff=0.5)
            self.bad(f"{path}.{key}", value, f"is not one of {', '.join(choices)}", near[0] if near else choices[0])
            return default
        return str(value)

    def mapping(self, source: Mapping[str, Any], key: str, path: str) -> Mapping[str, Any]:
        value = source.get(key)
        if value is None:
            return {}
        if not isinstance(value, Mapping):
            self.bad(f"{path}.{key}" if path else key, value, "is not a dictionary", "a dictionary")
            return {}
        return value

    def measured(self, source: Mapping[str, Any], path: str) -> dict[str, float]:
        found = {}
        for task, value in self.mapping(source, "measured_sec", path).items():
            if task not in MEASURED:
                self.bad(f"{path}.measured_sec.{task}", value, "is no stage", "one of " + ", ".join(MEASURED))
            elif isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e9:
                self.bad(
                    f"{path}.measured_sec.{task}",
                    value,
                    "is not a positive number of seconds",
                    "seconds, such as 10800",
                )
            else:
                found[str(task)] = float(value)
        return found

    def stores(self, source: Mapping[str, Any], path: str) -> tuple[tuple[str, str], ...]:
        value = source.get("stores") or ()
        if not isinstance(value, Sequence) or isinstance(value, str):
            self.bad(f"{path}.stores", value, "is not a list", "[{name: store, path: /mnt/store}]")
            return ()
        found = []
        for index, store in enumerate(value):
            where = f"{path}.stores[{index}]"
            if (
                not isinstance(store, Mapping)
                or not (isinstance(store.get("name"), str) and store["name"])
                or not (isinstance(store.get("path"), str) and store["path"].startswith("/"))
            ):
                self.bad(where, store, "needs a name and an absolute path", "{name: store, path: /mnt/store}")
            else:
                found.append((str(store["name"]), str(store["path"])))
        return tuple(found)

    def entries(self, source: Mapping[str, Any], key: str, path: str, required: str) -> list[Mapping[str, Any]]:
        """Return the dictionaries of a list that have the text `required`, and tell of the others."""
        value = source.get(key) or ()
        if not isinstance(value, Sequence) or isinstance(value, str):
            self.bad(f"{path}.{key}", value, "is not a list", f"[{{{required}: ...}}]")
            return []
        found = []
        for index, one in enumerate(value):
            if isinstance(one, Mapping) and isinstance(one.get(required), str) and one[required]:
                found.append(one)
            else:
                self.bad(f"{path}.{key}[{index}]", one, f"needs {required}", f"{{{required}: ...}}")
        return found


def _shown(value: object) -> object:
    if value is None or isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= 80 else text[:77] + "..."


NOT_THERE: Final = object()
"""A machine that is named and nowhere declared."""
IGNORED: Final = frozenset(("name", "source", "source_blob", "source_licence", "reader", "notes", "summary", "display"))
ROUND_FROM: Final = 16 << 30


def _alike(hardware: Mapping[str, Any]) -> dict[str, Any]:
    """Hardware without what tells two machines of one model apart: names, UUIDs, the last GiB of memory."""
    alike = {key: value for key, value in hardware.items() if key not in IGNORED}
    gpus, numa = hardware.get("gpus"), hardware.get("numa")
    if isinstance(gpus, list) and all(isinstance(gpu, Mapping) for gpu in gpus):
        alike["gpus"] = [
            {k: v for k, v in gpu.items() if k != "uuid"} if isinstance(gpu, dict) else gpu for gpu in gpus
        ]
    if isinstance(numa, list) and all(isinstance(node, dict) for node in numa):
        alike["numa"] = [
            {**node, "memory_bytes": memory >> 30 << 30}
            if type(memory := node.get("memory_bytes")) is int and memory >= ROUND_FROM
            else node
            for node in numa
        ]
    return alike


def hardware_key(hardware: Any) -> bytes:
    """A fingerprint: hosts with equal hardware share one layout."""
    try:
        data = marshal.dumps(hardware, 2)
    except ValueError:  # Ansible's tagged text and numbers
        data = json.dumps(hardware, default=str).encode()
    return hashlib.blake2b(data, digest_size=16).digest()


def _sorted_key(hardware: Any) -> bytes:
    """`hardware_key` whatever the order of keys, which is another in a file than in facts; four times as slow."""
    try:
        data = json.dumps(hardware, sort_keys=True, default=str)
    except TypeError:  # keys of several types
        return hardware_key(hardware)
    return hashlib.blake2b(data.encode(), digest_size=16).digest()


class _Hardware:
    """Normalised hardware by fingerprint, so that a fleet of one model is read once."""

    def __init__(self, machines: Mapping[str, Any], reader: _Reader) -> None:
        self.machines = machines
        self.reader = reader
        self.seen: dict[bytes, Mapping[str, Any] | HardwareError] = {}
        self.keys: dict[int, bytes] = {}
        self.sorted: dict[bytes, bytes] = {}

    def resolved(self, declared: object, path: str) -> tuple[object, str]:
        """Return what a name or a lone `topology` stands for, and where that is written."""
        if isinstance(declared, str):
            if declared not in self.machines:
                near = difflib.get_close_matches(declared, self.machines, n=1, cutoff=0.3)
                self.reader.bad(path, declared, "is not in machines", near[0] if near else "a name under machines")
                return NOT_THERE, path
            path = f"machines.{declared}"
            declared = self.machines[declared]
        if isinstance(declared, Mapping) and set(declared) == {"topology"}:
            named = declared["topology"]
            declared = self.machines.get(named, declared) if isinstance(named, str) else declared
        return declared, path

    def read(self, declared: object, path: str) -> tuple[Mapping[str, Any] | None, bytes]:
        """Return hardware that `resolved` has found, normalised, and its fingerprint."""
        if declared is NOT_THERE:
            return None, b""
        if not isinstance(declared, Mapping):
            self.reader.bad(
                path,
                declared,
                "no hardware is known for this host" if declared is None else "is not a dictionary",
                "declare sealing_hardware, e.g. {cpu: EPYC 7542 x1, memory: 1TiB}, or run playbooks/hardware.yml",
            )
            return None, b""
        key = self.keys.get(id(declared))
        if key is None:
            alike = _alike(declared)
            as_written = hardware_key(alike)
            if as_written not in self.sorted:
                self.sorted[as_written] = _sorted_key(alike)
            key = self.keys[id(declared)] = self.sorted[as_written]
            declared = alike
        if key not in self.seen:
            try:
                self.seen[key] = normalise(declared, topologies=self.machines)
            except HardwareError as error:
                self.seen[key] = error
        known = self.seen[key]
        if not isinstance(known, HardwareError):
            return known, key
        for problem in known.problems:
            where = f"{path}.{problem.path}" if problem.path else path
            self.reader.bad(where, problem.value, problem.problem, problem.remedy)
        return None, key


def read_document(document: Mapping[str, Any]) -> Document:
    """Return the typed input; everything wrong with it is in `errors`, and what can be read is still there."""
    errors: list[Problem] = []
    reader = _Reader(errors)
    if not isinstance(document, Mapping):
        reader.bad("", document, "the input is not a dictionary", "a dictionary with settings, groups and hosts")
        return Document(Settings(), {}, {}, {}, errors)
    reader.known(document, "", "document")
    raw = reader.mapping(document, "settings", "")
    reader.known(raw, "settings", "settings")
    network = reader.choice(raw, "network", "settings", NETWORKS, "mainnet")
    start = reader.whole(raw, "sector_number_start", "settings", 2 if network == "devnet" else 0)
    settings = Settings(
        stack=reader.choice(raw, "stack", "settings", stacks.names(), "lotus"),
        miner_layout=reader.choice(raw, "miner_layout", "settings", LAYOUTS, "split"),
        network=network,
        sector_size=reader.choice(raw, "sector_size", "settings", SECTOR_SIZES, "32GiB"),
        actor=reader.text(raw, "actor", "settings", "f01000") or "f01000",
        deal_share=_share(reader, raw),
        allow_regroup=_flag(reader, raw, "allow_regroup"),
        sector_number_start=start or 0,
        sectors_per_miner=reader.whole(raw, "sectors_per_miner", "settings", 10_000_000, 1000) or 10_000_000,
        switch_ports=reader.whole(raw, "switch_ports", "settings", 32, 1) or 32,
        rdma_vlan=reader.whole(raw, "rdma_vlan", "settings", None, 1),
        rdma_dscp=reader.whole(raw, "rdma_dscp", "settings", 26) or 0,
        rdma_priority=reader.whole(raw, "rdma_priority", "settings", 3) or 0,
        rdma_lossless=raw.get("rdma_lossless") is None or _flag(reader, raw, "rdma_lossless"),
    )
    groups: dict[str, str | None] = {}
    for name, value in reader.mapping(document, "groups", "").items():
        value = {} if value is None else value
        if not isinstance(value, Mapping):
            reader.bad(f"groups.{name}", value, "is not a dictionary", "{miner: HOST} or {}")
            value = {}
        reader.known(value, f"groups.{name}", "group")
        groups[str(name)] = reader.text(value, "miner", f"groups.{name}", None)
    hardware = _Hardware(reader.mapping(document, "machines", ""), reader)
    hosts: dict[str, Host] = {}
    raw_hosts = reader.mapping(document, "hosts", "")
    base_stores = reader.stores(raw, "settings")
    base_measured = reader.measured(raw, "settings")
    for name in sorted(raw_hosts, key=str):
        value = raw_hosts[name]
        if not isinstance(value, Mapping):
            reader.bad(f"hosts.{name}", value, "is not a dictionary", "{roles: [...], hardware: {...}}")
            continue
        hosts[str(name)] = _host(str(name), value, raw, reader, hardware, base_stores, base_measured)
    _drop_shared_uuids(hosts.values())
    current = reader.mapping(document, "current", "")
    return Document(settings, hosts, groups, current, errors)


def _share(reader: _Reader, raw: Mapping[str, Any]) -> float:
    value = raw.get("deal_share")
    if value is None:
        return 0.0
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        reader.bad("settings.deal_share", value, "is not a number from 0 to 1", "such as 0.25")
        return 0.0
    return float(value)


def _flag(reader: _Reader, raw: Mapping[str, Any], key: str) -> bool:
    value = raw.get(key)
    if value is None or isinstance(value, bool):
        return bool(value)
    if str(value).lower() in ("true", "yes", "1", "false", "no", "0"):
        return str(value).lower() in ("true", "yes", "1")
    reader.bad(f"settings.{key}", value, "is not true or false", "true or false")
    return False


def _gpu_uuids(
    declared: object, known: Mapping[str, Any] | None, machines: Mapping[str, Any], path: str, reader: _Reader
) -> dict[str, str]:
    """UUIDs by PCI address: each host has its own, so they are no part of the hardware that hosts share."""
    if not isinstance(declared, Mapping):
        return {}
    gpus = declared.get("gpus")
    if known is not None and "gpus" not in declared and "topology" in declared:
        gpus = machines[declared["topology"]].get("gpus")
    elif known is not None and "cpus" not in declared and isinstance(gpus, list | Mapping) and "uuid" in str(gpus):
        gpus = normalise(declared, topologies=machines)["gpus"]  # the short form has no addresses before
    found: dict[str, str] = {}
    for index, gpu in enumerate(gpus if isinstance(gpus, list) else ()):
        uuid = gpu.get("uuid") if isinstance(gpu, Mapping) else None
        if uuid is None:
            continue
        if not isinstance(uuid, str) or uuid in found.values():
            problem = "is another GPU's UUID, too" if isinstance(uuid, str) else "is not a text"
            reader.bad(f"{path}.gpus[{index}].uuid", uuid, problem, "each GPU's own UUID (nvidia-smi -L), or null")
        else:
            found[str(gpu.get("pci"))] = uuid
    return found


def _drop_shared_uuids(hosts: Collection[Host]) -> None:
    """A UUID that two hosts name, from a machine they share, is at most one's: their GPUs go by number."""
    owners = Counter(uuid for host in hosts for uuid in host.gpu_uuids.values())
    for host in hosts:
        host.gpu_uuids = {pci: uuid for pci, uuid in host.gpu_uuids.items() if owners[uuid] == 1}


def _host(
    name: str,
    value: Mapping[str, Any],
    settings: Mapping[str, Any],
    reader: _Reader,
    hardware: _Hardware,
    base_stores: tuple[tuple[str, str], ...],
    base_measured: Mapping[str, float],
) -> Host:
    path = f"hosts.{name}"
    reader.known(value, path, "host")
    listed = value.get("roles")
    if not isinstance(listed, Sequence) or isinstance(listed, str) or not all(isinstance(r, str) for r in listed):
        reader.bad(f"{path}.roles", listed, "is not a list of inventory groups", "[pc1_worker]")
        listed = []
    for role in sorted(set(listed) - set(ROLES)):
        near = difflib.get_close_matches(role, ROLES, n=1, cutoff=0.5)
        reader.bad(
            f"{path}.roles", role, "is no group of the planner", near[0] if near else f"one of {', '.join(ROLES)}"
        )
    roles = frozenset(str(r) for r in listed)
    tasks = frozenset(task for role, task in TASK_GROUPS.items() if role in roles)
    known: Mapping[str, Any] | None = None
    key = b""
    uuids: dict[str, str] = {}
    if tasks or value.get("hardware") is not None:
        declared, where = hardware.resolved(value.get("hardware"), f"{path}.hardware")
        known, key = hardware.read(declared, where)
        uuids = _gpu_uuids(declared, known, hardware.machines, where, reader)
    both = (value, path) if value.get("scratch_bytes") is not None else (settings, "settings")
    scratch = reader.whole(both[0], "scratch_bytes", both[1], None)

    def own(field: str, default: int | None, least: int = 0) -> int | None:
        if value.get(field) is not None:
            return reader.whole(value, field, path, default, least)
        return reader.whole(settings, field, "settings", default, least)

    scratch_path = (
        reader.text(value, "scratch_path", path, None)
        or reader.text(settings, "scratch_path", "settings", "/sealer")
        or "/sealer"
    ).rstrip("/") or "/"
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
        reserved_cores=own("reserved_cores", 2) or 0,
        sdr_producers=own("sdr_producers", None),
        scratch_path=scratch_path,
        scratch_bytes=scratch,
        scratch_declared=scratch is not None,
        measured_sec={**base_measured, **reader.measured(value, path)} if value.get("measured_sec") else base_measured,
        stores=reader.stores(value, path) if value.get("stores") is not None else base_stores,
        worker_port=own("worker_port", 3456, 1) or 3456,
        address=reader.text(value, "address", path, None),
        rdma_address=reader.text(value, "rdma_address", path, None),
        rdma_addresses=tuple(map(str, value.get("rdma_addresses") or filter(None, [value.get("rdma_address")]))),
        mount_transport=transport,
        exports=tuple(
            Export(_directory(one["path"]), one.get("sync") is not False)
            for one in reader.entries(value, "exports", path, "path")
        ),
        mounts=tuple(
            _mount(one, transport, scratch_path)
            for one in reader.entries(value, "mounts", path, "path")
            if isinstance(one.get("server"), str)
        ),
        smooth_pledging=value.get("smooth_pledging") is True,
    )


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
