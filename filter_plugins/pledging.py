"""Filter of role pledging; the rule is in the package beside this file."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleFilterError

sys.path.insert(0, str(Path(__file__).resolve().parent))

from sealplan.pledging import TooMuch, pledge_pace


def pledge_rule(
    plan: Mapping[str, Any], host: str, role: str, mode: str, sectors: int, interval_sec: int
) -> dict[str, Any]:
    """`pledge_pace`, with its refusal as an error of Ansible."""
    try:
        return pledge_pace(plan, host, role, mode, sectors, interval_sec)
    except TooMuch as error:
        raise AnsibleFilterError(f"{host}: {error}") from error


class FilterModule:
    """Ansible's view of this file."""

    def filters(self) -> dict[str, Any]:
        """Return the filters by name."""
        return {"pledge_rule": pledge_rule}
