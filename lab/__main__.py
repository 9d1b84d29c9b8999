"""The command line of `bin/lab`."""

from __future__ import annotations

import os
import sys

from lab import binaries, containers, image, interrupt, play, report, sealing
from lab.settings import ROOT, Lab, load
from lab.shell import LabError

SECTORS = 4
LOOK_ONLY = ("--check", "-C", "--syntax-check", "--list-tasks", "--list-hosts", "--list-tags", "--help", "--version")
IN_PART = ("--limit", "-l", "--tags", "-t", "--skip-tags", "--start-at-task")


def main(arguments: list[str]) -> int:
    """Run one verb; the exit status of the command."""
    verb, rest = arguments[0] if arguments else "", arguments[1:]
    if verb not in ("up", "hosts", "seal", "interrupt", "status", "ssh", "down"):
        raise LabError(f"unknown verb {verb!r}\n" + (ROOT / "bin/lab.txt").read_text(encoding="utf-8"))
    lacks = containers.missing()
    if lacks:
        raise LabError("this machine cannot run the lab's containers. Missing:\n- " + "\n- ".join(lacks))
    containers.prepare_podman()
    lab = load(os.environ.get("SEALYARD_LAB", "lab"))
    if verb == "up":
        return up(lab, rest)
    if verb == "hosts":
        hosts(lab, None, None)
    elif verb == "seal":
        return seal(lab)
    elif verb == "interrupt":
        interrupt.kill_at_places(lab)
    elif verb == "status":
        return status(lab)
    elif verb == "ssh":
        return ssh(lab, rest)
    elif verb == "down":
        containers.remove(lab)
    return 0


def hosts(lab: Lab, lotus: str | None, params: str | None) -> None:
    """The base image, the running hosts, and what they are to run."""
    containers.refuse_anothers(lab)
    binaries.provide(lab, lotus, params, bool(containers.running(lab)))
    if not image.exists():
        with report.step("base image (once, about a minute)"):
            image.build()
    with report.step(f"{len(lab.hosts)} hosts"):
        containers.start(lab)


def up(lab: Lab, rest: list[str]) -> int:
    """From nothing to four sectors Proving; 0 only if every promise of the README held."""
    options, further = _own_options(rest)
    lab = load(lab.name, options["--stack"])
    hosts(lab, options["--lotus"], options["--params"])
    status = play.run_playbook(lab, "site.yml", further)
    words = [word.split("=")[0] for word in further]
    if status != 0 or any(word in LOOK_ONLY + IN_PART for word in words):
        return status
    return seal(lab)


def seal(lab: Lab) -> int:
    """Seal what is missing to four sectors and print the table; 0 only if every promise of the README held."""
    record = sealing.load(lab)
    with report.following() as tell:
        sealing.watch(lab, record, SECTORS, lambda missing: play.pledge(lab, missing), tell)
    sealing.enter_assignments(record, sealing.assignments(lab))
    sealing.enter_fetches(record, sealing.fetches(lab), lab, lambda worker: worker.split("/")[0])
    sealing.save(lab, record)
    print(report.table(record))
    return verdict(lab, record)


def verdict(lab: Lab, record: sealing.Record) -> int:
    """Say what was promised and whether it held; the exit status."""
    real = binaries.real(lab)
    broken = [] if real else sealing.violations(lab)
    proving = record.proving()
    print(f"sectors Proving: {len(proving)} of {SECTORS}")
    _tell("PC1 output between groups", record.crossed)
    _tell("other data between groups (unsealed, finalized), where Lotus knows no groups", record.strayed)
    if not real:
        _tell("rules broken, as the stand-ins saw it", broken)
    return 0 if len(proving) >= SECTORS and not record.crossed and not broken else 1


def _tell(what: str, lines: list[str]) -> None:
    print(f"{what}: {len(lines) or 'none'}")
    print("".join(f"  {line}\n" for line in lines), end="")


def _own_options(rest: list[str]) -> tuple[dict[str, str | None], list[str]]:
    """Split `up`'s own options from those of ansible-playbook."""
    options: dict[str, str | None] = {"--stack": None, "--lotus": None, "--params": None}
    further: list[str] = []
    words = iter(rest)
    for word in words:
        name, equals, value = word.partition("=")
        if name not in options:
            further.append(word)
            continue
        options[name] = value if equals else next(words, None)
        if not options[name]:
            raise LabError(f"{name} needs a value: bin/lab up --stack STACK --lotus DIR --params DIR")
    return options, further


def status(lab: Lab) -> int:
    """Print each host's state, and the sectors and jobs of the seal miner; 1 when a host is missing or down."""
    states = containers.running(lab)
    for host, address in lab.hosts.items():
        state = {True: "running", False: "stopped", None: "absent"}[states.get(host)]
        print(f"{host:14} {address:14} {state}")
    if states.get(sealing.SEAL_HOST):
        print(sealing.now(lab))
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
