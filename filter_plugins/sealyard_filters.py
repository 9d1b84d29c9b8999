"""The only place that knows Ansible: names of filters to functions, values to plain ones, errors to Ansible's.

All decisions are in the package beside this file, which works without Ansible.
"""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleError, AnsibleFilterError
from jinja2 import TemplateError

sys.path.insert(0, str(Path(__file__).resolve().parent))

from sealyard.diagnosis import network_check, verify, why_idle
from sealyard.errors import SealyardError
from sealyard.hosts import builds, miners, rdma, shares, workers
from sealyard.inventory.checks.inventory import Inventory
from sealyard.inventory.planner_input import plan_input
from sealyard.inventory.preflight import inventory_problems, preflight_text
from sealyard.inventory.variables import PLAN_FACTS, Problem, Unreadable, cluster_options, role_options
from sealyard.lotus.config import lotus_config
from sealyard.operations import counter_move, handover, proving_deadline, scheduler_switch
from sealyard.pages.plan_page import plan_page
from sealyard.plan.applied import merge_applied
from sealyard.plan.diff import diff, text
from sealyard.plan.explain import explain
from sealyard.planner.planner import plan
from sealyard.planner.pledging import pledge_rule

ROOT = Path(__file__).resolve().parent.parent

# ---------------------------------------------------------------------------------------------------------------------
# Values


def plain(value: Any) -> Any:
    """Return `value` without Ansible's tags and lazy containers; text under !vault is decrypted here."""
    if isinstance(value, Mapping):
        return {str(key): plain(value[key]) for key in value}
    if isinstance(value, str):
        return str(value)
    if isinstance(value, Sequence):
        return [plain(item) for item in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    return str(value)


def plain_json(value: Any) -> Any:
    """`plain` for what is large: through JSON, which is several times as fast."""
    return json.loads(json.dumps(value, default=str))


def read_json(path: str) -> Any:
    """Return what a file of the controller holds; None where there is none."""
    file = Path(path)
    if not path or not file.is_file():
        return None
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        remedy = "Restore it from a backup, or remove it if no host holds sectors"
        raise SealyardError(f"{path}: cannot be read as the plan applied last: {error}. {remedy}") from error


class HostVariables:
    """A host's variables, each templated and made plain when it is asked for."""

    def __init__(self, variables: Mapping[str, Any]) -> None:
        self.variables = variables

    def get(self, name: str) -> Any:
        """Return the variable's value; None where it is not set or cannot be rendered, which preflight tells."""
        try:
            value = self.variables.get(name)
            return plain_json(value) if value is not None else None
        except (AnsibleError, TemplateError):
            return None


# ---------------------------------------------------------------------------------------------------------------------
# The plan


def sealing_plan_input(
    groups: Mapping[str, Iterable[str]],
    hostvars: Mapping[str, Mapping[str, Any]],
    inventory_dir: str = "",
    applied: str = "",
) -> dict[str, Any]:
    """Return the planner's input document for an inventory; `applied` is the path of the plan applied last."""
    try:
        names = sorted({str(host) for members in groups.values() for host in members})
        roles = {name: sorted(str(g) for g, members in groups.items() if name in members) for name in names}
        variables = {name: HostVariables(hostvars[name]) for name in names}
        document = plan_input(roles, variables, [Path(inventory_dir), ROOT])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SealyardError(f"the inventory cannot be read for planning: {error}") from error
    document["current"] = read_json(applied)
    return document


def sealing_plan(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the plan. What the inventory has wrong is in its `errors`."""
    if not isinstance(document, Mapping):
        kind = type(document).__name__
        raise SealyardError(f"sealing_plan wants the dictionary of sealing_plan_input, not {kind}")
    return plan(plain_json(document))


def sealing_plan_applied(plan_: Mapping[str, Any], hosts: Iterable[str], applied: str) -> dict[str, Any]:
    """Return the plan now in force: `plan_` for the hosts of this run, what was applied before for all others."""
    return merge_applied(read_json(applied), plain_json(plan_), {str(host) for host in hosts})


def sealing_plan_page(plan_: Mapping[str, Any], document: Mapping[str, Any]) -> str:
    """Return plan.html for a plan and the planner's input it was made from."""
    return plan_page(plain_json(plan_), plain_json(document))


def sealing_plan_changes(plan_: Mapping[str, Any], document: Mapping[str, Any]) -> list[str]:
    """Return what the plan changes against the one applied last (`current` of the planner's input), a line each."""
    return text(diff(plain_json(document.get("current")), plain_json(plan_)))


def sealing_simulation(
    plan_: Mapping[str, Any], document: Mapping[str, Any], options: Mapping[str, Any] | None = None
) -> list[str]:
    """Return the simulation's tables as lines; `options` as in `simulation_report`."""
    try:
        from sealyard.simulate.report import simulation_report
    except ImportError as error:
        raise SealyardError(f"{error}: install requirements.txt into the Python that runs Ansible") from error
    return simulation_report(plain_json(plan_), plain_json(document), plain_json(options or {}))


# ---------------------------------------------------------------------------------------------------------------------
# Preflight


def sealing_preflight(
    groups: Mapping[str, Sequence[str]],
    hostvars: Mapping[str, Mapping[str, Any]],
    inventory_dir: str = "",
    applied: str = "",
    plan: Mapping[str, Any] | None = None,
    counter_moves: bool = False,
    stack_switches: bool = False,
) -> list[Problem]:
    """Return every problem of the inventory and of its plan, which is made here unless it is given.

    `applied` is the path of the plan applied last; the two switches as in `inventory_problems`.
    """
    roles = role_options(ROOT / "roles")
    hosts = [str(host) for host in groups.get("all", ())]
    inventory = Inventory(
        groups={str(group): [str(host) for host in members] for group, members in groups.items()},
        hostvars={host: _our_variables(hostvars[host], (*roles, "sealing", "vault")) for host in hosts},
        roles=roles,
        cluster=cluster_options(),
        found={host: hardware for host in hosts if (hardware := _found_hardware(hostvars[host]))},
    )
    unreadable = any(isinstance(value, Unreadable) for own in inventory.hostvars.values() for value in own.values())
    if plan is None and hosts and not unreadable:
        plan = sealing_plan(sealing_plan_input(groups, hostvars, inventory_dir, applied))
    return inventory_problems(inventory, plan, read_json(applied), counter_moves, stack_switches)


def _our_variables(variables: Mapping[str, Any], prefixes: Sequence[str]) -> dict[str, Any]:
    """Return the variables that are ours, rendered; one that cannot be rendered becomes Unreadable."""
    ours = (*(f"{prefix}_" for prefix in prefixes), "ansible_host")
    wanted = [name for name in variables if name.startswith(ours) and not name.startswith(PLAN_FACTS)]
    return {str(name): _rendered(variables, name) for name in wanted}


def _rendered(variables: Mapping[str, Any], name: str) -> Any:
    try:
        return plain(variables[name])
    except (AnsibleError, TemplateError) as error:
        first_line = str(error).strip().splitlines()[0]
        return Unreadable(first_line.removeprefix("A captured exception marker was tripped: "))


def _found_hardware(variables: Mapping[str, Any]) -> Any:
    """Return what library/sealing_hardware.py has read on a host, where it has been run."""
    facts = variables.get("ansible_facts")
    return plain(facts.get("sealing_hardware")) if isinstance(facts, Mapping) else None


# ---------------------------------------------------------------------------------------------------------------------
# Names

FILTERS: dict[str, Callable[..., Any]] = {
    # the plan
    "sealing_plan": sealing_plan,
    "sealing_plan_applied": sealing_plan_applied,
    "sealing_plan_changes": sealing_plan_changes,
    "sealing_plan_input": sealing_plan_input,
    "sealing_plan_page": sealing_plan_page,
    "sealing_plan_text": explain,
    "sealing_preflight": sealing_preflight,
    "sealing_preflight_text": preflight_text,
    "sealing_simulation": sealing_simulation,
    "pledge_rule": pledge_rule,
    # hosts/builds.py
    "lotus_builds": builds.lotus_builds,
    # hosts/workers.py
    "api_infos": workers.api_infos,
    "drain_files": workers.drain_files,
    "expected_workers": workers.expected_workers,
    "mounts_below": workers.mounts_below,
    "myscheduler_path": workers.myscheduler_path,
    "named_answers": workers.named_answers,
    "named_stats": workers.named_stats,
    "path_directories": workers.path_directories,
    "path_files": workers.path_files,
    "registration_problems": workers.registration_problems,
    "running_jobs": workers.running_jobs,
    "task_switches": workers.task_switches,
    "worker_attachments": workers.worker_attachments,
    "worker_files": workers.worker_files,
    "worker_miners": workers.worker_miners,
    "worker_problems": workers.worker_problems,
    "worker_units": workers.worker_units,
    # hosts/shares.py
    "group_trees": shares.group_trees,
    "mount_unit": shares.mount_unit,
    "nfs_disk_files": shares.nfs_disk_files,
    "nfs_exports": shares.nfs_exports,
    "nfs_guard": shares.nfs_guard,
    "nfs_mount_files": shares.nfs_mount_files,
    "nfs_mount_units": shares.nfs_mount_units,
    "nfs_users": shares.nfs_users,
    "served_paths": shares.served_paths,
    # hosts/rdma.py
    "rdma_pc1_cpus": rdma.rdma_pc1_cpus,
    "rdma_peers": rdma.rdma_peers,
    "rdma_settings": rdma.rdma_settings,
    # hosts/miners.py
    "all_duty_problems": miners.all_duty_problems,
    "all_post_miner_problems": miners.all_post_miner_problems,
    "counter_authority": miners.counter_authority,
    "counter_listen": miners.counter_listen,
    "duty_patterns": miners.duty_patterns,
    "duty_problems": miners.duty_problems,
    "highest_sector": miners.highest_sector,
    "miner_processes": miners.miner_processes,
    "missing_reservations": miners.missing_reservations,
    "post_miner_problems": miners.post_miner_problems,
    "second_authorities": miners.second_authorities,
    "silent_miners": miners.silent_miners,
    "silent_with_repo": miners.silent_with_repo,
    "wanted_reservations": miners.wanted_reservations,
    # diagnosis/network_check.py
    "check_collect": network_check.check_collect,
    "check_identities": network_check.check_identities,
    "check_kept": network_check.check_kept,
    "check_links": network_check.check_links,
    "check_mounted": network_check.check_mounted,
    "check_records": network_check.check_records,
    "check_table": network_check.check_table,
    "due_mounts": network_check.due_mounts,
    "due_rounds": network_check.due_rounds,
    "round_partner": network_check.partner,
    # diagnosis/verify.py
    "affinity_problems": verify.affinity_problems,
    "daemon_problems": verify.daemon_problems,
    "fault_problems": verify.fault_problems,
    "miner_problems": verify.miner_problems,
    "miner_units": verify.miner_units,
    "unanswered": verify.unanswered,
    "unit_problems": verify.unit_problems,
    "worker_unit_names": verify.worker_unit_names,
    # diagnosis/why_idle.py
    "idle_absent": why_idle.idle_absent,
    "idle_calls": why_idle.idle_calls,
    "idle_journal_pattern": why_idle.idle_journal_pattern,
    "idle_report": why_idle.idle_report,
    "serving_miners": why_idle.serving_miners,
    # operations/counter_move.py
    "counter_move": counter_move.counter_move,
    "counter_proof": counter_move.counter_proof,
    "counter_seen": counter_move.counter_seen,
    "counter_steps": counter_move.counter_steps,
    # operations/handover.py
    "accounted_for": handover.accounted_for,
    "answered_in_flight": handover.answered_in_flight,
    "carried_reservation": handover.carried_reservation,
    "chain_calls": handover.chain_calls,
    "handover_processes": handover.handover_processes,
    "handover_verdict": handover.handover_verdict,
    "highest_of_all": handover.highest_of_all,
    "miner_calls": lambda _nothing=None: handover.miner_calls(),
    "moving_calls": handover.moving_calls,
    "processes_elsewhere": handover.processes_elsewhere,
    "sector_bytes": handover.sector_bytes,
    "silent_hosts": handover.silent_hosts,
    "strange_layout": handover.strange_layout,
    "the_single_miner": handover.the_single_miner,
    "undeclared_sectors": handover.undeclared_sectors,
    # operations/proving_deadline.py
    "deadline_calls": proving_deadline.deadline_calls,
    "proofs_due": proving_deadline.proofs_due,
    # operations/scheduler_switch.py
    "has_number": lambda runs, number: int(number) in miners.members(runs),
    "held_by": scheduler_switch.held_by,
    "holdings": scheduler_switch.holdings,
    "idle_workers": scheduler_switch.idle_workers,
    "is_worked_on": scheduler_switch.is_worked_on,
    "lost_holdings": scheduler_switch.lost_holdings,
    "network_problems": scheduler_switch.network_problems,
    "silent_sealers": scheduler_switch.silent_sealers,
    "switched_versions": scheduler_switch.switched_versions,
    "used_numbers": scheduler_switch.used_numbers,
    # lotus/config.py
    "lotus_config": lotus_config,
}


def for_ansible(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function with its SealyardError made into Ansible's own."""

    @functools.wraps(function)
    def called(*arguments: Any, **named: Any) -> Any:
        try:
            return function(*arguments, **named)
        except SealyardError as error:
            raise AnsibleFilterError(str(error)) from error

    return called


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Return the filters by name."""
        return {name: for_ansible(function) for name, function in FILTERS.items()}
