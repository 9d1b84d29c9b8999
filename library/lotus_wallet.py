#!/usr/bin/python
"""Wallet keys of a private daemon, imported through standard input and never twice."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: lotus_wallet
short_description: Import wallet keys into a running daemon
description:
  - Keys go to C(lotus wallet import) through a pipe; they are on no command line and in no file outside the daemon's
    keystore.
  - A key that lies in the keystore already is left alone.
options:
  binary:
    description: Path of C(lotus).
    type: path
    required: true
  repo:
    description: Repo of the running daemon.
    type: path
    required: true
  keys:
    description: Keys as C(lotus wallet export) prints them.
    type: list
    elements: str
    required: true
author: [Sealyard]
"""

EXAMPLES = r"""
- name: Import the worker key
  lotus_wallet:
    binary: /opt/lotus/current/bin/lotus
    repo: /var/lib/lotus/daemon-private
    keys: "{{ vault_wallet_keys }}"
  no_log: true
"""

RETURN = r"""
addresses: {description: 'Addresses of the keys, in the order given', type: list, elements: str, returned: always}
"""

IMPORTED = re.compile(r"imported key ([tf][0-4][a-z0-9]+) successfully")


class Refused(Exception):
    """The daemon did not take a key; the text holds nothing of the key."""


def key_of(text: str) -> tuple[str, str]:
    """Type and private key in what `lotus wallet export` prints, hexadecimal JSON; Refused otherwise."""
    try:
        content = json.loads(bytes.fromhex(text.strip()))
        return str(content["Type"]), str(content["PrivateKey"])
    except (ValueError, KeyError, TypeError):
        raise Refused("a wallet key is not the hexadecimal text that lotus wallet export prints") from None


def keystore_keys(repo: Path) -> dict[tuple[str, str], str]:
    """Address of each wallet key in a repo's keystore, whose files are named by unpadded base32 of wallet-ADDRESS."""
    keys = {}
    for path in sorted((repo / "keystore").glob("*")) if (repo / "keystore").is_dir() else ():
        try:
            name = base64.b32decode(path.name + "=" * (-len(path.name) % 8)).decode()
            content = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            continue
        if name.startswith("wallet-"):
            keys[str(content["Type"]), str(content["PrivateKey"])] = name.removeprefix("wallet-")
    return keys


def import_key(binary: str, repo: str, key: str, first: bool) -> str:
    """Import one key and return its address; the first key of an empty wallet becomes the default."""
    done = subprocess.run(
        [binary, "wallet", "import", *(["--as-default"] if first else [])],
        input=key.strip() + "\n",
        capture_output=True,
        text=True,
        env={**os.environ, "LOTUS_PATH": repo},
        timeout=120,
        check=False,
    )
    found = IMPORTED.search(done.stdout)
    if not found:
        # The message of a malformed key quotes it, so it is not repeated here.
        raise Refused(
            f"lotus wallet import refused a key for {repo} (status {done.returncode}); is the daemon running "
            "(systemctl status lotus-daemon-private) and of the network the key belongs to?"
        )
    return found.group(1)


def main() -> None:
    """Module entry."""
    module = AnsibleModule(
        argument_spec={
            "binary": {"type": "path", "required": True},
            "repo": {"type": "path", "required": True},
            "keys": {"type": "list", "elements": "str", "required": True, "no_log": True},
        },
        supports_check_mode=True,
    )
    options: dict[str, Any] = module.params
    try:
        present = keystore_keys(Path(options["repo"]))
        wanted = {key: key_of(key) for key in options["keys"]}
        missing = [key for key, identity in wanted.items() if identity not in present]
        for key in [] if module.check_mode else missing:
            present[wanted[key]] = import_key(options["binary"], options["repo"], key, first=not present)
    except (Refused, OSError, subprocess.TimeoutExpired) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=bool(missing), addresses=[present.get(wanted[key], "") for key in options["keys"]])


if __name__ == "__main__":
    main()
