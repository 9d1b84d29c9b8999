"""What the four programs say without any repo or network."""

import pytest

from tests.conformance.processes import Runner

FEW_FILES = ("sh", "-c", 'ulimit -n 1024 && exec "$0" "$@"')


@pytest.mark.parametrize(
    ("program", "version"),
    [
        ("lotus", "lotus version 1.36.2+2k+git.c6f4d024"),
        ("lotus-miner", "lotus-miner version v1.36.2-dev+2k+git.c6f4d024"),
        ("lotus-worker", "lotus-worker version v1.36.2-dev+2k+git.c6f4d024"),
        ("lotus-seed", "lotus-seed version 1.36.2+2k+git.c6f4d024"),
    ],
)
def test_version_names_the_network(runner: Runner, program: str, version: str) -> None:
    done = runner.run(program, "--version", check=True)
    assert done.stdout.strip() == version


def test_version_command_wants_a_daemon(runner: Runner) -> None:
    assert runner.run("lotus", "version").status == 1


@pytest.mark.parametrize(("program", "status"), [("lotus", 1), ("lotus-miner", 1), ("lotus-worker", 0)])
def test_unknown_flag(runner: Runner, program: str, status: int) -> None:
    done = runner.run(program, "daemon" if program == "lotus" else "run", "--bogus")
    assert done.status == status
    assert "flag provided but not defined: -bogus" in done.stderr


@pytest.mark.parametrize("program", ["lotus", "lotus-miner", "lotus-worker", "lotus-seed"])
def test_unknown_command_is_the_one_error_a_worker_admits(runner: Runner, program: str) -> None:
    done = runner.run(program, "bogus")
    assert done.status == 3
    assert "No help topic for 'bogus'" in done.stderr


@pytest.mark.parametrize("program", ["lotus", "lotus-miner"])
def test_call_without_a_running_process(runner: Runner, program: str) -> None:
    done = runner.run(program, "auth", "api-info", "--perm", "admin")
    assert done.status == 1
    assert done.stdout == ""
    kind = {"lotus": "FullNode", "lotus-miner": "StorageMiner"}[program]
    assert f"could not get API info for {kind}: repo directory does not exist" in done.stderr


def test_wait_api_gives_up_after_its_timeout(runner: Runner) -> None:
    done = runner.run("lotus", "wait-api", "--timeout", "2s")
    assert done.status == 1
    assert done.stdout.startswith("Not online yet")
    assert "timed out waiting for api to come online" in done.stderr


def test_worker_refuses_few_open_files_with_status_0(runner: Runner) -> None:
    done = runner.run("lotus-worker", "run", prefix=FEW_FILES)
    assert done.status == 0
    assert "soft file descriptor limit (ulimit -n) too low, want" in done.stderr
    assert "current 1024" in done.stderr


@pytest.mark.parametrize("verb", ["enable", "disable"])
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "Expected 1 argument or use --all flag"),
        (("AP", "PC1"), "Expected 1 argument or use --all flag"),
        (("--all", "AP"), "Cannot use --all flag with task type argument"),
        (("XX",), "unknown task type 'XX'"),
    ],
)
def test_tasks_take_one_type_or_all(runner: Runner, verb: str, arguments: tuple[str, ...], message: str) -> None:
    done = runner.run("lotus-worker", "tasks", verb, *arguments)
    assert done.status == 0
    assert message in done.stderr
