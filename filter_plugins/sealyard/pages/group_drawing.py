"""The groups as a picture: PC1 hosts, PC2 hosts and C2, with the bytes that go between them each day."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sealyard.pages.svg import rect, svg, text
from sealyard.plan.words import bytes_text, names_text, natural, plural, rate_text

Plan = Mapping[str, Any]
BOX: Final = 214
HIGH: Final = 74
GAP: Final = 14
X_PC1: Final = 130
X_PC2: Final = X_PC1 + BOX + 190
X_C2: Final = X_PC2 + BOX + 150


@dataclass(slots=True)
class _Row:
    """Groups that look the same: one row of the flow."""

    names: list[str]
    pc1_hosts: list[str] = field(default_factory=list)
    pc2_hosts: list[str] = field(default_factory=list)
    both_hosts: list[str] = field(default_factory=list)
    pc1: float = 0.0
    pc2: float = 0.0
    reached: float = 0.0
    bytes: float = 0.0
    bound_by: str = ""
    slots: int = 0
    engines: int = 0


def _rows(plan: Plan, miner: str) -> list[_Row]:
    merged: dict[tuple[object, ...], _Row] = {}
    hosts, capacity = plan["hosts"], plan.get("capacity", {}).get("groups", {})
    for name in sorted(plan["groups"], key=natural):
        group = plan["groups"][name]
        if _owner(group) != miner:
            continue
        row = _Row([name])
        for host in group["hosts"]:
            tasks = {t for w in hosts[host]["workers"] for t in w["tasks"]}
            kind = row.both_hosts if {"PC1", "PC2"} <= tasks else row.pc1_hosts if "PC1" in tasks else row.pc2_hosts
            kind.append(host)
            row.slots += sum(w["concurrency"].get("PC1", 0) for w in hosts[host]["workers"])
            row.engines += sum("PC2" in w["tasks"] for w in hosts[host]["workers"])
        figures = capacity.get(name, {})
        row.pc1, row.pc2 = (
            float(figures.get("pc1_sectors_per_day") or 0),
            float(figures.get("pc2_sectors_per_day") or 0),
        )
        row.reached, row.bytes = (
            float(figures.get("sectors_per_day") or 0),
            float(figures.get("bytes_per_day_between_hosts") or 0),
        )
        row.bound_by = str(figures.get("bound_by") or "")
        key = (
            len(row.pc1_hosts),
            len(row.pc2_hosts),
            len(row.both_hosts),
            row.pc1,
            row.pc2,
            row.reached,
            row.bytes,
            row.bound_by,
        )
        if key in merged:
            same = merged[key]
            same.names.append(name)
            for mine, theirs in (
                (same.pc1_hosts, row.pc1_hosts),
                (same.pc2_hosts, row.pc2_hosts),
                (same.both_hosts, row.both_hosts),
            ):
                mine.extend(theirs)
        else:
            merged[key] = row
    return list(merged.values())


def _owner(group: Mapping[str, Any]) -> str:
    return f"{group.get('miner') or '–'}/{group.get('miner_role') or 'seal'}"


def draw_groups(plan: Plan) -> str:
    """The SVG; groups that look the same share a row. Empty where the plan has no groups."""
    if not plan.get("groups"):
        return ""
    capacity = plan.get("capacity", {})
    widest = max(
        [float(g.get("bytes_per_day_between_hosts") or 0) for g in capacity.get("groups", {}).values()] + [1.0]
    )
    heads = ((0, "group"), (X_PC1, "AP, PC1"), (X_PC2, "PC2, C1"), (X_C2, "C2 and miner"))
    out = [text(x, 14, words, "dim") for x, words in heads]
    y = 26.0
    for miner in sorted({_owner(g) for g in plan["groups"].values()}):
        rows = _rows(plan, miner)
        middle = y + (len(rows) * (HIGH + GAP) - GAP) / 2
        for row in rows:
            out.append(_row(row, y, widest))
            out.append(_arrow(X_PC2 + BOX, y + HIGH / 2, X_C2, middle, 1.5))
            y += HIGH + GAP
        out.append(_pool(capacity, miner, rows, middle))
        y = max(y, middle + HIGH / 2 + GAP) + 8
    return svg(X_C2 + BOX + 4, y, "Groups with the bytes that go between their hosts", "".join(out))


def _row(row: _Row, y: float, widest: float) -> str:
    count = len(row.names)
    centre = y + HIGH / 2
    rate = f"{count} × " if count > 1 else ""
    out = text(0, centre - 4, _short(names_text(row.names), 17), "lab strong")
    out += text(0, centre + 12, f"{rate}{rate_text(row.reached)}/day", "dim")
    if row.both_hosts and not row.pc1_hosts and not row.pc2_hosts:
        between = (
            f"{bytes_text(row.bytes)}/day between these hosts"
            if row.bytes
            else "a sector stays on its host: 0 B between hosts"
        )
        lines = [
            _short(names_text(row.both_hosts), 60),
            f"PC1 {rate_text(row.pc1)}/day ({row.slots:,} at once), PC2 {rate_text(row.pc2)}/day ({row.engines:,})",
            between,
        ]
        hot = row.bound_by if row.bound_by in ("PC1", "PC2") else ""
        return out + _box(X_PC1, y, X_PC2 + BOX - X_PC1, "t-all", lines, hot)
    first = [_short(names_text(row.pc1_hosts + row.both_hosts), 25), f"{row.slots:,} PC1 at once"]
    second = [_short(names_text(row.pc2_hosts + row.both_hosts), 25), plural(row.engines, "PC2 worker")]
    first.append(f"{rate_text(row.pc1)} sectors/day")
    second.append(f"{rate_text(row.pc2)} sectors/day")
    out += _box(X_PC1, y, BOX, "t-pc1", first, "PC1" if row.bound_by == "PC1" else "")
    out += _box(X_PC2, y, BOX, "t-pc2", second, "PC2" if row.bound_by == "PC2" else "")
    out += _arrow(X_PC1 + BOX, centre, X_PC2, centre, row.bytes / widest * 9 + 1.5)
    middle = (X_PC1 + BOX + X_PC2) / 2 - 4
    half = 5 + (row.bytes / widest * 9 + 1.5) * 0.6
    out += text(middle, centre - half - 3, f"{bytes_text(row.bytes)}/day", "lab strong", "middle")
    return out + text(middle, centre + half + 12, "each" if count > 1 else "sealed + cache", "dim", "middle")


def _pool(capacity: Mapping[str, Any], miner: str, rows: Sequence[_Row], middle: float) -> str:
    figures = capacity.get("miners", {}).get(miner, {})
    pool = figures.get("c2_hosts") or []
    whole = float(capacity.get("sectors_per_day") or 0)
    share = sum(r.reached * len(r.names) for r in rows) / whole if whole else 0.0
    c1_bytes = float(capacity.get("bytes_per_day_c1_to_c2") or 0) * min(1.0, share)
    lines = [
        _short(names_text(pool), 25) if pool else "C2 on the groups' GPUs",
        f"C1 output {bytes_text(c1_bytes)}/day",
        f"miner {miner.partition('/')[0]}: {rate_text(float(figures.get('sectors_per_day') or 0))}/day",
    ]
    return _box(X_C2, middle - HIGH / 2, BOX, "t-c2", lines, "C2" if any(r.bound_by == "C2" for r in rows) else "")


def _short(words: str, limit: int) -> str:
    return words if len(words) <= limit else words[: limit - 1].rstrip(", ") + "…"


def _box(x: float, y: float, width: float, kind: str, lines: Sequence[str], binds: str) -> str:
    """A box with up to three lines; `binds` names the stage that limits it, or is empty."""
    out = rect(x, y, width, HIGH, "panel hot" if binds else "panel", 7) + rect(x, y + 7, 5, HIGH - 14, kind, 2.5)
    for i, line in enumerate(lines):
        out += text(x + 13, y + 22 + i * 19, line, "lab" if i else "lab strong")
    return out + (text(x + width - 9, y + HIGH - 7, f"{binds} binds", "flag") if binds else "")


def _arrow(x1: float, y1: float, x2: float, y2: float, thick: float) -> str:
    tip, half, end, mid = 9 + thick * 0.6, 5 + thick * 0.6, x2 - 3, (x1 + x2) / 2
    line = f"M{x1 + 3:.1f} {y1:.1f}C{mid:.1f} {y1:.1f} {mid:.1f} {y2:.1f} {end - tip + 1:.1f} {y2:.1f}"
    head = f"M{end:.1f} {y2:.1f}l-{tip:.1f} -{half:.1f}v{2 * half:.1f}z"
    return f'<path d="{line}" class="flow" stroke-width="{thick:.1f}"/><path d="{head}" class="tip"/>'
