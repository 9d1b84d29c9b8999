#!/usr/bin/python
"""What the miner processes of a host are, run or not, and which of the actor's duties each has."""

from __future__ import annotations

import re
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.sealyard_host import sector_numbers
from ansible.module_utils.sealyard_host.programs import ProgramFailed, run
from ansible.module_utils.sealyard_host.units import by_name

DOCUMENTATION = r"""
module: miner_processes
short_description: Tell which miner processes a host has, and which of them prove and make blocks
description: Reads systemd and the files that a process starts from. Changes nothing.
options:
  data_dir:
    description: Directory of the repos C(miner-ROLE).
    type: path
    required: true
  counter_state_dir:
    description: Where role sector_counter remembers the highest number of the fork's counter.
    type: path
    required: true
author: [Sealyard]
"""

EXAMPLES = r"""
- name: Look which miner processes there are
  miner_processes:
    data_dir: "{{ sealing_data_dir }}"
    counter_state_dir: "{{ sealing_counter_state_dir }}"
"""

RETURN = r"""
processes:
  description:
    - By role, of those with a repo or a unit. C(active) it runs or starts or stops, C(enabled) it starts with the host,
      C(repo) it is initialised, C(configured) its settings name both duties, C(pid) its process or 0, C(duties) of
      C(window) and C(winning) those that its settings give it, C(duties_in_flags) whether flags give them, as those of
      the fork do, C(counter) the highest number that the fork's counter on this host ever gave out.
  type: dict
  returned: always
"""

ROLES = ("winning", "window", "seal", "deal")
PROPERTIES = "Id,LoadState,ActiveState,UnitFileState,MainPID"
UNIT_DIR = "/etc/systemd/system"
SETTINGS = {"window": "DisableWindowPoSt", "winning": "DisableWinningPoSt"}
FLAGS = {"window": "--window-post", "winning": "--winning-post"}


def duties_of(config: str, unit: str) -> tuple[list[str], bool]:
    """Duties of a process out of its config.toml and its unit, and whether flags say so.

    What is not said is on, in both.
    """
    if any(flag in unit for flag in FLAGS.values()):
        return [duty for duty, flag in FLAGS.items() if f"{flag}=false" not in unit], True
    off = [duty for duty, key in SETTINGS.items() if re.search(rf"(?m)^\s*{key}\s*=\s*true\b", config)]
    return [duty for duty in SETTINGS if duty not in off], False


def text_of(path: Path) -> str:
    """A file's text, "" where there is none."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""


def processes(
    data_dir: str, shown: dict[str, dict[str, str]], unit_dir: str, mark: Path
) -> dict[str, dict[str, object]]:
    """The processes of this host by role."""
    found: dict[str, dict[str, object]] = {}
    for role in ROLES:
        name = f"lotus-miner-{role}.service"
        repo = Path(data_dir, f"miner-{role}")
        state = shown.get(name, {})
        initialised = (repo / "keystore").is_dir()
        if not initialised and state.get("LoadState") != "loaded":
            continue
        config = text_of(repo / "config.toml")
        duties, in_flags = duties_of(config, text_of(Path(unit_dir, name)))
        found[role] = {
            "active": state.get("ActiveState", "inactive") not in ("inactive", "failed"),
            "enabled": state.get("UnitFileState") in ("enabled", "enabled-runtime"),
            "repo": initialised,
            "configured": all(re.search(rf"(?m)^\s*{key}\s*=", config) for key in SETTINGS.values()),
            "pid": int(state.get("MainPID") or 0),
            "duties": duties,
            "duties_in_flags": in_flags,
            "counter": max((sector_numbers.read(path) or 0 for path in (repo / sector_numbers.FILE, mark)), default=0),
        }
    return found


def main() -> None:
    """Module entry."""
    directory = {"type": "path", "required": True}
    module = AnsibleModule(
        argument_spec={"data_dir": directory, "counter_state_dir": directory}, supports_check_mode=True
    )
    names = [f"lotus-miner-{role}.service" for role in ROLES]
    try:
        shown = by_name(run("systemctl", "show", "--property", PROPERTIES, *names))
        mark = Path(module.params["counter_state_dir"], sector_numbers.HIGHEST)
        found = processes(module.params["data_dir"], shown, UNIT_DIR, mark)
    except ProgramFailed as error:
        module.fail_json(msg=str(error))
    except OSError as error:
        module.fail_json(msg=f"{error}. It must be readable to see what the process does")
    module.exit_json(changed=False, processes=found)


if __name__ == "__main__":
    main()
