"""Command lines of the stand-ins: what urfave/cli takes and refuses, from the contract tables."""

import pytest
from standin import contract
from standin.cli import UsageError, parse
from standin.common import Exit


def test_flags_stop_at_the_first_positional() -> None:
    call = parse(contract.cli("lotus-miner"), ["storage", "attach", "--store", "/mnt/a", "--init"])
    assert call.command == "storage attach"
    assert call.on("store")
    assert not call.on("init")
    assert call.args == ["/mnt/a", "--init"]


@pytest.mark.parametrize(
    ("words", "on"),
    [(["--bootstrap=false"], False), (["--bootstrap", "false"], True), (["-bootstrap=0"], False), ([], True)],
)
def test_booleans_are_off_only_when_joined(words: list[str], on: bool) -> None:
    assert parse(contract.cli("lotus"), ["daemon", *words]).on("bootstrap") is on


def test_environment_counts_as_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOTUS_WORKER_PRECOMMIT1", "true")
    monkeypatch.setenv("LOTUS_WORKER_PATH", "/w")
    call = parse(contract.cli("lotus-worker"), ["run", "--no-default"])
    assert "precommit1" in call.given
    assert call.text("worker-repo") == "/w"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--nope"], "flag provided but not defined: -nope"),
        (["run", "--nope=1"], "flag provided but not defined: -nope"),
        (["run", "--nosync=maybe"], 'invalid boolean value "maybe" for -nosync: parse error'),
        (["init", "--actor"], "flag needs an argument: -actor"),
        (["init", "--confidence=x"], 'invalid value "x" for flag -confidence: parse error'),
    ],
)
def test_refusals(words: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message.replace("(", "\\(")):
        parse(contract.cli("lotus-miner"), words)


@pytest.mark.parametrize("words", [["nope"], ["sectors", "nope"], ["storage", "nope"]])
def test_unknown_command_ends_with_3(words: list[str]) -> None:
    with pytest.raises(Exit) as refused:
        parse(contract.cli("lotus-miner"), words)
    assert refused.value.status == 3
    assert str(refused.value) == "No help topic for 'nope'"


def test_repeatable_flags_and_commas() -> None:
    call = parse(contract.cli("lotus-miner"), ["storage", "attach", "--groups=a,b", "--groups", "c", "/p"])
    assert call.many("groups") == ["a", "b", "c"]


@pytest.mark.parametrize("program", ["lotus", "lotus-miner", "lotus-worker", "lotus-seed"])
def test_every_command_of_the_contract_is_parsed(program: str) -> None:
    table = contract.cli(program)
    for path in table["commands"]:
        call = parse(table, [*path.split(), "--help"])
        assert call.help
        assert call.command == path
