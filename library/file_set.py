#!/usr/bin/python
"""Bring a set of small text files and directories to a stated content, owner and mode in one call."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.sealyard_host import accounts, files, json_files, programs, unit_files

DOCUMENTATION = r"""
module: file_set
short_description: Write many small files in one call
description:
  - A host with 24 workers has over 100 files; one task per kind of file and one round trip per file would cost minutes.
  - Each file is written beside its place and renamed, so a reader sees the old or the new text, never half of one.
  - A file whose text, owner and mode are right is not touched, so its modification time says when it last changed.
  - Where only comments or blank lines of a unit or drop-in of systemd change, it keeps that time. It is what module
    unit_set goes by, and a reworded comment restarts nothing.
  - Changed units and drop-ins are verified by C(systemd-analyze verify) before anything is written. Nothing is in place
    when one is bad.
  - Templates are rendered and sources read on the controller, by the action plugin of the same name.
options:
  owner:
    description: Owner of everything that names none.
    type: str
    default: root
  group:
    description: Group of everything that names none.
    type: str
    default: root
  directories:
    description: Directories to make, in this order.
    type: list
    elements: dict
    default: []
    suboptions:
      path: {type: path, required: true, description: Absolute path.}
      mode: {type: str, default: '0755', description: Octal mode.}
      owner: {type: str, description: Owner.}
      group: {type: str, description: Group.}
      mounted:
        type: bool
        default: false
        description: Never made here, and refused while it lies on the system disk, as an unmounted store does.
  files:
    description: Files to write; their directories exist or are among O(directories).
    type: list
    elements: dict
    default: []
    suboptions:
      path: {type: path, required: true, description: Absolute path.}
      content: {type: str, description: The whole text.}
      template: &template
        type: str
        description:
          - In place of O(files[].content), a template of the role, or one at an absolute path or below the inventory's
            folder.
          - It knows its O(files[].values), the filters of Jinja, of ansible.builtin, and C(systemd_quoted). A value it
            lacks is an error.
      values: &values {type: dict, description: What the template knows.}
      source: {type: str, description: 'In place of O(files[].content), a file of the role that is written as it is.'}
      mode: {type: str, default: '0644', description: Octal mode.}
      owner: {type: str, description: Owner.}
      group: {type: str, description: Group.}
      validate:
        type: list
        elements: str
        default: []
        description:
          - Program with its arguments that must accept the new text before anything is written. The path of a file with
            it is appended. A dry run does without one that is not installed yet.
      mark:
        type: path
        description:
          - An empty file that is touched before this one changes. For a file that its reader writes too, its age says
            when the reader last got something new.
      json_set:
        type: list
        elements: str
        description:
          - Makes the content a JSON object that is merged into the file. These keys get the wanted values, every other
            key that the file has stays as it is.
      json_add:
        type: list
        elements: str
        description: As O(files[].json_set), for lists. What the file lists stays, what it lacks is appended.
      json_keep:
        type: list
        elements: str
        description:
          - Makes the content a JSON object that replaces the file. Only these keys keep the values that the file has.
          - A file that is no JSON object is replaced, too.
  secrets:
    description: Files whose text is never shown, not even as a difference.
    type: list
    elements: dict
    default: []
    suboptions:
      path: {type: path, required: true, description: Absolute path.}
      content: {type: str, description: 'The whole text; unset keeps the file, which must then exist.'}
      template: *template
      values: *values
      mode: {type: str, default: '0600', description: Octal mode.}
      owner: {type: str, description: Owner.}
      group: {type: str, description: Group.}
      remedy: {type: str, default: '', description: What to do when there is neither a text nor a file.}
author: [Sealyard]
"""

EXAMPLES = r"""
- name: Write what the seal miner starts with
  file_set:
    directories:
      - {path: /etc/sealyard, mode: "0750"}
    files:
      - path: /etc/systemd/system/lotus-miner-seal.service
        template: lotus-miner.service.j2
        values: {user: filecoin, flags: [--nosync]}
    secrets:
      - {path: /etc/sealyard/lotus-miner-seal.env, content: "FULLNODE_API_INFO={{ api_info }}\n"}
"""

RETURN = r"""
changed_paths:
  description: Paths that were made or changed, in the order given.
  type: list
  elements: str
  returned: always
effective_paths:
  description:
    - Those of RV(changed_paths) whose text says something else to who reads it, and marks. In a dry run module unit_set
      learns from them what is due for a restart.
  type: list
  elements: str
  returned: always
kept_secrets:
  description: Secrets that were left as they are because no text was given.
  type: list
  elements: str
  returned: always
"""


NOTHING_DONE = "Nothing was written or restarted: correct the template and its values, then run again"


class Unwritable(Exception):
    """Something cannot be brought to its state; the text names the path and the remedy."""


@dataclass(frozen=True)
class Entry:
    """One file or directory as it should be; `content` None leaves the text of an existing file alone."""

    path: Path
    mode: int
    owner: str
    group: str
    content: str | None = None
    json_set: tuple[str, ...] | None = None
    json_add: tuple[str, ...] | None = None
    json_keep: tuple[str, ...] | None = None
    mounted: bool = False
    validate: tuple[str, ...] = ()
    mark: Path | None = None


@dataclass
class Report:
    """What was changed, and the differences that may be shown."""

    changed_paths: list[str] = field(default_factory=list)
    effective_paths: list[str] = field(default_factory=list)
    kept_secrets: list[str] = field(default_factory=list)
    differences: list[dict[str, str]] = field(default_factory=list)


def attributes(path: Path) -> str:
    """Mode, owner and group of what lies at `path`, as in "0600 0 0"; empty when nothing does."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return ""
    return f"{stat.S_IMODE(found.st_mode):04o} {found.st_uid} {found.st_gid}"


def wanted_attributes(entry: Entry) -> str:
    """The attributes `entry` asks for, in the form of `attributes`; an unknown user or group stays a name."""
    user, group = accounts.user_id(entry.owner), accounts.group_id(entry.group)
    return f"{entry.mode:04o} {entry.owner if user is None else user} {entry.group if group is None else group}"


def owners(entry: Entry) -> tuple[int, int]:
    """Numbers of the entry's owner and group; Unwritable when the host does not know them."""
    user, group = accounts.user_id(entry.owner), accounts.group_id(entry.group)
    if user is None or group is None:
        raise Unwritable(
            f"{entry.path} is to belong to {entry.owner}:{entry.group}, which this host does not have; "
            "run playbooks/base.yml on it first"
        )
    return user, group


def make_directory(entry: Entry, check: bool, report: Report) -> None:
    """Make one directory, or correct its mode and owner."""
    if entry.path.exists() and not entry.path.is_dir():
        raise Unwritable(f"{entry.path} should be a directory and is a file; move it away")
    if entry.mounted and not check:
        refuse_unmounted(entry.path)
    before, after = attributes(entry.path), wanted_attributes(entry)
    if before == after:
        return
    report.changed_paths.append(str(entry.path))
    report.differences.append(difference(entry.path, f"{before}\n" if before else "", f"{after}\n", "attributes of "))
    if check:
        return
    user, group = owners(entry)
    entry.path.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.chown(entry.path, user, group)
    entry.path.chmod(entry.mode)


def refuse_unmounted(path: Path) -> None:
    """Unwritable when `path` is not there or lies on the system disk."""
    if not path.exists():
        raise Unwritable(f"{path} is not there; mount the store at {path}, then run again")
    if path.stat().st_dev == Path("/").stat().st_dev:
        raise Unwritable(f"{path} lies on the system disk; mount the store at {path}, then run again")


def read(path: Path) -> str | None:
    """Text of a file, None when it does not exist."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None


def wanted_text(entry: Entry, before: str | None) -> str | None:
    """Text the file should have, given the text it has; Unwritable when that is to be merged and is no JSON object."""
    if before is None or entry.content is None:
        return before if entry.content is None else entry.content
    if entry.json_set is None and entry.json_add is None and entry.json_keep is None:
        return entry.content
    if entry.json_keep is not None:
        return json_files.kept(before, entry.content, entry.json_keep)
    try:
        return json_files.merged(before, entry.content, entry.json_set or (), entry.json_add or ())
    except json_files.NoObject:
        raise Unwritable(f"{entry.path} is no JSON object; repair it or move it away, it is not overwritten") from None


def write_file(entry: Entry, check: bool, report: Report, secret: bool) -> None:
    """Bring one file to its text, owner and mode."""
    if entry.path.is_dir():
        raise Unwritable(f"{entry.path} should be a file and is a directory; move it away")
    before = read(entry.path)
    text = wanted_text(entry, before)
    same_attributes = attributes(entry.path) == wanted_attributes(entry)
    if before == text and same_attributes:
        return
    report.changed_paths.append(str(entry.path))
    same_meaning = text == before or same_to_systemd(entry.path, before, text)
    if not same_meaning:
        report.effective_paths += [str(entry.path), *([str(entry.mark)] if entry.mark else [])]
    if not secret and before != text:
        report.differences.append(difference(entry.path, before or "", text or ""))
    elif not same_attributes:
        now = attributes(entry.path)
        report.differences.append(
            difference(entry.path, f"{now}\n" if now else "", f"{wanted_attributes(entry)}\n", "attributes of ")
        )
    if check:
        return
    owner = owners(entry)
    if before == text:
        os.chown(entry.path, *owner)
        entry.path.chmod(entry.mode)
        return
    if entry.mark:
        entry.mark.touch()
        os.chown(entry.mark, *owner)
    changed_ns = entry.path.lstat().st_mtime_ns if same_meaning else None
    files.replace(entry.path, text or "", entry.mode, owner, changed_ns)


def same_to_systemd(path: Path, before: str | None, text: str | None) -> bool:
    """Whether the file is a unit's and the two texts differ in comments alone."""
    if before is None or text is None or not unit_files.unit_of(path):
        return False
    return unit_files.effective(before) == unit_files.effective(text)


def refuse_bad(wanted: Iterable[Entry], check: bool) -> None:
    """Unwritable with the verifier's words when a unit or a validated file would be bad, or a file has no text."""
    units: dict[Path, str] = {}
    for entry in wanted:
        if entry.content is None:
            raise Unwritable(
                f"{entry.path} has no content; run with this project's ansible.cfg, for its action_plugins"
            )
        is_unit = bool(unit_files.unit_of(entry.path))
        if (is_unit or entry.validate) and not entry.path.is_dir() and entry.content != read(entry.path):
            if is_unit:
                units[entry.path] = entry.content
            if entry.validate:
                validate(entry, check)
    said = unit_files.complaints(units) if units else []
    if said:
        raise Unwritable(f"systemd-analyze verify: {'; '.join(line.rstrip('.') for line in said)}. {NOTHING_DONE}")


def validate(entry: Entry, check: bool) -> None:
    """Unwritable when the entry's program refuses its text."""
    if check and shutil.which(entry.validate[0]) is None:
        return
    with tempfile.NamedTemporaryFile("w", prefix="sealyard.", suffix=entry.path.suffix, encoding="utf-8") as draft:
        draft.write(entry.content or "")
        draft.flush()
        try:
            programs.run(*entry.validate, draft.name, timeout_sec=60)
        except programs.ProgramFailed as error:
            words = str(error).replace(draft.name, str(entry.path))
            raise Unwritable(f"{words}. {NOTHING_DONE}") from error


def difference(path: Path, before: str, after: str, kind: str = "") -> dict[str, str]:
    """One entry of Ansible's diff."""
    return {"before_header": f"{kind}{path}", "before": before, "after_header": f"{kind}{path}", "after": after}


def entries(items: list[Mapping[str, Any]], options: Mapping[str, Any]) -> Iterator[Entry]:
    """Module options as entries, with the owner and group of the whole call where an item names none."""
    for item in items:
        path = Path(item["path"])
        if not path.is_absolute():
            raise Unwritable(f"'{path}' is no absolute path")
        yield Entry(
            path=path,
            mode=int(item["mode"], 8),
            owner=item["owner"] or options["owner"],
            group=item["group"] or options["group"],
            content=item.get("content"),
            mounted=bool(item.get("mounted")),
            json_set=None if item.get("json_set") is None else tuple(item["json_set"]),
            json_add=None if item.get("json_add") is None else tuple(item["json_add"]),
            json_keep=None if item.get("json_keep") is None else tuple(item["json_keep"]),
            validate=tuple(item.get("validate") or ()),
            mark=Path(item["mark"]) if item.get("mark") else None,
        )


def apply(options: Mapping[str, Any], check: bool) -> Report:
    """Do what the options ask; with `check` only say what would be done."""
    report = Report()
    wanted = list(entries(options["files"], options))
    refuse_bad(wanted, check)
    for entry in entries(options["directories"], options):
        make_directory(entry, check, report)
    for entry in wanted:
        write_file(entry, check, report, secret=False)
    for item, entry in zip(options["secrets"], entries(options["secrets"], options), strict=True):
        if entry.content is None:
            if not entry.path.exists():
                if check:
                    continue
                raise Unwritable(f"{entry.path} does not exist and its content is not known. {item['remedy']}".strip())
            report.kept_secrets.append(str(entry.path))
        write_file(entry, check, report, secret=True)
    return report


OF_ALL: dict[str, Any] = {
    "path": {"type": "path", "required": True},
    "owner": {"type": "str"},
    "group": {"type": "str"},
}
DIRECTORY = {
    **OF_ALL,
    "mode": {"type": "str", "default": "0755"},
    "mounted": {"type": "bool", "default": False},
}
FILE = {
    **OF_ALL,
    "content": {"type": "str"},
    "template": {"type": "str"},
    "values": {"type": "dict"},
    "source": {"type": "str"},
    "mode": {"type": "str", "default": "0644"},
    "validate": {"type": "list", "elements": "str", "default": []},
    "mark": {"type": "path"},
    "json_set": {"type": "list", "elements": "str"},
    "json_add": {"type": "list", "elements": "str"},
    "json_keep": {"type": "list", "elements": "str"},
}
SECRET = {
    **OF_ALL,
    "content": {"type": "str", "no_log": True},
    "template": {"type": "str"},
    "values": {"type": "dict"},
    "mode": {"type": "str", "default": "0600"},
    "remedy": {"type": "str", "default": ""},
}


def main() -> None:
    """Module entry."""
    of_lists: dict[str, Any] = {"type": "list", "elements": "dict", "default": []}
    module = AnsibleModule(
        argument_spec={
            "owner": {"type": "str", "default": "root"},
            "group": {"type": "str", "default": "root"},
            "directories": {**of_lists, "options": DIRECTORY},
            "files": {**of_lists, "options": FILE},
            # The option is a list of files; only their text is secret.
            "secrets": {**of_lists, "no_log": False, "options": SECRET},
        },
        supports_check_mode=True,
    )
    try:
        report = apply(module.params, module.check_mode)
    except (Unwritable, OSError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(
        changed=bool(report.changed_paths),
        changed_paths=report.changed_paths,
        effective_paths=report.effective_paths,
        kept_secrets=report.kept_secrets,
        diff=report.differences,
    )


if __name__ == "__main__":
    main()
