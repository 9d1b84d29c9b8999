#!/usr/bin/python
"""Peer id of a Lotus repo, from its libp2p key, which stays on the host."""

from __future__ import annotations

import base64
import json
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: lotus_peer_id
short_description: Tell the peer id of a miner's repo
description:
  - A miner runs no libp2p host that could be asked, so the peer id is derived from the repo's key.
options:
  repo:
    description: The miner's repo.
    type: path
    required: true
author: [Sealyard]
"""

EXAMPLES = r"""
- name: Read the deal miner's peer id
  lotus_peer_id:
    repo: /var/lib/lotus/miner-deal
"""

RETURN = r"""
peer_id:
  description: Peer id such as C(12D3KooW…); empty in check mode where there is no repo yet.
  type: str
  returned: always
"""

# Unpadded base32 of "libp2p-host" (contract files.json, repo.files.keystore/).
KEY_FILE = "keystore/NRUWE4BSOAWWQ33TOQ"
BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
# Protobuf of libp2p's PrivateKey: field 1 is the type (1 = Ed25519), field 2 is seed and public key, 32 bytes each.
PRIVATE_HEAD = bytes([0x08, 0x01, 0x12, 0x40])
PUBLIC_HEAD = bytes([0x08, 0x01, 0x12, 0x20])
# A multihash that is the thing itself (0x00) and 36 bytes long.
IDENTITY_HEAD = bytes([0x00, 0x24])


def base58(data: bytes) -> str:
    """Text of `data` in the base58 of Bitcoin."""
    number = int.from_bytes(data, "big")
    text = ""
    while number:
        number, digit = divmod(number, 58)
        text = BASE58[digit] + text
    return "1" * (len(data) - len(data.lstrip(b"\0"))) + text


def peer_id(key_file: str) -> str:
    """Peer id for the JSON text of a libp2p-host key file; ValueError when it holds no Ed25519 key."""
    key = base64.b64decode(json.loads(key_file)["PrivateKey"])
    if not key.startswith(PRIVATE_HEAD) or len(key) < 68:
        raise ValueError("the key is not Ed25519")
    return base58(IDENTITY_HEAD + PUBLIC_HEAD + key[36:68])


def main() -> None:
    """Module entry."""
    module = AnsibleModule(argument_spec={"repo": {"type": "path", "required": True}}, supports_check_mode=True)
    path = Path(module.params["repo"], KEY_FILE)
    try:
        module.exit_json(changed=False, peer_id=peer_id(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        if module.check_mode:
            module.exit_json(changed=False, peer_id="")
        module.fail_json(msg=f"{path} is not there: the repo is not initialised, run playbooks/miners.yml")
    except (OSError, ValueError, KeyError) as error:
        module.fail_json(msg=f"{path} gives no peer id: {error}")


if __name__ == "__main__":
    main()
