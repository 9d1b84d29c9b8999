"""Commands of `lotus-miner` that talk to a running miner, and those that ask the chain."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable

from . import numbers, stack
from .cli import Call
from .common import (
    CommandError,
    Json,
    block_delay_sec,
    duration_text,
    expand,
    out,
    parse_size,
    size_text,
    table,
    write_json,
)
from .lotus_cli import answered, auth, fil, fullnode_info
from .net import ApiInfo, RpcClient
from .paths import new_metadata
from .repo import Repo


def miner_info(call: Call) -> ApiInfo:
    for variable in ("MINER_API_INFO", "STORAGE_API_INFO"):
        if os.environ.get(variable):
            return ApiInfo.parse(os.environ[variable])
    return Repo(call.text("miner-repo"), "miner").api_info()


def miner(call: Call) -> RpcClient:
    return RpcClient(miner_info(call), "v0")


def node(call: Call) -> RpcClient:
    return RpcClient(fullnode_info(call.text("repo")), "v1")


def run(call: Call) -> None:
    if answered(call, "miner", lambda: miner(call)):
        return
    command = COMMANDS.get(call.command)
    if command is None:
        raise CommandError(f"{call.command}: not part of the stand-in")
    command(call)


def actor_of(call: Call, api: RpcClient | None = None) -> str:
    if call.text("actor"):
        return call.text("actor")
    return str((api or miner(call)).call("ActorAddress"))


def _stop(call: Call) -> None:
    miner(call).call("Shutdown")


def _auth(call: Call) -> None:
    api = miner(call)
    auth(call, api, "MINER_API_INFO", api.info)


def _version(call: Call) -> None:
    from .common import MINER_VERSION

    out(f"Daemon:  {miner(call).call('Version')['Version']}+api{stack.text(stack.CURRENT.miner)}")
    out(f"Local: lotus-miner version {MINER_VERSION}")


def _log(call: Call) -> None:
    api = miner(call)
    if call.command == "log list":
        out("\n".join(api.call("LogList")))
    elif call.command == "log set-level" and not call.args:
        raise CommandError("level is required")
    else:
        for system in call.many("system") or ["*"]:
            api.call("LogSetLevel", [system, call.args[0]])


def _backup(call: Call) -> None:
    if len(call.args) != 1:
        raise CommandError(f"incorrect number of arguments, got {len(call.args)}")
    if call.on("offline"):
        repo = Repo(call.text("miner-repo"), "miner")
        repo.lock()
        try:
            write_json(expand(call.args[0]), {"standin-backup": repo.meta()}, mode=0o600)
        finally:
            repo.unlock()
        return
    miner(call).call("CreateBackup", [os.path.abspath(expand(call.args[0]))])
    out("Success")


def _info(call: Call) -> None:
    chain, api = node(call), miner(call)
    head = chain.call("ChainHead")
    behind = time.time() - head["Blocks"][0]["Timestamp"]
    state = "sync ok" if behind < 3 * max(4.0, block_delay_sec()) else f"sync behind! ({duration_text(behind)} behind)"
    out("Enabled subsystems (from miner API): [Mining Sealing SectorStorage]")
    out("Enabled subsystems (from markets API): []")
    out(f"Chain: [{state}] [basefee 100 aFIL] [epoch {head['Height']}]")
    actor = actor_of(call, api)
    info = chain.call("StateMinerInfo", [actor, None])
    out(f"Miner: {actor} ({size_text(info['SectorSize'])} sectors)")
    power = chain.call("StateMinerPower", [actor, None])
    mine, total = int(power["MinerPower"]["RawBytePower"]), int(power["TotalPower"]["RawBytePower"])
    out(f"Power: {size_text(mine)} / {size_text(total)} ({100 * mine / max(1, total):.4f}%)")
    out(f"\tRaw: {size_text(mine)} / {size_text(total)} ({100 * mine / max(1, total):.4f}%)")
    count = chain.call("StateMinerSectorCount", [actor, None])
    size_bytes = info["SectorSize"]
    out(f"\tCommitted: {size_text(count['Live'] * size_bytes)}")
    good = count["Active"]
    faulty = f" ({count['Faulty']} faulty)" if count["Faulty"] else ""
    out(f"\tProving: {size_text(good * size_bytes)}{faulty}")
    out(f"Miner Balance:    {fil(chain.call('StateMinerAvailableBalance', [actor, None]))}")
    out(f"Worker Balance:   {fil(chain.call('WalletBalance', [info['Worker']]))}")
    if not call.on("hide-sectors-info"):
        out("Sectors:")
        summary = api.call("SectorsSummary")
        out(f"\tTotal: {sum(summary.values())}")
        for name, number in sorted(summary.items()):
            out(f"\t{name}: {number}")
    out("Workers: Seal({})".format(sum(1 for w in api.call("WorkerStats").values() if w["Enabled"])))


def _sectors_pledge(call: Call) -> None:
    out(f"Created CC sector:  {miner(call).call('PledgeSector')['Number']}")


def _sectors_list(call: Call) -> None:
    api, chain = miner(call), node(call)
    if call.text("states") and call.on("unproven"):
        raise CommandError("only one of --states or --unproven can be specified at once")
    if call.text("states"):
        listed = api.call("SectorsListInStates", [call.text("states").split(",")])
    else:
        listed = api.call("SectorsList")
    actor = api.call("ActorAddress")
    on_chain = {s["SectorNumber"]: s for s in chain.call("StateMinerSectors", [actor, None, None])}
    active = {s["SectorNumber"] for s in chain.call("StateMinerActiveSectors", [actor, None])}
    rows = [["ID", "State", "OnChain", "Active", "Expiration", "Deals"]] if listed else []
    for number in sorted(listed):
        state = api.call("SectorsStatus", [number, False])["State"]
        if state == "Removed" and not call.on("show-removed") and not call.text("states"):
            continue
        if call.on("unproven") and state in ("Proving", "Available"):
            continue
        expiration = str(on_chain[number]["Expiration"]) if number in on_chain else "n/a"
        rows.append(
            [
                str(number),
                state,
                "YES" if number in on_chain else "NO",
                "YES" if number in active else "NO",
                "" if call.on("fast") else expiration,
                "CC",
            ]
        )
    if rows:
        out(table(rows))


def _sector_number(call: Call) -> int:
    if len(call.args) != 1:
        raise CommandError(f"incorrect number of arguments, got {len(call.args)}")
    if not call.args[0].isdigit():
        raise CommandError(f'strconv.ParseUint: parsing "{call.args[0]}": invalid syntax')
    return int(call.args[0])


def _sectors_status(call: Call) -> None:
    status = miner(call).call("SectorsStatus", [_sector_number(call), call.on("on-chain-info")])

    def text(value: Json) -> str:
        return value["/"] if value else "<nil>"

    out(
        f"SectorID:\t{status['SectorID']}\nStatus:\t\t{status['State']}\nCIDcommD:\t{text(status['CommD'])}\nCIDcommR:\t{text(status['CommR'])}"
    )
    out(
        f"Ticket:\t\t{status['Ticket']['Value']}\nTicketH:\t{status['Ticket']['Epoch']}\nSeed:\t\t{status['Seed']['Value']}"
    )
    out(
        f"SeedH:\t\t{status['Seed']['Epoch']}\nPrecommit:\t{text(status['PreCommitMsg'])}\nCommit:\t\t{text(status['CommitMsg'])}"
    )
    if call.on("proof"):
        out(f"Proof:\t\t{status['Proof'] or ''}")
    out(f"Deals:\t\t{status['Deals']}\nRetries:\t{status['Retries']}")
    if status["LastErr"]:
        out(f"Last Error:\t\t{status['LastErr']}")
    if call.on("on-chain-info"):
        out(f"\nSector On Chain Info\nSealProof:\t\t{status['SealProof']}\nActivation:\t\t{status['Activation']}")
        out(f"Expiration:\t\t{status['Expiration']}")
    if call.on("log"):
        out("--------\nEvent Log:")
        for index, entry in enumerate(status["Log"]):
            stamp = time.strftime("%Y-%m-%d %H:%M:%S +0000 UTC", time.gmtime(entry["Timestamp"]))
            out(f"{index}.\t{stamp}:\t[{entry['Kind']}]\t{entry['Message']}")


def _sectors_remove(call: Call) -> None:
    if not call.on("really-do-it"):
        raise CommandError("this is a command for advanced users, only use it if you are sure of what you are doing")
    miner(call).call("SectorRemove", [_sector_number(call)])


def _sectors_expired(_call: Call) -> None:
    return


def _numbers_info(call: Call) -> None:
    meta = miner(call).call("SectorNumAssignerMeta")
    out(f"Next free: {meta['Next']}\nAllocated: {numbers.human(numbers.from_rle(meta['Allocated']))}")
    out(f"Reserved: {numbers.human(numbers.from_rle(meta['Reserved']))}")


def _numbers_reservations(call: Call) -> None:
    found = miner(call).call("SectorNumReservations")
    out(f"reservations: {len(found)}")
    for name, runs in sorted(found.items()):
        ranges = numbers.from_rle(runs)
        out(f"{name}: count={numbers.count(ranges)} {numbers.human(ranges)}")


def _numbers_reserve(call: Call) -> None:
    api = miner(call)
    if len(call.args) != 2:
        raise CommandError(f"incorrect number of arguments, got {len(call.args)}")
    api.call("SectorNumReserve", [call.args[0], numbers.to_rle(numbers.parse(call.args[1])), call.on("force")])


def _numbers_free(call: Call) -> None:
    api = miner(call)
    if len(call.args) != 1:
        raise CommandError(f"incorrect number of arguments, got {len(call.args)}")
    api.call("SectorNumFree", [call.args[0]])


def _batching(call: Call) -> None:
    api = miner(call)
    what = "PreCommit" if call.command.endswith("precommit") else "Commit"
    if call.on("publish-now"):
        results = api.call(f"Sector{what}Flush")
        if not results:
            raise CommandError("no sectors to publish")
        for index, batch in enumerate(results):
            if batch["Error"]:
                out(f"Batch {index}:\n\tError: {batch['Error']}")
            else:
                out(f"Batch {index}:\n\tMessage: {batch['Msg']['/']}")
            out("\tSectors:")
            for number in batch["Sectors"]:
                out(f"\t\t{number}\tOK")
        return
    for sector in api.call(f"Sector{what}Pending"):
        out(str(sector["Number"]))


def _storage_attach(call: Call) -> None:
    storage_attach(call, miner(call))


def storage_attach(call: Call, api: RpcClient) -> None:
    if len(call.args) != 1:
        raise CommandError(f"incorrect number of arguments, got {len(call.args)}")
    path = expand(call.args[0])
    if call.on("init"):
        os.makedirs(path, mode=0o755, exist_ok=True)
        meta_file = os.path.join(path, "sectorstore.json")
        if os.path.exists(meta_file):
            raise CommandError("path is already initialized")
        limit = 0
        if call.text("max-storage"):
            try:
                limit = parse_size(call.text("max-storage"))
            except ValueError as error:
                raise CommandError(f"parsing max-storage: {error}") from None
        if not (call.on("store") or call.on("seal")):
            raise CommandError("must specify at least one of --store or --seal")
        meta = new_metadata(
            seal=call.on("seal"),
            store=call.on("store"),
            weight=call.number("weight"),
            max_bytes=limit,
            groups=call.many("groups"),
            allow_to=call.many("allow-to"),
        )
        write_json(meta_file, meta, indent=2)
    api.call("StorageAddLocal", [path])


def _storage_detach(call: Call) -> None:
    storage_detach(call, miner(call))


def storage_detach(call: Call, api: RpcClient) -> None:
    if len(call.args) != 1:
        raise CommandError(f"incorrect number of arguments, got {len(call.args)}")
    if not call.on("really-do-it"):
        raise CommandError("pass --really-do-it to execute the action")
    api.call("StorageDetachLocal", [expand(call.args[0])])


def _storage_redeclare(call: Call) -> None:
    storage_redeclare(call, miner(call))


def storage_redeclare(call: Call, api: RpcClient) -> None:
    ident = call.text("id")
    if not call.args and not ident and not call.on("all"):
        raise CommandError("You must specify a storage path, or --id, or --all")
    if ident and call.on("all"):
        raise CommandError("--id and --all can't be passed at the same time")
    if call.on("all") and call.args:
        raise CommandError("No additional arguments are expected when --all is set")
    if call.args:
        from .paths import LocalStore

        ident = LocalStore.read_meta(expand(call.args[0]))["ID"]
    api.call("StorageRedeclareLocal", [ident or None, call.on("drop-missing")])


def _storage_list(call: Call) -> None:
    api = miner(call)
    local = api.call("StorageLocal")
    for ident, decls in sorted(api.call("StorageList").items()):
        count = [sum(1 for d in decls if d["SectorFileType"] & (1 << bit)) for bit in range(5)]
        out(f"{ident}:")
        try:
            stat = api.call("StorageStat", [ident])
        except CommandError as error:
            out(f"\tError: {error}:")
            continue
        capacity = max(1, int(stat.get("Capacity") or 1))
        used = capacity - int(stat.get("FSAvailable") or 0)
        bar = "#" * (used * 50 // capacity)
        out(f"\t[{bar.ljust(50)}] {size_text(used)}/{size_text(capacity)} {used * 100 // capacity}%")
        out(
            f"\tUnsealed: {count[0]}; Sealed: {count[1]}; Caches: {count[2]}; "
            f"Updated: {count[3]}; Update-caches: {count[4]}; "
            f"Reserved: {size_text(int(stat.get('Reserved') or 0))}"
        )
        info = api.call("StorageInfo", [ident])
        if info["CanSeal"] or info["CanStore"]:
            out(
                f"\tWeight: {info['Weight']}; "
                f"Use: {'Seal ' if info['CanSeal'] else ''}{'Store' if info['CanStore'] else ''}"
            )
        else:
            out("\tUse: ReadOnly")
        if info.get("Groups"):
            out(f"\tGroups: {', '.join(info['Groups'])}")
        if info.get("AllowTo"):
            out(f"\tAllowTo: {', '.join(info['AllowTo'])}")
        if ident in local:
            out(f"\tLocal: {local[ident]}")
        for url in info["URLs"]:
            out(f"\tURL: {url}")
        out()


def _storage_find(call: Call) -> None:
    number = _sector_number(call)
    api = miner(call)
    sector = {"Miner": int(api.call("ActorAddress")[2:]), "Number": number}
    by_id: dict[str, tuple[Json, list[str]]] = {}
    for bit, kind in enumerate(("Unsealed", "Sealed", "Cache", "Update", "Update-cache")):
        for info in api.call("StorageFindSector", [sector, 1 << bit, 0, False]):
            by_id.setdefault(info["ID"], (info, []))[1].append(kind)
    local = api.call("StorageLocal")
    for ident, (info, kinds) in sorted(by_id.items()):
        out(
            f"In {ident} ({', '.join(kinds)})\n"
            f"\tSealing: {str(info['CanSeal']).lower()}; Storage: {str(info['CanStore']).lower()}"
        )
        out(f"\tLocal ({local[ident]})" if ident in local else "\tRemote")
        for url in info["URLs"]:
            out(f"\tURL: {url}")


def _sealing_workers(call: Call) -> None:
    list_workers(call, True)


def list_workers(call: Call, _sealing: bool) -> None:
    for ident, stat in sorted(miner(call).call("WorkerStats").items()):
        out(f"Worker {ident}, host {stat['Info']['Hostname']}{'' if stat['Enabled'] else ' (disabled)'}")
        resources = stat["Info"]["Resources"]
        counts = []
        for name, number in sorted(stat["TaskCounts"].items()):
            from .tasks import short_name

            counts.append(f"{short_name(name.split(':')[0])}({number})")
        if counts:
            out(f"\tTASK: {' '.join(counts)} ")

        def bar(part: float, whole: float) -> str:
            return ("|" * round(64 * part / max(1, whole))).ljust(64)

        out(f"\tCPU:  [{bar(stat['CpuUse'], resources['CPUs'])}] {stat['CpuUse']}/{resources['CPUs']} core(s) in use")
        ram, vmem = resources["MemPhysical"], resources["MemPhysical"] + resources["MemSwap"]
        used = stat["MemUsedMin"] + resources["MemUsed"]
        out(f"\tRAM:  [{bar(used, ram)}] {used * 100 // max(1, ram)}% {size_text(used)}/{size_text(ram)}")
        used = stat["MemUsedMax"] + resources["MemUsed"] + resources["MemSwapUsed"]
        out(f"\tVMEM: [{bar(used, vmem)}] {used * 100 // max(1, vmem)}% {size_text(used)}/{size_text(vmem)}")
        gpus = resources["GPUs"] or []
        if gpus:
            out(
                f"\tGPU:  [{bar(stat['GpuUsed'], len(gpus))}] {stat['GpuUsed'] * 100 / len(gpus):.0f}% "
                f"{stat['GpuUsed']:.2f}/{len(gpus)} gpu(s) in use"
            )
        for gpu in gpus:
            out(f"\tGPU: {gpu}, {'' if stat['GpuUsed'] > 0 else 'not '}used")


def _sealing_jobs(call: Call) -> None:
    from .tasks import short_name

    api = miner(call)
    jobs = api.call("WorkerJobs")
    hosts = {worker: stats["Info"]["Hostname"] for worker, stats in api.call("WorkerStats").items()}
    rows = [["ID", "Sector", "Worker", "Hostname", "Task", "State", "Time"]]
    lines = [(w, j) for w, js in jobs.items() for j in js]
    for worker, job in sorted(lines, key=lambda line: (line[1]["RunWait"], line[1]["Start"])):
        state = {0: "running", 1: "prepared", -1: "ret-wait", -2: "returned"}.get(
            job["RunWait"], f"assigned({job['RunWait'] - 1})"
        )
        began = time.mktime(time.strptime(job["Start"][:19], "%Y-%m-%dT%H:%M:%S")) - time.timezone
        rows.append(
            [
                job["ID"]["ID"].replace("-", "")[:8],
                str(job["Sector"]["Number"]),
                worker.replace("-", "")[:8],
                hosts.get(worker) or job.get("Hostname", ""),
                short_name(job["Task"]),
                state,
                duration_text(max(0, time.time() - began)),
            ]
        )
    out(table(rows))


def _sched_diag(call: Call) -> None:
    out(json.dumps(miner(call).call("SealingSchedDiag", [call.on("force-sched")]), indent=2))


def _sealing_abort(call: Call) -> None:
    api = miner(call)
    if len(call.args) != 1:
        raise CommandError(f"incorrect number of arguments, got {len(call.args)}")
    if call.on("sched"):
        api.call("SealingRemoveRequest", [call.args[0]])
        return
    for jobs in api.call("WorkerJobs").values():
        for job in jobs:
            if job["ID"]["ID"].startswith(call.args[0]) or job["ID"]["ID"].replace("-", "").startswith(call.args[0]):
                out(
                    f"aborting job {job['ID']['ID']}, task {job['Task']}, sector {job['Sector']['Number']}, "
                    f"running on host {job['Hostname']}"
                )
                api.call("SealingAbort", [job["ID"]])
                return
    raise CommandError("job with specified id prefix not found")


def _proving_deadlines(call: Call) -> None:
    chain = node(call)
    actor = actor_of(call)
    info = chain.call("StateMinerProvingDeadline", [actor, None])
    deadlines = chain.call("StateMinerDeadlines", [actor, None])
    out(f"Miner: {actor}")
    rows = [["deadline", "open", "partitions", "sectors (faults)", "proven partitions"]]
    for index, deadline in enumerate(deadlines):
        partitions = chain.call("StateMinerPartitions", [actor, index, None])
        sectors = sum(numbers.count(numbers.from_rle(p["LiveSectors"])) for p in partitions)
        faults = sum(numbers.count(numbers.from_rle(p["FaultySectors"])) for p in partitions)
        proven = numbers.count(numbers.from_rle(deadline["PostSubmissions"]))
        opens = info["PeriodStart"] + index * 60
        if index < info["Index"]:
            opens += info["WPoStProvingPeriod"]
        when = time.strftime(
            "%H:%M:%S", time.localtime(time.time() + (opens - info["CurrentEpoch"]) * block_delay_sec())
        )
        rows.append(
            [
                str(index),
                when,
                str(len(partitions)),
                f"{sectors} ({faults})",
                f"{proven}{'  (current)' if index == info['Index'] else ''}",
            ]
        )
    out(table(rows))


def _proving_info(call: Call) -> None:
    chain = node(call)
    actor = actor_of(call)
    info = chain.call("StateMinerProvingDeadline", [actor, None])
    count = chain.call("StateMinerSectorCount", [actor, None])
    out(f"Miner: {actor}\nCurrent Epoch:           {info['CurrentEpoch']}")
    out(
        f"Proving Period Boundary: {info['PeriodStart'] % info['WPoStProvingPeriod']}\n"
        f"Proving Period Start:    {info['PeriodStart']}"
    )
    out(f"Next Period Start:       {info['PeriodStart'] + info['WPoStProvingPeriod']}\n")
    out(f"Faults:      {count['Faulty']} ({100 * count['Faulty'] / max(1, count['Live']):.2f}%)\nRecovering:  0")
    out(
        f"Deadline Index:       {info['Index']}\nDeadline Open:        {info['Open']}\n"
        f"Deadline Close:       {info['Close']}"
    )
    out(f"Deadline Challenge:   {info['Challenge']}\nDeadline FaultCutoff: {info['FaultCutoff']}")


def _proving_deadline(call: Call) -> None:
    index = _sector_number(call)
    chain = node(call)
    actor = actor_of(call)
    info = chain.call("StateMinerProvingDeadline", [actor, None])
    partitions = chain.call("StateMinerPartitions", [actor, index, None])
    proven = numbers.count(numbers.from_rle(chain.call("StateMinerDeadlines", [actor, None])[index]["PostSubmissions"]))
    out(
        f"Deadline Index:           {index}\nPartitions:               {len(partitions)}\n"
        f"Proven Partitions:        {proven}"
    )
    out(f"Current:                  {str(info['Index'] == index).lower()}\n")
    for number, partition in enumerate(partitions):
        live = numbers.from_rle(partition["LiveSectors"])
        out(f"Partition Index:          {number}\n\tLive Sectors:              {numbers.count(live)}")
        if call.on("sector-nums"):
            out(f"\tLive Sector Numbers:        {[n for s, e in live for n in range(s, e + 1)]}")


def _proving_faults(call: Call) -> None:
    chain = node(call)
    actor = actor_of(call)
    out(f"Miner: {actor}")
    rows = [["deadline", "partition", "sectors"]]
    for index in range(48):
        for number, partition in enumerate(chain.call("StateMinerPartitions", [actor, index, None])):
            for start, end in numbers.from_rle(partition["FaultySectors"]):
                rows += [[str(index), str(number), str(n)] for n in range(start, end + 1)]
    out(table(rows))


def _proving_check(call: Call) -> None:
    index = _sector_number(call)
    chain, api = node(call), miner(call)
    actor = api.call("ActorAddress")
    rows = [["deadline", "partition", "sector", "status"]]
    for number, partition in enumerate(chain.call("StateMinerPartitions", [actor, index, None])):
        sectors = [n for s, e in numbers.from_rle(partition["LiveSectors"]) for n in range(s, e + 1)]
        refs = [{"ID": {"Miner": int(actor[2:]), "Number": n}, "ProofType": 5} for n in sectors]
        bad = api.call("CheckProvable", [5, refs])
        for sector in sectors:
            if str(sector) in bad:
                rows.append([str(index), str(number), str(sector), f"bad ({bad[str(sector)]})"])
            elif not call.on("only-bad"):
                rows.append([str(index), str(number), str(sector), "good"])
    out(table(rows))


def _compute_window_post(call: Call) -> None:
    began = time.monotonic()
    answer = miner(call).call("ComputeWindowPoSt", [_sector_number(call), None])
    out(f"Took {time.monotonic() - began:.9f}s")
    for deadline in answer or []:
        for partition in deadline["Partitions"]:
            skipped = numbers.from_rle(partition["Skipped"])
            partition["Skipped"] = [n for s, e in skipped for n in range(s, e + 1)]
    out(json.dumps(answer, indent=2))


def _proving_workers(_call: Call) -> None:
    return


def _actor_control_list(call: Call) -> None:
    chain = node(call)
    info = chain.call("StateMinerInfo", [actor_of(call), None])
    rows = [["name", "ID", "key", "use", "balance"]]
    for name, address in (("owner", info["Owner"]), ("worker", info["Worker"])):
        rows.append(
            [
                name,
                chain.call("StateLookupID", [address, None]),
                address[:20] + "...",
                "other",
                fil(chain.call("WalletBalance", [address])),
            ]
        )
    out(table(rows))


def _actor_set_peer_id(call: Call) -> None:
    api, chain = miner(call), node(call)
    if len(call.args) != 1:
        raise CommandError(f"incorrect number of arguments, got {len(call.args)}")
    actor = api.call("ActorAddress")
    worker = chain.call("StateMinerInfo", [actor, None])["Worker"]
    message = {"From": worker, "To": actor, "Method": "ChangePeerID", "Params": {"PeerId": call.args[0]}}
    out(f"Requested peerid change in message {chain.call('MpoolPushMessage', [message, None])['CID']['/']}")


COMMANDS: dict[str, Callable[[Call], None]] = {
    "stop": _stop,
    "version": _version,
    "auth create-token": _auth,
    "auth api-info": _auth,
    "log list": _log,
    "log set-level": _log,
    "log alerts": _log,
    "backup": _backup,
    "info": _info,
    "sectors pledge": _sectors_pledge,
    "sectors list": _sectors_list,
    "sectors status": _sectors_status,
    "sectors remove": _sectors_remove,
    "sectors expired": _sectors_expired,
    "sectors numbers info": _numbers_info,
    "sectors numbers reservations": _numbers_reservations,
    "sectors numbers reserve": _numbers_reserve,
    "sectors numbers free": _numbers_free,
    "sectors batching precommit": _batching,
    "sectors batching commit": _batching,
    "storage attach": _storage_attach,
    "storage detach": _storage_detach,
    "storage redeclare": _storage_redeclare,
    "storage list": _storage_list,
    "storage find": _storage_find,
    "sealing workers": _sealing_workers,
    "sealing jobs": _sealing_jobs,
    "sealing sched-diag": _sched_diag,
    "sealing abort": _sealing_abort,
    "proving info": _proving_info,
    "proving deadlines": _proving_deadlines,
    "proving deadline": _proving_deadline,
    "proving faults": _proving_faults,
    "proving check": _proving_check,
    "proving workers": _proving_workers,
    "proving compute windowed-post": _compute_window_post,
    "actor control list": _actor_control_list,
    "actor set-peer-id": _actor_set_peer_id,
}
