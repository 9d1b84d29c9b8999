#!/usr/bin/python
"""What the running process of a systemd unit wrote as it started, and the command line it runs with."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.sealyard_host.processes import command_line
from ansible.module_utils.sealyard_host.programs import output
from ansible.module_utils.sealyard_host.units import properties

DOCUMENTATION = r"""
module: unit_log
short_description: Log lines of a unit's start
description:
  - Reads the journal of the process that runs now, from its start on, and returns the lines that match.
options:
  unit:
    description: Name with its suffix, such as C(lotus-miner-seal.service).
    type: str
    required: true
  patterns:
    description: Python regular expressions; a line is returned when one of them is found in it.
    type: list
    elements: str
    required: true
  window_sec:
    description: Seconds after the start that are looked at. The log of a miner that runs for months is long.
    type: int
    default: 3600
author: [Sealyard]
"""

EXAMPLES = r"""
- name: Read which duties the seal miner took up
  unit_log:
    unit: lotus-miner-seal.service
    patterns: [windowPoSt, block]
"""

RETURN = r"""
lines:
  description: Lines that match, in the order they were written.
  type: list
  elements: str
  returned: always
command:
  description: Command line of the main process, empty when there is none.
  type: list
  elements: str
  returned: always
complete:
  description: Whether the journal still holds the start of the process.
  type: bool
  returned: always
"""


def matching(text: str, patterns: Sequence[str]) -> list[str]:
    """Lines of a log that one of the patterns is found in."""
    wanted = [re.compile(pattern) for pattern in patterns]
    return [line for line in text.splitlines() if any(pattern.search(line) for pattern in wanted)]


def main() -> None:
    """Module entry."""
    module = AnsibleModule(
        argument_spec={
            "unit": {"type": "str", "required": True},
            "patterns": {"type": "list", "elements": "str", "required": True},
            "window_sec": {"type": "int", "default": 3600},
        },
        supports_check_mode=True,
    )
    unit: str = module.params["unit"]
    state = properties(
        output("systemctl", "show", unit, "--property=MainPID,InvocationID,ExecMainStartTimestamp", "--timestamp=unix")
    )
    pid, start = int(state.get("MainPID") or 0), state.get("ExecMainStartTimestamp", "").removeprefix("@")
    result: dict[str, Any] = {"lines": [], "command": command_line(pid) if pid else [], "complete": False}
    if pid and start.isdigit():
        journal = [
            "journalctl",
            "--quiet",
            "--no-pager",
            "--output=cat",
            f"_SYSTEMD_INVOCATION_ID={state['InvocationID']}",
        ]
        window = [f"--since=@{int(start) - 60}", f"--until=@{int(start) + module.params['window_sec']}"]
        # The journal of a busy miner takes long to search.
        text = output(*journal, *window, timeout_sec=600)
        result["lines"] = matching(text, module.params["patterns"])
        result["complete"] = bool(text)
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
