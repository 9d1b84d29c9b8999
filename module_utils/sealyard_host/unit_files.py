"""Files of systemd units before they are in place: what systemd reads of them, and what it would say of them."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

KINDS = (".service", ".timer", ".mount", ".path", ".socket", ".target", ".slice")
VERIFIER = "systemd-analyze"
TIMEOUT_SEC = 120
FATAL = re.compile(r"Refusing\.|bad unit file setting|has fatal error|failed to load properly")
"""What systemd-analyze says of a unit that would not start, without naming a file."""


def unit_of(path: Path) -> str:
    """Name of the unit that a file belongs to, as its definition or as a drop-in; "" where it is neither."""
    if path.suffix in KINDS:
        return path.name
    folder = path.parent
    if path.suffix == ".conf" and folder.suffix == ".d" and Path(folder.stem).suffix in KINDS:
        return folder.stem
    return ""


def effective(text: str) -> list[str]:
    """The lines that systemd reads: neither comments, also within a continued line, nor blank ones."""
    lines: list[str] = []
    for line in (each.strip() for each in text.splitlines()):
        continued = bool(lines) and lines[-1].endswith("\\")
        if not line.startswith(("#", ";")) and (line or continued):
            lines.append(line)
    return lines


def complaints(changed: Mapping[Path, str]) -> list[str]:
    """What systemd-analyze has against the new texts of unit files, by their places; [] where it cannot be asked.

    Warnings about other files, and programs that are not there yet, do not count. Units of packages that are not
    installed yet are not known.
    """
    units = {unit_of(path) for path in changed}
    with tempfile.TemporaryDirectory(prefix="sealyard-units.") as folder:
        stage = Path(folder)
        for path, text in changed.items():
            place = stage / (path.name if path.suffix in KINDS else f"{path.parent.name}/{path.name}")
            place.parent.mkdir(exist_ok=True)
            place.write_text(text, encoding="utf-8")
        # The colon: what is staged wins over the same file of the host, and all others are the host's.
        environment = {**os.environ, "SYSTEMD_UNIT_PATH": f"{stage}:", "SYSTEMD_COLORS": "0", "LC_ALL": "C"}
        command = [VERIFIER, "verify", "--man=no", *(str(stage / unit) for unit in sorted(units))]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, check=False, env=environment, timeout=TIMEOUT_SEC
            )
        except (OSError, subprocess.TimeoutExpired):
            return []
    places = {f"{stage}/{path.name}": str(path) for path in changed if path.suffix in KINDS}
    places |= {f"{stage}/{path.parent.name}/{path.name}": str(path) for path in changed if path.suffix not in KINDS}
    return verdict(done.stderr + done.stdout, places, units)


def verdict(said: str, places: Mapping[str, str], units: set[str]) -> list[str]:
    """The lines of systemd-analyze that count; `places` maps staged files to where they will lie."""
    found = []
    for line in said.splitlines():
        staged = next((place for place in places if line.startswith(f"{place}:")), None)
        if staged:
            found.append(line.replace(staged, places[staged], 1))
        elif FATAL.search(line) and any(unit in line for unit in units | {_instance(unit) for unit in units}):
            found.append(line)
    return list(dict.fromkeys(found))


def _instance(unit: str) -> str:
    """The instance by whose name systemd-analyze looks at a template."""
    return unit.replace("@.", "@i.")
