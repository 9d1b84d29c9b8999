#!/usr/bin/python
"""Peer addresses of the cluster's daemons, remembered on each daemon's host."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.sealyard_host.files import replace

DOCUMENTATION = r"""
module: daemon_peers
short_description: Remember the libp2p addresses of the other daemons
description:
  - A daemon's peer id is known only after its first start. What one run has learnt is kept, so that a later run with
    C(--limit), or with a daemon down, renders the same config.toml.
options:
  path:
    description: JSON file with an address per daemon.
    type: path
    required: true
  learnt:
    description: Addresses that this run knows, by daemon.
    type: dict
    default: {}
  daemons:
    description: Daemons of the inventory; what is remembered of others is dropped.
    type: list
    elements: str
    required: true
author: [Sealyard]
"""

EXAMPLES = r"""
- name: Remember the public daemon
  daemon_peers:
    path: /etc/sealyard/daemon-peers.json
    daemons: [daemon-public/public, winning/private]
    learnt: {daemon-public/public: /ip4/10.0.0.1/tcp/1347/p2p/12D3KooW}
"""

RETURN = r"""
peers: {description: Address by daemon, type: dict, returned: always}
"""


def merge(known: Mapping[str, str], learnt: Mapping[str, str], daemons: Sequence[str]) -> dict[str, str]:
    """Addresses of the daemons that are in the inventory, newest knowledge first, in the inventory's order."""
    both = {**known, **learnt}
    return {name: both[name] for name in daemons if name in both}


def load(path: Path) -> dict[str, str]:
    """What the file remembers; a file that is missing or broken remembers nothing."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {str(name): str(address) for name, address in content.items()} if isinstance(content, dict) else {}


def main() -> None:
    """Module entry."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "learnt": {"type": "dict", "default": {}},
            "daemons": {"type": "list", "elements": "str", "required": True},
        },
        supports_check_mode=True,
    )
    options: dict[str, Any] = module.params
    path = Path(options["path"])
    known = load(path)
    peers = merge(known, options["learnt"], options["daemons"])
    changed = peers != known
    if changed and not module.check_mode:
        replace(path, json.dumps(peers, indent=2) + "\n", 0o644)
    module.exit_json(changed=changed, peers=peers)


if __name__ == "__main__":
    main()
