"""sealyard.lotus.config: what is written, what is refused, and that the key table is the contract's."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sealyard import stacks
from sealyard.errors import SealyardError
from sealyard.hosts import config as hosts_config
from sealyard.lotus.config import flatten, known_keys
from standin import contract

CONTRACT_TYPES = {
    "Duration": "duration",
    "types.FIL": "fil",
    "ResourceFilteringStrategy": "string",
    "int64": "int",
    "[]cid.Cid": "[]string",
}


def lotus_config(config: Any, component: str, stack: str = "lotus", generation: int | None = None) -> str:
    """Text of config.toml on a stack."""
    return hosts_config.lotus_config(config, component, stacks.get(stack, generation))


PEER = "12D3KooWGzxzKZYveHXtpG6AsrUJBcWxHBFS2HsEoGTxrMLvKXtf"


def test_writes_what_is_set_and_nothing_else() -> None:
    text = lotus_config(
        {
            "Sealing": {"PreCommitBatchWait": "5s", "MaxPreCommitBatch": 1, "MaxCommitBatch": None},
            "API": {"ListenAddress": "/ip4/10.0.0.1/tcp/2347/http"},
            "Fees": {"MaxCommitBatchGasFee": {"Base": "0 FIL"}},
            "Addresses": {"PreCommitControl": ["t01001", "t01002"]},
        },
        "miner",
    )
    assert text == (
        '[API]\nListenAddress = "/ip4/10.0.0.1/tcp/2347/http"\n\n'
        '[Sealing]\nMaxPreCommitBatch = 1\nPreCommitBatchWait = "5s"\n\n'
        '[Fees.MaxCommitBatchGasFee]\nBase = "0 FIL"\n\n'
        '[Addresses]\nPreCommitControl = ["t01001", "t01002"]\n'
    )


def test_daemon_always_says_splitstore() -> None:
    assert lotus_config({}, "daemon") == "[Chainstore]\nEnableSplitstore = true\n"
    assert "EnableSplitstore = false\n" in lotus_config({"Chainstore": {"EnableSplitstore": False}}, "daemon")


def test_subsystem_levels_take_any_name_and_known_words() -> None:
    text = lotus_config({"Logging": {"SubsystemLevels": {"chain/store": "DEBUG"}}}, "daemon")
    assert tomllib.loads(text)["Logging"]["SubsystemLevels"] == {"chain/store": "DEBUG"}
    with pytest.raises(SealyardError, match="one of 'DEBUG', 'INFO'"):
        lotus_config({"Logging": {"SubsystemLevels": {"chain": "loud"}}}, "daemon")


@pytest.mark.parametrize(
    ("component", "config", "message"),
    [
        ("miner", {"Sealing": {"BatchPreCommits": True}}, r"Sealing.BatchPreCommits: lotus miner has no such key"),
        ("miner", {"Sealing": {"MaxSealingSector": 1}}, r"write Sealing.MaxSealingSectors$"),
        ("miner", {"Sealing": {"MaxSealingSectors": "1"}}, r'MaxSealingSectors = "1": write a whole number from 0'),
        ("miner", {"Sealing": {"MaxSealingSectors": -1}}, r"a whole number from 0 up"),
        ("miner", {"Sealing": {"MaxPreCommitBatch": True}}, r"a whole number"),
        ("miner", {"Sealing": {"FinalizeEarly": "yes"}}, r"true or false"),
        ("miner", {"Sealing": {"WaitDealsDelay": "6 hours"}}, r"a Go duration"),
        ("miner", {"Sealing": {"WaitDealsDelay": 5}}, r"a Go duration"),
        ("miner", {"Fees": {"MaxCommitGasFee": 0.05}}, r"an amount such as '0.05 FIL'"),
        ("miner", {"Storage": {"Assigner": "random"}}, r"one of '', 'utilization', 'spread'"),
        ("miner", {"Storage": {"ParallelFetchLimit": 0}}, r"1 or more"),
        ("miner", {"Addresses": {"CommitControl": "t01001"}}, r"a list of texts"),
        ("miner", {"API": {"RemoteListenAddress": "0.0.0.0:2345"}}, r"HOST:PORT"),
        ("miner", {"Subsystems": {"EnableSealing": False}}, r"all three true or all three false"),
        ("daemon", {"API": {"ListenAddress": "/ip4/0.0.0.0/tcp/1234/http"}}, r"never 0.0.0.0"),
        ("daemon", {"Libp2p": {"ProtectedPeers": [f"/ip4/10.0.0.1/tcp/1/p2p/{PEER}"]}}, r"a bare peer id"),
        ("daemon", {"Libp2p": {"BootstrapPeers": ["/ip4/10.0.0.1/tcp/1"]}}, r"a multiaddr that ends in the peer"),
        ("daemon", {"Sealing": {"MaxSealingSectors": 1}}, r"lotus daemon has no such key"),
        ("daemon", {"Libp2p": "x"}, r"Libp2p: lotus daemon has no such key"),
        ("worker", {}, r"write 'daemon' or 'miner'"),
        ("daemon", [], r"no mapping"),
    ],
)  # fmt: skip
def test_refuses(component: str, config: Any, message: str) -> None:
    with pytest.raises(SealyardError, match=message):
        lotus_config(config, component)


def test_all_problems_at_once_and_no_password() -> None:
    config = {"HarmonyDB": {"Password": 12345, "Port": 5433}, "Proving": {"ParallelCheckLimit": "x"}}
    with pytest.raises(SealyardError) as error:
        lotus_config(config, "miner")
    text = str(error.value)
    assert "HarmonyDB.Port" in text and "Proving.ParallelCheckLimit" in text
    assert "HarmonyDB.Password = (hidden)" in text and "12345" not in text


VALUES = {
    "bool": st.booleans(),
    "int": st.integers(-(2**63), 2**63 - 1),
    "uint": st.integers(0, 2**32),
    "uint64": st.integers(0, 2**63 - 1),
    "string": st.text(st.characters(codec="utf-8")),
    "duration": st.sampled_from(["5s", "24h0m0s", "1.5h"]),
    "fil": st.sampled_from(["0 FIL", "0.05 FIL", "7 attoFIL"]),
    "[]string": st.lists(st.text(st.characters(codec="utf-8"))),
}


@st.composite
def settings(draw: st.DrawFn, component: str) -> dict[str, Any]:
    config: dict[str, Any] = {}
    for key, entry in known_keys(component).items():
        if entry.keys() - {"type"} or key.startswith("Subsystems.Enable") or not draw(st.booleans()):
            continue
        *tables, name = key.split(".")
        table = config
        for part in tables:
            table = table.setdefault(part, {})
        table[name] = draw(VALUES[entry["type"]])
    return config


@pytest.mark.parametrize("component", ["daemon", "miner"])
@hypothesis_settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_toml_reads_back_what_was_set(component: str, data: st.DataObject) -> None:
    config = data.draw(settings(component))
    expected = dict(flatten(config))
    if component == "daemon":
        expected.setdefault("Chainstore.EnableSplitstore", True)
    text = lotus_config(config, component)
    assert dict(flatten(tomllib.loads(text))) == expected
    shuffled = {table: dict(reversed(keys.items())) for table, keys in reversed(config.items())}
    assert lotus_config(shuffled, component) == text


@pytest.mark.parametrize("stack", ["lotus", "lotus_distributed"])
@pytest.mark.parametrize("component", ["daemon", "miner"])
def test_key_table_is_the_contract(component: str, stack: str) -> None:
    keys = contract.document(stack, "config")[component]
    wanted = {
        fact.get("pattern_key", key).replace("<go-log subsystem>", "*"): (
            CONTRACT_TYPES.get(fact["type"], fact["type"]),
            fact.get("enum") or fact.get("values"),
            fact.get("min"),
        )
        for key, fact in keys.items()
    }
    table = {
        key: (e["type"], e.get("enum"), e.get("min")) for key, e in stacks.get(stack).config_keys(component).items()
    }
    assert table == wanted


def test_the_fork_takes_its_own_keys_and_no_others() -> None:
    mine = {"Storage": {"AllowMyScheduler": True}, "Subsystems": {"EnableMarkets": False}}
    assert "AllowMyScheduler = true\n" in lotus_config(mine, "miner", "lotus_distributed")
    assert lotus_config({}, "daemon", "lotus_distributed") == ""
    with pytest.raises(SealyardError, match=r"Subsystems.DisableWindowPoSt: lotus miner has no such key"):
        lotus_config({"Subsystems": {"DisableWindowPoSt": True}}, "miner", "lotus_distributed")


def test_limits_in_config_toml_belong_to_the_first_generation() -> None:
    limits = {"Storage": {"PreCommit1Max": 7, "PreCommit1HoldMax": 20}}
    assert "PreCommit1HoldMax = 20\n" in lotus_config(limits, "miner", "lotus_distributed", 1)
    with pytest.raises(SealyardError, match=r"Storage.PreCommit1Max: lotus miner has no such key"):
        lotus_config(limits, "miner", "lotus_distributed", 2)
