"""Templates of roles, rendered as the controller renders them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sealyard.hosts.rendering import Renderer
from sealyard.hosts.systemd import systemd_quoted

ROOT = Path(__file__).parents[2]
RENDERER = Renderer({"systemd_quoted": systemd_quoted})


def text_of(role: str, entry: Mapping[str, Any]) -> str:
    """Text of one of file_set's entries that a filter made for a role."""
    if "content" in entry:
        return str(entry["content"])
    return RENDERER.render(str(ROOT / "roles" / role / "templates" / entry["template"]), entry["values"])
