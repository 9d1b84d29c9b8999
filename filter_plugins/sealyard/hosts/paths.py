"""Sector paths on a host: their directories, their identity, and the mounts that hold them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sealyard.stacks import Stack

LEFT_OPEN = ("AllowTypes", "DenyTypes", "AllowMiners", "DenyMiners")
"""Further keys of sectorstore.json (contract lotus/files.json, sectorstore_json), which no plan narrows."""


def path_directories(
    paths: Sequence[Mapping[str, Any]], user: str, group: str, require_mount: bool, mounts: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """Roots of sector paths as the option `directories` of module file_set.

    A long-term store must be a mount, and so must be what the plan mounts from another host, at one of `mounts`.
    """
    return [
        {
            "path": path["path"],
            "mode": "0755",
            "owner": user,
            "group": group,
            "mounted": path["path"] in mounts or (require_mount and path["can_store"] and not path["can_seal"]),
        }
        for path in paths
    ]


def path_files(
    paths: Sequence[Mapping[str, Any]], user: str | None, group: str | None, stack: Stack
) -> list[dict[str, Any]]:
    """Identity files of sector paths as the option `files` of module file_set.

    A path that has an ID keeps it, because sectors are known by it. Of a sealing path the plan's grouping is brought
    up to date; a store stays as it is. The files of some stacks have no grouping at all.
    """
    files = []
    for path in paths:
        identity = {
            "ID": path["id"],
            "Weight": path.get("weight", 10),
            "CanSeal": path.get("can_seal", False),
            "CanStore": path.get("can_store", False),
            "MaxStorage": path.get("max_storage_bytes") or 0,
        }
        grouping = {"Groups": path.get("groups"), "AllowTo": path.get("allow_to"), **dict.fromkeys(LEFT_OPEN)}
        content = {**identity, **(grouping if stack.has_path_groups else {})}
        followed = {"json_set": ["Groups", "AllowTo"] if path["can_seal"] else []}
        files.append(
            {
                "path": f"{path['path']}/sectorstore.json",
                "content": json.dumps(content, indent=2) + "\n",
                "owner": user,
                "group": group,
                **(followed if stack.has_path_groups else {"json_keep": list(identity)}),
            }
        )
    return files


def path_mounts(paths: Sequence[Mapping[str, Any]], mounts: Sequence[Mapping[str, Any]]) -> list[str]:
    """Mounts that hold one of the paths, as PATH=TRANSPORT, which is how nfs_transport.py takes them."""
    places = [f"{path['path']}/" for path in paths]
    return [
        f"{mount['path']}={mount['transport']}"
        for mount in mounts
        if any(place.startswith(f"{mount['path'].rstrip('/')}/") for place in places)
    ]
