"""Users and groups of a host by name or number."""

from __future__ import annotations

import grp
import pwd


def user_id(name: str) -> int | None:
    """Number of the user, None when there is no such user."""
    try:
        return int(name) if name.isdigit() else pwd.getpwnam(name).pw_uid
    except KeyError:
        return None


def group_id(name: str) -> int | None:
    """Number of the group, None when there is no such group."""
    try:
        return int(name) if name.isdigit() else grp.getgrnam(name).gr_gid
    except KeyError:
        return None
