"""Daemons and miners that stop and come back."""

from tests.conformance.conftest import Genesis, Miners
from tests.conformance.devnet import MESSAGE_SEC, START_SEC, Daemon, Devnet
from tests.conformance.processes import until
from tests.conformance.rpc import http_status


def follow(behind: Daemon, ahead: Daemon) -> None:
    until(f"{behind.name} to follow", lambda: behind.height() >= ahead.height() - 1 > 0, MESSAGE_SEC)


def test_miner_ends_on_sigterm(miners: Miners) -> None:
    assert miners.deal.stop() == 0
    miners.deal.start()


def test_daemon_alone_and_its_peer_restarted(devnet: Devnet, genesis: Genesis, chain: Daemon, miners: Miners) -> None:
    """With --bootstrap=false a daemon never comes back to its peer, and looks healthy."""
    lone = devnet.daemon("lone")
    lone.configure()
    lone.start(f"--genesis={genesis.car}", "--bootstrap=false")
    lone.cli("net", "connect", chain.multiaddr())
    assert lone.peers() == [chain.peer_id()]
    follow(lone, chain)

    window_log = len(miners.window.log)
    assert chain.stop() == 0
    assert not (chain.repo / "api").exists()
    until("the peer to be gone", lambda: not lone.peers(), START_SEC)
    last = lone.height()
    chain.start("--bootstrap=false")
    # Miners outlive their daemon.
    assert miners.window.process is not None
    until(
        "the window miner to take its work up again",
        lambda: "restarting window post scheduler" in miners.window.log[window_log:],
        START_SEC,
    )
    chain.wait_height(last + 4)
    for miner in (miners.winning, miners.window, miners.seal, miners.deal):
        assert miner.process is not None and miner.process.alive()

    assert lone.peers() == []
    assert lone.height() == last
    assert http_status(f"http://{lone.rpc.address}/health/livez")[0] == 200
    assert lone.stop() == 0


def test_daemon_with_bootstrap_peers_reconnects(
    devnet: Devnet, genesis: Genesis, chain: Daemon, miners: Miners
) -> None:
    private = devnet.daemon("private")
    private.configure(bootstrap=[chain.multiaddr()], protected=[chain.peer_id()])
    private.start(f"--genesis={genesis.car}")
    until("the first connection", lambda: chain.peer_id() in private.peers(), START_SEC)
    follow(private, chain)
    peer = chain.peer_id()
    assert chain.stop() == 0
    until("the peer to be gone", lambda: not private.peers(), START_SEC)
    last = private.height()
    chain.start("--bootstrap=false")
    until("the connection to come back", lambda: peer in private.peers(), START_SEC)
    chain.wait_height(last + 3)
    follow(private, chain)
    assert http_status(f"http://{private.rpc.address}/health/readyz")[0] == 503
    assert private.stop() == 0
