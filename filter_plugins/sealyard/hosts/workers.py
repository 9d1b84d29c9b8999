"""Filters of the sealing roles: identity of sector paths, files of a host's workers, what the miner says of them."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from sealyard import stacks
from sealyard.hosts.shares import mount_unit
from sealyard.lotus.tasks import SWITCHED
from sealyard.stacks import Stack

OWN_PATH_KEYS = ("ID", "Weight", "CanSeal", "CanStore", "MaxStorage")
"""What every stack's sectorstore.json has (contract files.json, sectorstore_json)."""
FIRST_GENERATION_KEY = "PreCommit1HoldMax"
"""What only workers of the first generation report, where the second has DiskHoldMax."""
TASK_LIMITS = ("AddPieceMax", "PreCommit1Max", "PreCommit2Max", "Commit2Max")
TASK_TYPES = {task.name: task.lotus_type for task in SWITCHED}
"""The plan's task names and what WorkerStats calls them (contract resources.json, tasks.*.task_type)."""


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
    stack: str = "lotus"
    generation: int = 2
    limits: Mapping[str, Any] = field(default_factory=dict)

    @property
    def software(self) -> Stack:
        """The stack that its workers are of."""
        return stacks.get(self.stack, self.generation)


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


def sectorstore(path: Mapping[str, Any], stack: Stack) -> str:
    """Text of sectorstore.json for a path of the plan (contract files.json, sectorstore_json)."""
    content: dict[str, Any] = {
        "ID": path["id"],
        "Weight": path.get("weight", 10),
        "CanSeal": path.get("can_seal", False),
        "CanStore": path.get("can_store", False),
        "MaxStorage": path.get("max_storage_bytes") or 0,
    }
    if stack.has_path_groups:
        content |= {"Groups": path.get("groups"), "AllowTo": path.get("allow_to")}
        content |= dict.fromkeys(("AllowTypes", "DenyTypes", "AllowMiners", "DenyMiners"))
    return json.dumps(content, indent=2) + "\n"


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


def path_files(paths: Sequence[Mapping[str, Any]], user: str, group: str, stack: Stack) -> list[dict[str, Any]]:
    """Identity files of sector paths as the option `files` of module file_set.

    A path that has an ID keeps it, because sectors are known by it. Of a sealing path the plan's grouping is brought
    up to date; a store stays as it is. The files of some stacks have no grouping at all.
    """
    return [
        {
            "path": f"{path['path']}/sectorstore.json",
            "content": sectorstore(path, stack),
            "owner": user,
            "group": group,
            **(
                {"json_set": ["Groups", "AllowTo"] if path["can_seal"] else []}
                if stack.has_path_groups
                else {"json_keep": list(OWN_PATH_KEYS)}
            ),
        }
        for path in paths
    ]


def path_mounts(paths: Sequence[Mapping[str, Any]], mounts: Sequence[Mapping[str, Any]]) -> list[str]:
    """Mounts that hold one of the paths, as PATH=TRANSPORT, which is how nfs_transport.py takes them."""
    places = [f"{path['path']}/" for path in paths]
    return [
        f"{mount['path']}={mount['transport']}"
        for mount in mounts
        if any(place.startswith(f"{mount['path'].rstrip('/')}/") for place in places)
    ]


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
    name = host.software.name_flags(f"{host.name}/{worker['name']}")
    limits = host.software.limit_flags(worker)
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
    files = path_files(all_paths, host.user, host.group, host.software)
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
        limits_path = host.software.limits_path(worker, paths)
        if limits_path:
            files.append(
                {
                    "path": limits_path,
                    "content": json.dumps(host.software.limits(worker, host.limits), indent=2) + "\n",
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


def host_plan_registrations(host_plan: Mapping[str, Any], host_name: str) -> list[dict[str, Any]]:
    """What a miner must list for this host: [{name "HOST/WORKER", tasks [AP, …], miner, limits (fork)}]."""
    return [
        {
            "name": f"{host_name}/{worker['name']}",
            "tasks": list(worker["tasks"]),
            "miner": worker["miner"],
            "limits": {key: value for key, value in worker.get("myscheduler", {}).items() if key in TASK_LIMITS},
        }
        for worker in host_plan.get("workers", [])
    ]


def worker_stats_named(
    answers: Sequence[Mapping[str, Any]], sessions: Sequence[Mapping[str, Any]], host_name: str
) -> list[dict[str, Any]]:
    """The answers to WorkerStats with the plan's names, where the fork's first generation has that of the host alone.

    `sessions` are the answers of the host's workers to Session, of a loop over their names: by its session a miner
    knows a worker. [] on what names its workers itself.
    """
    names = {str(answer["result"]): f"{host_name}/{answer['item']}" for answer in sessions if answer.get("result")}

    def named(ident: str, entry: Mapping[str, Any]) -> Mapping[str, Any]:
        return {**entry, "Info": {**entry["Info"], "Hostname": names[ident]}} if ident in names else entry

    return [
        {**answer, "result": {ident: named(ident, entry) for ident, entry in (answer.get("result") or {}).items()}}
        for answer in answers
    ]


def worker_problems(
    stats: Mapping[str, Any] | None, host_plan: Mapping[str, Any], host_name: str, names: Sequence[str]
) -> list[str]:
    """What is wrong with the workers `names` of a host in the answer to WorkerStats: one sentence each, [] when none.

    A worker that came back is listed twice for a while, so one good entry is enough.
    """
    problems = []
    for worker in host_plan_registrations(host_plan, host_name):
        short = worker["name"].split("/", 1)[1]
        if short not in names:
            continue
        listed = [
            entry for entry in (stats or {}).values() if (entry.get("Info") or {}).get("Hostname") == worker["name"]
        ]
        verdicts = [_verdict(worker, entry) for entry in listed]
        if "" in verdicts:
            continue
        if not verdicts:
            problems.append(
                f"{worker['name']} is not registered at {worker['miner']}: read journalctl -u lotus-worker@{short} on "
                f"{host_name}; a line with 401 means its token is not the miner's, run playbooks/workers.yml"
            )
        else:
            problems.append(f"{worker['name']} at {worker['miner']}: {verdicts[-1]}")
    return problems


def registration_problems(
    answers: Sequence[Mapping[str, Any]], host_plan: Mapping[str, Any], host_name: str
) -> list[str]:
    """`worker_problems` of every miner that answered; `answers` are the results of a loop over `worker_miners`."""
    problems: list[str] = []
    for answer in answers:
        if answer.get("reachable"):
            problems += worker_problems(answer.get("result"), host_plan, host_name, answer["item"]["workers"])
    return problems


def tasks_of(entry: Mapping[str, Any]) -> set[str]:
    """Tasks an entry of WorkerStats takes, in the plan's names; the fork lists them as text."""
    if "TaskTypes" in entry:
        return set(str(entry["TaskTypes"]).split()) & set(TASK_TYPES)
    names = {long: short for short, long in TASK_TYPES.items()}
    return {names[task] for task in entry.get("Tasks") or [] if task in names}


def _verdict(worker: Mapping[str, Any], entry: Mapping[str, Any]) -> str:
    if not entry.get("Enabled"):
        return "registered but disabled: the miner cannot reach it, open its port towards the miner"
    resources = (entry.get("Info") or {}).get("Resources") or {}
    wanted, has = set(worker["tasks"]), tasks_of(entry)
    if "TaskTypes" in entry:
        # The fork's PC1 workers unseal, too, whether the plan says it or not.
        has -= {"UNS"} - wanted
    if has == wanted:
        # Where the file is not read, the fork takes three AP, seven PC1, one PC2 and one C2 from every worker. The
        # first generation reads none and has no flag for AP: there the task's own switch decides.
        first = FIRST_GENERATION_KEY in resources
        reported = {key: resources[key] for key in worker["limits"] if key in resources}
        surplus = [
            key
            for key, value in reported.items()
            if bool(value) != bool(worker["limits"][key]) and not (first and key == "AddPieceMax")
        ]
        if surplus:
            other = ", ".join(f"{key} {reported[key]}" for key in surplus)
            return (
                f"reports {other}, which is not the plan's: its myscheduler.json is not read, run playbooks/workers.yml"
            )
        return ""
    if not has:
        return "takes no task: it is drained, playbooks/drain.yml -e drain_state=active puts it back to work"
    return (
        f"takes {' '.join(sorted(has))} instead of {' '.join(sorted(wanted))}: "
        "playbooks/drain.yml -e drain_state=active sets the plan's tasks"
    )


def worker_task_switches(
    answers: Sequence[Mapping[str, Any]],
    host_plan: Mapping[str, Any],
    host_name: str,
    state: str,
    stack: Stack,
) -> list[dict[str, str]]:
    """Calls that drain a host's workers or give them back the plan's tasks: [{worker, method, task}].

    `answers` are the answers to WorkerStats of a loop over `worker_miners`; `state` is "drained" or "active". Only what
    the miner does not list that way already is switched, and nothing the plan did not give the worker. Those that read
    their limits from files are drained by those.
    """
    if stack.limits_in_files:
        return []
    listed: dict[str, set[str]] = {}
    for answer in answers:
        for entry in (answer.get("result") or {}).values():
            if entry.get("Enabled"):
                listed.setdefault(str(entry["Info"]["Hostname"]), set()).update(tasks_of(entry))
    switches = []
    for worker in host_plan_registrations(host_plan, host_name):
        short = worker["name"].split("/", 1)[1]
        has = listed.get(worker["name"], set())
        for task in worker["tasks"]:
            takes = task in has
            if takes == (state == "drained"):
                method = "TaskDisable" if takes else "TaskEnable"
                switches.append({"worker": short, "method": method, "task": TASK_TYPES[task]})
    return switches


def worker_drain_files(
    host_plan: Mapping[str, Any], state: str, user: str, group: str, stack: Stack
) -> list[dict[str, Any]]:
    """The workers' own files with IsPlanOffline as `state` wants it, as the option `files` of module file_set.

    Everything else in a file stays; [] on a stack without such files.
    """
    return [
        {
            "path": path,
            "content": json.dumps(worker["myscheduler"] | {"IsPlanOffline": state == "drained"}, indent=2) + "\n",
            "json_set": ["IsPlanOffline"],
            "owner": user,
            "group": group,
        }
        for worker in host_plan.get("workers", [])
        if (path := stack.limits_path(worker, host_plan.get("paths", [])))
    ]


def worker_jobs_running(
    jobs: Mapping[str, Any] | None, answers: Sequence[Mapping[str, Any]], names: Sequence[str]
) -> list[str]:
    """Jobs in the answer to WorkerJobs that the named workers still have: "sector 5 PC1 on pc1-a/pc1-0".

    `answers` are the answers to WorkerStats: a running job carries no host name, only its worker's id. After a miner's
    restart a job goes on with RunWait -1, id zero and a host name; below -1 it has come back (storiface WorkerJob).
    """
    short = {long: name for name, long in TASK_TYPES.items()}
    hosts = {worker: entry["Info"]["Hostname"] for each in answers for worker, entry in (each["result"] or {}).items()}
    found = []
    for worker, listed in (jobs or {}).items():
        for job in listed:
            host = job.get("Hostname") or hosts.get(worker)
            if host in names and job["RunWait"] >= -1:
                found.append(f"sector {job['Sector']['Number']} {short.get(job['Task'], job['Task'])} on {host}")
    return found
