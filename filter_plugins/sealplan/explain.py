"""The plan as a table for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

GIB = 1 << 30


def _bytes(number: float) -> str:
    for unit in ("B", "kB", "MB", "GB", "TB", "PB"):
        if number < 1000 or unit == "PB":
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1000
    return ""


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[i]) for row in (header, *rows)) for i in range(len(header))]
    lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in (header, *rows)]
    return [lines[0], "  ".join("-" * w for w in widths), *lines[1:]]


def explain(plan: Mapping[str, Any]) -> str:
    """Return the whole plan as text: problems first, then moves, groups, hosts and workers, each with its reason."""
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
    settings, capacity = plan["settings"], plan["capacity"]
    lines.append(
        f"{settings['actor']} on {settings['network']}, {settings['sector_size']} sectors, stack {settings['stack']}: "
        f"{capacity['sectors_per_day']:.0f} sectors per day, bound by {capacity['bottleneck'] or 'nothing'}; "
        f"{_bytes(capacity['bytes_per_day_between_hosts'])} per day between hosts"
    )
    lines.append("")
    if plan["groups"]:
        rows = [
            [
                name,
                g["miner"] or "-",
                ", ".join(g["hosts"]),
                f"{row['pc1_sectors_per_day']:.0f}",
                f"{row['pc2_sectors_per_day']:.0f}",
                f"{row['sectors_per_day']:.0f}",
                row["bound_by"],
                _bytes(row["bytes_per_day_between_hosts"]),
            ]
            for name, g in sorted(plan["groups"].items())
            for row in [capacity["groups"][name]]
        ]
        lines += _table(
            ["group", "miner", "hosts", "PC1/day", "PC2/day", "sectors/day", "bound by", "between hosts/day"], rows
        )
        lines.append("")
    rows = []
    for host, slice_ in sorted(plan["hosts"].items()):
        for worker in slice_["workers"]:
            rows.append(
                [
                    host,
                    worker["name"],
                    worker["group"] or "-",
                    worker["miner"] or "-",
                    " ".join(worker["tasks"]),
                    worker["cpus"],
                    "-" if worker["numa_node"] is None else str(worker["numa_node"]),
                    " ".join(worker["gpus"]) or "-",
                    f"{worker['memory_bytes'] / GIB:.0f} GiB",
                    str(worker["port"]),
                    worker["why"],
                ]
            )
    if rows:
        lines += _table(
            ["host", "worker", "group", "miner", "tasks", "cpus", "node", "gpu", "memory", "port", "why"], rows
        )
        lines.append("")
    rows = [
        [
            host,
            slice_["reserved_cpus"] or "-",
            slice_.get("idle_cpus") or "-",
            capacity["hosts"][host].get("bound_by", "-"),
        ]
        for host, slice_ in sorted(plan["hosts"].items())
        if slice_["workers"]
    ]
    if rows:
        lines += _table(["host", "for the system", "idle", "limit"], rows)
    return "\n".join(lines).rstrip() + "\n"
