#!/usr/bin/python
"""Retire NFS mounts and exports that have left the plan, and never under somebody who uses them."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.sealyard_host import mounts, units
from ansible.module_utils.sealyard_host.files import replace
from ansible.module_utils.sealyard_host.nfs import clients, export_lines, export_path
from ansible.module_utils.sealyard_host.programs import run

DOCUMENTATION = r"""
module: nfs_leftovers
short_description: Retire NFS mounts and exports that are not in the plan any more
description:
  - Looks only at what Sealyard wrote, the mount units of role nfs_rdma_client and the exports of role nfs_rdma_server.
  - What is in use stays, and is returned in RV(kept), unless O(allow_in_use). Unmounting takes along the workers that
    need the mount. No file of a share is ever touched.
options:
  side: {type: str, choices: [client, server], required: true, description: Mounts or exports.}
  wanted: {type: list, elements: str, default: [], description: 'Mount units, or paths of exports, of the plan.'}
  mounted_by:
    description: Hosts by the path of an export that they have mounted now, for O(side=server).
    type: dict
    default: {}
  asked:
    description: Addresses of the hosts that said what they have mounted.
    type: list
    elements: str
    default: []
  allow_in_use: {type: bool, default: false, description: Retire what is in use too.}
author: [Sealyard]
"""

EXAMPLES = r"""
- name: Retire mounts that left the plan
  nfs_leftovers: {side: client, wanted: [sealer.mount]}
"""

RETURN = r"""
retired: {description: What was retired, or would be., type: list, elements: str, returned: always}
kept: {description: What is in use and was left, and by whom., type: list, elements: str, returned: always}
mounted:
  description: ADDRESS:PATH of what is mounted over NFS at the end.
  type: list
  elements: str
  returned: side is client
"""

UNITS = Path("/etc/systemd/system")
MOUNT_MARK = "# Written by Sealyard, role nfs_rdma_client."
EXPORTS = Path("/etc/exports.d/sealyard.exports")
NFSD = Path("/proc/fs/nfsd")


class Refused(Exception):
    """Something stays as it is; the text says why and what to do."""


def old_units(wanted: Sequence[str], folder: Path) -> list[Path]:
    """Mount units that Sealyard wrote and the plan does not want."""
    return [
        path
        for path in sorted(folder.glob("*.mount"))
        if path.name not in wanted and path.read_text(encoding="utf-8").startswith(MOUNT_MARK)
    ]


def mount_point(unit: Path) -> str:
    """The mount point of a unit."""
    found = re.search(r"^Where=(.+)$", unit.read_text(encoding="utf-8"), re.M)
    if not found:
        raise Refused(f"{unit} has no Where=: remove it by hand, systemctl daemon-reload")
    return found[1].strip()


def nfs_mounts(mountinfo: str) -> dict[str, str]:
    """Mount point to ADDRESS:PATH of the NFS mounts in /proc/self/mountinfo."""
    return {mount.path: mount.source.replace("[", "").replace("]", "") for mount in mounts.of_nfs(mountinfo)}


def programs_below(place: str, proc: Path = Path("/proc")) -> list[str]:
    """Programs with an open file or their directory below a mount point, found without asking the server."""
    users = []
    for process in sorted(proc.glob("[0-9]*"), key=lambda path: int(path.name)):
        links: Iterable[Path] = [process / "cwd", process / "root"]
        for folder in ("fd", "map_files"):
            # It has ended meanwhile, or is a thread of the kernel.
            with contextlib.suppress(OSError):
                links = [*links, *(process / folder).iterdir()]
        if any(_below(link, place) for link in links):
            try:
                name = (process / "comm").read_text(encoding="utf-8").strip()
            except OSError:
                continue
            users.append(f"{name} (pid {process.name})")
    return users


def _below(link: Path, place: str) -> bool:
    try:
        target = str(link.readlink())
    except OSError:
        return False
    return target == place or target.startswith(f"{place.rstrip('/')}/")


def units_on(unit: str) -> list[str]:
    """Units that run and stop with the mount, as workers do."""
    names = run("systemctl", "show", "--property=ConsistsOf,RequiredBy", "--value", unit).split()
    if not names:
        return []
    states = units.by_name(run("systemctl", "show", "--property=Id,ActiveState", *names))
    return sorted(
        name
        for name, state in states.items()
        if state["ActiveState"] in ("active", "activating") and name.endswith(".service")
    )


def retire_mounts(options: Mapping[str, Any], check: bool) -> dict[str, Any]:
    """The client's side."""
    there = nfs_mounts(Path("/proc/self/mountinfo").read_text(encoding="utf-8"))
    retired, kept = list[str](), list[str]()
    for unit in old_units(options["wanted"], UNITS):
        place = mount_point(unit)
        users = [*units_on(unit.name), *(programs_below(place) if place in there else [])]
        if users and not options["allow_in_use"]:
            kept.append(f"{place} has left the plan and is in use by {', '.join(users)}")
            continue
        retired.append(place)
        if check:
            continue
        run("systemctl", "stop", unit.name)
        if place in nfs_mounts(Path("/proc/self/mountinfo").read_text(encoding="utf-8")):
            raise Refused(
                f"{place} could not be unmounted: systemctl status {unit.name}; who uses it: fuser -vm {place}"
            )
        run("systemctl", "disable", "--quiet", unit.name)
        unit.unlink()
        run("systemctl", "daemon-reload")
        there.pop(place, None)
    return {"retired": retired, "kept": kept, "mounted": sorted(there.values())}


def users_of(
    path: str, mounted_by: Mapping[str, Sequence[str]], asked: Sequence[str], there: Sequence[str]
) -> list[str]:
    """Who may have an export mounted: hosts that say so, and clients that nobody asked."""
    return [*mounted_by.get(path, []), *(f"{one} (not asked)" for one in there if one not in asked)]


def retire_exports(options: Mapping[str, Any], check: bool) -> dict[str, Any]:
    """The server's side."""
    if not EXPORTS.exists():
        return {"retired": [], "kept": []}
    text = EXPORTS.read_text(encoding="utf-8")
    lines = export_lines(text)
    there = clients(NFSD / "clients")
    retired, kept = list[str](), list[str]()
    for path in sorted(set(lines) - set(options["wanted"])):
        users = users_of(path, options["mounted_by"], options["asked"], there)
        if users and not options["allow_in_use"]:
            kept.append(f"{path} has left the plan and is mounted by {', '.join(users)}")
        else:
            retired.append(path)
    if retired and not check:
        left = [
            line for line in text.splitlines() if not line or line.startswith("#") or export_path(line) not in retired
        ]
        replace(EXPORTS, "\n".join(left) + "\n", 0o644)
        run("exportfs", "-r")
        if not set(lines) - set(retired):
            EXPORTS.unlink()
            run("systemctl", "disable", "--quiet", "--now", "nfs-server.service")
    return {"retired": retired, "kept": kept}


def main() -> None:
    """Module entry."""
    module = AnsibleModule(
        argument_spec={
            "side": {"type": "str", "choices": ["client", "server"], "required": True},
            "wanted": {"type": "list", "elements": "str", "default": []},
            "mounted_by": {"type": "dict", "default": {}},
            "asked": {"type": "list", "elements": "str", "default": []},
            "allow_in_use": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    options = module.params
    act = retire_mounts if options["side"] == "client" else retire_exports
    try:
        result = act(options, module.check_mode)
    except (Refused, OSError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=bool(result["retired"]), **result)


if __name__ == "__main__":
    main()
