#!/usr/bin/python
"""Make a scratch file system of blank devices, and refuse every device that holds anything."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.sealyard_host import mounts
from ansible.module_utils.sealyard_host.programs import ProgramFailed, run

DOCUMENTATION = r"""
module: scratch_devices
short_description: RAID 0 and XFS on blank devices
description:
  - Several devices become a RAID 0 by mdadm with an XFS on it, one device gets the XFS itself.
  - What is there already under the same name is found again and left as it is, also after a run that was cut short.
  - A device with data, a signature, partitions, holders or mounts, one that is in use or that carries the system is
    refused, whatever O(erase) says.
options:
  host:
    description: Inventory name of the host, for messages and for O(erase).
    type: str
    required: true
  name:
    description: Name of the array and label of the file system, at most 12 characters.
    type: str
    required: true
  devices:
    description: Whole disks.
    type: list
    elements: path
    required: true
  path:
    description: Where the file system is mounted. Something else mounted there is refused.
    type: path
    required: true
  chunk_kib:
    description: Chunk of the array in KiB.
    type: int
    default: 512
  erase:
    description: What may be written over, as HOST:DEVICE. Blank devices that are not listed are not touched.
    type: list
    elements: str
    default: []
author: [Sealyard]
"""

EXAMPLES = r"""
- name: Make the scratch file system
  scratch_devices:
    host: "{{ inventory_hostname }}"
    name: sealer
    devices: [/dev/nvme0n1, /dev/nvme1n1]
    path: /sealer
    erase: ["pc1-a:/dev/nvme0n1", "pc1-a:/dev/nvme1n1"]
"""

RETURN = r"""
uuid: {description: 'UUID of the file system, empty where there is none yet', type: str, returned: always}
array_uuid: {description: 'UUID of the array as mdadm writes it, empty without an array', type: str, returned: always}
steps: {description: 'What was done, or would be in check mode', type: list, elements: str, returned: always}
"""

SYSTEM_MOUNTS = (*mounts.SYSTEM, "[SWAP]")
COLUMNS = "NAME,PATH,TYPE,SIZE,MOUNTPOINTS,SERIAL,MODEL,RO"
SAMPLES = 2048
SAMPLE_BYTES = 16 << 10
EDGE_BYTES = 4 << 20


class Refused(Exception):
    """The devices are not touched; the text names host, device and remedy."""


@dataclass(frozen=True)
class Signature:
    """What wipefs found on a device."""

    kind: str
    label: str
    uuid: str


@dataclass(frozen=True)
class Device:
    """One wanted device as it is; `children` are partitions, arrays and mapped devices on it."""

    path: str
    kind: str
    size_bytes: int
    model: str
    read_only: bool
    carries_system: bool
    mounts: tuple[str, ...]
    children: tuple[str, ...]
    signatures: tuple[Signature, ...]


@dataclass(frozen=True)
class State:
    """How far the scratch is: its `array` device and the `volume` that holds the file system, where they exist."""

    array: str = ""
    array_uuid: str = ""
    volume: str = ""
    uuid: str = ""
    assembled: bool = True


def walk(node: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield an entry of lsblk's tree and everything on it."""
    yield node
    for child in node.get("children") or ():
        yield from walk(child)


def mounts_of(node: Mapping[str, Any]) -> list[str]:
    """Return the mount points of one entry."""
    return [mount for mount in node.get("mountpoints") or () if mount]


def signatures(wipefs: Mapping[str, Any]) -> tuple[Signature, ...]:
    """Read the output of `wipefs --json --no-act`."""
    return tuple(
        Signature(str(one.get("type") or "?"), str(one.get("label") or ""), str(one.get("uuid") or ""))
        for one in wipefs.get("signatures") or ()
    )


def read_device(path: str, tree: Mapping[str, Any], wipefs: Mapping[str, Any]) -> Device | None:
    """Return the device at the real path `path` out of `lsblk --json --tree`; None where there is none."""
    for top in tree.get("blockdevices") or ():
        for node in walk(top):
            if node.get("path") != path:
                continue
            below = list(walk(node))
            mounted = [mount for one in below for mount in mounts_of(one)]
            whole = [mount for one in walk(top) for mount in mounts_of(one)]
            return Device(
                path=path,
                kind=str(node.get("type")),
                size_bytes=int(node.get("size") or 0),
                model=" ".join(str(node.get(key) or "").strip() for key in ("model", "serial")).strip(),
                read_only=bool(node.get("ro")),
                carries_system=any(mount in SYSTEM_MOUNTS for mount in whole),
                mounts=tuple(dict.fromkeys(mounted)),
                children=tuple(dict.fromkeys(str(one["path"]) for one in below[1:])),
                signatures=signatures(wipefs),
            )
    return None


def array_name(signature: Signature) -> str:
    """Return the name of the array that a member belongs to, without the name of its home host."""
    return signature.label.rpartition(":")[2]


def mdadm_uuid(uuid: str) -> str:
    """Return a UUID in mdadm's form, four groups of eight digits."""
    digits = uuid.replace("-", "").replace(":", "")
    return ":".join(digits[at : at + 8] for at in range(0, len(digits), 8))


def members_of(name: str, devices: Sequence[Device]) -> set[str]:
    """Return the UUIDs of the arrays `name` whose members the devices are; one UUID when all belong together."""
    found = set()
    for device in devices:
        kinds = {signature.kind for signature in device.signatures}
        if kinds != {"linux_raid_member"}:
            return set()
        found |= {one.uuid for one in device.signatures if array_name(one) == name}
        if any(array_name(one) != name for one in device.signatures):
            return set()
    return found


def is_ours(name: str, devices: Sequence[Device]) -> bool:
    """Tell whether the devices are the whole scratch `name` already, or one device with its file system."""
    if len(devices) == 1:
        return [(one.kind, one.label) for one in devices[0].signatures] == [("xfs", name)] and not devices[0].children
    return len(members_of(name, devices)) == 1


def troubles(device: Device, holds_data: bool) -> list[str]:
    """Return everything that speaks against writing over a device; an empty list for a blank one."""
    found = []
    if device.kind not in ("disk", "loop"):
        found.append(f"is a {device.kind} and not a whole disk")
    if device.read_only:
        found.append("is read-only")
    if device.carries_system:
        found.append("carries the system")
    if device.mounts:
        found.append(f"is mounted at {', '.join(device.mounts)}")
    if device.children:
        found.append(f"holds {', '.join(device.children)}")
    if device.signatures:
        told = (f"{one.kind}{f' ({one.label})' if one.label else ''}" for one in device.signatures)
        found.append(f"carries {', '.join(dict.fromkeys(told))}")
    if holds_data and not found:
        found.append("holds data without a signature")
    return found


def refuse(host: str, found: Mapping[str, Sequence[str]]) -> None:
    """Refused, naming every device that is not blank."""
    lines = [f"{host}: {path} {' and '.join(texts)}" for path, texts in found.items() if texts]
    if lines:
        lines.append("Nothing was touched. Take them out of scratch_storage_devices.")
        kept = ("carries the system", "is mounted", "is read-only", "is a ")
        names = " ".join(path for path, texts in found.items() if texts and not texts[0].startswith(kept))
        if names:
            lines.append(
                f"Where nobody needs what they hold, blank them by hand: wipefs -a {names}, then blkdiscard each"
            )
        raise Refused("\n".join(lines))


def look(path: str) -> Device | None:
    """Return the device at `path` as the machine has it now."""
    real = os.path.realpath(path)
    if not Path(real).is_block_device():
        return None
    tree = json.loads(run("lsblk", "--json", "--bytes", "--tree", "--output", COLUMNS))
    # Only wipefs asks the device itself; lsblk repeats what udev saw last.
    wipefs = json.loads(run("wipefs", "--json", "--no-act", real) or "{}")
    return read_device(real, tree, wipefs)


def holds_data(path: str, size_bytes: int) -> bool:
    """Read both ends and samples between them; a blank device reads as zeros. Refused where it is in use."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_EXCL | os.O_CLOEXEC)
    except OSError as error:
        raise Refused(f"{path} cannot be read, something uses it: {error.strerror}") from error
    try:
        step = max(1, size_bytes // SAMPLES)
        places = [(at, SAMPLE_BYTES) for at in range(0, size_bytes, step)]
        places += [(0, EDGE_BYTES), (max(0, size_bytes - EDGE_BYTES), EDGE_BYTES)]
        return any(os.pread(handle, length, at).strip(b"\0") for at, length in places)
    finally:
        os.close(handle)


def array_at(name: str, uuid: str) -> str:
    """Return the device of the running array with `uuid` in mdadm's form; empty where it does not run."""
    for block in sorted(Path("/sys/block").glob("md*")):
        found = run("mdadm", "--detail", "--export", f"/dev/{block.name}") if (block / "md").is_dir() else ""
        if f"MD_UUID={uuid}" in found.split():
            return f"/dev/{block.name}"
    return ""


def file_system(host: str, volume: str, label: str) -> str:
    """Return the UUID of the volume's XFS, empty where the volume is blank; Refused where it is another's."""
    device = look(volume)
    if device is None:
        raise Refused(f"{host}: {volume} is gone")
    known = [one for one in device.signatures if (one.kind, one.label) == ("xfs", label)]
    if known and len(device.signatures) == 1:
        return known[0].uuid
    if device.signatures or device.children or device.mounts:
        refuse(host, {volume: troubles(device, False)})
    if holds_data(volume, device.size_bytes):
        refuse(host, {volume: ["holds data without a signature"]})
    return ""


def read_state(host: str, name: str, devices: Sequence[Device]) -> State:
    """Return how far the scratch is that the devices already are."""
    if len(devices) == 1:
        return State(volume=devices[0].path, uuid=devices[0].signatures[0].uuid)
    (member,) = members_of(name, devices)
    uuid = mdadm_uuid(member)
    array = array_at(name, uuid)
    if not array:
        return State(array_uuid=uuid, assembled=False)
    return State(array, uuid, array, file_system(host, array, name))


def consent(host: str, devices: Sequence[Device], given: Sequence[str], asked: Sequence[str], what: str) -> None:
    """Refused unless `given` names every device as HOST:DEVICE; the text can be pasted into the next command."""
    wanted = [f"{host}:{path}" for path in asked]
    if set(wanted) <= set(given):
        return
    sizes = ", ".join(
        f"{path} ({device.size_bytes / 1e9:.0f} GB{', ' + device.model if device.model else ''})"
        for path, device in zip(asked, devices, strict=True)
    )
    argument = json.dumps({"scratch_storage_erase": wanted})
    raise Refused(f"{host}: would make {what} of {sizes}, which are blank. If they are the right ones: -e '{argument}'")


def make(options: Mapping[str, Any], check: bool) -> tuple[State, list[str]]:
    """Bring the devices to one mounted-ready file system; with `check` only say what would be done."""
    host, name, asked = options["host"], options["name"], list(options["devices"])
    found = [(path, look(path)) for path in asked]
    missing = [path for path, device in found if device is None]
    if missing:
        raise Refused(f"{host}: {', '.join(missing)} is no block device here; look with lsblk, then correct "
                      "scratch_storage_devices")  # fmt: skip
    devices = [device for _, device in found if device is not None]
    if len({device.path for device in devices}) < len(devices):
        raise Refused(f"{host}: scratch_storage_devices names one device twice: {', '.join(asked)}")
    steps: list[str] = []
    if is_ours(name, devices):
        state = read_state(host, name, devices)
        if not state.assembled:
            steps.append(f"assemble the array {name}")
            if check:
                return state, steps
            run("mdadm", "--assemble", f"/dev/md/{name}", f"--uuid={state.array_uuid}", *[d.path for d in devices])
            settle()
            state = read_state(host, name, devices)
        if state.uuid:
            return state, steps
        consent(host, devices, options["erase"], asked, "an XFS") if not check else None
        steps.append(f"make an XFS on {state.volume}")
        return (state, steps) if check else (format_volume(host, name, state), steps)

    bare = {device.path: troubles(device, False) for device in devices}
    refuse(host, bare)
    refuse(host, {d.path: troubles(d, holds_data(d.path, d.size_bytes)) for d in devices})
    what = f"a RAID 0 with XFS for {options['path']}" if len(devices) > 1 else f"an XFS for {options['path']}"
    if len(devices) > 1:
        steps.append(f"make a RAID 0 named {name} of {', '.join(asked)}")
    steps.append(f"make an XFS on {'the array' if len(devices) > 1 else asked[0]}")
    if check:
        return State(), steps
    consent(host, devices, options["erase"], asked, what)
    if len(devices) == 1:
        return format_volume(host, name, State(volume=devices[0].path)), steps
    run("mdadm", "--create", f"/dev/md/{name}", "--run", "--level=0", f"--raid-devices={len(devices)}",
        "--metadata=1.2", f"--chunk={options['chunk_kib']}", f"--name={name}", "--homehost=any",
        *[device.path for device in devices])  # fmt: skip
    settle()
    after = [device for device in (look(path) for path in asked) if device is not None]
    return format_volume(host, name, read_state(host, name, after)), steps


def format_volume(host: str, name: str, state: State) -> State:
    """Make the file system on a blank volume."""
    run("mkfs.xfs", "-q", "-L", name, state.volume)
    settle()
    return State(state.array, state.array_uuid, state.volume, file_system(host, state.volume, name))


def settle() -> None:
    """Wait until udev has seen the new device."""
    run("udevadm", "settle", "--timeout=30")


def refuse_occupied(host: str, path: str, state: State) -> None:
    """Refused where something else is mounted at `path`."""
    for mount in mounts.parse(Path("/proc/self/mountinfo").read_text(encoding="utf-8")):
        ours = mount.source == "systemd-1" or os.path.realpath(mount.source) == os.path.realpath(state.volume)
        if mount.path == path and not ours:
            raise Refused(f"{host}: {mount.source} is already mounted at {path}; unmount it, or choose another path")


def main() -> None:
    """Module entry."""
    module = AnsibleModule(
        argument_spec={
            "host": {"type": "str", "required": True},
            "name": {"type": "str", "required": True},
            "devices": {"type": "list", "elements": "path", "required": True},
            "path": {"type": "path", "required": True},
            "chunk_kib": {"type": "int", "default": 512},
            "erase": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    try:
        state, steps = make(module.params, module.check_mode)
        refuse_occupied(module.params["host"], module.params["path"], state)
    except (Refused, ProgramFailed) as error:
        module.fail_json(msg=str(error))
    module.exit_json(
        changed=bool(steps),
        uuid=state.uuid,
        array_uuid=state.array_uuid,
        steps=steps,
        diff={"before": "", "after": "".join(f"{step}\n" for step in steps)},
    )


if __name__ == "__main__":
    main()
