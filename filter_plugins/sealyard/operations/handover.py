"""Filters for handing the actor from one set of miner processes to another: what a stop would lose, and what is left.

Answers of Lotus are taken as they are. "Process" is a miner process, "HOST/ROLE"; a `states` is {number: state} of one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sealyard.errors import SealyardError
from sealyard.lotus.figures import SECTOR_BYTES
from sealyard.lotus.runs import members, top_of
from sealyard.lotus.tasks import BY_TYPE
from sealyard.operations.proving_deadline import actor_deadline_calls, result_of
from sealyard.operations.unaccounted import AT_REST, GONE, ON_CHAIN, unaccounted_sectors, unaccounted_text

RETURNED = -2
"""RunWait of a task whose result waits in the miner's memory: 2 and more is assigned, 1 prepared, 0 running, -1 goes on
after the miner's restart, -3 is done (storiface WorkerJob)."""
RUN_WAIT = {1: "is prepared", 0: "runs", -1: "runs", -2: "has returned"}


# ---------------------------------------------------------------------------------------------------------------------
# Tasks in flight


def tasks_in_flight(jobs: Mapping[str, Any] | None, stats: Mapping[str, Any] | None, process: str) -> list[str]:
    """Tasks that a stop of the miner and its workers would lose: "sector 5: PC1 runs on pc1-a/pc1-0 for seal/seal".

    `jobs` answers WorkerJobs, `stats` WorkerStats: a running job carries its worker's id alone.
    """
    short = {long: task.name for long, task in BY_TYPE.items()}
    hosts = {worker: str(entry["Info"]["Hostname"]) for worker, entry in (stats or {}).items()}
    found = []
    for worker, listed in (jobs or {}).items():
        for job in listed:
            wait = int(job["RunWait"])
            if wait >= RETURNED:
                task = short.get(job["Task"], str(job["Task"]).rpartition("/")[2] or "a task")
                host = job.get("Hostname") or hosts.get(worker, "a worker that is away")
                found.append(
                    (
                        int(job["Sector"]["Number"]),
                        f"{task} {RUN_WAIT.get(wait, 'is assigned')} on {host} for {process}",
                    )
                )
    return [f"sector {number}: {text}" for number, text in sorted(found)]


def state_calls() -> list[dict[str, Any]]:
    """Calls that tell the states of a miner's sectors at rest, for module lotus_rpc: far fewer than one per sector."""
    return [{"method": "SectorsList"}] + [{"method": "SectorsListInStates", "params": [[state]]} for state in AT_REST]


def miner_answers_moving_calls(answers: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Calls for the states of the sectors that the answers to `state_calls` leave out."""
    return [
        {"method": "SectorsStatus", "params": [number, False]}
        for number, state in sorted(sector_states(answers).items())
        if not state
    ]


def sector_states(*answers: Sequence[Mapping[str, Any]] | None) -> dict[int, str]:
    """{number: state} out of the answers to `state_calls` and `miner_answers_moving_calls`; "" where none tells it."""
    states: dict[int, str] = {}
    for answer in [each for some in answers for each in some or []]:
        result = answer.get("result")
        if answer["method"] == "SectorsList":
            states = {**{int(number): "" for number in result or []}, **states}
        elif answer["method"] == "SectorsListInStates":
            states |= {int(number): str(answer["params"][0][0]) for number in result or []}
        elif answer["method"] == "SectorsStatus" and result:
            states[int(result["SectorID"])] = str(result["State"])
    return states


def moving_sectors(states: Mapping[Any, str], process: str) -> list[str]:
    """Sectors that wait for a task, the chain or a retry, and so may start a task at any moment."""
    return [
        f"sector {number}: {state or 'changes its state'} at {process}"
        for number, state in sorted((int(number), state) for number, state in states.items())
        if state not in AT_REST
    ]


# ---------------------------------------------------------------------------------------------------------------------
# Numbers


def highest_number(
    states: Iterable[Mapping[Any, str]],
    allocated: Iterable[Sequence[int] | None],
    reservations: Iterable[Mapping[str, Sequence[int]] | None] = (),
    planned: Iterable[str] = (),
    counter: int = 0,
) -> int:
    """Highest sector number that was ever given out, 0 when none was.

    `states` of every process; `allocated`: sets as runs, of StateMinerAllocated and of the upstream miners'
    SectorNumAssignerMeta; `reservations` answer SectorNumReservations, without the names in `planned` (a range that the
    plan gives a miner is not used up by it); `counter`: what the fork's counter and its copies hold.
    """
    skipped = set(planned)
    runs = [*allocated, *(run for named in reservations for name, run in (named or {}).items() if name not in skipped)]
    return max(
        int(counter),
        max((int(number) for each in states for number in each), default=0),
        max((top_of(run) for run in runs), default=0),
    )


# ---------------------------------------------------------------------------------------------------------------------
# The playbooks' view: processes of all hosts, the chain, the one miner

DUTIES = {"window", "winning"}
PROVABLE = (2 | 4, 8 | 16)
"""Bits of SectorFileType: sealed and cache, or update and update-cache (contract files.json)."""
CARRIED = "handed-over"
"""Name of the reservation that keeps the one miner off numbers that others gave out."""


def miner_role_calls(_role: str) -> list[dict[str, Any]]:
    """All that is asked of a miner process, whatever its role, for module lotus_rpc."""
    methods = ("WorkerJobs", "WorkerStats", "SectorNumAssignerMeta", "SectorNumReservations")
    return [*state_calls(), *({"method": method} for method in methods)]


def actor_chain_calls(actor: str) -> list[dict[str, Any]]:
    """All that is asked of the chain, for module lotus_rpc."""
    return [*actor_deadline_calls(actor), {"method": "StateMinerAllocated", "params": [actor, None]}]


def live_sectors(answers: Sequence[Mapping[str, Any]] | None) -> set[int]:
    """Live sectors of the actor out of the answers to `actor_chain_calls`."""
    return {
        number
        for answer in answers or []
        if answer["method"] == "StateMinerPartitions"
        for partition in answer.get("result") or []
        for number in members(partition.get("LiveSectors"))
    }


def hosts_miner_processes(hostvars: Mapping[str, Mapping[str, Any]], hosts: Sequence[str]) -> list[dict[str, Any]]:
    """Every miner process of the hosts, out of what role miner_handover has registered there.

    Each has {process, host, role}, what module miner_processes says of it, and where it answered (`answered`) its
    {states, in_flight, moving, allocated, reservations}.
    """
    found = []
    for host in hosts:
        own = hostvars[host]
        answers = {each["item"]: each for each in (own.get("miner_handover_answers") or {}).get("results") or []}
        moving = {
            each["item"]["item"]: each
            for each in (own.get("miner_handover_moving") or {}).get("results") or []
            if "answers" in each
        }
        for role, process in ((own.get("miner_handover_found") or {}).get("processes") or {}).items():
            name = f"{host}/{role}"
            said = (answers.get(role) or {}).get("answers")
            more = (moving.get(role) or {}).get("answers")
            states = sector_states(said, more)
            found.append(
                {
                    **process,
                    "process": name,
                    "host": host,
                    "role": role,
                    "answered": said is not None,
                    "states": states,
                    "moving": moving_sectors(states, name),
                    "in_flight": tasks_in_flight(result_of(said, "WorkerJobs"), result_of(said, "WorkerStats"), name),
                    "allocated": (result_of(said, "SectorNumAssignerMeta") or {}).get("Allocated"),
                    "reservations": result_of(said, "SectorNumReservations"),
                }
            )
    return found


def host_results_processes(results: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Processes in the results of module miner_processes over hosts, as `processes_layout_problems` takes them."""
    return [
        {**process, "process": f"{each['item']}/{role}", "host": each["item"], "role": role}
        for each in results
        for role, process in (each.get("processes") or {}).items()
    ]


def hosts_unseen_problems(hostvars: Mapping[str, Mapping[str, Any]], hosts: Sequence[str]) -> list[str]:
    """Miner hosts that this run did not look at, one sentence each: a process may run there."""
    return [
        f"{host}: was not looked at: run without --limit, and make the host reachable"
        for host in hosts
        if "processes" not in (hostvars[host].get("miner_handover_found") or {})
    ]


def processes_layout_problems(
    processes: Sequence[Mapping[str, Any]], miners: Mapping[str, Mapping[str, Any]]
) -> list[str]:
    """Why the plan's miners must not be started as things are: another layout runs, and a second process would prove.

    `miners` are the plan's. One sentence for each process, with the playbook that changes the layout.
    """
    found = []
    single = {host: miner for host, miner in miners.items() if miner["instances"].get("seal", {}).get("duties")}
    for each in processes:
        planned = each["role"] in miners.get(each["host"], {}).get("instances", {})
        all_duties = set(each["duties"]) >= DUTIES and not each["duties_in_flags"]
        if single and not planned and (each["active"] or each["enabled"]):
            found.append(
                f"{each['host']}: lotus-miner-{each['role']} {'runs' if each['active'] else 'is enabled'}, and "
                "sealing_miner_layout single has no such process: playbooks/rollback_to_single_miner.yml retires it"
            )
        elif single and planned and each["repo"] and not all_duties:
            found.append(
                f"{each['host']}: lotus-miner-{each['role']} does not prove, and sealing_miner_layout is single: "
                "playbooks/rollback_to_single_miner.yml hands it all duties"
            )
        elif not single and each["role"] in ("seal", "deal") and each["repo"] and all_duties and each["configured"]:
            found.append(
                f"{each['host']}: lotus-miner-{each['role']} proves and makes blocks for the whole actor, and "
                "sealing_miner_layout is split: playbooks/split_miners.yml takes that from it first"
            )
    return found


def processes_handover_problems(
    processes: Sequence[Mapping[str, Any]],
    chain: Sequence[Mapping[str, Any]] | None,
    stored: Mapping[str, str],
    accounted: Sequence[str],
    kept: str,
) -> list[str]:
    """Why the actor cannot be handed to the process `kept` alone; [] when it can.

    `chain` answers `actor_chain_calls`; `accounted` are stopped processes that an earlier run has accounted for.
    """
    problems = [
        f"{each['host']}: lotus-miner-{each['role']} has a repo and does not answer, so nobody knows its sectors: "
        f"systemctl start lotus-miner-{each['role']}, then run again"
        for each in processes
        if each["repo"] and not each["answered"] and (each["active"] or each["process"] not in accounted)
    ]
    problems += [
        f"{each['host']}: lotus-miner-{each['role']} is the distributed-miner fork's: change the binaries first, "
        "with sealing_miner_layout: split and playbooks/scheduler_switch.yml"
        for each in processes
        if each["duties_in_flags"] and each["active"]
    ]
    if result_of(chain, "StateMinerProvingDeadline") is None:
        return [*problems, "the chain cannot be asked: start the private daemon (playbooks/chain.yml)"]
    return problems + unaccounted_text(unaccounted_sectors(processes, live_sectors(chain), stored, kept))


def processes_carried_reservation(processes: Sequence[Mapping[str, Any]], kept: str, numbers: str) -> dict[str, Any]:
    """Reservation that keeps the process `kept` above every number that others gave out of its own range.

    `numbers` is that range of the plan, "START-END". {range, run, due}, `due` where the process has not yet made it;
    {} where no other process and no counter of the fork ever gave a number out of the range.
    """
    first, _, last = numbers.partition("-")
    start, end = int(first), int(last)
    others = [each for each in processes if each["process"] != kept]
    given = [number for each in others for number in each["states"] if start <= number <= end]
    given += [number for each in others for number in _ends(each["allocated"], start, end)]
    given += [each["counter"] for each in processes if start <= each["counter"] <= end]
    if not given:
        return {}
    if max(given) == end:
        raise SealyardError(
            f"{kept}: its sector numbers {numbers} are used up: give it others with sealing_sector_number_start"
        )
    made = next((each["reservations"] or {} for each in processes if each["process"] == kept), {})
    return {
        "range": f"{start}-{max(given)}",
        "run": [start, max(given) - start + 1],
        "due": top_of(made.get(CARRIED)) < max(given),
    }


def processes_highest_number(processes: Sequence[Mapping[str, Any]], chain: Sequence[Mapping[str, Any]] | None) -> int:
    """`highest_number` over all processes, the fork's counter and the chain."""
    return highest_number(
        [each["states"] for each in processes],
        [*(each["allocated"] for each in processes), result_of(chain, "StateMinerAllocated")],
        counter=max((each["counter"] for each in processes), default=0),
    )


def processes_single_miner(processes: Sequence[Mapping[str, Any]]) -> str:
    """The process that seals and has all other duties too, as its settings say; "" where there is none."""
    return next(
        (
            str(each["process"])
            for each in processes
            if each["role"] == "seal"
            and each["configured"]
            and not each["duties_in_flags"]
            and set(each["duties"]) >= DUTIES
        ),
        "",
    )


def processes_accounted(processes: Sequence[Mapping[str, Any]], before: Sequence[str]) -> list[str]:
    """Processes whose sectors are accounted for: those that answer now, and the stopped ones an earlier run knew."""
    return sorted({each["process"] for each in processes if each["answered"] or each["process"] in before})


def miner_answers_tasks_in_flight(answers: Sequence[Mapping[str, Any]], process: str) -> list[str]:
    """`tasks_in_flight` out of the answers to WorkerJobs and WorkerStats."""
    return tasks_in_flight(result_of(answers, "WorkerJobs"), result_of(answers, "WorkerStats"), process)


def miner_answers_undeclared_sectors(
    answers: Sequence[Mapping[str, Any]],
    chain: Sequence[Mapping[str, Any]] | None,
    processes: Sequence[Mapping[str, Any]] = (),
    kept: str = "",
) -> list[int]:
    """Live sectors whose replica and cache the miner has in no store of its own, so that it cannot prove them.

    `answers` are to StorageList and StorageLocal, `chain` to `actor_chain_calls`. What the process `kept` has not yet
    finished lies with a worker.
    """
    own_states: Mapping[int, str] = next((each["states"] for each in processes if each["process"] == kept), {})
    unfinished = {number for number, state in own_states.items() if state not in (*ON_CHAIN, *GONE)}
    own = result_of(answers, "StorageLocal") or {}
    held: dict[int, int] = {}
    for store, sectors in (result_of(answers, "StorageList") or {}).items():
        for sector in sectors if store in own else []:
            number = int(sector["Number"])
            held[number] = held.get(number, 0) | int(sector["SectorFileType"])
    return sorted(
        n for n in live_sectors(chain) - unfinished if not any(held.get(n, 0) & both == both for both in PROVABLE)
    )


def _ends(runs: Sequence[int] | None, start: int, end: int) -> list[int]:
    """Last numbers of the runs of a set that reach into start to end, cut there."""
    found, position = [], 0
    for index, length in enumerate(runs or []):
        position += int(length)
        if index % 2 and length and position > start and position - int(length) <= end:
            found.append(min(position - 1, end))
    return found


def sector_size_bytes(size: str) -> int:
    """Bytes of a sector size such as 32GiB."""
    return SECTOR_BYTES[size]
