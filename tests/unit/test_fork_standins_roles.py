"""Roles and the sector counter of the fork's miners, every trap sprung once on real processes."""

import json
import os
import shutil
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from tests.ports import free_port
from tests.unit.fork_net import ForkNet, build, eventually, state


def address() -> str:
    return f"127.0.0.1:{free_port()}"


def sectorid(net: ForkNet, name: str) -> Path:
    return net.repo(name) / "sectorid"


# versions, flags, networks


def test_versions_carry_no_suffix_of_the_fork(fork: ForkNet) -> None:
    for program in ("lotus", "lotus-miner", "lotus-worker", "lotus-seed"):
        assert fork.run(program, "--version").stdout == f"{program} version 1.12.0+2k+git.a9b8795f\n"
    assert fork.node is not None
    assert fork.node.api("v1").call("Version")["APIVersion"] == 0x20100
    assert fork.node.api("v0").call("Version")["APIVersion"] == 0x10400


@pytest.mark.parametrize(
    ("program", "words", "status"),
    [
        ("lotus-miner", ["run", "--sctyp=get"], 1),
        ("lotus-worker", ["run", "--no-default"], 0),
        ("lotus-worker", ["run", "--precommit1holdmax=25"], 0),
        ("lotus-worker", ["run", "--name=x"], 0),
        ("lotus-miner", ["storage", "attach", "--groups=a", "/x"], 1),
    ],
)
def test_unknown_flags_are_refused(fork: ForkNet, program: str, words: list[str], status: int) -> None:
    done = fork.run(program, *words, check=False)
    assert "flag provided but not defined" in done.stdout
    assert done.returncode == status


def test_commands_of_later_versions_are_unknown(fork: ForkNet) -> None:
    assert fork.run("lotus-miner", "sectors", "numbers", "info", check=False).returncode == 3


def test_a_newer_network_is_refused(fork: ForkNet, fork_template: Path) -> None:
    genesis = fork.root / "new.json"
    template = json.loads((fork_template / "dev.car").read_text())
    template["standin-genesis"]["NetworkVersion"] = 22
    genesis.write_text(json.dumps(template))
    repo = fork.root / "other"
    done = fork.run("lotus", "daemon", f"--genesis={genesis}", check=False, LOTUS_PATH=str(repo))
    assert done.returncode == 1
    assert "network version 22, this build knows 14" in done.stderr


def test_no_health_routes(fork: ForkNet) -> None:
    assert fork.node is not None
    assert b"404" in _get(fork.node.port, "/health/livez")


def _get(port: int, path: str) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        return connection.recv(100)


# duties


@pytest.mark.parametrize("window", [True, False])
@pytest.mark.parametrize("winning", [True, False])
def test_duties_follow_the_flags_and_are_in_the_log(fork: ForkNet, window: bool, winning: bool) -> None:
    flags = [f"--window-post={str(window).lower()}", f"--winning-post={str(winning).lower()}", "--p2p=false"]
    miner = fork.serving(fork.miner("m", *flags))
    duties = miner.call("StandIn.Duties")
    assert (duties["window"], duties["winning"], duties["p2p"]) == (window, winning, False)
    text = miner.text()
    assert ("This miner will do windowPoSt" in text) is window
    assert ("This miner will be disabled windowPoSt" in text) is not window
    assert ("This miner will minning block" in text) is winning
    assert ("This miner will be disabled mining block" in text) is not winning
    assert "Thie miner will be disabled p2p" in text
    assert fork.rules() == []


def test_a_boolean_after_a_blank_drops_the_rest_of_the_line(fork: ForkNet) -> None:
    miner = fork.serving(fork.miner("m", "--window-post", "false", "--sctype=get", f"--sclisten={address()}"))
    duties = miner.call("StandIn.Duties")
    assert duties == {"window": True, "winning": True, "p2p": True, "sctype": "", "counter": False}
    assert "sctype is :" not in miner.text()
    assert fork.rules() == ["arguments-ignored"]


def test_without_winning_post_the_process_never_ends(fork: ForkNet) -> None:
    miner = fork.sealer("m")
    miner.process.terminate()
    miner.says("rpc server shut down successfully")
    miner.process.terminate()  # a second signal is not read
    with pytest.raises(subprocess.TimeoutExpired, match="timed out after 1 seconds"):
        miner.process.wait(1)
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", miner.port), timeout=5)
    again = fork.miner("m", "--window-post=false", "--winning-post=false")
    assert again.ends() == 1
    assert "already locked" in again.text()
    miner.kill()
    fork.sealer("m")


def test_with_winning_post_it_ends(fork: ForkNet) -> None:
    miner = fork.serving(fork.miner("m", "--window-post=false"))
    miner.process.terminate()
    assert miner.ends() == 0


def test_p2p_needs_markets(fork: ForkNet) -> None:
    off = "[Subsystems]\nEnableMarkets = false\n"
    assert fork.miner("m", config=off).ends() == 1
    fork.serving(fork.miner("m", "--p2p=false", config=off))


def test_the_worker_key_must_be_in_the_wallet(fork: ForkNet) -> None:
    key = fork.run("lotus", "wallet", "list", "--addr-only").stdout.split()[0]
    fork.run("lotus", "wallet", "delete", key)
    miner = fork.miner("m")
    assert miner.ends() == 1
    assert "key for worker not found in local wallet" in miner.text()


def test_keys_of_other_versions_are_recorded(fork: ForkNet) -> None:
    fork.serving(fork.miner("m", config="[Subsystems]\nDisableWindowPoSt = true\n"))
    assert fork.rules() == ["unknown-config-key"]


# the counter


def test_alloce_serves_and_get_asks(fork: ForkNet) -> None:
    where = address()
    sectorid(fork, "a").write_text("100")
    one = fork.serving(fork.miner("a", "--sctype=alloce", f"--sclisten={where}"))
    other = fork.sealer("b", "--sctype=get", f"--sclisten={where}")
    for words in (
        f"sctype is : alloce , sclisten is: {where}",
        f"The scFilePath is : {one.repo}/sectorid",
        "currn sectorid:  100",
        f"grpc server Listing on {where}",
    ):
        assert words in one.text()
    assert [m.call("PledgeSector")["Number"] for m in (one, other, one)] == [101, 102, 103]
    assert sectorid(fork, "a").read_text() == "103"
    assert fork.rules() == []


def test_a_mistyped_sctype_counts_locally(fork: ForkNet) -> None:
    where = address()
    sectorid(fork, "a").write_text("100")
    fork.serving(fork.miner("a", "--sctype=alloce", f"--sclisten={where}"))
    wrong = fork.sealer("b", "--sctype=Get", f"--sclisten={where}")
    assert wrong.call("PledgeSector")["Number"] == 2  # the pre-sealed ones were 0 and 1
    assert "sctype is :" not in wrong.text()
    assert fork.rules() == ["sctype-unknown"]


def test_two_local_counters_give_a_number_twice(fork: ForkNet) -> None:
    one, other = fork.sealer("a"), fork.sealer("b")
    assert one.call("PledgeSector")["Number"] == other.call("PledgeSector")["Number"]
    assert fork.rules() == ["sector-number-twice"]


def test_a_new_repo_counts_from_0(fork: ForkNet) -> None:
    meta = fork.repo("m") / "datastore" / "metadata" / "state.json"
    meta.write_text(json.dumps({k: v for k, v in json.loads(meta.read_text()).items() if k != "nextid"}))
    assert fork.sealer("m").call("PledgeSector")["Number"] == 0
    assert fork.rules() == ["sector-number-twice"]  # the chain has it


def test_an_empty_sclisten_ends_with_status_0(fork: ForkNet) -> None:
    miner = fork.miner("m", "--sctype=get")
    assert miner.ends() == 0
    assert "sclisten must be set" in miner.text()


def test_a_missing_file_starts_again_at_1(fork: ForkNet) -> None:
    miner = fork.serving(fork.miner("m", "--sctype=alloce", f"--sclisten={address()}"))
    assert "The sectorid file is not exist" in miner.text()
    assert sectorid(fork, "m").read_text() == "0"
    eventually(lambda: "counter-below-chain" in fork.rules(), "the chain already has number 1")
    assert miner.call("PledgeSector")["Number"] == 1
    assert "sector-number-twice" in fork.rules()


@pytest.mark.parametrize("text", ["", " 5", "77\r\n"])
def test_an_unreadable_file_stops_the_server_and_the_miner_runs_on(fork: ForkNet, text: str) -> None:
    with sectorid(fork, "m").open("w", newline="") as stream:
        stream.write(text)
    miner = fork.serving(fork.miner("m", "--sctype=alloce", f"--sclisten={address()}"))
    assert miner.call("StandIn.Duties")["counter"] is False
    assert "grpc server Listing on" not in miner.text()
    done = fork.cli(miner, "sectors", "pledge", check=False)
    assert done.returncode == 1
    assert "getting sector number: rpc error: code = Unavailable" in done.stderr
    assert miner.call("SectorsList") == []
    assert fork.rules() == ["counter-server-missing"]


def test_a_leading_zero_is_octal(fork: ForkNet) -> None:
    sectorid(fork, "m").write_text("0100")
    miner = fork.serving(fork.miner("m", "--sctype=alloce", f"--sclisten={address()}"))
    assert miner.call("PledgeSector")["Number"] == 65


@pytest.mark.parametrize("taken", [True, False])
def test_an_address_that_cannot_be_had_ends_the_miner_with_2(fork: ForkNet, taken: bool) -> None:
    sectorid(fork, "m").write_text("5")
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        where = f"127.0.0.1:{other.getsockname()[1]}" if taken else f"203.0.113.7:{free_port()}"
        miner = fork.miner("m", "--sctype=alloce", f"--sclisten={where}")
        assert miner.ends() == 2
    assert f"grpc server Listing on {where}" in miner.text()  # the line proves nothing
    assert "panic:" in miner.text()


def test_a_lost_file_still_issues_and_an_edit_is_overwritten(fork: ForkNet) -> None:
    file = sectorid(fork, "m")
    file.write_text("100")
    miner = fork.serving(fork.miner("m", "--sctype=alloce", f"--sclisten={address()}"))
    file.write_text("5000")
    assert miner.call("PledgeSector")["Number"] == 101
    assert file.read_text() == "101"
    file.unlink()
    assert miner.call("PledgeSector")["Number"] == 102
    assert not file.exists()


def test_a_counter_down_or_silent_fails_every_pledge(fork: ForkNet) -> None:
    where = address()
    sectorid(fork, "a").write_text("100")
    server = fork.serving(fork.miner("a", "--sctype=alloce", f"--sclisten={where}"))
    sealer = fork.sealer("b", "--sctype=get", f"--sclisten={where}")
    server.process.send_signal(signal.SIGSTOP)
    assert "timed out waiting for server handshake" in fork.cli(sealer, "sectors", "pledge", check=False).stderr
    server.process.send_signal(signal.SIGCONT)
    server.kill()
    assert "connection refused" in fork.cli(sealer, "sectors", "pledge", check=False).stderr
    assert sealer.call("SectorsList") == []


def test_the_local_counter_stands_still_meanwhile(fork: ForkNet) -> None:
    where = address()
    sectorid(fork, "a").write_text("100")
    fork.serving(fork.miner("a", "--sctype=alloce", f"--sclisten={where}"))
    sealer = fork.sealer("b", "--sctype=get", f"--sclisten={where}")
    assert sealer.call("PledgeSector")["Number"] == 101
    sealer.kill()
    again = fork.sealer("b")
    assert again.call("PledgeSector")["Number"] == 2


def test_two_counter_servers_and_one_that_goes_back(fork: ForkNet) -> None:
    sectorid(fork, "a").write_text("100")
    sectorid(fork, "b").write_text("50")
    fork.sealer("a", "--sctype=alloce", f"--sclisten={address()}")
    fork.sealer("b", "--sctype=alloce", f"--sclisten={address()}")
    fork.serving(fork.miner("c", "--window-post=false"))  # what the two say of themselves travels with its blocks
    both = {"two-counter-processes", "counter-backwards"}
    eventually(lambda: both <= set(fork.rules()), "both are seen")
    assert set(fork.rules()) == both


def test_a_counter_restored_from_an_old_backup(fork: ForkNet) -> None:
    file = sectorid(fork, "m")
    file.write_text("100")
    flags = ("--window-post=false", "--sctype=alloce", f"--sclisten={address()}")
    miner = fork.serving(fork.miner("m", *flags))
    assert fork.node is not None
    node = fork.node.api("v1")
    miner.call("PledgeSector")
    eventually(lambda: node.call("StandIn.Counters")["issued"].get("t01000") == 101, "the daemon knows 101")
    miner.process.terminate()
    assert miner.ends() == 0
    assert fork.rules() == []
    file.write_text("90")
    fork.serving(fork.miner("m", *flags))
    eventually(lambda: "counter-backwards" in fork.rules(), "90 is below 101")


def test_a_kill_in_the_middle_of_a_number_leaves_an_empty_file(fork: ForkNet) -> None:
    file = sectorid(fork, "m")
    file.write_text("100")
    flags = ("--sctype=alloce", f"--sclisten={address()}")
    miner = fork.serving(fork.miner("m", *flags, STANDIN_COUNTER_WRITE_MS="60000"))
    fork.environment["STANDIN_COUNTER_TIMEOUT_MS"] = "100"
    assert fork.cli(miner, "sectors", "pledge", check=False).returncode == 1
    miner.kill()
    assert file.read_text() == ""
    again = fork.serving(fork.miner("m", *flags))
    assert again.call("StandIn.Duties")["counter"] is False


def test_a_counter_that_moves_keeps_the_rules(fork: ForkNet) -> None:
    where = address()
    sectorid(fork, "a").write_text("100")
    one = fork.serving(fork.miner("a", "--window-post=false", "--sctype=alloce", f"--sclisten={where}"))
    one.call("PledgeSector")
    one.process.terminate()
    one.ends()
    shutil.copy(sectorid(fork, "a"), sectorid(fork, "b"))
    other = fork.serving(fork.miner("b", "--window-post=false", "--sctype=alloce", f"--sclisten={where}"))
    assert other.call("PledgeSector")["Number"] == 102
    assert fork.rules() == []


def test_a_number_is_told_from_daemon_to_daemon(fork: ForkNet) -> None:
    assert fork.node is not None
    info = fork.node.api("v1").call("NetAddrsListen")
    second = fork.daemon("second", bootstrap=f"{info['Addrs'][0]}/p2p/{info['ID']}")
    eventually(lambda: second.api("v1").call("NetPeers"), "the daemons are linked")
    one = fork.sealer("a")
    other = fork.sealer("b", LOTUS_PATH=str(second.repo))
    number = one.call("PledgeSector")["Number"]
    eventually(lambda: str(number) in second.api("v1").call("StandIn.Counters")["drawn"].get("t01000", {}), "told")
    assert other.call("PledgeSector")["Number"] == number
    assert set(fork.rules()) == {"sector-number-twice"}


def test_a_tilde_is_a_directory_of_that_name(fork: ForkNet) -> None:
    repo = fork.repo("lotusminer")
    repo.rename(fork.root / ".lotusminer")  # HOME is the net's root, and so is the working directory
    port = free_port()
    (fork.root / ".lotusminer" / "config.toml").write_text(f'[API]\nListenAddress = "/ip4/127.0.0.1/tcp/{port}/http"\n')
    words = ("run", "--nosync", "--sctype=alloce", f"--sclisten={address()}")
    miner = fork.serving(fork.start("m", fork.root / ".lotusminer", port, "lotus-miner", *words))
    assert miner.call("StandIn.Duties")["counter"] is False
    assert "The scFilePath is : ~/.lotusminer/sectorid" in miner.text()
    assert "persisting myScheduler metadata" in miner.text()
    assert not (miner.repo / "myscheduler.json").exists()


def test_the_first_start_writes_both_files(fork: ForkNet) -> None:
    miner = fork.serving(fork.miner("m"))
    written = json.loads((miner.repo / "myscheduler.json").read_text())
    assert len(written) == 14
    assert written["WorkerName"] == os.uname().nodename
    assert written["AddPieceMax"] == 0
    assert written["ForceP2FromLocalP1"] is True


# binaries over one repo


def test_upstream_and_fork_over_one_repo(fork: ForkNet, tmp_path: Path) -> None:
    """The counter that older versions keep goes along both ways; the wallet and the chain stay."""
    fork.close()
    upstream = build(tmp_path / "upstream", "--nofile-floor", "16")
    fork.programs, before = upstream, fork.programs
    fork.node = None
    config = "LOTUS_SKIP_GENESIS_CHECK"
    repo = fork.root / "daemon"
    (repo / "api").unlink(missing_ok=True)
    fork.environment[config] = "_yes_"
    text = (repo / "config.toml").read_text() + "[Chainstore]\nEnableSplitstore = false\n"
    (repo / "config.toml").write_text(text)
    port = int(text.split("/tcp/")[1].split("/")[0])
    node = fork.node = fork.start("up", repo, port, "lotus", "daemon", LOTUS_PATH=str(repo))
    fork.serving(node)
    miner = fork.serving(fork.miner("m", config=""))
    assert miner.call("PledgeSector")["Number"] == 2
    assert miner.call("PledgeSector")["Number"] == 3
    for one in (miner, node):
        one.process.terminate()
        one.ends()
    fork.programs, fork.node = before, None
    fork.daemon()
    again = fork.sealer("m")
    assert again.call("PledgeSector")["Number"] == 4
    assert state(again, 2) == "Packing"
