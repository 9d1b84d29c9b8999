"""One unary call without arguments over gRPC: just enough HTTP/2 for a number to come back."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from typing import Any

from ..common import CommandError, env_ms

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, SETTINGS, PING, GOAWAY = 0, 1, 4, 6, 7
ACK = END_STREAM = 1
END_HEADERS = 4
METHOD = b"/proto.Grpc/GetSectorID"


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes((kind, flags)) + struct.pack(">I", stream) + payload


def read_frame(stream: Any) -> tuple[int, int, int, bytes]:
    """(type, flags, stream, payload); OSError when the other side is gone."""
    head = stream.read(9)
    if len(head) < 9:
        raise OSError("connection closed")
    length = int.from_bytes(head[:3], "big")
    return head[3], head[4], int.from_bytes(head[5:], "big") & 0x7FFFFFFF, stream.read(length)


def _named(name: bytes, value: bytes) -> bytes:
    return b"\x00" + bytes((len(name),)) + name + bytes((len(value),)) + value


def _indexed(index: int, value: bytes) -> bytes:
    """A header whose name is in HPACK's static table, not added to the dynamic one."""
    name = bytes((index,)) if index < 15 else bytes((15, index - 15))
    return name + bytes((len(value),)) + value


def encode(number: int) -> bytes:
    """A gRPC message with one uint64 field, number 1."""
    body = b""
    if number:
        body = b"\x08"
        while number > 127:
            body += bytes((number & 127 | 128,))
            number >>= 7
        body += bytes((number,))
    return b"\x00" + struct.pack(">I", len(body)) + body


def decode(message: bytes) -> int:
    number = 0
    for position, byte in enumerate(message[6:]):
        number |= (byte & 127) << 7 * position
    return number


def serve(connection: socket.socket, answer: Callable[[], int]) -> None:
    """Answer every call on a connection until it ends."""
    try:
        stream = connection.makefile("rb")
        if stream.read(len(PREFACE)) != PREFACE:
            return
        connection.sendall(frame(SETTINGS, 0, 0))
        while True:
            kind, flags, ident, payload = read_frame(stream)
            if kind == SETTINGS and not flags & ACK:
                connection.sendall(frame(SETTINGS, ACK, 0))
            elif kind == PING and not flags & ACK:
                connection.sendall(frame(PING, ACK, 0, payload))
            elif kind == GOAWAY:
                return
            elif kind in (DATA, HEADERS) and flags & END_STREAM:
                head = b"\x88" + _indexed(31, b"application/grpc")
                connection.sendall(
                    frame(HEADERS, END_HEADERS, ident, head)
                    + frame(DATA, 0, ident, encode(answer()))
                    + frame(HEADERS, END_HEADERS | END_STREAM, ident, _named(b"grpc-status", b"0"))
                )
    except OSError:
        pass
    finally:
        connection.close()


def call(address: str) -> int:
    """The number that the counter at host:port gives; CommandError in gRPC's words."""
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdigit():
        raise unavailable(f"transport: Error while dialing dial tcp: address {address}: missing port in address")
    limit_sec = env_ms("STANDIN_COUNTER_TIMEOUT_MS", 20000)
    try:
        connection = socket.create_connection((host.strip("[]"), int(port)), timeout=limit_sec)
    except TimeoutError:
        raise unavailable(f"transport: Error while dialing dial tcp {address}: i/o timeout") from None
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise unavailable(f"transport: Error while dialing dial tcp {address}: connect: {reason}") from None
    with connection:
        try:
            stream = connection.makefile("rb")
            connection.sendall(PREFACE + frame(SETTINGS, 0, 0))
            read_frame(stream)
            head = b"\x83\x86" + _indexed(4, METHOD) + _indexed(1, address.encode())
            head += _indexed(31, b"application/grpc") + _named(b"te", b"trailers")
            connection.sendall(
                frame(SETTINGS, ACK, 0)
                + frame(HEADERS, END_HEADERS, 1, head)
                + frame(DATA, END_STREAM, 1, b"\x00\x00\x00\x00\x00")
            )
            message = b""
            while True:
                kind, flags, _, payload = read_frame(stream)
                if kind == DATA:
                    message += payload
                if kind in (DATA, HEADERS) and flags & END_STREAM:
                    return decode(message)
        except TimeoutError:
            raise unavailable("timed out waiting for server handshake") from None
        except OSError as error:
            raise unavailable(f"error reading from server: {error}") from None


def unavailable(text: str) -> CommandError:
    return CommandError(f'rpc error: code = Unavailable desc = connection error: desc = "{text}"')
