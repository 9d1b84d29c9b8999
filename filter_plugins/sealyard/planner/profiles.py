"""Hosts that are alike, the way each of them is split between its tasks, and what they then run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from sealyard.hardware.machine import Machine, read_machine
from sealyard.lotus.figures import Figures, figures
from sealyard.lotus.tasks import BY_NAME, GROUPS
from sealyard.plan.layout import Layout
from sealyard.plan.plain import to_plain
from sealyard.plan.supply import Supply
from sealyard.plan.words import hosts_text
from sealyard.planner.binding import bind, shape_of
from sealyard.planner.capacity import HostReport
from sealyard.planner.document import Document, Host, Settings
from sealyard.planner.fleet import Kind, choose
from sealyard.planner.miners import POST_DUTIES, is_single
from sealyard.planner.needs import PROVING, Wanted
from sealyard.planner.processes import Process, make_processes
from sealyard.planner.shares import mounted_scratch_bytes, scratch_mount
from sealyard.planner.side_tasks import MAIN, Carved, carve, per_day, too_much
from sealyard.planner.splits import Mode, pc1_supply, possible_modes, worthwhile
from sealyard.problem import Problem
from sealyard.stacks import Stack

EXACT_LAYOUTS: Final = 300
"""Up to so many ways of splitting hosts each is laid out to be compared; beyond that estimates choose among them."""

LAST_PORT: Final = 65535


@dataclass(slots=True)
class Profile:
    """Everything about a host that depends on its hardware and settings only; hosts that are alike share it."""

    layout: Layout
    figures: Figures
    processes: list[Process]
    report: HostReport
    split: Mode


@dataclass(slots=True)
class _Kind:
    """Hosts that are alike in everything but their name."""

    first: Host
    hosts: list[str]
    machine: Machine
    """What the side tasks leave."""
    wanted: Wanted
    side: Carved
    has_gpu: bool
    figures: Figures
    modes: list[tuple[Mode, Supply]]
    settings: Settings
    laid_out: bool = False


def profiles_of(doc: Document, stack: Stack) -> dict[str, Profile]:
    kinds = _kinds(doc, stack)
    for exact_first in (True, False):
        exact = sum(len(kind.modes) for kind in kinds) <= EXACT_LAYOUTS
        for kind in kinds:
            if exact and (exact_first or not kind.laid_out):
                kind.modes = [(m, bind(kind.machine, kind.wanted, m, kind.figures).supply) for m, _ in kind.modes]
                kind.laid_out = True
            kind.modes = worthwhile(kind.modes, kind.wanted.tasks)
    modes = _choose_modes(doc, kinds)
    found: dict[str, Profile] = {}
    for kind in kinds:
        shared: dict[Mode, Profile] = {}
        for name in kind.hosts:
            mode = modes[name]
            if mode not in shared:
                shared[mode] = _profile(kind, mode, stack)
            found[name] = shared[mode]
    for name in sorted(found):
        for error in found[name].layout.errors:
            doc.errors.append(error.below(f"hosts.{name}"))
    return found


def _kinds(doc: Document, stack: Stack) -> list[_Kind]:
    machines: dict[bytes, Machine] = {}
    kinds: dict[tuple[bool, object], _Kind] = {}
    applied = doc.current.get("hosts") or {}
    mounted = mounted_scratch_bytes(doc)
    for host in doc.hosts.values():
        if not host.tasks or host.hardware is None:
            continue
        machine = machines.get(host.hardware_key)
        if machine is None:
            machine = machines[host.hardware_key] = read_machine(host.hardware)
        alike = (
            host.hardware_key,
            host.tasks,
            host.reserved_cores,
            host.sdr_producers,
            host.scratch_bytes,
            mounted.get(host.name, -1),
            tuple(sorted(host.measured_sec.items())),
            host.worker_port,
            host.miner_roles,
        )
        fig = figures(doc.settings.sector_size, host.measured_sec)
        scratch = host.scratch_bytes
        if scratch is None:
            scratch = mounted.get(host.name, machine.scratch_bytes)
        wanted = Wanted(
            host.tasks & (MAIN | stack.side_tasks),
            host.reserved_cores,
            host.sdr_producers,
            scratch,
            uniform=stack.uniform_bundles,
            hugepages=stack.uses_hugepages,
        )

        # A host with a given place does all its tasks there; only free ones may leave a task to the rest of the fleet.
        before = applied.get(host.name)
        whole = bool(doc.groups or host.group)
        kind = _kind(kinds, (whole, alike), host, machine, wanted, fig, doc.settings)
        if before and not whole and _kept_mode(before, kind.modes) is None:
            kind = _kind(kinds, (True, alike), host, machine, wanted, fig, doc.settings)
        kind.hosts.append(host.name)
    return [kind for kind in kinds.values() if kind.hosts]


def _kind(
    kinds: dict[tuple[bool, object], _Kind],
    key: tuple[bool, object],
    host: Host,
    machine: Machine,
    wanted: Wanted,
    fig: Figures,
    settings: Settings,
) -> _Kind:
    """Return the kind of this key; `key[0]`: its hosts do every task they are asked for."""
    if key not in kinds:
        side = carve(machine, wanted, fig)
        rest = replace(wanted, tasks=wanted.tasks & MAIN)
        shape = shape_of(side.machine, rest, fig)
        proves = bool(rest.tasks & {"PC2", "C2"})
        modes = possible_modes(shape, fig, key[0]) if proves else [(Mode(), pc1_supply(shape, fig))]
        kinds[key] = _Kind(host, [], side.machine, rest, side, bool(machine.gpus), fig, modes, settings)
    return kinds[key]


def _kept_mode(before: Mapping[str, Any] | None, possible: Sequence[tuple[Mode, Supply]]) -> Mode | None:
    """The split that a host has in the plan applied last, if it is still one of its choices."""
    split = (before or {}).get("split")
    return next((mode for mode, _ in possible if isinstance(split, Mapping) and asdict(mode) == dict(split)), None)


def _choose_modes(doc: Document, kinds: list[_Kind]) -> dict[str, Mode]:
    """Choose every host's split; a host keeps the one it has as long as it is still one of its choices."""
    stages = frozenset(task for kind in kinds for task in kind.wanted.tasks)
    applied = doc.current.get("hosts") or {}
    open_kinds: list[Kind] = []
    has: dict[str, Mode] = {}
    for kind in kinds:
        fixed: dict[Mode, int] = {}
        for name in kind.hosts:
            mode = _kept_mode(applied.get(name), kind.modes) if applied else None
            if mode is not None:
                has[name] = mode
                fixed[mode] = fixed.get(mode, 0) + 1
        open_kinds.append(Kind(len(kind.hosts), kind.modes, fixed))
    counts = choose(open_kinds, stages)
    chosen: dict[str, Mode] = {}
    for kind, row in zip(kinds, counts, strict=True):
        left = {mode: number for (mode, _), number in zip(kind.modes, row, strict=True)}
        for name in kind.hosts:
            if name in has:
                chosen[name] = has[name]
                left[has[name]] -= 1
        for name in sorted(set(kind.hosts) - chosen.keys()):
            mode = next(m for m, number in left.items() if number > 0)
            chosen[name] = mode
            left[mode] -= 1
    return chosen


def _profile(kind: _Kind, mode: Mode, stack: Stack) -> Profile:
    host, machine, fig = kind.first, kind.machine, kind.figures
    layout = bind(machine, kind.wanted, mode, fig)
    _add_side_tasks(kind, mode, layout)
    holds = kind.wanted.tasks & ({"PC1"} if scratch_mount(host) else {"PC1", "PC2"})
    if holds and kind.wanted.scratch_bytes is None and not fig.small:
        layout.warnings.append("scratch is not known: nothing limits the sectors held (set sealing_scratch_bytes)")
    _keep_from_post(kind, layout)
    stack.arrange(layout, machine)
    processes = make_processes(stack, layout, fig, kind.wanted.scratch_bytes, kind.has_gpu, host.worker_port)
    if processes and processes[-1].port > LAST_PORT:
        text = f"is the port of the first of {len(processes)} workers, and there are no ports above {LAST_PORT}"
        remedy = f"sealing_worker_port: {LAST_PORT + 1 - len(processes)} or less"
        layout.errors.append(Problem("worker_port", host.worker_port, text, remedy))
    if host.hardware is not None:
        layout.errors.extend(stack.judge_binding(host.hardware, to_plain(processes)))
    done = {task: sum(process.concurrency.get(task, 0) for process in processes) for task in GROUPS.values()}
    left_out = tuple(sorted(task for task in kind.wanted.tasks if not done[task]))
    for task in left_out:
        if not layout.errors and (not any(m.does({task}) for m, _ in kind.modes) or mode.does({task})):
            layout.errors.append(
                Problem(
                    path="roles",
                    value=f"{task.lower()}_worker",
                    problem=f"the host lacks memory, cores or a GPU to do {task} beside its other tasks",
                    remedy=f"take the host out of {task.lower()}_worker",
                )
            )
    beside = {slot.tasks[0]: 0.0 for slot in kind.side.slots}
    for slot in kind.side.slots:
        beside[slot.tasks[0]] += per_day(slot, fig)
    report = HostReport(layout.supply, done, layout.bound_by, left_out, beside)
    return Profile(layout, fig, processes, report, mode)


def _add_side_tasks(kind: _Kind, mode: Mode, layout: Layout) -> None:
    """Add the workers of the side tasks; what a host has too little of is told once."""
    side = kind.side
    if side.slots and (problem := too_much(side, layout, kind.figures)):
        # What the host cannot do without its side tasks either is not theirs to answer for.
        layout.errors = bind(side.whole, kind.wanted, mode, kind.figures).errors or [problem]
    elif not layout.errors:
        layout.errors.extend(side.short)
    layout.errors.extend(side.problems)
    layout.slots.extend(replace(slot) for slot in side.slots)
    layout.warnings.extend(side.warnings)


def _keep_from_post(kind: _Kind, layout: Layout) -> None:
    """PoSt and sealing never share a GPU: each worker's lock is in its own TMPDIR, so neither waits for the other."""
    roles = (*kind.first.miner_roles, *(POST_DUTIES if is_single(kind.settings, kind.first) else ()))
    post = [role for role in POST_DUTIES if role in roles]
    on_gpus = {task for slot in layout.slots if slot.gpu for task in slot.tasks}
    proving = [str(BY_NAME[task].group) for task in (*PROVING, "RU") if task in on_gpus]
    if not post or not proving or kind.figures.small:
        return
    problem = f"does {' and '.join(post)} PoSt beside sealing on its GPUs: proofs are missed, or come out wrong"
    remedy = f"take the host out of {' and '.join(proving)}, or give PoSt a host of its own"
    if kind.settings.network == "mainnet":
        value = ", ".join([*(f"{role}_miner" for role in post), *proving])
        layout.errors.append(Problem(path="roles", value=value, problem=problem, remedy=remedy))
    else:
        layout.warnings.append(f"{problem}; {remedy}")


def warnings_of(profiles: Mapping[str, Profile]) -> list[str]:
    """One line per warning with the hosts it is about; a fleet of one model would say it a thousand times."""
    hosts: dict[str, list[str]] = {}
    for name in sorted(profiles):
        left_out = profiles[name].report.left_out
        if left_out and not profiles[name].layout.errors:
            hosts.setdefault(f"does no {' and no '.join(left_out)}: the fleet has plenty without it", []).append(name)
        for text in profiles[name].layout.warnings:
            hosts.setdefault(text, []).append(name)
    return [f"{hosts_text(names)}: {text}" for text, names in hosts.items()]
