"""module_utils/sealyard_host: each thing that hosts run exists once, and the scripts of units find what they import."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "module_utils/sealyard_host"
MODULES = sorted((ROOT / "library").glob("*.py"))
SCRIPTS = sorted(ROOT.glob("roles/*/files/*.py"))
SHARED = sorted(PACKAGE.rglob("*.py"))


def shared_imports(path: Path) -> Iterator[str]:
    """Modules of the package that a script, or another module of it, imports."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            whole = node.module == "sealyard_host" or (node.level == 1 and node.module is None)
            if whole:
                yield from (alias.name for alias in node.names)
            elif node.level == 1 or (node.module or "").startswith("sealyard_host."):
                yield str(node.module).removeprefix("sealyard_host.")


def needed(scripts: list[Path]) -> set[str]:
    """File names of the package that the scripts cannot start without."""
    wanted, waiting = {"__init__"}, [name for script in scripts for name in shared_imports(script)]
    while waiting:
        name = waiting.pop()
        if name not in wanted:
            wanted.add(name)
            waiting += shared_imports(PACKAGE / f"{name}.py")
    return {f"{name}.py" for name in wanted}


def test_hosts_get_what_the_scripts_import_and_no_more() -> None:
    files = yaml.safe_load((ROOT / "roles/host_library/vars/main.yml").read_text())["host_library_files"]
    assert {Path(file["path"]).name for file in files} == needed(SCRIPTS)
    for file in files:
        assert file["source"] == f"{{{{ host_library_source }}}}/{Path(file['path']).name}"


@pytest.mark.parametrize(
    "script", [script for script in SCRIPTS if list(shared_imports(script))], ids=lambda path: path.name
)
def test_a_script_starts_where_a_host_has_it(script: Path, tmp_path: Path) -> None:
    """From its folder on a host, with Python's own library and nothing else."""
    (tmp_path / "sealyard_host").mkdir()
    for name in needed(SCRIPTS):
        shutil.copy(PACKAGE / name, tmp_path / "sealyard_host")
    shutil.copy(script, tmp_path)
    program = (
        f"import runpy, sys; sys.path.insert(0, {str(tmp_path)!r}); runpy.run_path({str(tmp_path / script.name)!r})"
    )
    done = subprocess.run([sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_role_brings_the_library_before_its_script() -> None:
    for script in SCRIPTS:
        if list(shared_imports(script)):
            tasks = [path.read_text() for path in script.parents[1].glob("tasks/*.yml")]
            installs = [text for text in tasks if "name: host_library" in text]
            assert len(installs) == 1, f"{script}: its role imports host_library just before it writes the script"
            assert installs[0].index("name: host_library") < installs[0].index("file_set:")


def test_a_new_library_restarts_nothing() -> None:
    """Units restart when a file they start from is newer than they are: no such list names the library."""
    for path in ROOT.glob("roles/*/*/**/*"):
        if path.is_file() and path.suffix in (".yml", ".j2") and "host_library" not in path.parts:
            assert "sealyard_host" not in path.read_text(encoding="utf-8"), path


@pytest.mark.parametrize(
    ("pattern", "home"),
    [
        (r"^\s*(import|from) (urllib|http\.client|requests|httpx)\b", "lotus_api.py"),
        (r"partition\(\"-\"\)|split\(\"-\"\)|\(\?:-\(\[0-9\]", "cpu_lists.py"),
        (r"active_mtu:\\s", "rdma_devices.py"),
        (r"\[1-9\]\[0-9\]\*", "sector_numbers.py"),
        (r"\bos\.fsync\b|\bmkstemp\b|\.new\"", "files.py"),
        (r" - \"\)|/proc/self/mounts\"\)\.read_text\(encoding=\"utf-8\"\)\.splitlines", "mounts.py"),
        (r"Cpus_allowed_list", "cpu_lists.py"),
    ],
)
def test_it_exists_once(pattern: str, home: str) -> None:
    found = {
        str(path.relative_to(ROOT))
        for path in (*MODULES, *SCRIPTS, *SHARED)
        if re.search(pattern, path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert found == {f"module_utils/sealyard_host/{home}"}
