"""The workers of a host: what each starts from, as options of modules file_set and unit_set."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from sealyard import stacks
from sealyard.hosts.paths import path_directories, path_files, path_mounts
from sealyard.hosts.shares import mount_unit
from sealyard.stacks import Stack


@dataclass(frozen=True)
class Host:
    """What the files of a host's workers need beyond the plan. Sizes in bytes; `api_infos` maps "MINER/ROLE" to
    TOKEN:MULTIADDR, or to None where the miner could not be asked."""

    name: str
    address: str
    data_dir: str
    install_root: str
    config_dir: str
    unit_dir: str
    user: str
    group: str
    api_infos: Mapping[str, str | None]
    cgroup_v2: bool
    memory_floor_bytes: int
    numa_policy: str
    environment: Mapping[str, str]
    require_mount: bool
    drop_in_template: str = "lotus-worker-drop-in.conf.j2"
    stack: Stack = field(default_factory=lambda: stacks.get("lotus"))
    limits: Mapping[str, Any] = field(default_factory=dict)


def worker_miners(host_plan: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Miner processes the host's workers serve, each once: {key "MINER/ROLE", host, role, workers [names]}."""
    found: dict[str, dict[str, Any]] = {}
    for worker in host_plan.get("workers", []):
        key = f"{worker['miner']}/{worker['miner_role']}"
        entry = found.setdefault(
            key, {"key": key, "host": worker["miner"], "role": worker["miner_role"], "workers": []}
        )
        entry["workers"].append(worker["name"])
    return [found[key] for key in sorted(found)]


def slurped_api_infos(results: Sequence[Mapping[str, Any]]) -> dict[str, str | None]:
    """TOKEN:MULTIADDR by key from slurped files `api` and `token`; None where one of the two could not be read.

    Each result is of a loop whose items are pairs of {key: ...} and the file's name.
    """
    parts: dict[str, dict[str, str]] = {}
    for result in results:
        owner, file = result["item"]
        found = parts.setdefault(owner["key"], {})
        if result.get("content"):
            found[file] = base64.b64decode(result["content"]).decode().strip()
    return {
        key: f"{found['token']}:{found['api']}" if found.get("token") and found.get("api") else None
        for key, found in parts.items()
    }


@dataclass(frozen=True)
class DropIn:
    """What a worker's own part of its unit says: mounts, binding, limits, environment, command line; "" says nothing.

    Of `paths` those on local disks are required. Shares are wanted by their units: a worker whose required mount failed
    would stay down for ever; this one starts, is refused by the guard, and asks for the mount again at every restart.
    """

    local_paths: list[str]
    share_units: list[str]
    guarded_mounts: list[str]
    cpu_affinity: list[str]
    numa_policy: str
    numa_node: int | None
    allowed_cpus: str
    allowed_memory_nodes: int | None
    memory_max_bytes: int | None
    environment: list[str]
    command: list[str]


def drop_in(
    worker: Mapping[str, Any],
    paths: Sequence[Mapping[str, Any]],
    host: Host,
    mounts: Sequence[Mapping[str, Any]] = (),
) -> DropIn:
    """Values of the drop-in of lotus-worker@NAME.service. Why the plan wants them stands in the plan, not here."""
    shares = [mount for mount in mounts if path_mounts(paths, [mount])]
    node = worker.get("numa_node")
    bound = node is not None and host.numa_policy != "default"
    memory = worker.get("memory_bytes")
    environment = {**worker.get("environment", {}), **worker.get("resources", {}), **host.environment}
    name = host.stack.name_flags(f"{host.name}/{worker['name']}")
    limits = host.stack.limit_flags(worker)
    flags = ["--no-local-storage", *name, f"--listen={_listen(worker, host)}", *worker.get("flags", []), *limits]
    return DropIn(
        local_paths=[path["path"] for path in paths if not path_mounts([path], shares)],
        share_units=[mount_unit(mount["path"]) for mount in shares],
        guarded_mounts=path_mounts(paths, mounts),
        cpu_affinity=worker["cpus"].split(","),
        numa_policy=host.numa_policy if bound else "",
        numa_node=node if bound else None,
        allowed_cpus=worker["cpus"] if host.cgroup_v2 else "",
        allowed_memory_nodes=node if host.cgroup_v2 else None,
        memory_max_bytes=max(int(memory), host.memory_floor_bytes) if memory else None,
        environment=[f"{key}={environment[key]}" for key in sorted(environment)],
        command=[f"{host.install_root}/current/bin/lotus-worker", "run", *flags],
    )


def _listen(worker: Mapping[str, Any], host: Host) -> str:
    address = f"[{host.address}]" if ":" in host.address else host.address
    return f"{address}:{worker['port']}"


def unit_name(worker: Mapping[str, Any]) -> str:
    """Name of the worker's unit."""
    return f"lotus-worker@{worker['name']}.service"


def _environment_file(worker: Mapping[str, Any], host: Host) -> str:
    return f"{host.config_dir}/lotus-worker@{worker['name']}.env"


def _drop_in_dir(worker: Mapping[str, Any], host: Host) -> str:
    return f"{host.unit_dir}/{unit_name(worker)}.d"


def _repo(worker: Mapping[str, Any], host: Host) -> str:
    return f"{host.data_dir}/worker/{worker['name']}"


def _new_paths_mark(worker: Mapping[str, Any], host: Host) -> str:
    """File whose age says when the worker last got a path. Lotus rewrites storage.json itself at every start."""
    return f"{_repo(worker, host)}/storage.changed"


def worker_files(host_plan: Mapping[str, Any], context: Mapping[str, Any]) -> dict[str, Any]:
    """Everything the host's workers start from, as the options of module file_set.

    `context` holds the fields of Host. Raises KeyError for a plan that lacks a key.
    """
    host = Host(**context)
    workers = host_plan.get("workers", [])
    all_paths = host_plan.get("paths", [])
    own = {"owner": host.user, "group": host.group}
    directories: list[dict[str, Any]] = [{"path": host.config_dir, "mode": "0750"}]
    mounts = host_plan.get("mounts", [])
    places = [mount["path"] for mount in mounts]
    directories += path_directories(all_paths, host.user, host.group, host.require_mount, places)
    if workers:
        directories.append({"path": f"{host.data_dir}/worker", "mode": "0755", **own})
    files = path_files(all_paths, host.user, host.group, host.stack)
    secrets = []
    for worker in workers:
        repo = _repo(worker, host)
        directories += [
            {"path": repo, "mode": "0750", **own},
            {"path": f"{repo}/tmp", "mode": "0750", **own},
            {"path": _drop_in_dir(worker, host), "mode": "0755"},
        ]
        paths = [path for path in all_paths if _opens(worker, path)]
        files += [
            {
                "path": f"{repo}/storage.json",
                "content": json.dumps({"StoragePaths": [{"Path": path["path"]} for path in paths]}, indent=2) + "\n",
                "json_add": ["StoragePaths"],
                "mark": _new_paths_mark(worker, host),
                **own,
            },
            {
                "path": f"{_drop_in_dir(worker, host)}/sealyard.conf",
                "template": host.drop_in_template,
                "values": asdict(drop_in(worker, paths, host, mounts)),
            },
        ]
        limits_path = host.stack.limits_path(worker, paths)
        if limits_path:
            files.append(
                {
                    "path": limits_path,
                    "content": json.dumps(host.stack.limits(worker, host.limits), indent=2) + "\n",
                    # A worker that an operator took out of work stays out of work.
                    "json_keep": ["IsPlanOffline"],
                    **own,
                }
            )
        role = worker["miner_role"]
        info = host.api_infos.get(f"{worker['miner']}/{role}")
        secrets.append(
            {
                "path": _environment_file(worker, host),
                "content": f"MINER_API_INFO={info}\n" if info else None,
                "remedy": f"Start the {role} miner on {worker['miner']} (playbooks/miners.yml), then run again.",
            }
        )
    return {"directories": directories, "files": files, "secrets": secrets}


def worker_attachments(host_plan: Mapping[str, Any], data_dir: str) -> list[dict[str, Any]]:
    """Repo and planned paths of the host's workers, as the option `workers` of module worker_paths."""
    return [
        {
            "name": worker["name"],
            "repo": f"{data_dir}/worker/{worker['name']}",
            "paths": [path["path"] for path in host_plan.get("paths", []) if _opens(worker, path)],
        }
        for worker in host_plan.get("workers", [])
    ]


def worker_units(
    host_plan: Mapping[str, Any], context: Mapping[str, Any], left: Mapping[str, Sequence[str]] | None = None
) -> list[dict[str, Any]]:
    """Units of the host's workers with the files each starts from, as the option `units` of module unit_set.

    `left` are the paths by worker that it has attached and the plan does not give it (module worker_paths).
    """
    host = Host(**context)
    units = []
    for attachment in worker_attachments(host_plan, host.data_dir):
        paths = [*attachment["paths"], *(left or {}).get(attachment["name"], [])]
        units.append(
            {
                "name": unit_name(attachment),
                "files": [
                    f"{host.install_root}/current",
                    f"{host.unit_dir}/lotus-worker@.service",
                    f"{_drop_in_dir(attachment, host)}/sealyard.conf",
                    _environment_file(attachment, host),
                    _new_paths_mark(attachment, host),
                    *(f"{path}/sectorstore.json" for path in paths),
                ],
            }
        )
    return units


def _opens(worker: Mapping[str, Any], path: Mapping[str, Any]) -> bool:
    return worker["name"] in path["workers"]
