"""Every Lotus process: there, there again after a reboot, reachable where it should be and nowhere else."""

from __future__ import annotations

import pytest

from tests.testinfra.cluster import LAB, SECRETS, Process, daemons, machine, miners, output, workers

EVERY = [*daemons(), *miners(), *workers()]


@pytest.mark.parametrize("process", EVERY, ids=str)
def test_the_unit_runs_and_is_enabled(process: Process) -> None:
    service = machine(process.host).service(process.unit)
    assert service.is_running and service.is_enabled, process.journal()[-2000:]


@pytest.mark.parametrize("process", EVERY, ids=str)
def test_the_api_listens_on_the_private_address_and_nowhere_else(process: Process) -> None:
    sockets = output(process.host, "ss --listening --tcp --numeric --no-header").splitlines()
    listening = [line.split()[3] for line in sockets if line.split()[3].rpartition(":")[2] == str(process.port)]
    assert listening == [f"{process.address}:{process.port}"]


@pytest.mark.parametrize("process", EVERY, ids=str)
def test_only_the_owner_reads_the_token(process: Process) -> None:
    token = machine(process.host).file(f"{process.repo}/token")
    assert (token.mode, token.user) == (0o600, "filecoin")


@pytest.mark.parametrize("process", [*miners(), *workers()], ids=str)
def test_only_root_reads_the_address_with_the_token(process: Process) -> None:
    environment = machine(process.host).file(f"{SECRETS}/{process.unit}.env")
    assert (environment.mode, environment.user, environment.group) == (0o600, "root", "root")
    folder = machine(process.host).file(SECRETS)
    assert (folder.mode, folder.user) == (0o750, "root")


@pytest.mark.parametrize("process", miners(), ids=str)
def test_settings_with_fees_and_addresses_are_not_for_everyone(process: Process) -> None:
    settings = machine(process.host).file(f"{process.repo}/config.toml")
    assert (settings.mode, settings.user) == (0o640, "filecoin")


@pytest.mark.parametrize("host", sorted({process.host for process in [*miners(), *workers()]}))
def test_no_token_is_in_a_unit_or_on_a_command_line(host: str) -> None:
    # Every token starts with the same header; its parts are base64url, separated by dots.
    token = "eyJ[A-Za-z0-9_-]+\\.eyJ"
    units = f"grep -rlE '{token}' /etc/systemd/system /run/systemd/system || true"
    lines = "for file in /proc/[0-9]*/cmdline; do tr '\\0' ' ' <$file 2>/dev/null; echo; done"
    found = output(host, f"{units}; ({lines}) | grep -E '{token}' || true")
    assert found.strip() == ""


@pytest.mark.parametrize("process", EVERY, ids=str)
def test_the_process_may_open_the_files_it_needs(process: Process) -> None:
    limits = output(process.host, f"cat /proc/{process.pid}/limits").splitlines()
    soft = next(line.split()[3] for line in limits if line.startswith("Max open files"))
    assert int(soft) >= 16000


@pytest.mark.parametrize("host", sorted(LAB.hosts))
def test_no_rule_of_the_field_was_broken(host: str) -> None:
    violations = machine(host).file("/var/log/lotus-standin/violations.ndjson")
    assert not violations.exists or violations.content_string == ""
