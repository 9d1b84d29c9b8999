#!/usr/bin/python
"""Which sectors of an actor lie whole in the stores of a host, by their files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: store_sectors
short_description: List the sectors whose files lie in long-term stores
description:
  - Reads directories alone, no file, and asks no process. A sector is whole when its replica has the sector's size and
    its cache holds C(p_aux), C(t_aux) and the tree that window PoSt reads.
options:
  paths:
    description: Stores, each with C(sealed) and C(cache), or C(update) and C(update-cache) where data was put in later.
    type: list
    elements: path
    required: true
  actor:
    description: Actor of the sectors, as C(t01000) or C(f01000).
    type: str
    required: true
  sector_bytes:
    description: Size of a sealed sector.
    type: int
    required: true
author: [Sealyard]
"""

EXAMPLES = r"""
- name: Look for the sectors of the stores
  store_sectors:
    paths: [/mnt/store]
    actor: t01000
    sector_bytes: 34359738368
"""

RETURN = r"""
sectors:
  description: What is wrong with the files of each sector, by its number; empty where they are whole.
  type: dict
  returned: always
missing_paths:
  description: Stores that are not there.
  type: list
  elements: str
  returned: always
"""

PAIRS = (("update", "update-cache"), ("sealed", "cache"))
"""Where a replica and its cache lie; an updated sector is proven from its update."""
WANTED = ("p_aux", "t_aux")
TREE = "sc-02-data-tree-r-last"


def names(directory: Path, prefix: str) -> dict[int, os.DirEntry[str]]:
    """Entries of a directory that name a sector of the actor, by number; none where there is no directory."""
    try:
        entries = list(os.scandir(directory))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    return {
        int(entry.name[len(prefix) :]): entry
        for entry in entries
        if entry.name.startswith(prefix) and entry.name[len(prefix) :].isdecimal()
    }


def fault(replica: os.DirEntry[str] | None, cache: os.DirEntry[str] | None, sector_bytes: int) -> str:
    """What is wrong with a replica and its cache, "" when both are whole."""
    if replica is None:
        return f"{cache.path if cache else 'the cache'} has no replica beside it"
    size = replica.stat().st_size
    if size != sector_bytes:
        return f"{replica.path} has {size} bytes instead of {sector_bytes}"
    if cache is None or not cache.is_dir():
        return f"{replica.path} has no cache beside it"
    files = [file.name for file in Path(cache.path).iterdir()]
    missing = [name for name in WANTED if name not in files]
    missing += [] if any(name.startswith(TREE) for name in files) else [f"{TREE}*.dat"]
    return f"{cache.path} lacks {', '.join(missing)}" if missing else ""


def look(paths: Sequence[str], actor: str, sector_bytes: int) -> dict[int, str]:
    """What is wrong with the files of each sector of the stores; a whole copy anywhere is enough."""
    found: dict[int, str] = {}
    # Files carry the address with t on every network.
    prefix = f"s-t{actor[1:]}-"
    for path in paths:
        for replicas, caches in PAIRS:
            sealed, cached = names(Path(path, replicas), prefix), names(Path(path, caches), prefix)
            for number in sealed.keys() | cached.keys():
                if found.get(number) != "":
                    found[number] = fault(sealed.get(number), cached.get(number), sector_bytes)
    return found


def main() -> None:
    """Module entry."""
    module = AnsibleModule(
        argument_spec={
            "paths": {"type": "list", "elements": "path", "required": True},
            "actor": {"type": "str", "required": True},
            "sector_bytes": {"type": "int", "required": True},
        },
        supports_check_mode=True,
    )
    options = module.params
    try:
        sectors = look(options["paths"], options["actor"], options["sector_bytes"])
    except OSError as error:
        module.fail_json(msg=f"{error}. Every store must be readable on the host that takes over")
    module.exit_json(
        changed=False,
        sectors={str(number): text for number, text in sorted(sectors.items())},
        missing_paths=[path for path in options["paths"] if not Path(path).is_dir()],
    )


if __name__ == "__main__":
    main()
