"""Ports for servers of tests."""

from __future__ import annotations

import itertools
import os
import socket

# Below the kernel's range for outgoing connections, one of which could take a port between its choice and its use.
FIRST, COUNT = 20_000, 12_000
_next = itertools.count(os.getpid() * 37)


def free_port() -> int:
    """A TCP port of 127.0.0.1 where nobody listens, never the same twice in a process; OSError when all are taken."""
    for _ in range(COUNT):
        port = FIRST + next(_next) % COUNT
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
    raise OSError(f"every port from {FIRST} to {FIRST + COUNT - 1} is taken")
