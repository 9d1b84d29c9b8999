#!/usr/bin/python
"""Measure one link between two RDMA cards; both hosts run this at the same time, one serves and one measures."""

from __future__ import annotations

import ipaddress
import json
import os
import re
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.sealyard_host.files import text_of
from ansible.module_utils.sealyard_host.programs import last_words, output
from ansible.module_utils.sealyard_host.rdma_devices import active_mtu, gid_of, gid_types

DOCUMENTATION = r"""
module: network_probe
short_description: Measure an RDMA link between two hosts
description:
  - With O(state=identify) says what a measurement would depend on (card, driver, firmware, kernel, mounts). Nothing
    is run.
  - With O(state=serve) on one host and O(state=measure) on the other in one task, runs rping, ib_write_bw and
    ib_write_lat between them and returns what was measured and what the counters of lost packets rose by.
options:
  state: {type: str, choices: [identify, serve, measure], required: true, description: What to do.}
  address: {type: str, required: true, description: The own address in the RDMA network with its prefix.}
  peer_address: {type: str, default: '', description: The other's address.}
  duration_sec: {type: int, default: 5, description: How long bandwidth is measured.}
  iterations: {type: int, default: 0, description: Messages in place of a duration, for slow emulated cards.}
  timeout_sec: {type: int, default: 60, description: Longest wait for the other host, and for each program.}
  mounts: {type: list, elements: path, default: [], description: Mount points that belong to the identity.}
author: [Sealyard]
"""

EXAMPLES = r"""
- name: Measure the link
  network_probe:
    state: "{{ 'serve' if inventory_hostname == 'store-1' else 'measure' }}"
    address: 10.40.0.71
    peer_address: 10.40.0.21
"""

RETURN = r"""
identity:
  description: >-
    Interface, device, driver, firmware, kernel, MTU of both, type of the address's GID, speed (0 where unknown),
    options of mounts.
  type: dict
  returned: always
rping: {description: Whether rping came through., type: bool, returned: state is measure}
bandwidth_bits_per_sec: {description: Average of ib_write_bw., type: float, returned: state is measure}
latency_usec: {description: Typical time in which ib_write_lat writes 4 KiB., type: float, returned: state is measure}
lost: {description: By how much counters of lost packets rose., type: dict, returned: state is not identify}
busy: {description: Workers that run here., type: list, elements: str, returned: state is identify}
"""

PORTS = {"rping": 7174, "ib_write_bw": 18515, "ib_write_lat": 18516}
MEASURES = ("ib_write_bw", "ib_write_lat")
RETRY_SEC = 0.5
MESSAGE_BYTES = 65536
LATENCY_BYTES = 4096
HEADER_BYTES = 28
"""Of IPv4 and ICMP, which count against the MTU."""
TRAFFIC_CLASS = 106
"""DSCP 26 with ECN, what role rdma_nic sets for NFS."""
LOSS = re.compile(
    r"out_of_seq|seq_err|ack_timeout|rnr_nak|retry_exceeded|retry_err|rx_discards|rx_dropped|tx_dropped|_errors$"
)
"""Counters that rise when packets are lost or sent again (mlx5, rxe and the network interface)."""


def numbers_row(text: str) -> list[float]:
    """The last line of numbers in the output of a perftest program, [] when it printed none."""
    rows = [line.split() for line in text.splitlines()]
    found = [[float(word) for word in row] for row in rows if len(row) > 3 and all(_number(word) for word in row)]
    return found[-1] if found else []


def _number(word: str) -> bool:
    return re.fullmatch(r"-?\d+(\.\d+)?", word) is not None


def bandwidth(text: str) -> float:
    """Average bits per second in the output of ib_write_bw --report_gbits."""
    row = numbers_row(text)
    return row[3] * 1e9 if row else 0.0


def latency(text: str) -> float:
    """Typical microseconds in the output of ib_write_lat; with a duration it prints the average alone."""
    row = numbers_row(text)
    if not row:
        return 0.0
    return row[4] if len(row) > 5 else row[2]


def risen(before: Mapping[str, int], after: Mapping[str, int]) -> dict[str, int]:
    """Counters that rose, and by how much."""
    return {name: after[name] - before[name] for name in sorted(after) if after[name] > before.get(name, after[name])}


def own_interface(addresses: Sequence[Mapping[str, Any]], address: str) -> str:
    """Name of the interface that has the address, in the output of `ip -j address`; empty when none has."""
    for link in addresses:
        if any(info.get("local") == address for info in link.get("addr_info", ())):
            return str(link["ifname"])
    return ""


def nfs_options(mounts: str, paths: Sequence[str]) -> dict[str, str]:
    """Type and options of mount points in the text of /proc/mounts, without the addresses, which change by chance."""
    found = {}
    for line in mounts.splitlines():
        _, path, kind, options = line.split()[:4]
        if path in paths:
            kept = [option for option in options.split(",") if not option.startswith(("clientaddr=", "addr="))]
            found[path] = f"{kind} {','.join(kept)}"
    return found


def identify(own: str, mounts: Sequence[str]) -> dict[str, Any]:
    """What measurements of this host depend on; ValueError when no interface has the address."""
    address = own.split("/")[0]
    interface = own_interface(json.loads(output("ip", "-j", "address") or "[]"), address)
    if not interface:
        raise ValueError(f"no interface has {address}: run playbooks/network.yml")
    links = json.loads(output("rdma", "-j", "link", "show") or "[]")
    device = next((str(link["ifname"]) for link in links if link.get("netdev") == interface), "")
    if not device:
        raise ValueError(f"{interface} has no RDMA device: run playbooks/network.yml")
    sys_net = Path("/sys/class/net") / interface
    driver = sys_net / "device/driver"
    # A soft device hangs on any card; only the name of its link type tells.
    soft = not (Path("/sys/class/infiniband") / device / "device").exists()
    speed = text_of(sys_net / "speed")
    return {
        "interface": interface,
        "network": str(ipaddress.ip_interface(own).network),
        "device": device,
        "driver": "rdma_rxe" if soft else driver.resolve().name,
        "firmware": text_of(Path("/sys/class/infiniband") / device / "fw_ver"),
        "kernel": os.uname().release,
        "mtu": int(text_of(sys_net / "mtu") or 0),
        "rdma_mtu": active_mtu(output("ibv_devinfo", "-d", device)),
        "gid_types": types_of(Path("/sys/class/infiniband") / device / "ports/1", address),
        "speed_bits_per_sec": int(speed) * 10**6 if speed.isdigit() else 0,
        "soft": soft,
        "mounts": nfs_options(text_of(Path("/proc/mounts")), mounts),
    }


def types_of(port: Path, address: str) -> list[str]:
    """Types of the GIDs that hold an address, such as RoCE v2."""
    return sorted(set(gid_types(port).get(gid_of(address), [])))


def card_trouble(identity: Mapping[str, Any]) -> list[str]:
    """What keeps a card from RoCE v2 with the frames of its MTU."""
    told = []
    if "RoCE v2" not in identity["gid_types"]:
        told.append(f"GID of {identity['device']}: {', '.join(identity['gid_types']) or 'none'} and not RoCE v2")
    if identity["mtu"] >= LATENCY_BYTES * 2 and identity["rdma_mtu"] < LATENCY_BYTES:
        told.append(
            f"RDMA MTU of {identity['device']}: {identity['rdma_mtu']} where its interface has {identity['mtu']}"
        )
    return told


def path_trouble(interface: str, mtu: int, peer: str, wait_sec: int = 10) -> list[str]:
    """Whether packets of the MTU reach the other host in one piece."""
    command = ["ping", "-q", "-c", "1", "-w", str(wait_sec), "-M", "do", "-I", interface]
    if output(*command, "-s", str(mtu - HEADER_BYTES), peer, timeout_sec=wait_sec + 20):
        return []
    small = output(*command, peer, timeout_sec=wait_sec + 20)
    return [f"MTU: packets of {mtu} bytes do not pass, small ones {'do' if small else 'neither'}"]


def running_workers() -> list[str]:
    """Units of sealing workers that run."""
    listed = output("systemctl", "list-units", "--state=active", "--plain", "--no-legend", "lotus-worker@*")
    return [line.split()[0] for line in listed.splitlines() if line.strip()]


def counters(identity: Mapping[str, Any]) -> dict[str, int]:
    """Counters that tell of lost packets."""
    port = Path("/sys/class/infiniband") / identity["device"] / "ports/1"
    files = [*port.glob("hw_counters/*"), *(Path("/sys/class/net") / identity["interface"] / "statistics").glob("*")]
    return {file.name: int(text) for file in files if LOSS.search(file.name) and (text := text_of(file)).isdigit()}


def programs(identity: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, list[str]]:
    """Command lines by program; the one who measures gets the server's address appended."""
    own, peer = given["address"], given["peer_address"]
    serving = given["state"] == "serve"
    amount = ["-n", str(given["iterations"])] if given["iterations"] else ["-D", str(given["duration_sec"])]
    common = ["-d", identity["device"], "-R", "-F", f"--tclass={TRAFFIC_CLASS}"]
    to = [] if serving else [peer]
    few = ["-n", str(given["iterations"] or 1000)]
    large = ["-s", str(MESSAGE_BYTES)]

    def port(name: str) -> list[str]:
        return ["-p", str(PORTS[name])]

    ping = ["rping", "-s" if serving else "-c", "-a", own if serving else peer, *port("rping"), "-C", "10"]
    return {
        "rping": ping,
        "ib_write_bw": ["ib_write_bw", *common, *port("ib_write_bw"), *large, *amount, "--report_gbits", *to],
        "ib_write_lat": ["ib_write_lat", *common, *port("ib_write_lat"), "-s", str(LATENCY_BYTES), *few, *to],
    }


def run_programs(commands: Mapping[str, Sequence[str]], timeout_sec: int, retry: bool) -> dict[str, tuple[bool, str]]:
    """Run each in turn: (whether it ended well, what it said). With `retry` again until the other side listens."""
    results = {}
    for name, command in commands.items():
        deadline = time.monotonic() + timeout_sec
        while True:
            try:
                left = max(1.0, deadline - time.monotonic())
                done = subprocess.run(list(command), capture_output=True, text=True, check=False, timeout=left)
                text = done.stdout + done.stderr
                # perftest may end with status 0 and no figures when the connection broke.
                good = done.returncode == 0 and (not retry or name not in MEASURES or bool(numbers_row(done.stdout)))
            except subprocess.TimeoutExpired:
                good, text = False, f"no answer within {timeout_sec} seconds"
            except OSError as error:
                good, text = False, f"{name} cannot be run: {error}"
                break
            if good or not retry or time.monotonic() >= deadline:
                break
            time.sleep(RETRY_SEC)
        results[name] = (good, text)
        if not good:
            break  # the other side is out of step; what follows would only wait
    return results


def main() -> None:
    """Module entry."""
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["identify", "serve", "measure"], "required": True},
            "address": {"type": "str", "required": True},
            "peer_address": {"type": "str", "default": ""},
            "duration_sec": {"type": "int", "default": 5},
            "iterations": {"type": "int", "default": 0},
            "timeout_sec": {"type": "int", "default": 60},
            "mounts": {"type": "list", "elements": "path", "default": []},
        },
        required_if=[("state", "serve", ["peer_address"]), ("state", "measure", ["peer_address"])],
        supports_check_mode=True,
    )
    given = dict(module.params)
    try:
        identity = identify(given["address"], given["mounts"])
        given["address"] = given["address"].split("/")[0]
        if given["state"] == "identify" or module.check_mode:
            module.exit_json(changed=False, identity=identity, busy=running_workers())
        measures = given["state"] == "measure"
        trouble = card_trouble(identity)
        if measures:
            trouble += path_trouble(identity["interface"], identity["mtu"], given["peer_address"])
        before = counters(identity)
        results = run_programs(programs(identity, given), given["timeout_sec"], measures)
        lost = risen(before, counters(identity))
    except (OSError, ValueError) as error:
        module.fail_json(msg=str(error))
    trouble += [f"{name}: {last_words(text)}" for name, (good, text) in results.items() if not good]
    module.exit_json(
        changed=False,
        identity=identity,
        rping=results["rping"][0],
        bandwidth_bits_per_sec=bandwidth(results.get("ib_write_bw", (False, ""))[1]),
        latency_usec=latency(results.get("ib_write_lat", (False, ""))[1]),
        lost=lost,
        trouble=trouble,
    )


if __name__ == "__main__":
    main()
