"""library/lotus_versions.py: which build a host takes, what is refused, and that the switch keeps the old version."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lotus_versions as versions
import pytest
from sealyard_host import packages

ID_A, ID_B, ID_C, ID_D = "aaaaaaaaaaaa", "bbbbbbbbbbbb", "cccccccccccc", "dddddddddddd"


def options(root: Path, build: str = ID_A, **given: Any) -> dict[str, Any]:
    base: dict[str, Any] = {
        "root": str(root), "builds": {"default": {"id": build}}, "binaries": ["lotus"], "network": "devnet",
        "packages": [], "keep": 3, "activate": False,
    }  # fmt: skip
    return base | given


def arrive(root: Path, build: str, version: str, name: str = "lotus") -> None:
    folder = root / "versions" / f".incoming-{build}" / "bin"
    folder.mkdir(parents=True, exist_ok=True)
    binary = folder / name
    binary.write_text(f"#!/bin/sh\necho log line >&2\necho {name} version {version}\n")
    binary.chmod(0o755)


def install(root: Path, build: str, version: str = "1.36.2+2k+git.c6f4d024", **given: Any) -> dict[str, Any]:
    arrive(root, build, version)
    answer: dict[str, Any] = versions.run(options(root, build, activate=True, **given), check_mode=False)
    return answer


def test_a_bare_host_lacks_everything(tmp_path: Path) -> None:
    answer = versions.run(options(tmp_path, binaries=["lotus", "lotus-miner"]), check_mode=False)
    assert answer["missing"] == ["lotus", "lotus-miner"] and not answer["active"] and not answer["changed"]
    assert answer["incoming"] == f"{tmp_path}/versions/.incoming-{ID_A}/bin/"


def test_half_copied_binaries_are_no_version(tmp_path: Path) -> None:
    arrive(tmp_path, ID_A, "1.36.2+2k")
    answer = versions.run(options(tmp_path), check_mode=False)
    assert answer["missing"] == ["lotus"] and answer["version"] == ""


def test_switch_and_second_run(tmp_path: Path) -> None:
    answer = install(tmp_path, ID_A)
    assert answer["changed"] and answer["version"] == f"1.36.2+2k+git.c6f4d024-{ID_A}"
    assert (tmp_path / "current" / "bin" / "lotus").is_file()
    assert not list((tmp_path / "versions").glob(".*"))
    again = versions.run(options(tmp_path, activate=True), check_mode=False)
    assert not again["changed"] and again["active"] and again["missing"] == []


def test_rebuild_of_the_same_version_is_another_version(tmp_path: Path) -> None:
    install(tmp_path, ID_A)
    answer = install(tmp_path, ID_B)
    assert answer["changed"]
    assert (tmp_path / "current").readlink().name.endswith(ID_B)
    assert (tmp_path / "previous").readlink().name.endswith(ID_A)


def test_binary_that_is_needed_later_joins_its_version(tmp_path: Path) -> None:
    install(tmp_path, ID_A)
    wanted = options(tmp_path, binaries=["lotus", "lotus-miner"], activate=True)
    assert versions.run(wanted | {"activate": False}, check_mode=False)["missing"] == ["lotus-miner"]
    arrive(tmp_path, ID_A, "v1.36.2-dev+2k+git.c6f4d024", "lotus-miner")
    answer = versions.run(wanted, check_mode=False)
    assert answer["changed"] and (tmp_path / "current" / "bin" / "lotus-miner").is_file()
    assert not (tmp_path / "previous").exists()


@pytest.mark.parametrize(
    ("version", "network", "message"),
    [
        ("1.36.2+calibnet+git.x", "devnet", r"lotus 1.36.2\+calibnet\+git.x \(calibration\)"),
        ("1.36.2+2k+git.x", "mainnet", r"sealing_network: mainnet.*\(devnet\)"),
        ("1.36.2+git.x", "mainnet", r"\(unknown\)"),
    ],
)
def test_other_network_is_refused_before_the_switch(tmp_path: Path, version: str, network: str, message: str) -> None:
    install(tmp_path, ID_A)
    with pytest.raises(versions.Refused, match=message):
        install(tmp_path, ID_B, version, network=network)
    assert (tmp_path / "current").readlink().name.endswith(ID_A)


def test_installed_version_of_another_network_is_refused(tmp_path: Path) -> None:
    install(tmp_path, ID_A)
    with pytest.raises(versions.Refused, match="another network than sealing_network: mainnet"):
        versions.run(options(tmp_path, network="mainnet"), check_mode=False)


def test_binary_that_does_not_run_here_is_refused(tmp_path: Path) -> None:
    arrive(tmp_path, ID_A, "1")
    binary = tmp_path / "versions" / f".incoming-{ID_A}" / "bin" / "lotus"
    binary.write_text("#!/bin/sh\necho error while loading shared libraries: libhwloc.so.15 >&2\nexit 127\n")
    with pytest.raises(versions.Refused, match=r"does not tell a version: error while loading .*libhwloc"):
        versions.run(options(tmp_path, activate=True), check_mode=False)


def test_check_mode_changes_nothing(tmp_path: Path) -> None:
    answer = versions.run(options(tmp_path, activate=True), check_mode=True)
    assert answer["changed"] and not list(tmp_path.iterdir())


def test_old_versions_go_but_never_current_and_previous(tmp_path: Path) -> None:
    for build in (ID_A, ID_B, ID_C, ID_D):
        install(tmp_path, build, keep=2)
    left = sorted(path.name[-12:] for path in (tmp_path / "versions").iterdir())
    assert left == [ID_C, ID_D]


def test_choose() -> None:
    builds = {"default": 1, "amd": 2, "aarch64": 3}
    assert versions.choose(builds, "amd", "x86_64") == "amd"
    assert versions.choose(builds, "intel", "x86_64") == "default"
    assert versions.choose(builds, "", "aarch64") == "aarch64"
    with pytest.raises(versions.Refused, match=r"there are builds for amd\. Add the key intel or default"):
        versions.choose({"amd": 1}, "intel", "x86_64")


def test_cpu_vendor() -> None:
    assert versions.cpu_vendor("processor : 0\nvendor_id\t: AuthenticAMD\n") == "amd"
    assert versions.cpu_vendor("vendor_id : GenuineIntel\n") == "intel"
    assert versions.cpu_vendor("CPU implementer : 0x41\n") == ""


def test_missing_packages() -> None:
    status = "Package: libhwloc15\nStatus: install ok installed\n\nPackage: gone\nStatus: deinstall ok config-files\n"
    assert packages.missing(["libhwloc15", "gone", "never"], status) == ["gone", "never"]
