#!/usr/bin/python
"""Address and MTU of RDMA cards, through whoever owns the interface, with a rollback that needs no controller."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.sealyard_host import cpu_lists
from ansible.module_utils.sealyard_host.files import text_of
from ansible.module_utils.sealyard_host.interfaces.card import Found, look, only_card, version
from ansible.module_utils.sealyard_host.interfaces.change import change, disarm
from ansible.module_utils.sealyard_host.interfaces.commands import Refused
from ansible.module_utils.sealyard_host.interfaces.owners import OWNERS, Wanted, former_files, network_file
from ansible.module_utils.sealyard_host.interfaces.verdict import compare, no_soft_roce, problems_of

DOCUMENTATION = r"""
module: rdma_interface
short_description: Give RDMA cards their address and MTU, or take it back
description:
  - Writes one file of whoever owns the interface (systemd-networkd, netplan or NetworkManager) and has it applied.
  - An interface whose file, addresses and MTU are right is not touched.
  - Before a change a timer is started on the host that restores the files of before; O(state=confirmed) stops it. A
    controller that loses the host cannot confirm, so the host comes back by itself. A host that boots before it was
    confirmed takes the change back at that boot.
  - A change that cuts a link in use (NFS mounts over it, NFS clients of it, running workers, this very connection) is
    refused without O(allow_disruption).
options:
  state:
    description: V(read) changes nothing; V(present) writes and applies; V(confirmed) keeps what V(present) did.
    type: str
    choices: [read, present, confirmed]
    default: present
  interfaces:
    description: The cards.
    type: list
    elements: dict
    default: []
    suboptions:
      name: {type: str, default: '', description: Network interface; empty for the only one with an RDMA device.}
      address: {type: str, required: true, description: Address with prefix.}
      mtu: {type: int, default: 9000, description: Largest packet in bytes.}
  soft:
    description: Soft RoCE (rdma_rxe) on any interface, for labs.
    type: bool
    default: false
  firmware_minimum:
    description: Oldest firmware that is not reported, such as V(16.28.2006).
    type: str
    default: ''
  avoid_cpus:
    description: CPU lists that interrupts of the cards stay away from.
    type: list
    elements: str
    default: []
  allow_disruption:
    description: Change links in use too.
    type: bool
    default: false
  rollback_sec:
    description: Seconds after which what is not confirmed is taken back.
    type: int
    default: 120
author: [Sealyard]
"""

EXAMPLES = r"""
- name: Give the card its address
  rdma_interface:
    interfaces: [{name: enp65s0np0, address: 10.40.0.21/24}]
"""

RETURN = r"""
found:
  description: The cards as they were, with owner, RDMA device, firmware, NUMA node and CPUs for its interrupts.
  type: list
  elements: dict
  returned: state is not confirmed
problems:
  description: What makes a card unusable, in words, all at once. Only O(state=read) returns with problems.
  type: list
  elements: str
  returned: state is not confirmed
changes:
  description: What was done, or would be done.
  type: list
  elements: str
  returned: state is not confirmed
unconfirmed:
  description: Whether a rollback is waiting to be confirmed.
  type: bool
  returned: always
"""


def main() -> None:
    """Module entry."""
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["read", "present", "confirmed"], "default": "present"},
            "interfaces": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "name": {"type": "str", "default": ""},
                    "address": {"type": "str", "required": True},
                    "mtu": {"type": "int", "default": 9000},
                },
            },
            "soft": {"type": "bool", "default": False},
            "firmware_minimum": {"type": "str", "default": ""},
            "avoid_cpus": {"type": "list", "elements": "str", "default": []},
            "allow_disruption": {"type": "bool", "default": False},
            "rollback_sec": {"type": "int", "default": 120},
        },
        supports_check_mode=True,
    )
    try:
        module.exit_json(**act(module.params, module.check_mode))
    except (Refused, OSError, ValueError) as error:
        module.fail_json(msg=str(error))


def act(options: Mapping[str, Any], check: bool) -> dict[str, Any]:
    """What the options ask; the module's result."""
    if options["state"] == "confirmed":
        if not check:
            disarm()
        return {"changed": False, "unconfirmed": False}
    avoid = {cpu for text in options["avoid_cpus"] for cpu in cpu_lists.parse(text)}
    found, problems, changes, cuts = [], no_soft_roce() if options["soft"] else [], [], []
    todo: list[tuple[Wanted, Found]] = []
    for item in options["interfaces"]:
        try:
            wanted = Wanted(item["name"] or only_card(), item["address"], item["mtu"])
            one = look(wanted.name, avoid)
        except Refused as refused:
            problems.append(str(refused))
            continue
        found.append(one)
        problems += problems_of(wanted, one, options["soft"])
        differs, former = False, list[str]()
        if one.owner in OWNERS:
            path, text, _ = network_file(one.owner, wanted, one.mac)
            differs, former = text_of(path) != text.strip(), list(former_files(one.owner, wanted, one.mac))
        report = compare(wanted, one, differs, former)
        changes += report.changes
        if report.changes and one.owner in OWNERS:
            todo.append((wanted, one))
            cuts += [f"{wanted.name}: {use}" for use in report.cuts]
    if cuts and not options["allow_disruption"]:
        problems.append(
            f"{'; '.join(changes)}. This would cut a link in use: {'; '.join(cuts)}. Drain the host "
            "(playbooks/drain.yml) and run again with -e rdma_nic_allow_disruption=true"
        )
    minimum = version(options["firmware_minimum"])
    result: dict[str, Any] = {
        "changed": False,
        "found": [asdict(one) for one in found],
        "problems": problems,
        "changes": changes,
        "old_firmware": [
            f"{one.name}: firmware {one.firmware} is older than {options['firmware_minimum']}"
            for one in found
            if minimum and one.firmware and version(one.firmware) < minimum
        ],
        "unconfirmed": False,
    }
    if options["state"] == "read":
        return result
    if problems:
        raise Refused("\n".join(problems))
    result["changed"] = bool(todo)
    if todo and not check:
        change(todo, options["rollback_sec"])
        result["unconfirmed"] = True
    return result


if __name__ == "__main__":
    main()
