"""plan.html: the plan as one page that needs nothing but a browser, no script, no network.

Every host is drawn to scale: a physical core, a GiB of memory, a TB of scratch and a GiB of VRAM have one size on the
whole page, so a host with twice the cores looks twice as big. Hosts that are alike share one drawing.
"""

from __future__ import annotations

import contextlib
import functools
import json
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any, Final

from sealyard.hardware.declared import HardwareError, normalise
from sealyard.lotus.tasks import BY_NAME, SWITCHED
from sealyard.pages.group_drawing import draw_groups
from sealyard.pages.machine_drawing import (
    BYTES_PER_PIXEL_MEMORY,
    BYTES_PER_PIXEL_SCRATCH,
    BYTES_PER_PIXEL_VRAM,
    draw_machine,
)
from sealyard.pages.svg import rect, svg, text
from sealyard.plan.words import bytes_text, memory_text, names_text, natural, plural, rate_text

PATTERNS: Final = (
    '<svg width="0" height="0" aria-hidden="true" class="defs"><defs>'
    '<pattern id="hatch" width="4" height="4" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
    '<rect width="4" height="4" class="hatch-bg"/><rect width="1.6" height="4" class="hatch-fg"/>'
    "</pattern></defs></svg>"
)
STAGES: Final = tuple(task.name for task in SWITCHED)
"""Tasks that hosts are given, in the order of a sector's way."""

Plan = Mapping[str, Any]


def plan_page(plan: Plan, document: Mapping[str, Any]) -> str:
    """Return plan.html for a plan and the planner's input it was made from."""
    machines = document.get("machines") or {}
    hardware = {
        name: _machine(host["hardware"], machines)
        for name, host in (document.get("hosts") or {}).items()
        if host.get("hardware")
    }
    # Without the changes that plan.yml prints: once applied they are gone, and a second run would write the page again.
    return render(plan, hardware)


def _machine(declared: Any, machines: Mapping[str, Any]) -> Any:
    """The hardware itself, where the input only names it."""
    if isinstance(declared, str):
        return machines.get(declared, {})
    if isinstance(declared, Mapping) and "topology" in declared:
        with contextlib.suppress(HardwareError):  # the plan says what is wrong with it
            return normalise(declared, topologies=machines)
    return declared


def render(plan: Plan, hardware: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the page as one HTML document.

    `hardware` has the declared or found hardware of the hosts, by name, in any form `hardware.normalise` reads; a host
    without it is listed without a drawing.
    """
    settings = plan.get("settings", {})
    body = [
        _head(plan),
        _notices(plan),
        _stages(plan.get("capacity", {})),
        _groups(plan),
        _hosts(plan, hardware),
        _switches(plan),
        _legend(),
    ]
    title = f"Sealing plan {settings.get('actor', '')}"
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta name="color-scheme" content="light dark">\n<title>{escape(title)}</title>\n<style>{_style()}</style>\n'
        f"</head>\n<body>\n{PATTERNS}\n<main>\n{''.join(part for part in body if part)}</main>\n</body>\n</html>\n"
    )


# ---------------------------------------------------------------------------------------------------------------------
# Head, notices, stages


def _head(plan: Plan) -> str:
    settings, capacity = plan.get("settings", {}), plan.get("capacity", {})
    workers = [w for h in plan.get("hosts", {}).values() for w in h["workers"]]
    busy = sum(bool(h["workers"]) for h in plan.get("hosts", {}).values())
    per_day = float(capacity.get("sectors_per_day") or 0)
    size = _sector_bytes(str(settings.get("sector_size", "")))
    facts = [
        (rate_text(per_day), "sectors per day"),
        (memory_text(per_day * size) if size else "–", "sealed per day"),
        (str(capacity.get("bottleneck") or "–"), "binds"),
        (f"{sum(w['concurrency'].get('PC1', 0) for w in workers):,}", "PC1 at once"),
        (
            f"{len({(h, g) for h, s in plan.get('hosts', {}).items() for w in s['workers'] for g in w['gpus']}):,}",
            "GPUs",
        ),
        (f"{busy:,}", "worker hosts"),
        (f"{len(plan.get('groups', {})):,}", "groups"),
        (bytes_text(float(capacity.get("bytes_per_day_between_hosts") or 0)), "between hosts per day"),
    ]
    tiles = "".join(
        f'<div class="fact{" binds" if label == "binds" else ""}"><b>{escape(value)}</b><span>{label}</span></div>'
        for value, label in facts
    )
    line = " · ".join(escape(str(settings[k])) for k in ("actor", "network", "sector_size", "stack") if settings.get(k))
    return f'<header><h1>Sealing plan</h1><p class="sub">{line}</p><div class="facts">{tiles}</div></header>\n'


def _sector_bytes(text: str) -> int:
    match = re.fullmatch(r"(\d+)(KiB|MiB|GiB)", text)
    return int(match[1]) << {"KiB": 10, "MiB": 20, "GiB": 30}[match[2]] if match else 0


def _notices(plan: Plan) -> str:
    out = []
    errors = plan.get("errors") or []
    if errors:
        rows = "".join(
            f"<li><code>{escape(str(e['path']))}</code> {escape(str(e['problem']))}"
            + (f" (now <code>{escape(str(e['value']))}</code>)" if e.get("value") not in (None, "") else "")
            + f'<br><span class="do">Write instead: {escape(str(e["remedy"]))}</span></li>'
            for e in errors
        )
        out.append(_notice("bad", f"{plural(len(errors), 'error')}: nothing of this plan may be applied", rows))
    moves = plan.get("moves") or []
    if moves:
        rows = "".join(
            f"<li><b>{escape(str(m.get('host')))}</b>: {escape(str(m.get('what', 'group')))} "
            f"{escape(str(m.get('from')))} → {escape(str(m.get('to')))}"
            f"{' (may hold sectors)' if m.get('may_hold_sectors') else ''}</li>"
            for m in moves
        )
        words = "<p>Drain them first, then run with <code>sealing_allow_regroup=true</code>.</p>"
        out.append(_notice("bad", f"{plural(len(moves), 'move')} of hosts that may hold sectors", rows, words))
    if plan.get("warnings"):
        rows = "".join(f"<li>{escape(line)}</li>" for line in _gather(plan["warnings"]))
        out.append(_notice("warn", plural(len(plan["warnings"]), "warning"), rows))
    return "\n".join(out) + "\n" if out else ""


def _notice(kind: str, title: str, rows: str, words: str = "") -> str:
    return f'<section class="notice {kind}"><h2>{escape(title)}</h2>{words}<ul>{rows}</ul></section>'


def _gather(warnings: Sequence[str]) -> list[str]:
    """One line for a warning that many hosts share: `pc1-1 … pc1-9: text`."""
    hosts: dict[str, list[str]] = defaultdict(list)
    for warning in warnings:
        host, colon, rest = warning.partition(": ")
        if colon and " " not in host:
            hosts[rest].append(host)
        else:
            hosts[warning] = hosts.get(warning, [])
    return [f"{names_text(set(who))}: {rest}" if who else rest for rest, who in hosts.items()]


def _stages(capacity: Mapping[str, Any]) -> str:
    stages = [(s, capacity["stages"][s]) for s in STAGES if s in capacity.get("stages", {})]
    if not stages:
        return ""
    most = max([float(v["sectors_per_day"]) for _, v in stages] + [1e-9])
    reached = float(capacity.get("sectors_per_day") or 0)
    width, left, row = 640, 120, 34
    out = []
    for i, (stage, value) in enumerate(stages):
        y = i * row + 6
        able = float(value["sectors_per_day"])
        binds = stage == capacity.get("bottleneck")
        words = f"{rate_text(able)} per day · {int(value.get('workers', 0)):,} at once" + (" · binds" if binds else "")
        kind, hot = _stage_class(stage), " hot" if binds else ""
        out += [
            f'<text x="0" y="{y + 14}" class="lab">{stage} <tspan class="dim">{BY_NAME[stage].what}</tspan></text>',
            rect(left, y, max(1.0, able / most * width), 20, f"{kind} soft{hot}", 3),
            rect(left, y, min(able, reached) / most * width, 20, kind, 3),
            text(left + width + 10, y + 14, words, f"lab{hot}"),
        ]
    height = len(stages) * row + 4
    x = left + reached / most * width
    out.append(f'<line x1="{x:.1f}" y1="0" x2="{x:.1f}" y2="{height - 8}" class="mark"/>')
    words = (
        "Full colour is what the plan uses, pale what a stage could do beyond it; the line is what the cluster seals."
    )
    image = svg(left + width + 300, height, "Sectors per day of each stage", "".join(out))
    return f'<section><h2>What each stage can do</h2><p class="dim">{words}</p>{image}</section>\n'


def _groups(plan: Plan) -> str:
    image = draw_groups(plan)
    if not image:
        return ""
    binds = plan.get("capacity", {}).get("bottleneck")
    words = "Bytes between the hosts of a group are PC1's output on its way to PC2; between groups there are none."
    outlined = f" The stage that binds a group is outlined; {binds} binds the cluster." if binds else ""
    return f'<section><h2>Groups</h2><p class="dim">{words}{escape(outlined)}</p>{image}</section>\n'


def _switches(plan: Plan) -> str:
    parts = []
    for name, switch in plan.get("switches", {}).items():
        rows = "".join(
            f"<tr><td>{port['port']}</td><td>{escape(port['host'])}</td><td>{escape(port['address'])}</td></tr>"
            for port in switch["ports"]
        )
        ecn, cnp = switch["ecn"], switch["cnp"]
        vlan = f"VLAN {switch['vlan']}" if switch["vlan"] else "no VLAN of its own"
        pfc = f"PFC on priority {switch['priority']} alone" if switch["pfc_priorities"] else "no PFC"
        words = (
            f"{len(switch['ports'])} of {switch['ports_there']} ports; MTU {switch['mtu_bytes']} on each; {vlan}; "
            f"trust DSCP; DSCP {switch['dscp']} to priority {switch['priority']}; {pfc}, no global pause; "
            f"ECN on traffic class {ecn['traffic_class']} from {ecn['min_kbytes']} to {ecn['max_kbytes']} KB; "
            f"congestion notices (DSCP {cnp['dscp']}) in priority {cnp['priority']}, strict."
        )
        lines = "".join(
            f"<details><summary>{system}</summary><pre>{escape(chr(10).join(switch[key]))}</pre></details>"
            for system, key in (("Cumulus Linux (NVUE)", "nvue"), ("Onyx", "onyx"))
        )
        table = f"<table><tr><th>port</th><th>host</th><th>address</th></tr>{rows}</table>"
        parts.append(f"<h3>{escape(name)}</h3><p>{escape(words)}</p>{table}{lines}")
    if not parts:
        return ""
    note = "Port numbers are a proposal: hosts in the order of their names."
    return f'<section><h2>Switches of the RDMA network</h2><p class="dim">{note}</p>{"".join(parts)}</section>\n'


def _stage_class(stage: str) -> str:
    """What is bound by cores has PC1's colour, what is bound by a GPU that of C2."""
    return {"PC2": "t-pc2"}.get(stage, "t-c2" if BY_NAME[stage].bound_by == "gpu" else "t-pc1")


# ---------------------------------------------------------------------------------------------------------------------
# Hosts


def _numbers(miner: Mapping[str, Any]) -> str:
    """Where a miner has its sector numbers from: the fork's counter, or a range of its own."""
    flags = [flag.partition("=") for one in miner.get("instances", {}).values() for flag in one.get("flags") or []]
    values = {name: value for name, _, value in flags}
    if "--sclisten" in values:
        gives = "alloce" in [value for name, _, value in flags if name == "--sctype"]
        return f" · {'gives out the sector numbers at' if gives else 'sector numbers from'} {values['--sclisten']}"
    return f" · sector numbers {miner['sector_numbers']}" if miner.get("sector_numbers") else ""


def _hosts(plan: Plan, hardware: Mapping[str, Mapping[str, Any]]) -> str:
    alike: dict[str, list[str]] = defaultdict(list)
    known: dict[int, tuple[str, Mapping[str, Any] | None]] = {}
    shown: dict[str, Mapping[str, Any] | None] = {}
    idle = []
    for name in sorted(plan.get("hosts", {}), key=natural):
        slice_ = plan["hosts"][name]
        if not slice_["workers"]:
            idle.append(name)
            continue
        declared = hardware.get(name)
        if id(declared) not in known:
            known[id(declared)] = _normal(declared)
        print_, normal = known[id(declared)]
        key = print_ + _shape(slice_, plan.get("capacity", {}).get("hosts", {}).get(name, {}))
        alike[key].append(name)
        shown[name] = normal
    order = sorted(alike.values(), key=lambda names: (_first_stage(plan["hosts"][names[0]]), natural(names[0])))
    cards = [_card(plan, names, shown[names[0]]) for names in order]
    rest = ""
    others = [n for n in idle if n in plan.get("miners", {})]
    if others:
        rows = "".join(
            f"<li><b>{escape(n)}</b> {escape(' and '.join(plan['miners'][n].get('roles', [])))} miner"
            f"{escape(_numbers(plan['miners'][n]))}</li>"
            for n in others
        )
        rest = f'<div class="card"><h3>Miners</h3><ul class="plain">{rows}</ul></div>'
    unused = [n for n in idle if n not in plan.get("miners", {})]
    if unused:
        rest += f'<div class="card"><h3>Hosts without sealing work</h3><p>{escape(names_text(unused))}</p></div>'
    total = sum(len(names) for names in alike.values())
    words = (
        f"{plural(total, 'worker host')} in {plural(len(alike), 'drawing')}. Point at a core for its CPUs and worker."
    )
    return f'<section><h2>Hosts</h2><p class="dim">{words}</p>{"".join(cards)}{rest}</section>\n'


def _first_stage(slice_: Mapping[str, Any]) -> int:
    """Where in the pipeline a host's work begins."""
    return min((STAGES.index(t) for w in slice_["workers"] for t in w["tasks"] if t in STAGES), default=len(STAGES))


def _normal(declared: Mapping[str, Any] | None) -> tuple[str, Mapping[str, Any] | None]:
    if not declared:
        return "-", None
    try:
        normal = normalise(declared)
    except HardwareError:
        return "-", None
    keys = ("cpus", "numa", "gpus", "rdma", "net", "nvme", "machine")
    return json.dumps({k: normal.get(k) for k in keys}, sort_keys=True, default=str), normal


def _shape(slice_: Mapping[str, Any], capacity: Mapping[str, Any]) -> str:
    """What of a host's plan shows in its card; names of groups and miners do not."""
    keys = ("name", "tasks", "cpus", "gpus", "numa_node", "memory_bytes", "scratch", "why", "producers")
    return json.dumps(
        [[{k: w.get(k) for k in keys} for w in slice_["workers"]], slice_["reserved_cpus"], capacity.get("bound_by")]
    )


def _card(plan: Plan, names: Sequence[str], hw: Mapping[str, Any] | None) -> str:
    slice_ = plan["hosts"][names[0]]
    workers = slice_["workers"]
    tasks = [t for t in STAGES if any(t in w["tasks"] for w in workers)]
    where: dict[str, list[str]] = defaultdict(list)
    for name in names:
        group = next((w["group"] for w in plan["hosts"][name]["workers"] if w["group"]), None)
        where[f"group {group}" if group else "C2 pool" if "C2" in tasks else "no group"].append(name)
    title = escape(names_text(names))
    count = f' <span class="count">× {len(names)}</span>' if len(names) > 1 else ""
    if len(where) == 1:
        chips = f'<span class="chip">{escape(next(iter(where)))}</span>'
    else:
        text = " · ".join(f"{g}: {names_text(n)}" for g, n in sorted(where.items(), key=lambda kv: natural(kv[0])))
        chips = f'<span class="places">{escape(text)}</span>'
    limit = plan.get("capacity", {}).get("hosts", {}).get(names[0], {}).get("bound_by")
    words = f'<p class="limit">{escape(str(limit))}</p>' if limit else ""
    drawing = draw_machine(slice_, hw) if hw else '<p class="dim">No hardware known: nothing to draw.</p>'
    kinds = " ".join(f'<i class="{_stage_class(t)}"></i>{t}' for t in tasks)
    return (
        f'<div class="card"><h3>{title}{count} <span class="tasks">{kinds}</span></h3>'
        f'<p class="where">{chips}</p>{words}'
        f'<div class="pair">{drawing}{_worker_table(workers, slice_)}</div></div>\n'
    )


def _worker_table(workers: Sequence[Mapping[str, Any]], slice_: Mapping[str, Any]) -> str:
    """Workers of one kind share a row."""
    kinds: dict[tuple[object, ...], list[Mapping[str, Any]]] = defaultdict(list)
    for worker in workers:
        gpu = worker["name"] if worker["gpus"] else None
        kinds[tuple(worker["tasks"]), worker["producers"], worker["memory_bytes"], worker["numa_node"], gpu].append(
            worker
        )
    rows = []
    for same in kinds.values():
        worker = same[0]
        cpus = (
            ", ".join(f"{w['cpus']}" for w in same)
            if len(same) <= 2
            else f"{len(same)} bundles: {same[0]['cpus']} … {same[-1]['cpus']}"
        )
        bits = [cpus]
        if len(worker["bundles"]) > 1:
            bits.append(f"{worker['concurrency']['PC1']} PC1 at once, one per bundle")
        if "PC1" in worker["tasks"]:
            bits.append(
                f"{worker['producers']} producer" + ("" if worker["producers"] == 1 else "s")
                if worker["producers"]
                else "single core"
            )
        bits.append(memory_text(float(worker["memory_bytes"])) + (" each" if len(same) > 1 else ""))
        if worker["numa_node"] is not None:
            bits.append(f"node {worker['numa_node']}")
        bits.extend(f"GPU {pci}" for pci in worker["gpus"])
        scratch = worker.get("scratch") or {}
        if scratch.get("sectors") is not None:
            held = sum((w.get("scratch") or {}).get("sectors") or 0 for w in same)
            bits.append(f"scratch for {plural(held, 'sector')}")
        rows.append(
            f"<tr><th>{escape(names_text(w['name'] for w in same))}</th><td>{escape(' '.join(worker['tasks']))}</td>"
            f'<td>{escape(" · ".join(bits))}<div class="why">{escape(_why(same))}</div></td></tr>'
        )
    rest = []
    if slice_.get("reserved_cpus"):
        rest.append(f"CPUs {slice_['reserved_cpus']} stay with the system")
    if slice_.get("idle_cpus"):
        rest.append(f"CPUs {slice_['idle_cpus']} idle")
    tail = f'<tr><th></th><td></td><td class="why">{escape("; ".join(rest))}</td></tr>' if rest else ""
    return f'<table class="workers">{"".join(rows)}{tail}</table>'


def _why(same: Sequence[Mapping[str, Any]]) -> str:
    text = str(same[0].get("why") or "")
    return re.sub(r"^PC1 \d+ of \d+: ", "", text) + (" (and so on)" if len(same) > 1 and "L3" in text else "")


# ---------------------------------------------------------------------------------------------------------------------
# Legend and style


@functools.cache
def _style() -> str:
    return (Path(__file__).parent / "data" / "plan.css").read_text(encoding="utf-8")


def _legend() -> str:
    items = (
        ("t-pc1 s0", "PC1 (AP with it)"),
        ("t-pc2 s0", "PC2"),
        ("t-c2 s0", "C2"),
        ("t-both s0", "PC2 and C2"),
        ("t-all s0", "PC1, PC2 and C2"),
        ("kept", "kept for the system"),
        ("idle", "idle"),
        ("barred", "not allowed"),
    )
    boxes = "".join(
        f'<span class="key"><svg width="14" height="14">{rect(1, 1, 12, 12, kind, 2)}</svg>{words}</span>'
        for kind, words in items
    )
    scale = (
        "One square is a physical core with its SMT threads; the number is the PC1 worker's or bundle's. "
        "Shades tell neighbours apart. "
        f"100 pixels of a bar are {memory_text(BYTES_PER_PIXEL_MEMORY * 100)} of memory or "
        f"{bytes_text(BYTES_PER_PIXEL_SCRATCH * 100)} of scratch, 10 pixels of a GPU's bar "
        f"{memory_text(BYTES_PER_PIXEL_VRAM * 10)} of VRAM. L3 with *: shared with another NUMA node."
    )
    return f'<footer><div class="keys">{boxes}</div><p class="dim">{scale}</p></footer>\n'
