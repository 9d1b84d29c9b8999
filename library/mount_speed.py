#!/usr/bin/python
"""Write to a directory as PC1 does and read as PC2 does, with fio."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.sealyard_host.programs import run

DOCUMENTATION = r"""
module: mount_speed
short_description: Measure a mount with the access pattern of a sealing task
description:
  - PC1 writes one large file in order and makes it durable. PC2 reads such a file by several threads, past its own page
    cache; the server may still have part of it in memory. The file is removed. Both run as the owner of the directory.
  - In check mode nothing is written.
options:
  path: {type: path, required: true, description: Mount point.}
  profile: {type: str, choices: [pc1_write, pc2_read], required: true, description: Whose access.}
  bytes: {type: int, required: true, description: Size of the file.}
  duration_sec: {type: int, default: 30, description: Longest reading.}
  gentle:
    description: One reading at a time. rdma_rxe of Linux 6.1 stalls under many.
    type: bool
    default: false
author: [Sealyard]
"""

EXAMPLES = r"""
- name: Read as PC2 does
  mount_speed: {path: /sealer, profile: pc2_read, bytes: 34359738368}
"""

RETURN = r"""
bytes_per_sec: {description: What was measured., type: int, returned: success}
p99_usec: {description: 99 of 100 accesses took at most this., type: float, returned: success}
"""

FOLDER = ".sealyard-network-check"
BLOCK_BYTES = 1 << 20


def command(profile: str, file: str, size_bytes: int, duration_sec: int, gentle: bool = False) -> list[str]:
    """The fio command of a profile (PC1 writes layers in one stream, PC2 reads them in several)."""
    common = ["fio", f"--name={profile}", f"--filename={file}", f"--bs={BLOCK_BYTES}", f"--size={size_bytes}"]
    common += ["--output-format=json", "--randrepeat=0", "--fallocate=none"]
    if profile == "pc1_write":
        return [*common, "--rw=write", "--ioengine=psync", "--end_fsync=1", "--numjobs=1"]
    many = ["--ioengine=psync", "--numjobs=1"] if gentle else ["--ioengine=libaio", "--iodepth=16", "--numjobs=4"]
    reading = ["--rw=read", *many, "--direct=1", "--group_reporting"]
    return [*common, *reading, f"--runtime={duration_sec}"]


def measured(document: Mapping[str, Any], profile: str) -> tuple[int, float]:
    """(bytes per second, 99th percentile in microseconds) of fio's JSON; the durable end of a write counts."""
    job = document["jobs"][0]
    kind = "write" if profile == "pc1_write" else "read"
    figures = job[kind]
    rate = int(figures["bw_bytes"])
    # fio's bandwidth leaves the final fsync out, and that is where a full page cache is paid for.
    if kind == "write" and job.get("job_runtime"):
        rate = min(rate, int(figures["io_bytes"] * 1000 / max(1, job["job_runtime"])))
    percentiles = (figures.get("clat_ns") or {}).get("percentile") or {}
    return rate, float(percentiles.get("99.000000", 0)) / 1000


def owner_of(path: str) -> dict[str, Any]:
    """Options of subprocess that run a program as the owner of a directory: over NFS root may not write there."""
    status = Path(path).stat()
    return {"user": status.st_uid, "group": status.st_gid, "extra_groups": [], "cwd": "/"}


def main() -> None:
    """Module entry."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "profile": {"type": "str", "choices": ["pc1_write", "pc2_read"], "required": True},
            "bytes": {"type": "int", "required": True},
            "duration_sec": {"type": "int", "default": 30},
            "gentle": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    given = module.params
    if module.check_mode:
        module.exit_json(changed=False, bytes_per_sec=0, p99_usec=0.0)
    if not Path(given["path"]).is_mount():
        module.fail_json(msg=f"{given['path']} is not mounted: run playbooks/storage.yml")
    space = os.statvfs(given["path"])
    if space.f_bavail * space.f_frsize < 2 * given["bytes"]:
        module.fail_json(
            msg=f"{given['path']} has no room for two files of {given['bytes']} bytes: network_check_file_bytes"
        )
    who = owner_of(given["path"])
    folder = Path(given["path"]) / FOLDER
    file = str(folder / f"{os.uname().nodename}-{given['profile']}")
    timeout_sec = 900 + given["bytes"] // (50 << 20)
    try:
        run("mkdir", "-p", str(folder), timeout_sec=60, **who)
        write = command("pc1_write", file, given["bytes"], given["duration_sec"])
        text = run(*write, timeout_sec=timeout_sec, **who)
        if given["profile"] == "pc2_read":
            read = command("pc2_read", file, given["bytes"], given["duration_sec"], given["gentle"])
            text = run(*read, timeout_sec=timeout_sec, **who)
        rate, p99 = measured(json.loads(text[text.index("{") :]), given["profile"])
    except (OSError, ValueError, KeyError) as error:
        module.fail_json(msg=f"{given['path']}: {error}")
    finally:
        subprocess.run(["rm", "-f", file], capture_output=True, check=False, **who)
        subprocess.run(["rmdir", str(folder)], capture_output=True, check=False, **who)
    module.exit_json(changed=False, bytes_per_sec=rate, p99_usec=p99)


if __name__ == "__main__":
    main()
