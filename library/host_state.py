#!/usr/bin/python
"""What a host can give and how it is set, read in one call from /proc, /sys and /etc."""

from __future__ import annotations

import os
import pwd
import resource
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.sealyard_host import packages as debian
from ansible.module_utils.sealyard_host.files import text_of

DOCUMENTATION = r"""
module: host_state
short_description: Read limits, swap, kernel settings and packages of a host in one call
description:
  - One round trip in place of one per fact; reads only.
options:
  nofile:
    description: Open files wanted. RV(nofile) says how many of them a service on this host can have.
    type: int
    default: 1048576
  user:
    description: User whose numbers are returned in RV(uid) and RV(gid).
    type: str
    default: ''
  sysctl:
    description: Names of kernel settings to read.
    type: list
    elements: str
    default: []
  packages:
    description: Debian packages; those that are not installed are returned in RV(missing_packages).
    type: list
    elements: str
    default: []
author: [Sealyard]
"""

EXAMPLES = r"""
- name: Read what the host can give
  host_state:
    nofile: 1048576
    sysctl: [vm.swappiness]
    packages: [chrony]
  register: host
"""

RETURN = r"""
container: {description: The host is a container and shares its kernel, type: bool, returned: always}
nofile: {description: Open files that a service can have, type: int, returned: always}
uid: {description: 'Number of the user, null where there is none', type: int, returned: always}
gid: {description: 'Number of the user''s first group, null where there is no user', type: int, returned: always}
home: {description: 'Home of the user, empty where there is none', type: str, returned: always}
swap_bytes: {description: Swap in use or ready, type: dict, returned: always}
sysctl: {description: Kernel settings by name, type: dict, returned: always}
governor: {description: The CPU's frequency governor or an empty text, type: str, returned: always}
missing_packages: {description: Packages that are not installed, type: list, elements: str, returned: always}
"""


def in_container() -> bool:
    """True where systemd or the container engine says so."""
    return any(Path(mark).exists() for mark in ("/run/systemd/container", "/run/.containerenv", "/.dockerenv"))


def reachable_nofile(wanted: int) -> int:
    """Largest hard limit of open files up to `wanted` that this process can set itself; needs a child to try it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    first = int(Path("/proc/1/limits").read_text().split("Max open files", 1)[1].split()[1])
    child = os.fork()
    if child == 0:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, wanted))
            os._exit(0)
        except (OSError, ValueError):
            os._exit(1)
    _, status = os.waitpid(child, 0)
    return wanted if status == 0 else min(wanted, max(hard, first))


def account(user: str) -> dict[str, Any]:
    """Numbers and home of the user; None and an empty text where there is none."""
    try:
        found = pwd.getpwnam(user)
    except KeyError:
        return {"uid": None, "gid": None, "home": ""}
    return {"uid": found.pw_uid, "gid": found.pw_gid, "home": found.pw_dir}


def swap_bytes(table: str) -> dict[str, int]:
    """Size in bytes of each device or file in the text of /proc/swaps."""
    return {line.split()[0]: int(line.split()[2]) * 1024 for line in table.splitlines()[1:] if line.strip()}


def state(nofile: int, user: str, sysctl: Sequence[str], packages: Sequence[str]) -> dict[str, Any]:
    """The module's result."""
    settings = {name: " ".join(text_of(Path("/proc/sys/" + name.replace(".", "/"))).split()) for name in sysctl}
    return {
        "container": in_container(),
        "nofile": reachable_nofile(nofile),
        **account(user),
        "swap_bytes": swap_bytes(text_of(Path("/proc/swaps"))),
        "sysctl": settings,
        "governor": text_of(Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")),
        "missing_packages": debian.missing(packages, text_of(debian.STATUS)) if packages else [],
    }


def main() -> None:
    """Module entry."""
    module = AnsibleModule(
        argument_spec={
            "nofile": {"type": "int", "default": 1048576},
            "user": {"type": "str", "default": ""},
            "sysctl": {"type": "list", "elements": "str", "default": []},
            "packages": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    module.exit_json(changed=False, **state(**module.params))


if __name__ == "__main__":
    main()
