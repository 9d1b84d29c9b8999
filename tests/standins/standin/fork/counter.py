"""The sector counter: a number per call, kept in the file `sectorid` of the miner that serves it."""

from __future__ import annotations

import os
import re
import socket
import sys
import threading
import time

from ..common import env_ms
from . import grpc
from .logs import raw

FILE = "sectorid"


def parse(text: str) -> int:
    """The last issued number as Go reads it with base detection: a leading zero is octal. ValueError otherwise."""
    text = text.replace("\n", "")
    if re.fullmatch(r"0_?[0-7][0-7_]*", text):
        value = int(text.replace("_", ""), 8)
    elif re.fullmatch(r"[0-9][0-9a-fA-FxXoObB_]*", text):
        value = int(text, 0)
    else:
        raise ValueError(f'strconv.ParseUint: parsing "{text}": invalid syntax')
    if value >= 1 << 64:
        raise ValueError(f'strconv.ParseUint: parsing "{text}": value out of range')
    return value


class Counter:
    """Server inside an alloce miner. `running` is false where the file stopped it; the miner goes on."""

    def __init__(self, directory: str, address: str) -> None:
        self.path = f"{directory}/{FILE}"  # taken literally: ~ is a directory of that name
        self.address = address
        self.last = 0
        self.running = False
        self.lock = threading.Lock()

    def start(self) -> None:
        """Read the file and listen. A port in use or an address of another host ends the whole process with 2."""
        raw(f"SC_LISTEN: %s {self.address}")
        try:
            if not os.path.exists(self.path):
                raw("The sectorid file is not exist")
                with open(self.path, "w", encoding="ascii") as stream:
                    stream.write("0")
            with open(self.path, encoding="utf-8", newline="") as stream:
                self.last = parse(stream.read())
        except (OSError, ValueError) as error:
            raw(str(error))
            return
        raw(f"currn sectorid:  {self.last}")
        host, _, port = self.address.rpartition(":")
        listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host.strip("[]"), int(port)))
            listener.listen(128)
        except (OSError, ValueError, OverflowError) as error:
            raw(f"listen tcp {self.address}: bind: {getattr(error, 'strerror', None) or error}")
            raw(f"grpc server Listing on {self.address}")
            sys.stderr.write("panic: runtime error: invalid memory address or nil pointer dereference\n")
            sys.stderr.flush()
            os._exit(2)
        self.running = True
        raw(f"grpc server Listing on {self.address}")
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=grpc.serve, args=(connection, self.next), daemon=True).start()

    def next(self) -> int:
        """The next number. The file is rewritten in place; a failed write is only logged."""
        with self.lock:
            self.last += 1
            try:
                fd = os.open(self.path, os.O_WRONLY | os.O_TRUNC)
                with os.fdopen(fd, "w") as stream:
                    time.sleep(env_ms("STANDIN_COUNTER_WRITE_MS", 0))  # a kill in here leaves the file empty
                    stream.write(str(self.last))
            except OSError as error:
                raw(str(error))
            return self.last
