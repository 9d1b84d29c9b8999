"""Stores of finished sectors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from sealyard.lotus.tasks import BY_NAME, SIDE_TASKS
from sealyard.problem import Problem
from sealyard.variables.inventory import MINER_GROUPS, Inventory, Plan, problem

SIDE_GROUPS = tuple(str(BY_NAME[task].group) for task in SIDE_TASKS)
"""Groups whose hosts work on sectors of the stores."""


def check_stores(inventory: Inventory, plan: Plan) -> Iterator[Problem]:
    """Finished sectors need a store that their PC2 host can write and that the miners who prove them can read."""
    if not inventory.hosts("pc2_worker", *SIDE_GROUPS):
        return
    needed_by = inventory.hosts("pc2_worker", *SIDE_GROUPS, *MINER_GROUPS)
    for host in needed_by:
        stores = inventory.value(host, "sealing_stores")
        if not stores:
            text = "is not set: PC2 could not put finished sectors away, and no miner could prove them"
            if not inventory.is_in(host, "pc2_worker", *MINER_GROUPS):
                text = "is not set: the host could not reach the sectors that it is to unseal or update"
            remedy = "sealing_stores: [{name: store, path: /mnt/store}], mounted on miners and PC2 hosts"
            yield problem(host, "sealing_stores", "(empty)", text, remedy)
    for host in inventory.hostvars:
        yield from _check_store_paths(inventory, host, inventory.value(host, "sealing_stores"))
    written = {
        name: host for host in inventory.hosts("pc2_worker", "snap_worker") for name in _store_paths(inventory, host)
    }
    for host in inventory.hosts("winning_miner", "window_miner"):
        for name in sorted(written.keys() - _store_paths(inventory, host).keys()):
            if inventory.value(host, "sealing_stores"):
                text = f"lacks store {name}, into which {written[name]} puts sectors: this miner could not prove them"
                yield problem(
                    host, "sealing_stores", ", ".join(_store_paths(inventory, host)), text, f"add store {name}"
                )


def _check_store_paths(inventory: Inventory, host: str, stores: Any) -> Iterator[Problem]:
    scratch = PurePosixPath(inventory.text(host, "sealing_scratch_path", "/sealer"))
    seen: dict[str, str] = {}
    for index, store in enumerate(stores if isinstance(stores, list | tuple) else ()):
        path = store.get("path") if isinstance(store, Mapping) else None
        if not isinstance(path, str) or not path:
            continue  # check_variables has said so
        here, where = PurePosixPath(path), f"sealing_stores[{index}].path"
        if not here.is_absolute() or here == PurePosixPath("/"):
            yield problem(host, where, path, "is not the absolute path of a mount", "path: /mnt/store")
        elif here == scratch or here in scratch.parents or scratch in here.parents:
            text = f"overlaps the scratch path {scratch}: finished sectors would fill it"
            yield problem(host, where, path, text, "path: /mnt/store")
        elif str(here) in seen:
            yield problem(host, where, path, f"is also the path of store {seen[str(here)]}", "a path of its own")
        seen.setdefault(str(here), str(store.get("name")))


def _store_paths(inventory: Inventory, host: str) -> dict[str, str]:
    stores = inventory.value(host, "sealing_stores", ())
    if not isinstance(stores, list | tuple):
        return {}
    return {
        str(one["name"]): str(one["path"])
        for one in stores
        if isinstance(one, Mapping) and {"name", "path"} <= one.keys()
    }
