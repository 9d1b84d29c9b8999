"""The plan as a table for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sealyard.hardware.cpu_list import format_cpus, parse_cpus
from sealyard.plan.words import GIB, bytes_text, hosts_text, rate_text


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table and an empty one; nothing where there are no rows."""
    if not rows:
        return []
    widths = [max(len(row[i]) for row in (header, *rows)) for i in range(len(header))]
    lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in (header, *rows)]
    return [lines[0], "  ".join("-" * w for w in widths), *lines[1:], ""]


def explain(plan: Mapping[str, Any]) -> str:
    """Return the whole plan as text: problems first, then moves, groups, hosts and workers, each with its reason."""
    parts = (_problems, _capacity, _groups, _shares, _switches, _workers, _limits)
    return "\n".join(line for part in parts for line in part(plan)).rstrip() + "\n"


def _problems(plan: Mapping[str, Any]) -> list[str]:
    lines: list[str] = []
    if plan["errors"]:
        lines.append(f"ERRORS ({len(plan['errors'])}): nothing of this plan may be applied")
        for error in plan["errors"]:
            lines.append(f"  {error['path']}: {error['value']} {error['problem']} -> {error['remedy']}")
        lines.append("")
    if plan["moves"]:
        lines.append("MOVES: these hosts may hold sectors; drain them first, then sealing_allow_regroup=true")
        lines.extend(f"  {m['host']}: {m['what']} {m['from']} -> {m['to']}" for m in plan["moves"])
        lines.append("")
    if plan["warnings"]:
        lines.append("Warnings")
        lines.extend(f"  {text}" for text in plan["warnings"])
        lines.append("")
    return lines


def _capacity(plan: Mapping[str, Any]) -> list[str]:
    settings, capacity = plan["settings"], plan["capacity"]
    return [
        f"{settings['actor']} on {settings['network']}, {settings['sector_size']} sectors, stack {settings['stack']}: "
        f"{rate_text(capacity['sectors_per_day'])} sectors per day, bound by {capacity['bottleneck'] or 'nothing'}; "
        f"{bytes_text(capacity['bytes_per_day_between_hosts'])} per day between hosts",
        "",
    ]


def _groups(plan: Mapping[str, Any]) -> list[str]:
    header = ["group", "miner", "hosts", "PC1/day", "PC2/day", "sectors/day", "bound by", "between hosts/day"]
    rows = [
        [
            name,
            g["miner"] or "-",
            hosts_text(g["hosts"]),
            rate_text(row["pc1_sectors_per_day"]),
            rate_text(row["pc2_sectors_per_day"]),
            rate_text(row["sectors_per_day"]),
            row["bound_by"],
            bytes_text(row["bytes_per_day_between_hosts"]),
        ]
        for name, g in sorted(plan["groups"].items())
        for row in [plan["capacity"]["groups"][name]]
    ]
    return _table(header, rows)


def _shares(plan: Mapping[str, Any]) -> list[str]:
    rows = [
        [host, export["path"], hosts_text(export["clients"]) or "nobody", " and ".join(export["transports"]), networks]
        for host, slice_ in sorted(plan["hosts"].items())
        for export in slice_["exports"]
        for networks in [", ".join(export["networks"]) or "-"]
    ]
    return _table(["host", "exports", "to", "over", "open to"], rows)


def _switches(plan: Mapping[str, Any]) -> list[str]:
    rows = [
        [
            name,
            f"{len(switch['ports'])} of {switch['ports_there']}",
            str(switch["mtu_bytes"]),
            str(switch["vlan"] or "-"),
            " ".join(map(str, switch["pfc_priorities"])) or "none",
            str(switch["dscp"]),
        ]
        for name, switch in plan["switches"].items()
    ]
    return _table(["switch", "ports", "MTU", "VLAN", "PFC", "DSCP"], rows)


def _workers(plan: Mapping[str, Any]) -> list[str]:
    """Hosts whose workers are alike share their rows."""
    alike: dict[tuple[tuple[str, ...], ...], list[str]] = {}
    for host, slice_ in sorted(plan["hosts"].items()):
        if slice_["workers"]:
            alike.setdefault(tuple(_worker_rows(slice_["workers"])), []).append(host)
    rows = [[hosts_text(hosts) if i == 0 else "", *row] for key, hosts in alike.items() for i, row in enumerate(key)]
    header = ["host", "worker", "miner", "tasks", "cpus", "node", "gpu", "memory each", "port", "why"]
    return _table(header, rows)


def _limits(plan: Mapping[str, Any]) -> list[str]:
    limits: dict[tuple[str, ...], list[str]] = {}
    for host, slice_ in sorted(plan["hosts"].items()):
        if slice_["workers"]:
            row = plan["capacity"]["hosts"].get(host, {})
            key = (slice_["reserved_cpus"] or "-", slice_.get("idle_cpus") or "-", row.get("bound_by", "-"))
            limits.setdefault(key, []).append(host)
    rows = [[hosts_text(hosts), *key] for key, hosts in limits.items()]
    return _table(["host", "CPUs for the system", "idle", "limit"], rows)


def _worker_rows(workers: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """One row per worker; PC1 workers that differ in their bundle only share one."""
    rows: list[tuple[str, ...]] = []
    kinds: dict[object, list[Mapping[str, Any]]] = {}
    for worker in workers:
        single = "PC1" not in worker["tasks"]
        key = worker["name"] if single else (worker["producers"], worker["numa_node"], worker["memory_bytes"])
        kinds.setdefault(key, []).append(worker)
    for same in kinds.values():
        first, last = same[0], same[-1]
        cpus = ",".join(worker["cpus"] for worker in same)
        why = first["why"]
        if len(same) > 1:
            cores = first["producers"] + 1
            inside = "in one L3" if " of L3 " in first["why"] else "inside one node, for want of L3s that hold them"
            why = f"{len(same)} PC1, each {cores} core{'s' if cores > 1 else ''} {inside}"
        rows.append(
            (
                first["name"] if len(same) == 1 else f"{first['name']} to {last['name'].rsplit('-', 1)[1]}",
                first["miner"] or "-",
                " ".join(first["tasks"]),
                format_cpus(parse_cpus(cpus)),
                "-" if first["numa_node"] is None else str(first["numa_node"]),
                " ".join(first["gpus"]) or "-",
                f"{first['memory_bytes'] / GIB:.0f} GiB",
                str(first["port"]) if len(same) == 1 else f"{first['port']}-{last['port']}",
                why,
            )
        )
    return rows
