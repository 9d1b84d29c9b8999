"""The command line of `bin/lab`."""

from __future__ import annotations

import os
import subprocess
import sys

from lab import binaries, containers, image, report, sealing
from lab.settings import ROOT, Lab, load
from lab.shell import LabError, run

SECTORS = 4
LOOK_ONLY = ("--check", "-C", "--syntax-check", "--list-tasks", "--list-hosts", "--list-tags", "--help", "--version")
IN_PART = ("--limit", "-l", "--tags", "-t", "--skip-tags", "--start-at-task")

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
    if verb == "up":
        return up(lab, rest)
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


def up(lab: Lab, rest: list[str]) -> int:
    """From nothing to four sectors Proving; 0 only if every promise of the README held."""
    options, further = _own_options(rest)
    in_use = bool(containers.running(lab))
    real = binaries.provide(lab, options["--lotus"], options["--params"], in_use)
    hosts(lab)
    status = playbook(lab, "site.yml", further)
    words = [word.split("=")[0] for word in further]
    if status != 0 or any(word in LOOK_ONLY + IN_PART for word in words):
        return status
    record = sealing.load(lab)
    with report.following() as tell:
        sealing.watch(lab, record, SECTORS, lambda missing: pledge(lab, missing), tell)
    sealing.enter_fetches(record, sealing.fetches(lab), lab.groups, lambda worker: worker.split("/")[0])
    sealing.save(lab, record)
    print(report.table(record))
    return verdict(lab, record, real)


def verdict(lab: Lab, record: sealing.Record, real: bool) -> int:
    """Say what was promised and whether it held; the exit status."""
    broken = [] if real else sealing.violations(lab)
    proving = record.proving()
    print(f"sectors Proving: {len(proving)} of {SECTORS}")
    print(f"bytes between groups: {'none' if not record.crossed else ''}")
    print("".join(f"  {line}\n" for line in record.crossed), end="")
    if not real:
        print(f"rules broken, as the stand-ins saw it: {len(broken)}")
        print("".join(f"  {line}\n" for line in broken), end="")
    return 0 if len(proving) >= SECTORS and not record.crossed and not broken else 1


def playbook(lab: Lab, name: str, further: list[str]) -> int:
    """Run one playbook of the project on the lab, its output straight to the operator; the exit status."""
    sys.stdout.flush()
    return subprocess.run(_playbook_command(lab, name, further), cwd=ROOT, env=_environment(), check=False).returncode


def _playbook_command(lab: Lab, name: str, further: list[str]) -> list[str]:
    return [str(ROOT / ".venv/bin/ansible-playbook"), "-i", str(lab.inventory), str(ROOT / name), *further]


def _environment() -> dict[str, str]:
    return os.environ | {"ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")}


def pledge(lab: Lab, missing: int) -> None:
    """Ask the seal miner for that many more sectors."""
    run(
        _playbook_command(lab, "playbooks/pledge.yml", ["-e", f"pledge_sectors={missing}"]),
        env=_environment(),
        cwd=ROOT,
    )


def _own_options(rest: list[str]) -> tuple[dict[str, str | None], list[str]]:
    """Split `up`'s own options from those of ansible-playbook."""
    options: dict[str, str | None] = {"--lotus": None, "--params": None}
    further: list[str] = []
    words = iter(rest)
    for word in words:
        name, equals, value = word.partition("=")
        if name not in options:
            further.append(word)
            continue
        options[name] = value if equals else next(words, None)
        if not options[name]:
            raise LabError(f"{name} needs a folder: bin/lab up --lotus DIR --params DIR")
    return options, further


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
