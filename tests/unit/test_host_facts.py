"""The small readers of sealyard_host: programs, mounts, NFS, units, processes, packages, and the API's errors."""

from __future__ import annotations

from pathlib import Path

import pytest
from sealyard_host import lotus_api, mounts, nfs, packages, processes, programs, units

MOUNTINFO = """\
21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 21 0:40 / /sealer rw shared:9 - autofs systemd-1 rw,fd=45
31 30 0:41 / /sealer rw - nfs4 [fd00::9]:/sealer rw,vers=4.2,clientaddr=fd00::5,addr=fd00::9
32 21 8:17 / /mnt/a\\040b rw - xfs /dev/sdb1 rw
33 21 0:42 / /proc/fs/nfsd rw - nfsd nfsd rw
broken line
"""


def test_mounts_are_read_in_order_and_the_last_covers_the_others() -> None:
    assert [mount.path for mount in mounts.parse(MOUNTINFO)] == ["/", "/sealer", "/sealer", "/mnt/a b", "/proc/fs/nfsd"]
    seen = {mount.path: mount for mount in mounts.visible(MOUNTINFO)}
    assert (seen["/sealer"].kind, seen["/mnt/a b"].device, seen["/"].source) == ("nfs4", "8:17", "/dev/sda1")
    (share,) = mounts.of_nfs(MOUNTINFO)
    assert share.source == "[fd00::9]:/sealer" and "addr=fd00::9" in share.options


def test_exports_are_known_by_their_path() -> None:
    text = '# comment\n\n/sealer 10.0.0.0/24(rw)\n"/a b" 10.0.0.0/24(rw)\n'
    assert nfs.export_lines(text) == {"/sealer": "/sealer 10.0.0.0/24(rw)", "/a b": '"/a b" 10.0.0.0/24(rw)'}


@pytest.mark.parametrize(
    ("line", "address"),
    [
        ('address: "10.0.0.5:712"', "10.0.0.5"),
        ('address: "[fd00::5]:0"', "fd00::5"),
        ('address: "[fe80::5%eth0]:0"', "fe80::5"),
    ],
)
def test_clients_of_nfsd(tmp_path: Path, line: str, address: str) -> None:
    (tmp_path / "3").mkdir()
    (tmp_path / "3/info").write_text(f"clientid: 0x1\n{line}\n")
    (tmp_path / "4").mkdir()
    assert nfs.clients(tmp_path) == [address]
    assert nfs.clients(tmp_path / "none") == []


def test_properties_of_units() -> None:
    text = "Id=a.service\nExecStart=/bin/x --y=z\n\nId=b.timer\nActiveState=active\n\nNames=c\n"
    assert units.by_name(text) == {
        "a.service": {"Id": "a.service", "ExecStart": "/bin/x --y=z"},
        "b.timer": {"Id": "b.timer", "ActiveState": "active"},
    }
    assert units.by_name("") == {}


def test_command_lines(tmp_path: Path) -> None:
    (tmp_path / "7").mkdir()
    (tmp_path / "7/cmdline").write_bytes(b"/bin/x\0--a=\xff\0")
    (tmp_path / "8").mkdir()
    assert processes.command_line(7, tmp_path) == ["/bin/x", "--a=\ufffd"]
    assert processes.command_line(8, tmp_path) == []
    assert sorted(processes.command_lines(tmp_path)) == [[], ["/bin/x", "--a=\ufffd"]]


def test_packages_that_are_not_installed() -> None:
    status = "Package: a\nStatus: install ok installed\n\nPackage: b\nStatus: deinstall ok config-files\n"
    assert packages.missing(["a", "b", "c"], status) == ["b", "c"]


class TestPrograms:
    """A program that fails says so in its own words."""

    def test_output(self) -> None:
        assert programs.run("echo", "a b") == "a b\n"
        assert programs.output("printf", "\\377") == "\ufffd"

    @pytest.mark.parametrize(
        ("command", "words"),
        [
            (("sh", "-c", "echo out; echo why >&2; exit 3"), "exit 3': why"),
            (("sh", "-c", "echo out; exit 3"), "exit 3': out"),
            (("false",), "false: status 1"),
            (("/no/such/program",), "/no/such/program is not installed"),
            (("sleep", "9"), "sleep 9: no answer within 0 s"),
        ],
    )
    def test_failures(self, command: tuple[str, ...], words: str) -> None:
        with pytest.raises(programs.ProgramFailed, match=words):
            programs.run(*command, timeout_sec=0.3 if command[0] == "sleep" else 30)
        assert programs.output(*command, timeout_sec=0.3 if command[0] == "sleep" else 30) == ""

    def test_last_words(self) -> None:
        assert programs.last_words("one\n two \n---\n") == "two"
        assert programs.last_words("\n", "status 3") == "status 3"


@pytest.mark.parametrize("info", ["", "eyJhbGciOi.secret.x", "secret:10.0.0.1:1234", "secret:/ip4/10.0.0.1/udp/1/x"])
def test_what_is_no_api_info_is_refused_without_showing_it(info: str) -> None:
    with pytest.raises(ValueError, match=r"MINER_API_INFO is not TOKEN:/ip4/ADDRESS") as refused:
        lotus_api.info_endpoint(info, "MINER_API_INFO", "v0")
    assert "secret" not in str(refused.value) and refused.value.__cause__ is None


def test_an_api_info_is_an_endpoint() -> None:
    found = lotus_api.info_endpoint("a.b.c:/ip6/fd00::1/tcp/2345/http", "MINER_API_INFO", "v0")
    assert found == lotus_api.Endpoint("http://[fd00::1]:2345", "a.b.c", "v0")


def test_errors_keep_the_apis_own_words() -> None:
    assert lotus_api.CallFailed("PledgeSector on http://h: no (code 1)", "no").words == "no"
    assert lotus_api.CallFailed("it refused the token").words == "it refused the token"
    assert issubclass(lotus_api.CallFailed, lotus_api.ApiError) and issubclass(
        lotus_api.Unreachable, lotus_api.ApiError
    )
