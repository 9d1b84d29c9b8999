"""Role lotus_install, run for real on this machine with a root of its own, from a release archive of stand-ins."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ANSIBLE = Path(sys.executable).with_name("ansible-playbook")
PLAY = """\
- hosts: all
  connection: local
  gather_facts: true
  gather_subset: ["!all", "min", "processor"]
  roles: [lotus_install]
"""

pytestmark = [
    pytest.mark.skipif(not ANSIBLE.exists(), reason="ansible-playbook is not beside this Python"),
    pytest.mark.skipif(os.geteuid() != 0, reason="the role gives its files to root"),
]


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A release archive: one folder with the binaries in it."""
    builds, target = tmp_path_factory.mktemp("builds"), tmp_path_factory.mktemp("release") / "lotus.tar.gz"
    command = [sys.executable, str(ROOT / "tests/standins/build.py"), str(builds), "--network", "2k"]
    subprocess.run(command, check=True, capture_output=True)
    with tarfile.open(target, "w:gz") as stream:
        stream.add(builds, "lotus_1.36.2_linux_amd64")
    return target


def install(folder: Path, sha256: str, url: str, *more: str) -> tuple[int, str, int]:
    """Exit status, output and count of changes of one run."""
    variables = {
        "sealing_install_root": str(folder / "lotus"),
        "lotus_install_cache_dir": str(folder / "cache"),
        "lotus_install_archives": {"default": {"url": url, "sha256": sha256}},
        "lotus_install_packages": [],
        "sealing_network": "devnet",
        "ansible_python_interpreter": sys.executable,
    }
    (folder / "play.yml").write_text(PLAY)
    (folder / "hosts.ini").write_text("[pc1_worker]\nworker-1\n[daemon_private]\n")
    command = [str(ANSIBLE), "-i", str(folder / "hosts.ini"), "-e", json.dumps(variables), *more]
    environment = os.environ | {
        "ANSIBLE_ROLES_PATH": str(ROOT / "roles"),
        "ANSIBLE_LIBRARY": str(ROOT / "library"),
        "ANSIBLE_FILTER_PLUGINS": str(ROOT / "filter_plugins/adapter"),
    }
    done = subprocess.run(
        [*command, str(folder / "play.yml")], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    changed = re.search(r"^worker-1\s+: ok=\d+\s+changed=(\d+)", done.stdout, re.M)
    return done.returncode, done.stdout + done.stderr, int(changed[1]) if changed else -1


def test_an_archive_is_checked_installed_and_left_alone(archive: Path, tmp_path: Path) -> None:
    sha256 = hashlib.sha256(archive.read_bytes()).hexdigest()
    status, said, changed = install(tmp_path, sha256, str(archive), "--check", "--diff")
    assert status == 0 and changed > 0, said
    assert not (tmp_path / "lotus").exists()
    status, said, changed = install(tmp_path, sha256, f"file://{archive}")
    assert status == 0 and changed > 0, said
    binary = tmp_path / "lotus" / "current" / "bin" / "lotus-worker"
    assert "1.36.2" in subprocess.run([binary, "--version"], capture_output=True, text=True, check=True).stdout
    status, said, changed = install(tmp_path, sha256, f"file://{archive}")
    assert (status, changed) == (0, 0), said


def test_another_archive_than_the_checksum_says_is_not_unpacked(archive: Path, tmp_path: Path) -> None:
    status, said, _ = install(tmp_path, "0" * 64, str(archive))
    assert status != 0 and "checksum" in said and "0" * 64 in said, said
    assert not (tmp_path / "lotus").exists()
