"""The plan: a pure function of the input document (input.schema.json)."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from sealyard.hardware.core_units import judge_pc1
from sealyard.hardware.cpu_list import format_cpus
from sealyard.hardware.machine import Machine, read_machine
from sealyard.lotus.figures import Figures, figures
from sealyard.plan.words import hosts_text
from sealyard.planner.binding import PROVING, Layout, Slot, Wanted, bind, shape_of
from sealyard.planner.capacity import HostReport, Owner, balance, pc2_shares
from sealyard.planner.document import Document, Error, Host, Settings, read_document
from sealyard.planner.grouping import Group, Member, make_groups, share_out
from sealyard.planner.shares import add_shares, mounted_scratch_bytes, scratch_mount
from sealyard.planner.splits import Kind, Mode, Supply, c2_cost, choose, pc1_supply, possible_modes, worthwhile
from sealyard.planner.switches import switch_plan
from sealyard.stacks.forks import (
    force_config,
    force_environment,
    fork_environment,
    fork_flags,
    merge_processes,
    miner_flags,
    myscheduler,
)
from sealyard.stacks.lotus import environment, lotus_flags, path_id, resources, sealing_path, settings_path, store_path

SCHEMA: Final = "sealyard/plan/1"
POST_DUTIES: Final = ("winning", "window")
EXACT_LAYOUTS: Final = 300
"""Up to so many ways of splitting hosts each is laid out to be compared; beyond that estimates choose among them."""


@dataclass(slots=True)
class _Profile:
    """Everything about a host that depends on its hardware and settings only; hosts that are alike share it."""

    layout: Layout
    figures: Figures
    workers: list[dict[str, Any]]
    report: HostReport
    split: dict[str, Any]


def plan(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the plan for an input document. Bad input never raises: it is in `errors`, all of it at once."""
    doc = read_document(document)
    errors = doc.errors
    warnings: list[str] = []
    split = _sealing_miners(doc, errors)
    miners = _retire_all_but_one(doc, split)
    profiles = _profiles(doc, errors)
    warnings.extend(_warnings_by_text(profiles))

    reports = {name: profile.report for name, profile in profiles.items()}
    sealing = [h for h in doc.hosts.values() if h.name in profiles and _seals(reports[h.name], h)]
    pins = {host.name: _pin(doc, host, errors) for host in doc.hosts.values() if host.tasks}
    shares = pc2_shares(report.supply for report in reports.values())
    members = [_member(host, reports[host.name], shares, pins[host.name]) for host in sealing]
    current = _current_groups(doc)
    keep = {m.name: current[m.name] for m in members if m.name in current}
    if doc.settings.allow_regroup:
        keep = _without_broken(keep, members)
    groups = make_groups(members, sorted(doc.groups), keep)
    groups = [g for g in groups if g.hosts or g.name in doc.groups]
    _judge_groups(doc, groups, reports, errors, warnings)

    miner_of_group = _assign_groups(doc, groups, miners, errors)
    if doc.settings.stack == "lotus_distributed":
        groups = _one_group_per_miner(groups, miner_of_group, reports, warnings)
    group_of = {host: g.name for g in groups for host in g.hosts}
    pool = [name for name in profiles if name not in group_of]
    miner_of_pool = _assign_pool(doc, pool, reports, groups, miner_of_group)

    hosts: dict[str, Any] = {}
    for host in doc.hosts.values():
        group = group_of.get(host.name)
        miner = miner_of_group.get(group) if group else miner_of_pool.get(host.name)
        hosts[host.name] = _host_slice(doc, host, profiles.get(host.name), group, miner)
    _translate(doc, groups, hosts, miner_of_group)
    add_shares(doc, groups, hosts, warnings)
    switches = switch_plan(doc)
    moves = _moves(doc, group_of, miner_of_group)
    capacity, notes = balance(groups, miner_of_group, miner_of_pool, reports, figures(doc.settings.sector_size))
    warnings.extend(notes)
    return {
        "schema": SCHEMA,
        "settings": {
            "stack": doc.settings.stack,
            "network": doc.settings.network,
            "sector_size": doc.settings.sector_size,
            "actor": doc.settings.actor,
            "deal_share": doc.settings.deal_share,
            "allow_regroup": doc.settings.allow_regroup,
        },
        "groups": {
            g.name: {
                "hosts": sorted(g.hosts),
                "miner": (miner_of_group.get(g.name) or (None, None))[0],
                "miner_role": (miner_of_group.get(g.name) or (None, None))[1],
            }
            for g in groups
        },
        "miners": _miners(doc, miners, split, miner_of_group),
        "hosts": hosts,
        "switches": switches,
        "capacity": capacity,
        "warnings": warnings,
        "errors": errors,
        "moves": moves,
    }


def _warnings_by_text(profiles: Mapping[str, _Profile]) -> list[str]:
    """One line per warning with the hosts it is about; a fleet of one model would say it a thousand times."""
    hosts: dict[str, list[str]] = {}
    for name in sorted(profiles):
        left_out = profiles[name].report.left_out
        if left_out and not profiles[name].layout.errors:
            hosts.setdefault(f"does no {' and no '.join(left_out)}: the fleet has plenty without it", []).append(name)
        for text in profiles[name].layout.warnings:
            hosts.setdefault(text, []).append(name)
    return [f"{hosts_text(names)}: {text}" for text, names in hosts.items()]


# ---------------------------------------------------------------------------------------------------------------------
# Hosts


@dataclass(slots=True)
class _Kind:
    """Hosts that are alike in everything but their name."""

    first: Host
    hosts: list[str]
    machine: Machine
    wanted: Wanted
    figures: Figures
    modes: list[tuple[Mode, Supply]]
    settings: Settings
    laid_out: bool = False


def _profiles(doc: Document, errors: list[Error]) -> dict[str, _Profile]:
    kinds = _kinds(doc)
    for exact_first in (True, False):
        exact = sum(len(kind.modes) for kind in kinds) <= EXACT_LAYOUTS
        for kind in kinds:
            if exact and (exact_first or not kind.laid_out):
                kind.modes = [(m, bind(kind.machine, kind.wanted, m, kind.figures, "").supply) for m, _ in kind.modes]
                kind.laid_out = True
            kind.modes = worthwhile(kind.modes, kind.wanted.tasks)
    modes = _choose_modes(doc, kinds)
    found: dict[str, _Profile] = {}
    for kind in kinds:
        shared: dict[Mode, _Profile] = {}
        for name in kind.hosts:
            mode = modes[name]
            if mode not in shared:
                shared[mode] = _profile(kind, mode)
            found[name] = shared[mode]
    for name in sorted(found):
        for error in found[name].layout.errors:
            errors.append({**error, "path": str(error["path"]).replace("hosts.?", f"hosts.{name}", 1)})
    return found


def _kinds(doc: Document) -> list[_Kind]:
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
            host.tasks,
            host.reserved_cores,
            host.sdr_producers,
            scratch,
            uniform=doc.settings.stack != "lotus",
            hugepages=doc.settings.stack == "force_remote_worker",
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
        shape = shape_of(machine, wanted, fig)
        proves = bool(wanted.tasks & {"PC2", "C2"})
        modes = possible_modes(shape, fig, key[0]) if proves else [(Mode(), pc1_supply(shape, fig))]
        kinds[key] = _Kind(host, [], machine, wanted, fig, modes, settings)
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


def _profile(kind: _Kind, mode: Mode) -> _Profile:
    host, machine, fig = kind.first, kind.machine, kind.figures
    layout = bind(machine, kind.wanted, mode, fig, "hosts.?")
    holds = host.tasks & ({"PC1"} if scratch_mount(host) else {"PC1", "PC2"})
    if holds and kind.wanted.scratch_bytes is None and not fig.small:
        layout.warnings.append("scratch is not known: nothing limits the sectors held (set sealing_scratch_bytes)")
    _keep_from_post(kind, layout)
    has_gpu = bool(machine.gpus)
    stack = kind.settings.stack
    if stack != "lotus":
        merge_processes(layout, machine, core_groups=stack == "lotus_distributed")
    workers = _workers(layout, fig, kind.wanted.scratch_bytes, has_gpu, host.worker_port, stack)
    if host.hardware is not None and stack == "lotus":
        layout.errors.extend(judge_pc1("?", host.hardware, workers))
    done = {task: sum(worker["concurrency"].get(task, 0) for worker in workers) for task in ("PC1", "PC2", "C2")}
    left_out = tuple(sorted(task for task in host.tasks if not done[task]))
    for task in left_out:
        if not layout.errors and (not any(m.does({task}) for m, _ in kind.modes) or mode.does({task})):
            layout.errors.append(
                {
                    "path": "hosts.?.roles",
                    "value": f"{task.lower()}_worker",
                    "problem": f"the host lacks memory, cores or a GPU to do {task} beside its other tasks",
                    "remedy": f"take the host out of {task.lower()}_worker",
                }
            )
    report = HostReport(layout.supply, done, layout.bound_by, left_out)
    return _Profile(layout, fig, workers, report, asdict(mode))


def _keep_from_post(kind: _Kind, layout: Layout) -> None:
    """PoSt and sealing never share a GPU: each worker's lock is in its own TMPDIR, so neither waits for the other."""
    roles = (*kind.first.miner_roles, *(POST_DUTIES if _is_single(kind.settings, kind.first) else ()))
    post = [role for role in POST_DUTIES if role in roles]
    proving = [f"{task.lower()}_worker" for task in PROVING if any(task in s.tasks for s in layout.slots if s.gpu)]
    if not post or not proving or kind.figures.small:
        return
    problem = f"does {' and '.join(post)} PoSt beside sealing on its GPUs: proofs are missed, or come out wrong"
    remedy = f"take the host out of {' and '.join(proving)}, or give PoSt a host of its own"
    if kind.settings.network == "mainnet":
        value = ", ".join([*(f"{role}_miner" for role in post), *proving])
        layout.errors.append({"path": "hosts.?.roles", "value": value, "problem": problem, "remedy": remedy})
    else:
        layout.warnings.append(f"{problem}; {remedy}")


def _worker_kind(slot: Slot) -> str:
    proving = [t for t in slot.tasks if t in ("PC2", "C2")]
    if "PC1" in slot.tasks:
        return "all" if len(proving) == 2 else "-".join(["pc1", *(t.lower() for t in proving)])
    return "-".join(t.lower() for t in proving)


def _workers(
    layout: Layout, fig: Figures, scratch: int | None, has_gpu: bool, port: int, stack: str
) -> list[dict[str, Any]]:
    numbers: dict[str, int] = {}
    found: list[dict[str, Any]] = []
    pc1 = sum("PC1" in s.tasks for s in layout.slots)
    holders = sum(bool({"PC1", "PC2"} & set(s.tasks)) for s in layout.slots)
    for index, slot in enumerate(layout.slots):
        kind = _worker_kind(slot)
        number = numbers.get(kind, 0)
        numbers[kind] = number + 1
        seals = bool({"PC1", "PC2"} & set(slot.tasks))
        each = None if scratch is None else scratch // max(1, holders)
        why = slot.why
        at_once = {**dict.fromkeys(slot.tasks, 1), **({"PC1": len(slot.bundles)} if slot.bundles else {})}
        bundles = slot.bundles or ([slot.cores] if "PC1" in slot.tasks else [])
        if "PC1" in slot.tasks and pc1 > 1 and not slot.bundles:
            why = f"PC1 {number + 1} of {pc1}: {why}"
        found.append(
            {
                "name": f"{kind}-{number}",
                "group": None,
                "miner": None,
                "miner_role": None,
                "tasks": list(slot.tasks),
                "cpus": slot.cpus,
                "bundles": [format_cpus(cpu for core in bundle for cpu in core.cpus) for bundle in bundles],
                "producers": slot.producers,
                "numa_node": slot.node,
                "gpus": [slot.gpu.pci] if slot.gpu else [],
                "gpu_uuids": [],
                "memory_bytes": slot.memory_bytes,
                "concurrency": at_once,
                "scratch": {"path": None, "bytes": each, "sectors": None if each is None else each // fig.peak_bytes}
                if seals
                else None,
                "port": port + index,
                "why": why,
                "environment": environment(slot, has_gpu, fig.small),
                "flags": lotus_flags(slot.tasks),
                "resources": resources(slot, fig),
            }
        )
        if stack != "lotus":
            # Resource overrides and these flags are upstream's own.
            found[-1]["resources"] = {}
            found[-1]["flags"] = fork_flags(slot.tasks) if stack == "lotus_distributed" else []
        if stack == "lotus_distributed":
            found[-1]["environment"].update(fork_environment(slot))
        elif stack == "force_remote_worker":
            found[-1]["environment"].update(force_environment(slot))
    return found


def _host_slice(
    doc: Document, host: Host, profile: _Profile | None, group: str | None, miner: tuple[str, str] | None
) -> dict[str, Any]:
    if profile is None:
        return {"reserved_cpus": "", "workers": [], "exports": [], "mounts": [], "paths": []}
    workers = []
    for template in profile.workers:
        worker = dict(template)
        if {"PC1", "PC2"} & set(worker["tasks"]):
            worker["group"] = group
        if worker["scratch"] is not None:
            worker["scratch"] = {**worker["scratch"], "path": host.scratch_path}
        if miner is not None:
            worker["miner"], worker["miner_role"] = miner
        if worker["gpus"] and host.gpu_uuids:
            uuids = [host.gpu_uuids[pci] for pci in worker["gpus"] if pci in host.gpu_uuids]
            worker["gpu_uuids"] = uuids
            if uuids and "CUDA_VISIBLE_DEVICES" in worker["environment"]:
                worker["environment"] = {**worker["environment"], "CUDA_VISIBLE_DEVICES": ",".join(uuids)}
        workers.append(worker)
    paths = []
    if any(w["scratch"] is not None for w in workers):
        limit = host.scratch_bytes if host.scratch_declared and host.scratch_bytes else 0
        paths.append(sealing_path(doc.settings.actor, host.name, host.scratch_path, limit, group, workers))
        pc2 = [w["name"] for w in workers if "PC2" in w["tasks"]]
        if pc2:
            paths.extend(store_path(doc.settings.actor, name, path, pc2) for name, path in host.stores)
    return {
        "reserved_cpus": format_cpus(cpu for core in profile.layout.reserved for cpu in core.cpus),
        "idle_cpus": format_cpus(cpu for core in profile.layout.idle for cpu in core.cpus),
        "group": group,
        "split": profile.split,
        "workers": workers,
        "paths": paths,
        "exports": [],
        "mounts": [],
    }


# ---------------------------------------------------------------------------------------------------------------------
# Groups and miners


def _seals(report: HostReport, host: Host) -> bool:
    """Whether a host belongs into a group: it does PC1 or PC2, or somebody has put it into one."""
    return bool(report.workers["PC1"] or report.workers["PC2"] or (host.group and host.tasks != {"C2"}))


def _member(host: Host, report: HostReport, shares: Mapping[float, float], pin: str | None) -> Member:
    """A host as grouping sees it: a share of the day of workers that do PC2 and C2 counts for PC2."""
    supply = report.supply
    share = shares.get(c2_cost(supply), 1.0)
    return Member(host.name, supply.pc1, supply.pc2 + share * supply.both_pc2, host.rack, host.switch, pin)


def _pin(doc: Document, host: Host, errors: list[Error]) -> str | None:
    if host.group is None:
        return None
    if doc.groups and host.group not in doc.groups:
        near = difflib.get_close_matches(host.group, doc.groups, n=1, cutoff=0.3)
        errors.append(
            {
                "path": f"hosts.{host.name}.group",
                "value": host.group,
                "problem": "is not one of sealing_groups",
                "remedy": near[0] if near else f"one of {', '.join(sorted(doc.groups))}",
            }
        )
        return near[0] if near else None
    return host.group


def _current_groups(doc: Document) -> dict[str, str]:
    groups: Mapping[str, Any] = doc.current.get("groups") or {}
    return {
        str(host): str(name)
        for name, group in groups.items()
        if isinstance(group, Mapping)
        for host in group.get("hosts") or ()
        if host in doc.hosts
    }


def _without_broken(keep: dict[str, str], members: list[Member]) -> dict[str, str]:
    """Groups that lost their PC1 or PC2 hosts give their hosts up for regrouping."""
    able: dict[str, set[str]] = {}
    for member in members:
        if member.name in keep:
            able.setdefault(keep[member.name], set()).update(
                task for task, rate in (("PC1", member.pc1), ("PC2", member.pc2)) if rate
            )
    return {host: group for host, group in keep.items() if able[group] == {"PC1", "PC2"}}


def _judge_groups(
    doc: Document, groups: list[Group], reports: Mapping[str, HostReport], errors: list[Error], warnings: list[str]
) -> None:
    unread = [host.name for host in doc.hosts.values() if host.tasks and host.hardware is None]
    for group in groups:
        done = {task for name in group.hosts for task in ("PC1", "PC2") if reports[name].workers[task]}
        if not group.hosts:
            warnings.append(f"group {group.name} has no worker host")
        elif "PC2" not in done and not unread:
            regroup = "" if doc.settings.allow_regroup else ", or sealing_allow_regroup: true after a drain"
            errors.append(
                {
                    "path": f"groups.{group.name}",
                    "value": ", ".join(sorted(group.hosts)),
                    "problem": "has PC1 but no PC2: its sectors would wait in PreCommit2 for ever",
                    "remedy": f"add a pc2_worker host to the group{regroup}",
                }
            )
        elif "PC1" not in done:
            warnings.append(f"group {group.name} has PC2 but no PC1: {', '.join(sorted(group.hosts))} stay idle")


def _sealing_miners(doc: Document, errors: list[Error]) -> list[Owner]:
    found: list[Owner] = [
        (h.name, role) for h in doc.hosts.values() for role in ("seal", "deal") if role in h.miner_roles
    ]
    works = any(h.tasks for h in doc.hosts.values())
    if works and not found:
        errors.append(
            {
                "path": "hosts",
                "value": None,
                "problem": "workers but no seal miner to serve",
                "remedy": "put one host into the group seal_miner",
            }
        )
    deals = [name for name, role in found if role == "deal"]
    if len(deals) > 1:
        errors.append(
            {
                "path": "deal_miner",
                "value": ", ".join(deals),
                "problem": "more than one deal miner",
                "remedy": f"keep {deals[0]} in deal_miner and put the others into seal_miner",
            }
        )
    if not deals and doc.settings.deal_share:
        errors.append(
            {
                "path": "settings.deal_share",
                "value": doc.settings.deal_share,
                "problem": "a share for the deal miner, but no deal_miner host",
                "remedy": "sealing_deal_share: 0",
            }
        )
    return found


def _assign_groups(doc: Document, groups: list[Group], miners: list[Owner], errors: list[Error]) -> dict[str, Owner]:
    by_name: dict[str, list[Owner]] = {}
    for owner in miners:
        by_name.setdefault(owner[0], []).append(owner)
    fixed: dict[str, Owner] = {}
    old = doc.current.get("groups") or {}
    for group in groups:
        declared = doc.groups.get(group.name)
        if declared is not None:
            owners = by_name.get(declared)
            if owners:
                fixed[group.name] = owners[0]
            elif doc.hosts:
                near = difflib.get_close_matches(declared, by_name, n=1, cutoff=0.3)
                errors.append(
                    {
                        "path": f"groups.{group.name}.miner",
                        "value": declared,
                        "problem": "is not a seal or deal miner of the inventory",
                        "remedy": near[0] if near else f"one of {', '.join(sorted(by_name)) or 'the seal_miner hosts'}",
                    }
                )
            continue
        was = old.get(group.name)
        if isinstance(was, Mapping) and (was.get("miner"), was.get("miner_role", "seal")) in miners:
            fixed[group.name] = (str(was["miner"]), str(was.get("miner_role", "seal")))
    if not miners:
        return {}
    seals = [m for m in miners if m[1] == "seal"]
    deals = [m for m in miners if m[1] == "deal"]
    share = doc.settings.deal_share if deals and seals else float(bool(deals))
    shares = {_key(m): (1 - share) / len(seals) for m in seals} | {_key(m): share / len(deals) for m in deals}
    owner_of = {_key(m): m for m in miners}
    given = share_out({g.name: g.throughput for g in groups}, shares, {g: _key(m) for g, m in fixed.items()})
    return {group: owner_of[key] for group, key in given.items()}


def _key(owner: Owner) -> str:
    return f"{owner[0]}/{owner[1]}"


def _one_group_per_miner(
    groups: list[Group], miner_of_group: Mapping[str, Owner], reports: Mapping[str, HostReport], warnings: list[str]
) -> list[Group]:
    """The fork has no Groups and AllowTo: hosts that share a miner and cannot seal alone are one group."""
    open_group: dict[Owner, Group] = {}
    left: list[Group] = []
    for group in groups:
        owner = miner_of_group.get(group.name)
        alone = all(reports[h].workers["PC1"] and reports[h].workers["PC2"] for h in group.hosts)
        if owner is None or (alone and len(group.hosts) == 1):
            left.append(group)
        elif owner not in open_group:
            open_group[owner] = group
            left.append(group)
        elif group.kept and open_group[owner].kept:
            left.append(group)
            warnings.append(
                f"groups {open_group[owner].name} and {group.name} share the miner {owner[0]}: the fork cannot keep "
                "their sectors apart; give each a miner of its own"
            )
        else:
            open_group[owner].join(group)
            open_group[owner].hosts.sort()
    return left


def _translate(doc: Document, groups: list[Group], hosts: dict[str, Any], miner_of_group: Mapping[str, Owner]) -> None:
    """Add what the two other stacks read: myscheduler.json, config.toml."""
    fig = figures(doc.settings.sector_size)
    if doc.settings.stack == "lotus_distributed":
        smooth_miners = {(name, "seal") for name, host in doc.hosts.items() if host.smooth_pledging}
        for name, slice_ in hosts.items():
            for worker in slice_["workers"]:
                smooth = (worker["miner"], worker["miner_role"]) in smooth_miners
                worker["myscheduler"] = myscheduler(f"{name}/{worker['name']}", worker, fig, smooth)
            slices_paths = slice_["paths"]
            own = [path for path in slices_paths if path["can_seal"]]
            slice_["paths"] = [
                {
                    **path,
                    "path": f"{path['path']}/{worker}",
                    "id": path_id(doc.settings.actor, name, path["path"], worker),
                    "groups": None,
                    "allow_to": None,
                    "workers": [worker],
                }
                for path in own
                for worker in path["workers"]
            ]
            slice_["paths"] += [path for path in slices_paths if not path["can_seal"]]
            slice_["paths"] += [
                settings_path(doc.settings.actor, name, doc.hosts[name].scratch_path, worker["name"])
                for worker in slice_["workers"]
                if not any(worker["name"] in path["workers"] for path in own)
            ]
    if doc.settings.stack == "force_remote_worker":
        ids = _group_ids(doc, groups)
        by_miner: dict[Owner | None, list[int]] = {}
        for group in groups:
            by_miner.setdefault(miner_of_group.get(group.name), []).append(ids[group.name])
        addresses = {host.name: host.address for host in doc.hosts.values()}
        for name, slice_ in hosts.items():
            host = doc.hosts[name]
            for worker in slice_["workers"]:
                own_ids = [ids[worker["group"]]] if worker["group"] else []
                own_ids = own_ids or by_miner.get((worker["miner"], worker["miner_role"]), [])
                worker["config"] = force_config(worker, own_ids, host.scratch_path, addresses[name], fig)
        for group in groups:
            for host_name in group.hosts:
                hosts[host_name]["group_id"] = ids[group.name]


def _group_ids(doc: Document, groups: list[Group]) -> dict[str, int]:
    """Numbers of the groups; a group keeps the number it had."""
    old = doc.current.get("groups") or {}
    hosts = doc.current.get("hosts") or {}
    ids: dict[str, int] = {}
    for name, group in old.items():
        known = [hosts.get(host, {}).get("group_id") for host in group.get("hosts") or ()]
        ids.update({str(name): number for number in known if number})
    for group in groups:
        if group.name not in ids:
            ids[group.name] = max(ids.values(), default=0) + 1
    return ids


def _assign_pool(
    doc: Document,
    pool: list[str],
    reports: Mapping[str, HostReport],
    groups: list[Group],
    miner_of_group: dict[str, Owner],
) -> dict[str, Owner]:
    """C2 hosts serve one miner each, shared out as the groups' throughput is."""
    shares: dict[str, float] = {}
    owner_of: dict[str, Owner] = {}
    for group in groups:
        owner = miner_of_group.get(group.name)
        if owner is not None:
            shares[_key(owner)] = shares.get(_key(owner), 0.0) + group.throughput
            owner_of[_key(owner)] = owner
    if not shares:
        return {}
    old = doc.current.get("hosts") or {}
    fixed: dict[str, str] = {}
    for name in pool:
        workers = (old.get(name) or {}).get("workers") or [{}]
        owner_key = f"{workers[0].get('miner')}/{workers[0].get('miner_role', 'seal')}"
        if owner_key in shares:
            fixed[name] = owner_key
    weights = {name: reports[name].supply.c2 for name in pool}
    return {name: owner_of[key] for name, key in share_out(weights, shares, fixed).items()}


def _moves(doc: Document, group_of: dict[str, str], miner_of_group: dict[str, Owner]) -> list[dict[str, Any]]:
    """Hosts that may hold sectors and would leave their group, or whose group would change its miner."""
    found = []
    old: Mapping[str, Any] = doc.current.get("groups") or {}
    before = _current_groups(doc)
    for host in sorted(before):
        was, now = before[host], group_of.get(host)
        if now is None:
            continue
        # On its way to one miner a sector is Proving before the others are stopped, so nothing is left behind.
        old_miner = old[was].get("miner") if doc.settings.miner_layout == "split" else None
        new_miner = (miner_of_group.get(now) or (None, None))[0]
        if was != now:
            found.append({"host": host, "from": was, "to": now, "what": "group", "may_hold_sectors": True})
        elif old_miner is not None and new_miner is not None and old_miner != new_miner:
            found.append({"host": host, "from": old_miner, "to": new_miner, "what": "miner", "may_hold_sectors": True})
    return found


def _is_single(settings: Settings, host: Host) -> bool:
    """Whether the host's one miner process does everything."""
    return settings.miner_layout == "single" and "seal" in host.miner_roles


def _retire_all_but_one(doc: Document, split: list[Owner]) -> list[Owner]:
    """Return the one sealing miner of layout single; the document loses all others, in place."""
    if doc.settings.miner_layout != "single":
        return split
    kept = next((owner for owner in split if owner[1] == "seal"), None)
    for host in doc.hosts.values():
        host.miner_roles = ("seal",) if kept and host.name == kept[0] else ()
    if kept is None:
        return []
    doc.groups = {name: kept[0] if miner else None for name, miner in doc.groups.items()}
    return [kept]


def _miners(
    doc: Document, sealing: list[Owner], split: list[Owner], miner_of_group: dict[str, Owner]
) -> dict[str, Any]:
    """The miners by host, and per role its sector numbers: ranges never change once given.

    `split` are the sealing miners of layout split, whose ranges stay theirs while they are retired.
    """
    ranges = _sector_ranges(doc, split)
    peer = next((m for m in sealing if m[1] == "deal"), sealing[0] if sealing else None)
    winning = next((h.name for h in doc.hosts.values() if "winning" in h.miner_roles), None)
    fork = doc.settings.stack == "lotus_distributed"
    counts = next((h.name for h in doc.hosts.values() if "sector_counter" in h.roles and h.miner_roles), winning)
    counter = doc.hosts[counts].address if counts else None
    allocator = (counts, doc.hosts[counts].miner_roles[0]) if counts else None
    found: dict[str, Any] = {}
    for host in doc.hosts.values():
        if not host.miner_roles:
            continue
        instances: dict[str, dict[str, Any]] = {}
        for role in host.miner_roles:
            owner = (host.name, role)
            instances[role] = {
                **({"flags": miner_flags(role, counter, owner == allocator)} if fork else {}),
                **({"duties": list(POST_DUTIES)} if _is_single(doc.settings, host) else {}),
                "groups": sorted(g for g, m in miner_of_group.items() if m == owner),
                "sector_numbers": ranges.get(owner),
                "reserve": {f"{r}-{n}": numbers for (n, r), numbers in sorted(ranges.items()) if (n, r) != owner}
                if owner in ranges
                else {},
            }
        seals = [i for i in instances.values() if i["sector_numbers"]]
        found[host.name] = {
            "roles": list(host.miner_roles),
            "groups": sorted(g for i in instances.values() for g in i["groups"]),
            "sector_numbers": seals[0]["sector_numbers"] if seals else None,
            "reserve": seals[0]["reserve"] if seals else {},
            "instances": instances,
            "peer_id_owner": peer is not None and host.name == peer[0],
            "f3": host.name == winning or _is_single(doc.settings, host),
            "paths": [store_path(doc.settings.actor, name, path, []) for name, path in host.stores],
        }
    return found


def _sector_ranges(doc: Document, sealing: list[Owner]) -> dict[Owner, str]:
    """Disjoint ranges of sector numbers; a miner keeps the range it had, a new one gets the next free range."""
    kept: dict[Owner, str] = {}
    end = -1
    for name, miner in (doc.current.get("miners") or {}).items():
        for role, instance in (miner.get("instances") or {}).items():
            numbers = instance.get("sector_numbers")
            if numbers:
                end = max(end, int(str(numbers).split("-")[1]))
                kept[(name, role)] = str(numbers)
    found = {owner: kept[owner] for owner in sealing if owner in kept}
    start = max(end + 1, doc.settings.sector_number_start)
    for owner in sorted(sealing, key=lambda m: (m[1] != "seal", m[0])):
        if owner not in found:
            length = doc.settings.sectors_per_miner
            last = (start // length + 1) * length - 1
            found[owner] = f"{start}-{last}"
            start = last + 1
    return found
