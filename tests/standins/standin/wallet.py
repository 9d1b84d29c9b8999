"""Keys and addresses: the right shapes, no curves behind them."""

from __future__ import annotations

import base64
import hashlib
import json
import os

from .common import ADDRESS_PREFIX, CommandError, Json
from .repo import Repo


def address_of(kind: str, private: bytes) -> str:
    """t3… for bls, t1… for secp256k1."""
    if kind == "bls":
        protocol, payload = 3, hashlib.sha384(private).digest()
    else:
        protocol, payload = 1, hashlib.blake2b(private, digest_size=20).digest()
    check = hashlib.blake2b(bytes([protocol]) + payload, digest_size=4).digest()
    return f"{ADDRESS_PREFIX}{protocol}" + base64.b32encode(payload + check).decode().lower().rstrip("=")


def new_key(kind: str) -> Json:
    return {"Type": kind, "PrivateKey": base64.b64encode(os.urandom(32)).decode()}


def export_text(key: Json) -> str:
    """hex-lotus: the JSON key info in hexadecimal."""
    return json.dumps(key, separators=(",", ":")).encode().hex()


def import_text(text: str, form: str) -> Json:
    try:
        raw = json.loads(bytes.fromhex(text.strip()) if form == "hex-lotus" else text)
        key = {"Type": str(raw["Type"]), "PrivateKey": str(raw["PrivateKey"])}
        base64.b64decode(key["PrivateKey"], validate=True)
    except (ValueError, KeyError, TypeError) as error:
        raise CommandError(f"failed to decode key: {error}") from None
    if key["Type"] not in ("bls", "secp256k1", "delegated"):
        raise CommandError(f"unknown key type: {key['Type']}")
    return key


def key_address(key: Json) -> str:
    return address_of(key["Type"], base64.b64decode(key["PrivateKey"]))


class Wallet:
    """The daemon's local wallet: keystore entries wallet-ADDRESS and default."""

    def __init__(self, repo: Repo) -> None:
        self.repo = repo

    def list(self) -> list[str]:
        return [name[7:] for name in self.repo.key_list() if name.startswith("wallet-")]

    def has(self, address: str) -> bool:
        return ADDRESS_PREFIX + address[1:] in self.list()

    def add(self, key: Json) -> str:
        address = key_address(key)
        self.repo.key_put(f"wallet-{address}", key["Type"], base64.b64decode(key["PrivateKey"]))
        if self.default() is None:
            self.set_default(address)
        return address

    def get(self, address: str) -> Json:
        key = self.repo.key_get(f"wallet-{ADDRESS_PREFIX}{address[1:]}")
        if key is None:
            raise CommandError(f"failed to find key to export: key not found: {address}")
        return key

    def default(self) -> str | None:
        key = self.repo.key_get("default")
        return key_address(key) if key else None

    def set_default(self, address: str) -> None:
        key = self.get(address)
        self.repo.key_put("default", key["Type"], base64.b64decode(key["PrivateKey"]))

    def delete(self, address: str) -> None:
        self.get(address)
        if self.default() == address:
            self.repo.key_delete("default")
        self.repo.key_delete(f"wallet-{address}")
