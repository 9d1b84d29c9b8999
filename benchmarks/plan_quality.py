"""How near the planner comes to the best any plan could do: planned sectors per day / LP bound, over random fleets.

The bound relaxes everything that makes planning hard: hosts give fractions of cores, memory, scratch and GPU time to
PC1, PC2 and C2 (never more than the whole slots they have when they do nothing else), and a sector may go from any host
to any other. It is solved by scipy's HiGHS.

    python3 benchmarks/plan_quality.py [--fleets 200] [--seed 1]

Prints the ratio table; exit status 1 where the median is below 0.95 or the worst below 0.90.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import linprog
from scipy.sparse import coo_matrix

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "filter_plugins"))

from sealyard import plan
from sealyard.hardware.catalogue import gpu_memory_bytes
from sealyard.hardware.declared import normalise
from sealyard.hardware.machine import scratch_bytes
from sealyard.lotus.figures import DAY_SEC, figures, model
from sealyard.planner.splits import FETCH_SEC

CPUS = ("EPYC 7302", "EPYC 7402", "EPYC 7542", "EPYC 7742", "EPYC 7763", "EPYC 7642")
GPUS = ("RTX 3080", "RTX 3090", "RTX 2080 Ti", "A100 80GB")
ROLES = (
    (("pc1_worker",), 4),
    (("pc1_worker", "pc2_worker"), 5),
    (("pc2_worker",), 2),
    (("pc2_worker", "c2_worker"), 3),
    (("c2_worker",), 3),
    (("pc1_worker", "pc2_worker", "c2_worker"), 3),
)
RESERVED = 2


def random_fleet(draw: random.Random, share_hardware: bool) -> dict[str, Any]:
    """Return an input document of 5 to 200 hosts; every stage has at least one host."""
    size = draw.choice((5, 8, 12, 20, 40, 80, 120, 200, draw.randint(5, 200)))
    models = [_hardware(draw) for _ in range(draw.randint(1, 4))] if share_hardware else []
    hosts: dict[str, Any] = {"miner": {"roles": ["seal_miner"]}}
    for number in range(size):
        kinds, weights = zip(*ROLES, strict=True)
        roles = kinds[(3, 1, 0)[number]] if number < 3 else draw.choices(kinds, weights)[0]
        hardware = dict(draw.choice(models)) if models else _hardware(draw)
        if roles == ("pc1_worker",):
            hardware.pop("gpus", None)
        elif "gpus" not in hardware:
            hardware["gpus"] = [draw.choice(GPUS)]
        host: dict[str, Any] = {"roles": list(roles), "hardware": hardware, "reserved_cores": RESERVED}
        if draw.random() < 0.2:
            host["rack"] = f"r{draw.randint(1, 3)}"
        hosts[f"h{number:03d}"] = host
    return {"settings": {"sector_size": "32GiB"}, "hosts": hosts}


def _hardware(draw: random.Random) -> dict[str, Any]:
    hardware: dict[str, Any] = {
        "cpu": f"{draw.choice(CPUS)} x{draw.choice((1, 2))}",
        "memory": draw.choice(("512GiB", "768GiB", "1TiB", "1536GiB", "2TiB")),
        "scratch": f"{draw.choice((4, 6, 8, 10))}x {draw.choice((2, 4))}TB NVMe",
    }
    if draw.random() < 0.8:
        hardware["gpus"] = [draw.choice(GPUS)] * draw.choice((1, 1, 2, 2, 3, 4, 8))
    return hardware


def bound(document: dict[str, Any]) -> float:
    """Return the LP bound in sectors per day."""
    fig = figures("32GiB")
    rows: list[tuple[int, int, float]] = []
    limits: list[float] = []
    rate: dict[str, list[tuple[int, float]]] = {"PC1": [], "PC2": [], "C2": []}
    columns = 1  # column 0 is the throughput

    def limit(terms: list[tuple[int, float]], most: float) -> None:
        rows.extend((len(limits), column, value) for column, value in terms)
        limits.append(most)

    for host in document["hosts"].values():
        if host["roles"] == ["seal_miner"]:
            continue
        cores, memory, scratch, gpus, per_l3 = _resources(host["hardware"])
        room = scratch // fig.peak_bytes
        waiting = (FETCH_SEC + fig.seconds["PC2"]) / fig.seconds["PC1"]
        after = (fig.seconds["PC2"] + fig.seconds["wait_seed"] + fig.seconds["C2"] + fig.seconds["finalize"]) / DAY_SEC
        used_cores: list[tuple[int, float]] = []
        used_memory: list[tuple[int, float]] = []
        used_scratch: list[tuple[int, float]] = []
        free_memory = memory - int(model()["system"]["memory_bytes"])
        if "pc1_worker" in host["roles"]:
            slots = columns
            columns += 1
            # The most a host can run when it does nothing but PC1: whole slots, for there is no half PC1.
            most = min(
                sum(n // 2 for n in per_l3),
                (cores - RESERVED) // 2,
                (free_memory - fig.parents_bytes) // fig.pc1_bytes,
                int(room / (1 + waiting)),
            )
            limit([(slots, 1.0)], most)
            used_scratch.append((slots, 1.0))
            used_cores.append((slots, 2.0))
            used_memory.append((slots, fig.pc1_bytes + fig.parents_bytes / most))
            rate["PC1"].append((slots, DAY_SEC / fig.seconds["PC1"]))
        engines: list[tuple[int, float]] = []
        for role, task, need in (("pc2_worker", "PC2", fig.pc2_bytes), ("c2_worker", "C2", fig.c2_bytes)):
            if role in host["roles"] and gpus:
                share = columns
                columns += 1
                limit([(share, 1.0)], min(len(gpus), free_memory // need))  # workers are whole, too
                engines.append((share, 1.0))
                used_cores.append((share, 3.0))
                used_memory.append((share, float(need)))
                per_day = DAY_SEC / fig.gpu_seconds(task, gpus[0])
                rate[task].append((share, per_day))
                if task == "PC2":
                    used_scratch.append((share, per_day * after))
        limit(used_scratch, scratch / fig.peak_bytes)
        if engines:
            limit(engines, len(gpus))
        limit(used_cores, cores - RESERVED)
        limit(used_memory, free_memory)
    for terms in rate.values():
        limit([(0, 1.0)] + [(column, -value) for column, value in terms], 0.0)
    index_rows, index_columns, values = zip(*rows, strict=True)
    matrix = coo_matrix((values, (index_rows, index_columns)), shape=(len(limits), columns))
    cost = np.zeros(columns)
    cost[0] = -1.0
    solved = linprog(cost, A_ub=matrix.tocsr(), b_ub=np.array(limits), bounds=(0, None), method="highs")
    if not solved.success:
        raise RuntimeError(solved.message)
    return float(-solved.fun)


def _resources(declared: dict[str, Any]) -> tuple[int, int, float, list[str | None], list[int]]:
    hardware = normalise(declared)
    per_l3: dict[Any, set[Any]] = {}
    for cpu in hardware["cpus"]:
        per_l3.setdefault((cpu["node"], cpu["l3"]), set()).add(cpu["core"])
    memory = sum(node["memory_bytes"] for node in hardware["numa"])
    floor = model()["vram_min_bytes"]["C2"]
    gpus = [gpu["name"] for gpu in hardware["gpus"] if (gpu_memory_bytes(gpu) or floor) >= floor]
    sizes = [len(cores) for cores in per_l3.values()]
    return sum(sizes), memory, float(scratch_bytes(hardware) or 1e18), gpus, sizes


def main() -> int:
    """Print planned / bound for random fleets."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fleets", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    ratios: list[tuple[float, int, int]] = []
    for number in range(args.fleets):
        draw = random.Random(args.seed * 100_000 + number)
        document = random_fleet(draw, share_hardware=number % 2 == 0)
        planned = plan(document)
        if planned["errors"]:
            raise SystemExit(f"fleet {number}: {planned['errors'][0]}")
        best = bound(document)
        ratios.append((planned["capacity"]["sectors_per_day"] / best, len(document["hosts"]) - 1, number))
    print(f"{'hosts':>9}  {'fleets':>6}  {'worst':>7}  {'median':>7}  {'best':>7}")
    for low, high in ((5, 10), (11, 50), (51, 200), (5, 200)):
        band = [ratio for ratio, hosts, _ in ratios if low <= hosts <= high]
        if band:
            middle = statistics.median(band)
            print(f"{low:>4}-{high:<4}  {len(band):>6}  {min(band):7.4f}  {middle:7.4f}  {max(band):7.4f}")
    worst, hosts, number = min(ratios)
    median = statistics.median(ratio for ratio, _, _ in ratios)
    print(f"worst fleet: number {number} with {hosts} hosts")
    return 0 if worst >= 0.90 and median >= 0.95 else 1


if __name__ == "__main__":
    sys.exit(main())
