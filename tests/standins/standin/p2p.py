"""Links between daemons: JSON lines over TCP on the libp2p port. Blocks, messages, presence of provers."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable
from typing import Any

from .common import CommandError, Json, log
from .net import hard_close

REDIAL_SEC = 5.0


def split_peer(multiaddr: str) -> tuple[str, int, str]:
    """(host, port, peer id) of /ip4/H/tcp/P/p2p/ID; CommandError otherwise."""
    parts = multiaddr.split("/")
    if (
        len(parts) != 7
        or parts[1] not in ("ip4", "ip6", "dns", "dns4", "dns6")
        or parts[3] != "tcp"
        or parts[5] != "p2p"
        or not parts[4].isdigit()
    ):
        raise CommandError(f"invalid peer address: {multiaddr}")
    return parts[2], int(parts[4]), parts[6]


class Link:
    def __init__(self, connection: socket.socket, peer: str, address: str) -> None:
        self.connection = connection
        self.peer = peer
        self.address = address
        self.lock = threading.Lock()

    def send(self, message: Json) -> None:
        data = json.dumps(message).encode() + b"\n"
        try:
            with self.lock:
                self.connection.sendall(data)
        except OSError:
            hard_close(self.connection)


class Network:
    """All links of one daemon. `hello` gives our handshake, `receive(link, message)` handles every later line."""

    def __init__(
        self,
        host: str,
        port: int,
        peer: str,
        hello: Callable[[], Json],
        receive: Callable[[Link, Json], None],
        opened: Callable[[Link, Json], None],
    ) -> None:
        self.peer = peer
        self.hello = hello
        self.receive = receive
        self.opened = opened
        self.links: dict[str, Link] = {}
        self.lock = threading.Lock()
        self.wake = threading.Event()
        self.closed = False
        self.listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self.listener.bind((host, port))
        except OSError as error:
            raise CommandError(
                f"failed to listen on any addresses: [listen tcp4 {host}:{port}: bind: {error.strerror}]"
            ) from None
        self.listener.listen(32)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while not self.closed:
            try:
                connection, address = self.listener.accept()
            except OSError:
                return
            threading.Thread(
                target=self._run, args=(connection, f"/ip4/{address[0]}/tcp/{address[1]}", None), daemon=True
            ).start()

    def dial(self, multiaddr: str) -> str:
        """Connect and stay connected in the background; returns the peer id. CommandError when it does not answer."""
        host, port, peer = split_peer(multiaddr)
        if peer in self.links or peer == self.peer:
            return peer
        try:
            connection = socket.create_connection((host, port), timeout=5)
        except OSError as error:
            raise CommandError(
                f"failed to dial {peer}: all dials failed\n  * [{multiaddr}] {error.strerror or error}"
            ) from None
        threading.Thread(
            target=self._run, args=(connection, multiaddr.rsplit("/p2p/", 1)[0], peer), daemon=True
        ).start()
        return peer

    def keep(self, multiaddrs: list[str]) -> None:
        """Redial these peers whenever they are away."""

        def loop() -> None:
            while not self.closed:
                for multiaddr in multiaddrs:
                    if split_peer(multiaddr)[2] not in self.links:
                        with contextlib.suppress(CommandError):
                            self.dial(multiaddr)
                self.wake.wait(REDIAL_SEC)
                self.wake.clear()

        if multiaddrs:
            threading.Thread(target=loop, daemon=True).start()

    def _run(self, connection: socket.socket, address: str, expected: str | None) -> None:
        peer = ""
        link: Link | None = None
        try:
            connection.settimeout(10)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            connection.sendall(json.dumps(self.hello()).encode() + b"\n")
            stream: Any = connection.makefile("rb")
            hello = json.loads(stream.readline(1 << 20) or b"{}")
            peer = str(hello.get("peer", ""))
            if not peer or (expected and peer != expected) or peer == self.peer:
                return
            if hello.get("genesis") != self.hello()["genesis"]:
                log("WARN", "hello", f"other peer has different genesis! ({hello.get('genesis')})", peer=peer)
                return
            connection.settimeout(None)
            link = Link(connection, peer, address)
            with self.lock:
                if peer in self.links:
                    # Both sides dialled: the link of the smaller id stays, so that both drop the same one.
                    ours = (expected is not None) == (self.peer < peer)
                    if not ours:
                        return
                    hard_close(self.links[peer].connection)
                self.links[peer] = link
            log("INFO", "net", f"connected to peer {peer}")
            self.opened(link, hello)
            while True:
                line = stream.readline()
                if not line:
                    return
                self.receive(link, json.loads(line))
        except (OSError, ValueError, KeyError):
            return
        finally:
            with self.lock:
                if link is not None and self.links.get(peer) is link:
                    del self.links[peer]
                    log("INFO", "net", f"disconnected from peer {peer}")
            hard_close(connection)

    def broadcast(self, message: Json, but: Link | None = None) -> None:
        for link in list(self.links.values()):
            if link is not but:
                link.send(message)

    def disconnect(self, peer: str) -> None:
        link = self.links.get(peer)
        if link:
            hard_close(link.connection)

    def close(self) -> None:
        self.closed = True
        self.wake.set()
        self.listener.close()
        for link in list(self.links.values()):
            hard_close(link.connection)
