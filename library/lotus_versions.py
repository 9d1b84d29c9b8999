#!/usr/bin/python
"""Versions of Lotus that lie side by side on a host, and the link that says which one runs."""

from __future__ import annotations

import json
import platform
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.sealyard_host import packages
from ansible.module_utils.sealyard_host.files import point, text_of
from ansible.module_utils.sealyard_host.programs import last_words

DOCUMENTATION = r"""
module: lotus_versions
short_description: Choose, check and switch the Lotus version of a host
description:
  - Layout is C(ROOT/versions/VERSION-ID/bin) with the links C(ROOT/current) and C(ROOT/previous).
  - Without O(activate) it only says which build this host takes and which of its binaries are not there yet.
  - With O(activate) binaries that were put into RV(incoming) are checked and moved, and C(current) is switched by a
    rename. Binaries of another network are refused before that.
options:
  root:
    description: Directory of the layout.
    type: path
    required: true
  builds:
    description: Builds by key, each with C(id). A host takes its vendor's, else its architecture's, else C(default).
    type: dict
    required: true
  binaries:
    description: Binaries the host needs.
    type: list
    elements: str
    required: true
  network:
    description: Network the binaries must be built for.
    type: str
    choices: [devnet, calibration, mainnet]
    required: true
  packages:
    description: Debian packages; those that are not installed are returned in RV(missing_packages).
    type: list
    elements: str
    default: []
  keep:
    description: Versions to keep, counting current and previous.
    type: int
    default: 3
  activate:
    description: Move what was put into RV(incoming) to its place and switch C(current).
    type: bool
    default: false
  switch:
    description: With V(false) O(activate) moves the binaries to their place and leaves C(current) as it is.
    type: bool
    default: true
author: [Sealyard]
"""

EXAMPLES = r"""
- name: Say what is missing
  lotus_versions:
    root: /opt/lotus
    builds: {default: {id: 0123456789ab}}
    binaries: [lotus-worker]
    network: mainnet
"""

RETURN = r"""
key: {description: Key of the build the host takes, type: str, returned: always}
missing: {description: Binaries that are not there yet, type: list, elements: str, returned: always}
incoming: {description: Directory to put them into, type: str, returned: always}
active: {description: The build is what C(current) points to, type: bool, returned: always}
version: {description: Name of the version directory or an empty text, type: str, returned: always}
missing_packages: {description: Packages that are not installed, type: list, elements: str, returned: always}
"""

# What build/buildconstants calls its build types, as seen in `lotus --version`.
NETWORKS = {"2k": "devnet", "debug": "devnet", "calibnet": "calibration", "mainnet": "mainnet"}
VENDORS = {"AuthenticAMD": "amd", "HygonGenuine": "amd", "GenuineIntel": "intel"}
VERSION = re.compile(r"version\s+v?(\d[^\s]*)")


class Refused(Exception):
    """The build cannot be used on this host; the text says why and what to do."""


@dataclass(frozen=True)
class Layout:
    """Places below the root for one build id."""

    root: Path
    id: str

    @property
    def versions(self) -> Path:
        """Directory of all versions."""
        return self.root / "versions"

    @property
    def incoming(self) -> Path:
        """Where the binaries of this build arrive."""
        return self.versions / f".incoming-{self.id}"

    @property
    def home(self) -> Path | None:
        """Directory of this build, None where it is not installed."""
        # A name that starts with a dot is not a version: it is what comes in.
        return next(iter(sorted(self.versions.glob(f"[!.]*-{self.id}"))), None)


def cpu_vendor(cpuinfo: str) -> str:
    """Return amd, intel or an empty text from the text of /proc/cpuinfo."""
    found = re.search(r"^vendor_id\s*:\s*(\S+)", cpuinfo, re.MULTILINE)
    return VENDORS.get(found.group(1), "") if found else ""


def choose(builds: Mapping[str, Any], vendor: str, architecture: str) -> str:
    """Key of the build for this CPU; Refused where none fits."""
    for key in (vendor, architecture, "default"):
        if key and key in builds:
            return key
    raise Refused(
        f"no build for this host's CPU ({vendor or 'unknown vendor'}, {architecture}); there are builds for "
        f"{', '.join(sorted(builds))}. Add the key {vendor or architecture} or default to lotus_install_builds"
    )


def network_of(version: str) -> str:
    """Network that a version such as 1.36.2+2k+git.c6f4d024 was built for; an empty text where it does not say."""
    return next((NETWORKS[word] for word in version.split("+")[1:] if word in NETWORKS), "")


def ask_version(binary: Path) -> str:
    """Version that a binary reports of itself, without a leading v; Refused where it does not run here."""
    try:
        done = subprocess.run([str(binary), "--version"], capture_output=True, text=True, timeout=60, check=False)
    except OSError as error:
        raise Refused(f"{binary.name} does not run on this host: {error}") from None
    found = VERSION.search(done.stdout)
    if not found:
        said = last_words(done.stderr.strip() or done.stdout, f"status {done.returncode}")
        raise Refused(f"{binary.name} --version does not tell a version: {said}")
    return found.group(1)


def check_networks(versions: Mapping[str, str], network: str) -> None:
    """Refused when one of the {binary: version} was built for another network."""
    wrong = {name: version for name, version in versions.items() if network_of(version) != network}
    if wrong:
        listed = ", ".join(f"{name} {version} ({network_of(version) or 'unknown'})" for name, version in wrong.items())
        raise Refused(
            f"built for another network than sealing_network: {network}: {listed}. Nothing was switched; give the "
            f"folder or archive of a {network} build"
        )


def points_to(path: Path) -> str:
    """Name of the version a link points to; an empty text where there is no link."""
    return path.readlink().name if path.is_symlink() else ""


def activate(layout: Layout, binaries: Sequence[str], network: str, keep: int, switch: bool = True) -> str:
    """Check and move what came in, switch the links, drop old versions; returns the version's name."""
    came = sorted(path for path in layout.incoming.glob("bin/*") if path.is_file())
    versions = {path.name: ask_version(path) for path in came}
    check_networks(versions, network)
    home = layout.home
    if home is None:
        lead = next((versions[name] for name in binaries if name in versions), None)
        if lead is None:
            raise Refused(f"none of {', '.join(binaries)} was put into {layout.incoming}/bin")
        home = layout.versions / f"{lead}-{layout.id}"
    (home / "bin").mkdir(parents=True, exist_ok=True)
    for path in came:
        path.replace(home / "bin" / path.name)
    (home / "build.json").write_text(json.dumps({"id": layout.id, "network": network}) + "\n")
    shutil.rmtree(layout.incoming, ignore_errors=True)
    before = points_to(layout.root / "current")
    if switch and before != home.name:
        if before:
            point(layout.root / "previous", f"versions/{before}")
        point(layout.root / "current", f"versions/{home.name}")
    if switch:
        prune(layout, keep)
    return home.name


def prune(layout: Layout, keep: int) -> None:
    """Remove the oldest versions beyond `keep`, never those that current and previous point to."""
    linked = {points_to(layout.root / name) for name in ("current", "previous")}
    others = [path for path in layout.versions.iterdir() if not path.name.startswith(".") and path.name not in linked]
    others.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    for path in others[max(keep - len(linked), 0) :]:
        shutil.rmtree(path)


def installed_network(home: Path) -> str:
    """Network that an installed version was checked for."""
    try:
        return str(json.loads((home / "build.json").read_text())["network"])
    except (OSError, ValueError, KeyError):
        return ""


def run(options: Mapping[str, Any], check_mode: bool) -> dict[str, Any]:
    """Do what the options ask and return the module's result."""
    key = choose(options["builds"], cpu_vendor(Path("/proc/cpuinfo").read_text()), platform.machine())
    layout = Layout(Path(options["root"]), options["builds"][key]["id"])
    home = layout.home
    if home is not None and installed_network(home) not in ("", options["network"]):
        check_networks({"installed": home.name}, options["network"])
    active = home is not None and points_to(layout.root / "current") == home.name
    missing = [name for name in options["binaries"] if home is None or not (home / "bin" / name).is_file()]
    changed = bool(options["activate"]) and (bool(missing) or (options.get("switch", True) and not active))
    if changed and not check_mode:
        name = activate(layout, options["binaries"], options["network"], options["keep"], options.get("switch", True))
    else:
        name = home.name if home else ""
    return {
        "changed": changed,
        "key": key,
        "missing": missing,
        "incoming": f"{layout.incoming}/bin/",
        "active": active,
        "version": name,
        "missing_packages": packages.missing(options["packages"], text_of(packages.STATUS)),
    }


def main() -> None:
    """Module entry."""
    module = AnsibleModule(
        argument_spec={
            "root": {"type": "path", "required": True},
            "builds": {"type": "dict", "required": True},
            "binaries": {"type": "list", "elements": "str", "required": True},
            "network": {"type": "str", "required": True, "choices": ["devnet", "calibration", "mainnet"]},
            "packages": {"type": "list", "elements": "str", "default": []},
            "keep": {"type": "int", "default": 3},
            "activate": {"type": "bool", "default": False},
            "switch": {"type": "bool", "default": True},
        },
        supports_check_mode=True,
    )
    try:
        module.exit_json(**run(module.params, module.check_mode))
    except (Refused, OSError, subprocess.TimeoutExpired) as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
