"""Which software seals: whether playbooks can install it, and what it checks itself."""

from __future__ import annotations

from collections.abc import Iterator

from sealyard import stacks
from sealyard.hosts.miners import plan_counter_process
from sealyard.plan.applied import counting_processes
from sealyard.problem import Problem
from sealyard.variables.inventory import Inventory, Plan, problem


def stack_of(inventory: Inventory, host: str) -> stacks.Stack | None:
    """Return the stack of a host; None where the inventory names none that there is."""
    name = inventory.text(host, "sealing_stack", "lotus")
    return stacks.get(name, inventory.value(host, "sealing_fork_generation")) if name in stacks.names() else None


def check_stack(inventory: Inventory, plan: Plan) -> Iterator[Problem]:
    """What cannot be installed can be planned."""
    for host in inventory.hostvars:
        stack = stack_of(inventory, host)
        if stack and not stack.installable:
            text = "can be planned (playbooks/plan.yml) and not yet be installed"
            others = " or ".join(stacks.names(lambda one: one.installable))
            yield problem(host, "sealing_stack", stack.name, text, f"sealing_stack: {others}")


def check_scheduler(inventory: Inventory, plan: Plan) -> Iterator[Problem]:
    """A scheduler belongs to its stack."""
    for host in inventory.hostvars:
        scheduler, stack = str(inventory.value(host, "sealing_scheduler", "")), stack_of(inventory, host)
        owner = next((one.name for one in stacks.newest() if one.scheduler_choice == scheduler != ""), None)
        if stack and owner and stack.scheduler_choice and owner != stack.name:
            text = (
                f"is no scheduler of stack {stack.name}: Lotus has no myScheduler, and the fork gives out no task "
                "without it"
            )
            remedy = f"{stack.scheduler_choice}, or sealing_stack: {owner} and playbooks/scheduler_switch.yml"
            yield problem(host, "sealing_scheduler", scheduler, text, remedy)


def check_by_stack(inventory: Inventory, plan: Plan) -> Iterator[Problem]:
    """What only the stacks of this inventory can get wrong."""
    present = [stack for host in inventory.hostvars if (stack := stack_of(inventory, host))]
    for check in dict.fromkeys(check for stack in present for check in stack.checks):
        yield from check(inventory, plan)


def check_counter_place(inventory: Inventory, plan: Plan) -> Iterator[Problem]:
    """The sector counter would start on another host while the one of the plan in force runs."""
    # A host that left the inventory stays in the plan in force, because its sector numbers stay taken.
    old = counting_processes(inventory.applied)
    new = plan_counter_process(plan)
    if new and old and new not in old and "counter" not in inventory.changes:
        text = f"gives out the sector numbers in this inventory, and {old[0]} does so now: two would give out the same"
        remedy = f"sector_counter: {old[0].partition('/')[0]}, or move it with playbooks/sector_counter_move.yml"
        yield problem("groups", "sector_counter", new, text, remedy)
