"""The only place that knows Ansible: names of filters to functions, values to plain ones, errors to Ansible's.

All decisions are in the package beside this folder, which works without Ansible. This file has a folder of its own
because Ansible takes every file of two levels below a configured path for a plugin.
"""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleError, AnsibleFilterError
from jinja2 import TemplateError

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from sealyard import stacks
from sealyard.diagnosis import network_check, verify, why_idle
from sealyard.errors import SealyardError
from sealyard.hosts import builds, miners, paths, rdma, registration, restarts, shares, systemd, workers
from sealyard.hosts.config import lotus_config
from sealyard.inventory.groups import groups_missing_parents
from sealyard.inventory.judgement import check_inventory, preflight_text
from sealyard.inventory.planner_input import plan_input
from sealyard.operations import counter_move, drain, handover, proving_deadline, scheduler_switch
from sealyard.pages.plan_page import plan_page
from sealyard.plan.applied import REMEDY, merge_applied, misshapen
from sealyard.plan.diff import diff, text
from sealyard.plan.explain import explain
from sealyard.planner.planner import plan
from sealyard.planner.pledging import pledge_rule
from sealyard.problem import Problem
from sealyard.variables.inventory import Inventory
from sealyard.variables.options import PLAN_FACTS, ROLES_DIR, Unreadable, cluster_options, role_options

ROOT = Path(__file__).resolve().parents[2]

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
    """Return the plan that a file of the controller holds; None where there is none."""
    file = Path(path)
    if not path or not file.is_file():
        return None
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        if bad := misshapen(found):
            raise ValueError(f"{bad} is not as Sealyard writes it")
        return found
    except (OSError, ValueError) as error:
        remedy = REMEDY.capitalize()
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
        document = plan_input(roles, variables, [Path(inventory_dir)])
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
) -> list[dict[str, Any]]:
    """Return every problem of the inventory and of its plan, which is made here unless it is given.

    `applied` is the path of the plan applied last, against which the plan is judged. `counter_moves`: the sector
    counter may be elsewhere than then; `stack_switches`: another stack may run.
    """
    roles = role_options(ROLES_DIR)
    hosts = [str(host) for host in groups.get("all", ())]
    inventory = Inventory(
        groups={str(group): [str(host) for host in members] for group, members in groups.items()},
        hostvars={host: _our_variables(hostvars[host], (*roles, "vault")) for host in hosts},
        roles=roles,
        cluster=cluster_options(),
        found={host: hardware for host in hosts if (hardware := _found_hardware(hostvars[host]))},
        applied=read_json(applied) or {},
        changes=[what for what, changes in (("counter", counter_moves), ("stack", stack_switches)) if changes],
    )
    unreadable = any(isinstance(value, Unreadable) for own in inventory.hostvars.values() for value in own.values())
    if plan is None and hosts and not unreadable:
        plan = sealing_plan(sealing_plan_input(groups, hostvars, inventory_dir, applied))
    return [asdict(one) for one in check_inventory(inventory, plan)]


def sealing_preflight_text(problems: Sequence[Mapping[str, Any]]) -> str:
    """Return the problems as the text that an operator reads."""
    return preflight_text([Problem(**one) for one in problems])


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


def of_stack(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function with the facts of a stack (stack_facts) as its last argument, in place of the stack."""

    @functools.wraps(function)
    def called(*arguments: Any) -> Any:
        *others, facts = arguments
        return function(*others, stack=stacks.get(facts["name"], facts["generation"]))

    return called


def of_context(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function with a stack in place of its facts in the context, its second argument."""

    @functools.wraps(function)
    def called(host_plan: Mapping[str, Any], context: Mapping[str, Any], *others: Any) -> Any:
        facts = context["stack"]
        return function(host_plan, {**context, "stack": stacks.get(facts["name"], facts["generation"])}, *others)

    return called


FILTERS: dict[str, Callable[..., Any]] = {
    "groups_missing_parents": groups_missing_parents,
    # the plan
    "pledge_rule": pledge_rule,
    "sealing_plan": sealing_plan,
    "sealing_plan_applied": sealing_plan_applied,
    "sealing_plan_changes": sealing_plan_changes,
    "sealing_plan_input": sealing_plan_input,
    "sealing_plan_page": sealing_plan_page,
    "sealing_plan_text": explain,
    "sealing_preflight": sealing_preflight,
    "sealing_preflight_text": sealing_preflight_text,
    "sealing_simulation": sealing_simulation,
    # hosts/builds.py
    "lotus_builds": builds.lotus_builds,
    # hosts/workers.py
    "slurped_api_infos": workers.slurped_api_infos,
    "worker_attachments": workers.worker_attachments,
    "worker_files": of_context(workers.worker_files),
    "worker_miners": workers.worker_miners,
    "worker_units": of_context(workers.worker_units),
    # hosts/paths.py
    "path_directories": paths.path_directories,
    "path_files": of_stack(paths.path_files),
    "path_mounts": paths.path_mounts,
    # hosts/registration.py
    "host_plan_registrations": registration.host_plan_registrations,
    "registration_problems": registration.registration_problems,
    "worker_stats_named": registration.worker_stats_named,
    # hosts/restarts.py
    "unlisted_workers": restarts.unlisted_workers,
    "waiting_for_restart": restarts.waiting_for_restart,
    "worker_restart_turns": restarts.worker_restart_turns,
    # hosts/shares.py
    "host_plan_group_trees": of_stack(shares.host_plan_group_trees),
    "host_plan_served_paths": shares.host_plan_served_paths,
    "mount_unit": shares.mount_unit,
    "nfs_disk_files": shares.nfs_disk_files,
    "nfs_exports": shares.nfs_exports,
    "nfs_guard": shares.nfs_guard,
    "nfs_mount_files": shares.nfs_mount_files,
    "nfs_mount_units": shares.nfs_mount_units,
    "nfs_users": shares.nfs_users,
    # hosts/rdma.py
    "rdma_pc1_cpus": rdma.rdma_pc1_cpus,
    "rdma_peers": rdma.rdma_peers,
    "rdma_settings": rdma.rdma_settings,
    "rdma_units": rdma.rdma_units,
    # hosts/systemd.py
    "systemd_quoted": systemd.systemd_quoted,
    # hosts/miners.py
    "counter_second_authorities": miners.counter_second_authorities,
    "miner_duty_problems": of_stack(miners.miner_duty_problems),
    "miner_missing_reservations": miners.miner_missing_reservations,
    "plan_counter_listen": miners.plan_counter_listen,
    "plan_counter_process": miners.plan_counter_process,
    "plan_miner_processes": miners.plan_miner_processes,
    "post_miner_problems": miners.post_miner_problems,
    "sector_lists_highest_number": miners.sector_lists_highest_number,
    "sector_lists_silent_miners": miners.sector_lists_silent_miners,
    "sector_lists_silent_owners": miners.sector_lists_silent_owners,
    # diagnosis/network_check.py
    "host_plan_due_mounts": network_check.host_plan_due_mounts,
    "host_rdma_identities": network_check.host_rdma_identities,
    "host_variable_values": network_check.host_variable_values,
    "mount_speed_measurements": network_check.mount_speed_measurements,
    "network_records_table": network_check.network_records_table,
    "network_records_updated": network_check.network_records_updated,
    "network_round_links": network_check.network_round_links,
    "network_round_part": network_check.network_round_part,
    "rdma_identities_due_rounds": network_check.rdma_identities_due_rounds,
    "slurped_network_record": network_check.slurped_network_record,
    # diagnosis/verify.py
    "host_verify_problems": verify.host_verify_problems,
    "miner_role_units": of_stack(verify.miner_role_units),
    "registration_units": verify.registration_units,
    # diagnosis/why_idle.py
    "idle_answers_absent_workers": why_idle.idle_answers_absent_workers,
    "idle_journal_pattern": why_idle.idle_journal_pattern,
    "plan_idle_report": why_idle.plan_idle_report,
    "plan_serving_miners": why_idle.plan_serving_miners,
    "plan_settings_idle_calls": why_idle.plan_settings_idle_calls,
    # operations/counter_move.py
    "counter_look_move": counter_move.counter_look_move,
    "counter_look_problems": counter_move.counter_look_problems,
    "counter_move_steps": counter_move.counter_move_steps,
    "hosts_counter_look": counter_move.hosts_counter_look,
    # operations/drain.py
    "worker_drain_files": of_stack(drain.worker_drain_files),
    "worker_jobs_running": drain.worker_jobs_running,
    "worker_task_switches": of_stack(drain.worker_task_switches),
    # operations/handover.py
    "actor_chain_calls": handover.actor_chain_calls,
    "host_results_processes": handover.host_results_processes,
    "hosts_miner_processes": handover.hosts_miner_processes,
    "hosts_unseen_problems": handover.hosts_unseen_problems,
    "miner_answers_moving_calls": handover.miner_answers_moving_calls,
    "miner_answers_tasks_in_flight": handover.miner_answers_tasks_in_flight,
    "miner_answers_undeclared_sectors": handover.miner_answers_undeclared_sectors,
    "miner_role_calls": handover.miner_role_calls,
    "processes_accounted": handover.processes_accounted,
    "processes_carried_reservation": handover.processes_carried_reservation,
    "processes_handover_problems": handover.processes_handover_problems,
    "processes_highest_number": handover.processes_highest_number,
    "processes_layout_problems": handover.processes_layout_problems,
    "processes_single_miner": handover.processes_single_miner,
    "sector_size_bytes": handover.sector_size_bytes,
    # operations/proving_deadline.py
    "actor_deadline_calls": proving_deadline.actor_deadline_calls,
    "chain_answers_proofs_due": proving_deadline.chain_answers_proofs_due,
    # operations/scheduler_switch.py
    "counter_look_silent_sealers": scheduler_switch.counter_look_silent_sealers,
    "counter_look_used_numbers": scheduler_switch.counter_look_used_numbers,
    "holdings_lost_problems": scheduler_switch.holdings_lost_problems,
    "hosts_holdings": scheduler_switch.hosts_holdings,
    "hosts_lotus_versions": scheduler_switch.hosts_lotus_versions,
    "miner_roles_holding_calls": scheduler_switch.miner_roles_holding_calls,
    "number_runs_have_number": scheduler_switch.number_runs_have_number,
    "sector_answers_show_work": scheduler_switch.sector_answers_show_work,
    "versions_network_problems": scheduler_switch.versions_network_problems,
    "worker_stats_idle_problems": of_stack(scheduler_switch.worker_stats_idle_problems),
    # stacks
    "stack_facts": stacks.facts,
    # hosts/config.py
    "lotus_config": of_stack(lotus_config),
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
