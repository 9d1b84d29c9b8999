#!/usr/bin/python
"""Who gives out sector numbers on this host, which numbers it remembers, and how an authority is retired."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.sealyard_host import sector_numbers
from ansible.module_utils.sealyard_host.files import sync, text_of
from ansible.module_utils.sealyard_host.processes import command_lines
from ansible.module_utils.sealyard_host.sector_numbers import AUTHORITY, FILE, HIGHEST

DOCUMENTATION = r"""
module: sector_authority
short_description: Look at the sector counter of a host, and retire it
description:
  - Reads the counter's file of each miner repo, its marks and backups, and which running miner gives out numbers.
  - Touches nothing unless O(retire) says so.
options:
  data_dir:
    description: Directory of the repos; the file is C(miner-ROLE/sectorid) in it.
    type: path
    required: true
  roles:
    description: Miner processes of this host.
    type: list
    elements: str
    required: true
  state_dir:
    description: Directory of the mark and of the file's backups.
    type: path
    required: true
  copy_dir:
    description: Directory of the second copy, which other hosts see, too.
    type: path
    required: true
  retire:
    description: Processes whose counter shall never serve again. Their file is renamed and kept.
    type: list
    elements: str
    default: []
author: [Sealyard]
"""

EXAMPLES = r"""
- name: Retire the counter of the winning miner
  sector_authority:
    data_dir: /var/lib/lotus
    roles: [winning]
    state_dir: /var/lib/sealyard/sector-counter
    copy_dir: /mnt/store/sector-counter
    retire: [winning]
"""

RETURN = r"""
files:
  description: By role the number in the file, 0 for a file that holds none. Roles without a file are left out.
  type: dict
  returned: always
retired:
  description: By role the highest number in its retired files. Roles that have none are left out.
  type: dict
  returned: always
remembered:
  description: Path of each mark, copy and backup and the number in it; a damaged one has 0.
  type: dict
  returned: always
repos:
  description: Roles that have a repo.
  type: list
  elements: str
  returned: always
serving:
  description: Listen addresses of the running miners that give out numbers.
  type: list
  elements: str
  returned: always
named:
  description: The process HOST/ROLE that the copy names as the authority, an empty text where it names none.
  type: str
  returned: always
pledging:
  description: The timer that pledges is enabled or runs.
  type: bool
  returned: always
moved:
  description: Files that were retired, as they are called now.
  type: list
  elements: str
  returned: always
"""

TIMER_LINKS = "/etc/systemd/system/timers.target.wants/lotus-pledge.timer"


class Refused(Exception):
    """What is in the way, and what to do about it."""


def number_in(path: Path) -> int:
    """The number in a file, 0 where the fork would read none, or another one."""
    return sector_numbers.read(path) or 0


def serving(proc: Path = Path("/proc")) -> list[str]:
    """Listen addresses of the lotus-miner processes that give out sector numbers."""
    found = []
    for words in command_lines(proc):
        if "--sctype=alloce" in words and any(Path(word).name == "lotus-miner" for word in words[:3]):
            listen = [word.partition("=")[2] for word in words if word.startswith("--sclisten=")]
            found.append(listen[-1] if listen else "")
    return sorted(found)


def look(data_dir: Path, roles: Sequence[str], state_dir: Path, copy_dir: Path) -> dict[str, Any]:
    """What this host knows; the fields of the module's result."""
    repos = {role: data_dir / f"miner-{role}" for role in roles}
    retired = {role: [number_in(path) for path in repo.glob(f"{FILE}.retired.*")] for role, repo in repos.items()}
    places = [state_dir / HIGHEST, copy_dir / FILE, *state_dir.glob(f"{FILE}.*")]
    return {
        "files": {role: number_in(repo / FILE) for role, repo in repos.items() if (repo / FILE).exists()},
        "retired": {role: max(numbers) for role, numbers in retired.items() if numbers},
        "remembered": {str(path): number_in(path) for path in sorted(places) if path.exists()},
        "repos": [role for role, repo in repos.items() if (repo / "keystore").exists()],
        "serving": serving(),
        "named": text_of(copy_dir / AUTHORITY),
        "pledging": Path(TIMER_LINKS).exists(),
    }


def retire(repo: Path, state_dir: Path, check: bool) -> str:
    """Rename the counter's file of a repo and remember its number; the new path, "" where there is no file."""
    file = repo / FILE
    if not file.exists():
        return ""
    new = repo / f"{FILE}.retired.{sector_numbers.stamp()}"
    if not check:
        mark = state_dir / HIGHEST
        if number_in(file) > number_in(mark) and state_dir.is_dir():
            sector_numbers.write(mark, number_in(file))
        file.rename(new)
        sync([repo])
    return str(new)


def run(options: dict[str, Any], check: bool) -> dict[str, Any]:
    """Do what the options ask and return the module's result."""
    data_dir, state_dir = Path(options["data_dir"]), Path(options["state_dir"])
    moved = []
    if options["retire"]:
        still = serving()
        if still and not check:
            raise Refused(
                f"a miner still gives out numbers on {', '.join(still)}: its file is not retired. Stop it with "
                "systemctl stop lotus-miner-ROLE, then run again"
            )
        moved = [new for role in options["retire"] if (new := retire(data_dir / f"miner-{role}", state_dir, check))]
    seen = look(data_dir, options["roles"], state_dir, Path(options["copy_dir"]))
    return {"changed": bool(moved), "moved": moved, **seen}


def main() -> None:
    """Module entry."""
    module = AnsibleModule(
        argument_spec={
            "data_dir": {"type": "path", "required": True},
            "roles": {"type": "list", "elements": "str", "required": True},
            "state_dir": {"type": "path", "required": True},
            "copy_dir": {"type": "path", "required": True},
            "retire": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    try:
        module.exit_json(**run(module.params, module.check_mode))
    except (Refused, OSError) as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
