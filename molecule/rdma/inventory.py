#!/usr/bin/env python3
"""No hosts, but writes the machines' inventory, which Ansible reads next: in a fresh clone there is none yet."""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from lab import vm

vm.write_inventory()
print(json.dumps({"_meta": {"hostvars": {}}}))
