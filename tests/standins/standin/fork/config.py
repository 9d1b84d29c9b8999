"""config.toml of 1.12: no key has to be there, not even the file."""

from __future__ import annotations

from typing import Any

from ..config import Config


class ForkConfig(Config):
    daemon_needs_file = False

    def get(self, key: str) -> Any:
        """None for keys that only later versions have: shared code asks for some of them."""
        return super().get(key) if key in self.keys else None
