"""How the planner grows: time and memory for 100 to 10,000 hosts, each with hardware facts of its own.

    python3 benchmarks/plan_scale.py [--hosts 100 1000 10000]

Every size runs in a process of its own. Limits: 0.5 s for 1,000 hosts, 5 s and 1 GiB for 10,000, and time per host at
the largest size at most twice that at 1,000 hosts; exit status 1 where one is broken.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "filter_plugins"))

from sealyard import plan
from sealyard.hardware.declared import normalise

KINDS = (
    (("pc1_worker", "pc2_worker"), {"cpu": "EPYC 7542 x1", "memory": "1TiB", "gpus": ["RTX 3080"]}),
    (("pc1_worker",), {"cpu": "EPYC 7302 x2", "memory": "2TiB"}),
    (("pc1_worker",), {"cpu": "EPYC 7742 x2", "memory": "2TiB"}),
    (("pc2_worker", "c2_worker"), {"cpu": "EPYC 7402 x2", "memory": "2TiB", "gpus": ["RTX 3080"] * 8}),
    (("c2_worker",), {"cpu": "EPYC 7402 x1", "memory": "512GiB", "gpus": ["RTX 3090"] * 3}),
)
LIMIT_SEC = {1_000: 0.5, 10_000: 5.0}
LIMIT_BYTES = 1 << 30


def document(hosts: int) -> dict[str, Any]:
    """Return a fleet with facts as the facts module writes them: full topologies, own UUIDs, own bytes of memory."""
    facts = [normalise({**hardware, "scratch": "8x 2TB NVMe"}) for _, hardware in KINDS]
    fleet: dict[str, Any] = {"seal": {"roles": ["seal_miner"]}}
    for number in range(hosts):
        kind = number % len(KINDS)
        own = dict(facts[kind])
        own["gpus"] = [{**gpu, "uuid": f"GPU-{number}-{gpu['pci']}"} for gpu in own["gpus"]]
        own["numa"] = [{**node, "memory_bytes": node["memory_bytes"] + number % 4096} for node in own["numa"]]
        fleet[f"host-{number:05d}"] = {
            "roles": list(KINDS[kind][0]),
            "hardware": own,
            "rack": f"r{number // 20:04d}",
        }
    return {"settings": {"sector_size": "32GiB"}, "hosts": fleet}


def measure(hosts: int) -> dict[str, float]:
    """Return seconds of one plan (best of three), and the process's peak memory in bytes."""
    fleet = document(hosts)
    best = float("inf")
    for _ in range(3):
        start = time.process_time()
        planned = plan(fleet)
        best = min(best, time.process_time() - start)
    if planned["errors"]:
        raise SystemExit(str(planned["errors"][0]))
    return {
        "hosts": hosts,
        "seconds": best,
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "sectors_per_day": planned["capacity"]["sectors_per_day"],
    }


def main() -> int:
    """Print the table, each size measured in its own process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hosts", type=int, nargs="+", default=[100, 1_000, 10_000])
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(measure(args.one)))
        return 0
    failed = False
    rows: dict[int, dict[str, float]] = {}
    print(f"{'hosts':>6}  {'seconds':>8}  {'ms per host':>11}  {'peak MiB':>8}  {'sectors/day':>11}")
    for hosts in args.hosts:
        done = subprocess.run(
            [sys.executable, __file__, "--one", str(hosts)], check=True, capture_output=True, text=True
        )
        row = rows[hosts] = json.loads(done.stdout)
        print(
            f"{hosts:>6}  {row['seconds']:8.3f}  {row['seconds'] / hosts * 1000:11.3f}  "
            f"{row['peak_bytes'] / (1 << 20):8.0f}  {row['sectors_per_day']:11.0f}"
        )
        failed |= row["seconds"] > LIMIT_SEC.get(hosts, float("inf"))
        failed |= hosts == max(LIMIT_SEC) and row["peak_bytes"] > LIMIT_BYTES
    if {1_000, 10_000} <= set(rows):
        growth = rows[10_000]["seconds"] / rows[1_000]["seconds"] / 10
        print(f"time per host at 10,000 / at 1,000: {growth:.2f}")
        failed |= growth > 2
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
