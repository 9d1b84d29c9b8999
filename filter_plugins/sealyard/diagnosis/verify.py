"""Filters of playbooks/verify.yml: what is wrong with a host, one sentence each, with what to do about it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sealyard import stacks
from sealyard.diagnosis.queue import queue_of, taken_tasks, untaken_tasks
from sealyard.hosts.miners import all_post_miner_problems, miner_duty_problems
from sealyard.hosts.registration import registration_problems, worker_stats_named
from sealyard.stacks import Stack

Answer = Mapping[str, Any]
"""What a module returned."""
Answers = Sequence[Answer]
"""The results of a loop over one."""
PROOF_ROLES = ("winning", "window")
HEADS_APART_EPOCHS = 5
"""Daemons further apart than this do not follow the same chain: Lotus calls a node in sync within 5 epochs
(contract files.json, http.lotus./health/readyz)."""


@dataclass(frozen=True)
class Evidence:
    """What playbooks/verify.yml asked about a host, by what it registered; None for what it is not asked about."""

    heads: Answers | None = None
    miner_units: Answer | None = None
    stores: Answers | None = None
    reservations: Answers = ()
    faults: Answer | None = None
    duties: Answers = ()
    holdings: Answers = ()
    worker_units: Answer | None = None
    sessions: Answers = ()
    stats: Answers | None = None
    queues: Answers = ()

    @classmethod
    def read(cls, variables: Mapping[str, Any]) -> Evidence:
        """Return what the plays registered on a host; a task that was skipped gave no answer."""
        faults = variables.get("verify_faults") or {}
        return cls(
            _results(variables, "verify_heads"),
            variables.get("verify_miner_units"),
            _results(variables, "verify_stores"),
            _results(variables, "verify_reservations") or (),
            faults if faults and not faults.get("skipped") else None,
            _results(variables, "verify_duties") or (),
            _results(variables, "verify_holdings") or (),
            variables.get("verify_worker_units"),
            _results(variables, "sealing_worker_identities") or (),
            _results(variables, "verify_stats"),
            _results(variables, "verify_queues") or (),
        )


def _results(variables: Mapping[str, Any], name: str) -> Answers | None:
    """Return the results of a loop that was registered; None where the host had none."""
    answer = variables.get(name)
    return None if answer is None else answer.get("results") or ()


def host_verify_problems(
    hostvars: Mapping[str, Mapping[str, Any]], host: str, daemons: Sequence[str], run: Sequence[str]
) -> list[str]:
    """Return all that is wrong with a host, out of what the plays of playbooks/verify.yml registered.

    `daemons` are the hosts whose heads are compared, `run` those of this run (--limit).
    """
    own = hostvars[host]
    heads = [_results(hostvars[daemon], "verify_heads") for daemon in daemons]
    plan = own.get("sealing_cluster_plan") or {}
    evidence = Evidence.read(own)
    problems = evidence_problems(
        evidence, host, plan, own.get("sealing_host_plan") or {}, [each for each in heads if each], run
    )
    queues = [answer for answer in evidence.queues if queue_of(answer.get("result"))]
    # The whole plan is large: it is looked at only where something waits.
    return problems + (queue_problems(queues, own["sealing_plan"], host) if queues else [])


def evidence_problems(
    evidence: Evidence,
    host: str,
    cluster_plan: Mapping[str, Any],
    host_plan: Mapping[str, Any],
    heads: Sequence[Answers] = (),
    run: Sequence[str] = (),
) -> list[str]:
    """Return what the evidence says is wrong with a host whose parts of the plan these are; `heads`: of all daemons."""
    miner = (cluster_plan.get("miners") or {}).get(host) or {}
    settings = cluster_plan.get("settings") or {}
    problems: list[str] = []
    if evidence.heads is not None:
        problems += daemon_problems(evidence.heads, heads, host)
    if evidence.miner_units is not None:
        problems += unit_problems(evidence.miner_units, host, "miners.yml")
    if evidence.stores is not None:
        problems += miner_problems(evidence.stores, evidence.reservations, miner, host)
    if evidence.faults is not None:
        problems += fault_problems(evidence.faults, settings["actor"], host)
    if evidence.duties:
        stack = stacks.get(settings["stack"])
        problems += miner_duty_problems(evidence.duties, cluster_plan, host, stack)
    problems += all_post_miner_problems(evidence.holdings, host, settings.get("network", ""))
    if evidence.worker_units is not None:
        problems += unit_problems(evidence.worker_units, host, "workers.yml")
        problems += affinity_problems(evidence.worker_units, host_plan, host)
    if evidence.stats is not None:
        problems += unanswered_problems(evidence.stats, host, run)
        named = worker_stats_named(evidence.stats, evidence.sessions, host)
        problems += registration_problems(named, host_plan, host)
    return problems


def cpu_set(text: str) -> set[int]:
    """CPUs of a Linux CPU list such as 0-3,8."""
    cpus: set[int] = set()
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        cpus.update(range(int(first), int(last or first) + 1))
    return cpus


def unreachable(answer: Mapping[str, Any]) -> str:
    """Why lotus_rpc gave no answer, "" when it gave one."""
    return "" if answer.get("reachable") else str(answer.get("reason") or answer.get("msg") or "no answer")


def head_height(answer: Mapping[str, Any]) -> int | None:
    """Height in an answer to ChainHead."""
    return None if unreachable(answer) else int(answer["result"]["Height"])


def daemon_problems(answers: Sequence[Mapping[str, Any]], everyone: Sequence[Any], host: str) -> list[str]:
    """What is wrong with the daemons of `host`; `answers` are its results of a loop over ChainHead, `everyone` those of
    all daemon hosts (hosts without an answer are left out)."""
    heights = [height for results in everyone for answer in results if (height := head_height(answer)) is not None]
    problems = []
    for answer in answers:
        unit = f"lotus-daemon-{answer['item']}"
        height = head_height(answer)
        if height is None:
            problems.append(f"{host}: {unit}: {unreachable(answer)}")
        elif not answer.get("result_changed"):
            problems.append(
                f"{host}: {unit} stays at height {height}: it has no peers, see lotus net peers; "
                "playbooks/chain.yml gives it the others"
            )
        elif max(heights) - height > HEADS_APART_EPOCHS:
            problems.append(
                f"{host}: {unit} is at height {height}, another daemon at {max(heights)}: "
                "wait until it has caught up, lotus sync status shows how far it is"
            )
    return problems


def unit_problems(result: Mapping[str, Any], host: str, playbook: str) -> list[str]:
    """What a dry run of module unit_set would still do: units down, not enabled, out of date, or too many."""
    if "states" not in result:
        return [f"{host}: {result.get('msg', 'the units cannot be looked at')}"]
    texts = {
        "started": "is not running",
        "enabled": "is not enabled and would not come back after a reboot",
        "restarted": "runs with old settings",
        "deferred": "runs with old settings",
        "retired": "should not be here",
    }
    return [
        f"{host}: {name} {text}: run playbooks/{playbook}"
        for key, text in texts.items()
        for name in result.get(key) or []
    ]


def miner_role_units(roles: Sequence[str], stack: Stack, unit_dir: str = "/etc/systemd/system") -> list[dict[str, Any]]:
    """Units a miner host must have, as the option `units` of module unit_set."""
    names = [f"lotus-miner-{role}.service" for role in roles]
    if not stack.finds_sectors:
        names += [f"lotus-miner-redeclare-{role}.timer" for role in roles if role in PROOF_ROLES]
    return [{"name": name, "files": [f"{unit_dir}/{name}"]} for name in names]


def registration_units(workers: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Units of `host_plan_registrations` as the option `units` of module unit_set."""
    return [{"name": f"lotus-worker@{worker['name'].split('/', 1)[1]}.service"} for worker in workers]


def miner_problems(
    stores: Sequence[Mapping[str, Any]], reservations: Sequence[Mapping[str, Any]], miner: Mapping[str, Any], host: str
) -> list[str]:
    """What is wrong inside the miners of `host`, whose part of the plan is `miner`.

    `stores` are the answers to StorageLocal, `reservations` those to SectorNumReservations, each of a loop over roles.
    """
    problems = []
    for answer in stores:
        role = answer["item"]
        if unreachable(answer):
            problems.append(f"{host}: the {role} miner: {unreachable(answer)}")
            continue
        attached = set((answer.get("result") or {}).values())
        problems += [
            f"{host}: the {role} miner does not have {path['path']}: run playbooks/miners.yml"
            for path in miner["paths"]
            if path["path"] not in attached
        ]
    for answer in reservations:
        role = answer["item"]
        if not unreachable(answer):
            problems += _reservation_problems(
                answer.get("result") or {}, miner["instances"][role]["reserve"], role, host
            )
    return problems


def _reservation_problems(
    present: Mapping[str, Sequence[int]], reserve: Mapping[str, str], role: str, host: str
) -> Iterator[str]:
    for name, numbers in sorted(reserve.items()):
        start, end = (int(number) for number in numbers.split("-"))
        if list(present.get(name, [])) != [start, end - start + 1]:
            yield (
                f"{host}: the {role} miner does not reserve {numbers} for {name}, two miners could issue one number: "
                "run playbooks/miners.yml before the next sector"
            )


def unanswered_problems(answers: Sequence[Mapping[str, Any]], host: str, run: Sequence[str]) -> list[str]:
    """Miners that did not tell a worker host who is registered; `answers` are of a loop over `worker_miners`.

    A miner whose host is not among those of this run (--limit) is not judged by it.
    """
    return [
        f"{host}: the miner {answer['item']['key']} does not say whether its workers are registered: {reason}"
        for answer in answers
        if (reason := unreachable(answer)) and answer["item"]["host"] in run
    ]


def fault_problems(answer: Mapping[str, Any], actor: str, host: str) -> list[str]:
    """Faulty sectors in the answer to StateMinerFaults, which counts them in runs, absent first."""
    if unreachable(answer):
        return [f"{host}: the chain cannot be asked for faults: {unreachable(answer)}"]
    count = sum((answer.get("result") or [])[1::2])
    if not count:
        return []
    return [
        f"{host}: {count} sectors of {actor} are faulty: the window miner cannot read them, "
        "see lotus-miner proving faults and journalctl -u lotus-miner-window"
    ]


def queue_problems(answers: Sequence[Mapping[str, Any]], plan: Mapping[str, Any], host: str) -> list[str]:
    """Tasks that wait and that no worker of the plan takes; `answers` are to SealingSchedDiag of a loop over roles."""
    stack = stacks.get(plan["settings"]["stack"])
    taken = taken_tasks(plan, stack)
    return [
        f"{host}: the {answer['item']} miner: {each.says}: {each.do}"
        for answer in answers
        for each in untaken_tasks(queue_of(answer.get("result")), taken.get(f"{host}/{answer['item']}", ()), stack)
    ]


def affinity_problems(result: Mapping[str, Any], host_plan: Mapping[str, Any], host: str) -> list[str]:
    """Workers whose processes may run on other CPUs than the plan gives them; `result` is of module unit_set."""
    problems = []
    for worker in host_plan.get("workers", []):
        cpus = (result.get("states") or {}).get(f"lotus-worker@{worker['name']}.service", {}).get("cpus", "")
        if cpus and cpu_set(cpus) != cpu_set(worker["cpus"]):
            problems.append(
                f"{host}: lotus-worker@{worker['name']} runs on CPUs {cpus}, the plan gives it {worker['cpus']}: "
                "run playbooks/workers.yml"
            )
    return problems
