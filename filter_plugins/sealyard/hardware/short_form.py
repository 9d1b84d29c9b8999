"""The inventory's short form, such as `cpu: EPYC 7542 x1` and `memory: 1TiB`, made into the facts schema."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any, Final

from sealyard.hardware.catalogue import CpuModel, cpu_models, find_cpu, model_key, nearest
from sealyard.hardware.devices import short_devices
from sealyard.hardware.facts import LISTS
from sealyard.hardware.problems import HardwareError, fault
from sealyard.hardware.quantities import SMALLEST_NODE_BYTES, counted, parse_bytes
from sealyard.problem import Problem

CPU_TABLE: Final = "a model of filter_plugins/sealyard/hardware/data/cpus.yml"
SHORT_KEYS: Final = (
    "topology",
    "cpu",
    "memory",
    "gpus",
    "scratch",
    "nic",
    "smt",
    "nps",
    "system_disk",
    "name",
    "notes",
)


def expand(declared: Mapping[str, object]) -> dict[str, Any]:
    problems = unknown_keys(declared)
    model, sockets, nps, threads = _cpu(declared, problems)
    memory = read_memory(declared.get("memory"), problems)
    nodes = list(range(sockets * nps))
    parts = short_devices(declared, nodes, problems)
    if problems or model is None:
        raise HardwareError(problems)

    total = model.cores * sockets
    cores_per_l3 = model.cores // model.l3_groups
    cores_per_node = model.cores // nps
    cpus = [
        {
            "cpu": thread * total + core,
            "core": core,
            "socket": core // model.cores,
            "node": min(core // cores_per_node, len(nodes) - 1),
            "l3": core // cores_per_l3,
            "online": True,
            "allowed": True,
        }
        for thread in range(threads)
        for core in range(total)
    ]
    numa = [
        {"node": node, "memory_bytes": memory // len(nodes), "cpus": [c["cpu"] for c in cpus if c["node"] == node]}
        for node in nodes
    ]
    result: dict[str, Any] = {
        "name": declared.get("name"),
        "notes": list(_strings(declared.get("notes"))),
        "machine": {"arch": "x86_64", "cpu_model": model.name, "product": None, "kernel": None},
        "cpus": cpus,
        "numa": numa,
    }
    return result | {key: parts.get(key) or [] for key in LISTS if key not in ("cpus", "numa")}


def unknown_keys(declared: Mapping[str, object]) -> list[Problem]:
    problems = []
    for key in declared:
        if key not in SHORT_KEYS:
            near = difflib.get_close_matches(str(key), SHORT_KEYS, n=1)
            problems.append(
                fault(
                    str(key),
                    declared[key],
                    "no such key in the hardware's short form",
                    f"`{near[0]}`" if near else f"one of {', '.join(SHORT_KEYS)}",
                )
            )
    return problems


def _strings(value: object) -> Iterable[str]:
    if isinstance(value, str):
        return [value]
    return [str(v) for v in value] if isinstance(value, list) else []


def _cpu(declared: Mapping[str, object], problems: list[Problem]) -> tuple[CpuModel | None, int, int, int]:
    """(model, sockets, NUMA nodes per socket, threads per core) of the short form."""
    text = declared.get("cpu")
    if not isinstance(text, str):
        problems.append(
            fault(
                "cpu",
                text,
                "the host declares no CPU" if text is None else "a CPU is named as text",
                "a model and its sockets, such as `EPYC 7542 x1`",
            )
        )
        return None, 1, 1, 1
    sockets, name = counted(text)
    model = find_cpu(name)
    if model is None:
        near = nearest(model_key(name), cpu_models(), 0.75)
        hint = f"`{cpu_models()[near].name}`" if near else CPU_TABLE
        problems.append(
            fault(
                "cpu",
                text,
                f"{name!r} is not in the table of CPU models",
                f"{hint}, or the machine's own topology (sealing_hardware facts)",
            )
        )
        return None, 1, 1, 1
    if not 1 <= sockets <= model.max_sockets:
        problems.append(
            fault(
                "cpu",
                text,
                f"{model.name} has 1 to {model.max_sockets} sockets, not {sockets}",
                f"`{model.name} x{model.max_sockets}`",
            )
        )
        sockets = 1
    nps = declared.get("nps", model.nodes_per_socket[0])
    if isinstance(nps, bool) or not isinstance(nps, int) or nps not in model.nodes_per_socket:
        choices = "` or `nps: ".join(str(n) for n in model.nodes_per_socket)
        problems.append(
            fault("nps", nps, f"{model.name} cannot have that many NUMA nodes per socket", f"`nps: {choices}`")
        )
        nps = model.nodes_per_socket[0]
    smt = declared.get("smt", True)
    if not isinstance(smt, bool):
        problems.append(fault("smt", smt, "SMT is on or off", "`smt: true` or `smt: false`"))
        smt = True
    return model, sockets, nps, model.threads_per_core if smt else 1


def read_memory(value: object, problems: list[Problem]) -> int:
    memory = parse_bytes(value)
    if memory is not None and memory >= SMALLEST_NODE_BYTES:
        return memory
    if value is None:
        problem = "the host declares no memory"
    elif isinstance(value, int | float) and not isinstance(value, bool) and value < 0:
        problem = "memory cannot be negative"
    elif memory is not None:
        problem = "less than 1 MiB: the unit is missing"
    else:
        problem = "not a size"
    problems.append(fault("memory", value, problem, "a size with its unit, such as `1TiB` or `512GiB`"))
    return SMALLEST_NODE_BYTES
