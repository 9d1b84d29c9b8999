"""The command line of `bin/lab`."""

from __future__ import annotations

import os
import sys

from lab import containers, image, report
from lab.settings import Lab, load
from lab.shell import LabError

USAGE = """\
bin/lab up [--lotus DIR --params DIR] [ARG ...]
                    start the lab, run site.yml, seal 4 sectors; ARGs go to ansible-playbook
bin/lab hosts       make and start the hosts only
bin/lab status      the hosts, and what the seal miner is doing
bin/lab ssh HOST    log in to a host
bin/lab down        take the lab away
"""


def main(arguments: list[str]) -> int:
    """Run one verb; the exit status of the command."""
    verb, rest = (arguments[0], arguments[1:]) if arguments else ("help", [])
    if verb in ("help", "-h", "--help"):
        print(USAGE, end="")
        return 0
    if verb not in ("up", "hosts", "status", "ssh", "down"):
        raise LabError(f"unknown verb {verb!r}\n{USAGE}")
    lacks = containers.missing()
    if lacks:
        raise LabError("this machine cannot run the lab's containers. Missing:\n- " + "\n- ".join(lacks))
    containers.prepare_podman()
    lab = load(os.environ.get("SEALYARD_LAB", "lab"))
    if verb == "hosts":
        hosts(lab)
    elif verb == "status":
        return status(lab)
    elif verb == "ssh":
        return ssh(lab, rest)
    elif verb == "down":
        containers.remove(lab)
    return 0


def hosts(lab: Lab) -> None:
    """The base image and the running hosts."""
    if not image.exists():
        with report.step("base image (once, about a minute)"):
            image.build()
    with report.step(f"{len(lab.hosts)} hosts"):
        containers.start(lab)


def status(lab: Lab) -> int:
    """Print each host's state; 1 when one is missing or down."""
    states = containers.running(lab)
    for host, address in lab.hosts.items():
        state = {True: "running", False: "stopped", None: "absent"}[states.get(host)]
        print(f"{host:14} {address:14} {state}")
    return 0 if len(states) == len(lab.hosts) and all(states.values()) else 1


def ssh(lab: Lab, rest: list[str]) -> int:
    """Replace this process by an ssh login on a host."""
    if not rest or rest[0] not in lab.hosts:
        raise LabError(f"bin/lab ssh HOST, where HOST is one of {', '.join(lab.hosts)}")
    options = ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"]
    command = ["ssh", "-i", str(lab.key), *options, f"root@{lab.hosts[rest[0]]}", *rest[1:]]
    sys.stdout.flush()
    os.execvp("ssh", command)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except LabError as error:
        print(f"bin/lab: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
