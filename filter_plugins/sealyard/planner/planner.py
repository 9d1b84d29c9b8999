"""The plan: a pure function of the input document (input.schema.json)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from sealyard import stacks
from sealyard.hardware.cpu_list import format_cpus
from sealyard.lotus.figures import figures
from sealyard.lotus.tasks import BY_NAME, SIDE_TASKS
from sealyard.plan.paths import sealing_path, store_path
from sealyard.plan.plain import to_plain
from sealyard.plan.types import (
    SCHEMA,
    Capacity,
    GroupPlan,
    HostPlan,
    Owner,
    PathPlan,
    Plan,
    PlanSettings,
    WorkerHostPlan,
    WorkerPlan,
)
from sealyard.planner import groups as grouped
from sealyard.planner.capacity import balance, pc2_shares
from sealyard.planner.document import Document, Host, Settings
from sealyard.planner.grouping import Group, make_groups
from sealyard.planner.miners import find_counter, plan_miners, retire_all_but_one, sealing_miners
from sealyard.planner.processes import place_process
from sealyard.planner.profiles import Profile, profiles_of, warnings_of
from sealyard.planner.reading import read_document
from sealyard.planner.shared_paths import share_paths
from sealyard.planner.shares import Shares, plan_shares
from sealyard.planner.switches import switch_plan
from sealyard.problem import Problem


def plan(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the plan for an input document. Bad input never raises: it is in `errors`, all of it at once."""
    found: dict[str, Any] = to_plain(make_plan(document))
    return found


def make_plan(document: Mapping[str, Any]) -> Plan:
    """Return the plan as typed values."""
    doc = read_document(document)
    stack = stacks.get(doc.settings.stack)
    warnings: list[str] = []
    _refuse_unknown_tasks(doc, stack)
    split = sealing_miners(doc)
    miners = retire_all_but_one(doc, split)
    profiles = profiles_of(doc, stack)
    warnings.extend(warnings_of(profiles))
    groups = _groups(doc, profiles, warnings)
    reports = {name: profile.report for name, profile in profiles.items()}
    miner_of_group = grouped.assign_groups(doc, groups, miners)
    if stack.one_group_per_miner:
        groups = grouped.one_group_per_miner(groups, miner_of_group, reports, warnings)
        miner_of_group = {g.name: miner_of_group[g.name] for g in groups if g.name in miner_of_group}
    group_of = {host: g.name for g in groups for host in g.hosts}
    pool = [name for name in profiles if name not in group_of]
    miner_of_pool = grouped.assign_pool(doc, pool, reports, miners, groups, miner_of_group)
    miner_of = {name: miner_of_group.get(group) for name, group in group_of.items()} | miner_of_pool
    hosts = _hosts(doc, stack, profiles, groups, group_of, miner_of, miner_of_group, warnings)
    switches = switch_plan(doc)
    moves = grouped.moves_of(doc, group_of, miner_of_group)
    capacity, notes = balance(groups, miner_of_group, miner_of_pool, reports, figures(doc.settings.sector_size))
    counter = find_counter(doc, stack)
    return Plan(
        schema=SCHEMA,
        settings=_settings(doc.settings),
        groups={g.name: _group(g, miner_of_group.get(g.name)) for g in groups},
        miners=plan_miners(doc, stack, miners, split, miner_of_group, counter),
        counter=counter,
        hosts=hosts,
        switches=switches,
        capacity=capacity,
        warnings=(*warnings, *notes, *_untaken(doc, stack, capacity, hosts)),
        errors=tuple(doc.errors),
        moves=tuple(moves),
    )


def _refuse_unknown_tasks(doc: Document, stack: stacks.Stack) -> None:
    for host in doc.hosts.values():
        for task in sorted(host.tasks & set(SIDE_TASKS) - stack.side_tasks):
            group = BY_NAME[task].group
            problem = f"asks for {task}, which workers of stack {stack.name} do not know"
            doc.errors.append(Problem(f"hosts.{host.name}.roles", group, problem, f"take the host out of {group}"))


def _untaken(doc: Document, stack: stacks.Stack, capacity: Capacity, hosts: Mapping[str, HostPlan]) -> list[str]:
    """What a deal miner will queue and no worker of the plan takes: such a task waits for ever, without an error."""
    if not any("deal" in host.miner_roles for host in doc.hosts.values()) or not any(
        worker.workers for worker in capacity.stages.values()
    ):
        return []
    deals = {task for host in hosts.values() for w in host.workers if w.miner_role == "deal" for task in w.tasks}
    lacks = [task for task in SIDE_TASKS if task in stack.side_tasks and task not in deals]
    if stack.unseals_with_pc1:
        lacks = [task for task in lacks if task != "UNS"]
    nobody, others = ([t for t in lacks if (t in capacity.stages) is done] for done in (False, True))
    found = []
    if nobody:
        tasks, groups = _tasks_and_groups(nobody)
        found.append(
            f"no host does {tasks}: what a deal miner queues of it waits for ever; {groups} would give it to hosts"
        )
    if others:
        tasks, groups = _tasks_and_groups(others)
        found.append(
            f"no worker of the deal miner does {tasks}: what it queues of it waits for ever; {groups} on hosts that "
            "seal nothing would give it to them"
        )
    return found


def _tasks_and_groups(tasks: Sequence[str]) -> tuple[str, str]:
    named = " and no ".join(f"{task} ({BY_NAME[task].what})" for task in tasks)
    return named, " and ".join(str(BY_NAME[task].group) for task in tasks)


def _settings(settings: Settings) -> PlanSettings:
    return PlanSettings(
        stack=settings.stack,
        network=settings.network,
        sector_size=settings.sector_size,
        actor=settings.actor,
        deal_share=settings.deal_share,
        allow_regroup=settings.allow_regroup,
    )


def _group(group: Group, owner: Owner | None) -> GroupPlan:
    miner, role = owner or (None, None)
    return GroupPlan(tuple(sorted(group.hosts)), miner, role)


def _groups(doc: Document, profiles: Mapping[str, Profile], warnings: list[str]) -> list[Group]:
    """Hosts that seal together: where they were, where they are wanted, else where they fit."""
    reports = {name: profile.report for name, profile in profiles.items()}
    sealing = [h for h in doc.hosts.values() if h.name in profiles and grouped.seals(reports[h.name], h)]
    pins = {host.name: grouped.pin_of(doc, host) for host in doc.hosts.values() if host.tasks}
    shares = pc2_shares(report.supply for report in reports.values())
    members = [grouped.member_of(host, reports[host.name], shares, pins[host.name]) for host in sealing]
    current = grouped.current_groups(doc)
    keep = {m.name: current[m.name] for m in members if m.name in current}
    if doc.settings.allow_regroup:
        keep = grouped.without_broken(keep, members)
    groups = make_groups(members, sorted(doc.groups), keep)
    groups = [g for g in groups if g.hosts or g.name in doc.groups]
    grouped.judge_groups(doc, groups, reports, warnings)
    return groups


def _hosts(
    doc: Document,
    stack: stacks.Stack,
    profiles: Mapping[str, Profile],
    groups: Sequence[Group],
    group_of: Mapping[str, str],
    miner_of: Mapping[str, Owner | None],
    miner_of_group: Mapping[str, Owner],
    warnings: list[str],
) -> dict[str, HostPlan]:
    """Every host's part: its workers, then what is shared, then the paths, then what only the stack reads."""
    workers = {
        host.name: [
            place_process(process, host, group_of.get(host.name), miner_of.get(host.name))
            for process in (profiles[host.name].processes if host.name in profiles else ())
        ]
        for host in doc.hosts.values()
    }
    shares = plan_shares(doc, stack, groups, workers, warnings)
    paths = {
        host.name: stack.worker_paths(
            doc.settings.actor,
            host.name,
            host.scratch_path,
            _own_paths(doc, host, group_of.get(host.name), workers[host.name]),
            workers[host.name],
        )
        for host in doc.hosts.values()
    }
    if stack.shares_scratch:
        paths = share_paths(doc, group_of, workers, paths)
    places = _Places(doc, stack, groups, miner_of_group)
    found: dict[str, HostPlan] = {}
    for host in doc.hosts.values():
        completed = [stack.complete_worker(worker, places.of(host, worker)) for worker in workers[host.name]]
        group = group_of.get(host.name)
        found[host.name] = _host(host, profiles.get(host.name), completed, paths[host.name], shares, group, places)
    return found


def _host(
    host: Host,
    profile: Profile | None,
    workers: Sequence[WorkerPlan],
    paths: Sequence[PathPlan],
    shares: Shares,
    group: str | None,
    places: _Places,
) -> HostPlan:
    exports = shares.exports[host.name]
    common: dict[str, Any] = {
        "workers": tuple(workers),
        "paths": tuple(paths),
        "exports": tuple(exports),
        "mounts": tuple(shares.mounts[host.name]),
        "nfs_threads": shares.threads.get(host.name),
        "link_bits_per_sec": shares.links.get(host.name),
        "group_id": places.group_ids.get(group) if group else None,
    }
    if profile is None:
        return HostPlan(reserved_cpus="", **common)
    return WorkerHostPlan(
        reserved_cpus=format_cpus(cpu for core in profile.layout.reserved for cpu in core.cpus),
        idle_cpus=format_cpus(cpu for core in profile.layout.idle for cpu in core.cpus),
        group=group,
        split=asdict(profile.split),
        **common,
    )


def _own_paths(doc: Document, host: Host, group: str | None, workers: Sequence[WorkerPlan]) -> list[PathPlan]:
    """The host's scratch as one path, and the long-term stores that finished sectors go to and come from."""
    if not any(worker.scratch is not None for worker in workers):
        return []
    actor = doc.settings.actor
    limit = host.scratch_bytes if host.scratch_declared and host.scratch_bytes else 0
    movers = [worker.name for worker in workers if worker.does("PC2", "UNS", "RU")]
    stores = [store_path(actor, name, path, movers) for name, path in host.stores] if movers else []
    return [sealing_path(actor, host.name, host.scratch_path, limit, group, workers), *stores]


class _Places:
    """What a stack may look at beside a worker; the cluster's share of it is worked out once."""

    def __init__(
        self, doc: Document, stack: stacks.Stack, groups: Sequence[Group], miner_of_group: Mapping[str, Owner]
    ) -> None:
        self.figures = figures(doc.settings.sector_size)
        self.smooth = {(name, "seal") for name, host in doc.hosts.items() if host.smooth_pledging}
        self.group_ids = grouped.group_ids(doc, list(groups)) if stack.numbers_groups else {}
        self.ids_of_miner: dict[Owner | None, list[int]] = {}
        self.known: dict[tuple[str | None, ...], stacks.WorkerPlace] = {}
        for group in groups if stack.numbers_groups else ():
            self.ids_of_miner.setdefault(miner_of_group.get(group.name), []).append(self.group_ids[group.name])

    def of(self, host: Host, worker: WorkerPlan) -> stacks.WorkerPlace:
        """Return the place of a worker; one without a group serves all groups of its miner."""
        key = (host.name, worker.group, worker.miner, worker.miner_role)
        if key not in self.known:
            self.known[key] = self._place(host, worker)
        return self.known[key]

    def _place(self, host: Host, worker: WorkerPlan) -> stacks.WorkerPlace:
        owner = (worker.miner, worker.miner_role) if worker.miner and worker.miner_role else None
        own = [self.group_ids[worker.group]] if worker.group and self.group_ids else []
        return stacks.WorkerPlace(
            host=host.name,
            address=host.address,
            scratch_path=host.scratch_path,
            figures=self.figures,
            pledges_smoothly=owner in self.smooth,
            group_ids=tuple(own or (self.ids_of_miner.get(owner, ()) if owner else ())),
        )
