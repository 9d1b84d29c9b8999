#!/usr/bin/python
"""Bring a set of systemd units to enabled and running, each not older than the files it starts from."""

from __future__ import annotations

import fnmatch
import subprocess
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.sealyard_host import cpu_lists
from ansible.module_utils.sealyard_host.files import text_of
from ansible.module_utils.sealyard_host.units import by_name

DOCUMENTATION = r"""
module: unit_set
short_description: Enable, start, restart and retire systemd units in one call
description:
  - A unit is restarted when one of its O(units[].files) changed after the unit started. A notified handler would be
    lost when the run is killed between the change and the restart; the age of a file is not.
  - Module file_set lets a unit's file keep its age when only its comments change, so those restart nothing.
  - Units that stop slowly (a worker that drains) stop side by side.
options:
  units:
    description: Units that must be enabled and running.
    type: list
    elements: dict
    default: []
    suboptions:
      name: {type: str, required: true, description: 'Name with its suffix, such as C(lotus-miner-seal.service).'}
      files:
        description: Files the unit reads at its start.
        type: list
        elements: path
        default: []
  finish:
    description: Oneshot units to run to their end. One that another run has started is waited for.
    type: list
    elements: str
    default: []
  exclusive:
    description: Shell pattern. Loaded or enabled units that match and are not in O(units) are stopped and disabled.
    type: str
  changing:
    description: Files that a dry run would have changed, RV(effective_paths) of module file_set. Else it says nothing.
    type: list
    elements: path
    default: []
  may_restart:
    description: With V(false) a unit that is due for a restart keeps running and is returned in RV(deferred).
    type: bool
    default: true
  wait:
    description: With V(false) a unit is started and not waited for, as a mount is whose server may be away for hours.
    type: bool
    default: true
author: [Sealyard]
"""

EXAMPLES = r"""
- name: Run the workers of the plan and no other
  unit_set:
    units:
      - name: lotus-worker@pc1-0.service
        files: [/etc/sealyard/lotus-worker@pc1-0.env]
    exclusive: lotus-worker@*.service
"""

RETURN = r"""
started:
  description: Units that were not running.
  type: list
  elements: str
  returned: always
restarted:
  description: Units that were older than one of their files.
  type: list
  elements: str
  returned: always
deferred:
  description: Units that are due for a restart which O(may_restart=false) forbade.
  type: list
  elements: str
  returned: always
retired:
  description: Units that were stopped or disabled.
  type: list
  elements: str
  returned: always
enabled:
  description: Units that were not enabled.
  type: list
  elements: str
  returned: always
finished:
  description: Oneshot units that were run to their end.
  type: list
  elements: str
  returned: always
states:
  description:
    - What each of O(units) is at the end. C(active) and C(enabled) as systemd says, C(cpus) the CPU list that the
      kernel lets its main process run on, empty when there is none.
  type: dict
  returned: always
"""

PROPERTIES = "Id,LoadState,ActiveState,UnitFileState,NeedDaemonReload,MainPID"
UNIT_DIR = Path("/etc/systemd/system")
# When the process started; a timer has none and counts from its activation.
STARTED = ("ExecMainStartTimestampMonotonic", "ActiveEnterTimestampMonotonic")


class SystemdFailed(Exception):
    """systemctl refused; the text names the command, its message and where to look."""


@dataclass(frozen=True)
class State:
    """What systemd says of one unit; `started_at` is seconds since the epoch, 0 when it never ran."""

    name: str
    known: bool
    active: str
    enabled: bool
    stale_definition: bool
    started_at: float
    main_pid: int


@dataclass
class Steps:
    """What has to be done, by unit name."""

    enable: list[str] = field(default_factory=list)
    start: list[str] = field(default_factory=list)
    restart: list[str] = field(default_factory=list)
    deferred: list[str] = field(default_factory=list)
    retire: list[str] = field(default_factory=list)

    def any(self) -> bool:
        """True when something is to be done; a deferred restart is not."""
        return bool(self.enable or self.start or self.restart or self.retire)


def parse_states(text: str, boot_time: float) -> dict[str, State]:
    """Read the output of `systemctl show`, blocks of KEY=VALUE; `boot_time` is the epoch second of monotonic zero."""
    states = {}
    for name, values in by_name(text).items():
        started_usec = next((int(values[key]) for key in STARTED if values.get(key, "0") != "0"), 0)
        states[name] = State(
            name=name,
            known=values.get("LoadState") == "loaded",
            active=values.get("ActiveState", "inactive"),
            enabled=values.get("UnitFileState") in ("enabled", "enabled-runtime"),
            stale_definition=values.get("NeedDaemonReload") == "yes",
            started_at=boot_time + started_usec / 1e6 if started_usec else 0.0,
            main_pid=int(values.get("MainPID") or 0),
        )
    return states


def newest(paths: Sequence[str]) -> float:
    """Latest modification time of the files that exist, seconds since the epoch; 0 when none does."""
    return max((Path(path).lstat().st_mtime for path in paths if Path(path).exists()), default=0.0)


def steps_for(
    units: Sequence[Mapping[str, Any]],
    states: Mapping[str, State],
    present: Sequence[str],
    exclusive: str | None,
    may_restart: bool,
    changing: Collection[str] = (),
) -> Steps:
    """Compare wanted units with what is there; `present` are the loaded or enabled units of the exclusive pattern.

    Files of `changing` are as if they had just changed.
    """
    steps = Steps()
    for unit in units:
        name = unit["name"]
        state = states.get(name)
        if state is None or not state.enabled:
            steps.enable.append(name)
        if state is None or state.active not in ("active", "activating", "reloading"):
            steps.start.append(name)
        elif newest(unit["files"]) > state.started_at or not set(changing).isdisjoint(unit["files"]):
            (steps.restart if may_restart else steps.deferred).append(name)
    wanted = {unit["name"] for unit in units}
    if exclusive:
        steps.retire = sorted(name for name in present if fnmatch.fnmatch(name, exclusive) and name not in wanted)
    return steps


def helper_units(units: Sequence[Mapping[str, Any]]) -> list[str]:
    """Units whose definitions are among the files of another, such as the service that a timer starts."""
    names = {unit["name"] for unit in units}
    files = [Path(path) for unit in units for path in unit["files"]]
    return sorted({path.name for path in files if path.parent == UNIT_DIR and "@." not in path.name} - names)


def allowed_cpus(pid: int, proc: str = "/proc") -> str:
    """CPU list such as 0-3,8 on which the kernel lets a process run; empty when there is no such process."""
    return cpu_lists.allowed(text_of(Path(proc, str(pid), "status")))


def systemctl(*arguments: str, good: tuple[int, ...] = (0,)) -> str:
    """Run systemctl and return its output; SystemdFailed with its message when its status is not among `good`."""
    done = subprocess.run(["systemctl", *arguments], capture_output=True, text=True, check=False)
    if done.returncode not in good:
        names = " ".join(f"-u {argument}" for argument in arguments[1:] if not argument.startswith("-"))
        raise SystemdFailed(
            f"systemctl {' '.join(arguments)}: {done.stderr.strip() or done.returncode}. "
            f"What the units said: journalctl {names} -n 40"
        )
    return done.stdout


def show(names: Sequence[str]) -> dict[str, State]:
    """State of the named units."""
    if not names:
        return {}
    boot_time = time.time() - time.clock_gettime(time.CLOCK_MONOTONIC)
    return parse_states(systemctl("show", "--property", ",".join((PROPERTIES, *STARTED)), *names), boot_time)


def present_units(pattern: str | None) -> list[str]:
    """Units of the pattern that run, failed or are enabled."""
    if not pattern:
        return []
    listed = systemctl("list-units", "--all", "--plain", "--no-legend", pattern).splitlines()
    # It ends with 1 where no file matches.
    links = systemctl("list-unit-files", "--plain", "--no-legend", pattern, good=(0, 1)).splitlines()
    running = {line.split()[0] for line in listed if line.split() and line.split()[2:3] != ["inactive"]}
    enabled = {line.split()[0] for line in links if line.split()[1:2] == ["enabled"]}
    return sorted(name for name in running | enabled if not name.endswith("@.service"))


def carry_out(steps: Steps, failed: Sequence[str], wait: bool = True) -> None:
    """Do the steps: reload is done before, units of one kind together."""
    if steps.enable:
        systemctl("enable", "--quiet", *steps.enable)
    if failed:
        systemctl("reset-failed", *failed)
    if steps.start:
        systemctl("start", *([] if wait else ["--no-block"]), *steps.start)
    if steps.restart:
        systemctl("restart", *steps.restart)
    if steps.retire:
        systemctl("disable", "--quiet", *steps.retire)
        systemctl("stop", *steps.retire)
        # One that has failed would be found again in every run; it ends with 1 for one that is unloaded by now.
        systemctl("reset-failed", *steps.retire, good=(0, 1))


def main() -> None:
    """Module entry."""
    module = AnsibleModule(
        argument_spec={
            "units": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "name": {"type": "str", "required": True},
                    "files": {"type": "list", "elements": "path", "default": []},
                },
            },
            "finish": {"type": "list", "elements": "str", "default": []},
            "exclusive": {"type": "str"},
            "changing": {"type": "list", "elements": "path", "default": []},
            "may_restart": {"type": "bool", "default": True},
            "wait": {"type": "bool", "default": True},
        },
        supports_check_mode=True,
    )
    options = module.params
    names = [unit["name"] for unit in options["units"]]
    try:
        states = show(names)
        helpers = show(helper_units(options["units"]))
        stale = any(state.stale_definition for state in (*states.values(), *helpers.values()))
        if not module.check_mode and (stale or not all(state.known for state in states.values())):
            systemctl("daemon-reload")
            states = show(names)
        present = present_units(options["exclusive"])
        changing = options["changing"] if module.check_mode else []
        steps = steps_for(options["units"], states, present, options["exclusive"], options["may_restart"], changing)
        if not module.check_mode:
            failed = [name for name in steps.start if name in states and states[name].active == "failed"]
            carry_out(steps, failed, options["wait"])
            for name in options["finish"]:
                # The job is systemd's: it goes on when this run is killed, and a second start joins it.
                systemctl("daemon-reload")
                systemctl("start", name)
            states = show(names)
    except SystemdFailed as error:
        module.fail_json(msg=str(error))
    module.exit_json(
        changed=steps.any() or bool(options["finish"]),
        started=steps.start,
        restarted=steps.restart,
        deferred=steps.deferred,
        retired=steps.retire,
        enabled=steps.enable,
        finished=options["finish"],
        states={
            name: {
                "active": state.active,
                "enabled": state.enabled,
                "cpus": allowed_cpus(state.main_pid) if state.main_pid else "",
            }
            for name, state in states.items()
        },
    )


if __name__ == "__main__":
    main()
