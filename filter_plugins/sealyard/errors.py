"""The one exception of the package: something that an operator can mend, told in words that say how."""

from __future__ import annotations


class SealyardError(Exception):
    """What is wrong and what to do about it; the adapter makes Ansible's error of it."""
