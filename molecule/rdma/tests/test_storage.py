"""Scratch, exports and mounts as sectors need them: data disk, RDMA, before the workers, after every boot."""

from __future__ import annotations

from pathlib import Path

import pytest
import testinfra
from testinfra.host import Host

ROOT = Path(__file__).parents[3]
SERVER, CLIENTS = "storage-1", ("pc1-1", "pc2-1")


def on(name: str) -> Host:
    """Return the host by name."""
    return testinfra.get_host(f"ansible://{name}", ansible_inventory=str(ROOT / ".lab/rdma/inventory"))


@pytest.fixture(scope="module")
def server() -> Host:
    return on(SERVER)


@pytest.fixture(scope="module", params=CLIENTS)
def client(request: pytest.FixtureRequest) -> Host:
    return on(request.param)


def test_scratch_is_raid_0_with_xfs_and_found_by_its_uuid(server: Host) -> None:
    mount = server.mount_point("/sealer")
    assert mount.exists and mount.filesystem == "xfs"
    array = server.check_output("basename $(readlink -f %s)", mount.device)
    assert server.file(f"/sys/block/{array}/md/level").content_string.strip() == "raid0"
    assert server.file(f"/sys/block/{array}/md/raid_disks").content_string.strip() == "2"
    unit = server.file("/etc/systemd/system/sealer.mount").content_string
    assert f"What=/dev/disk/by-uuid/{server.check_output('findmnt -n -o UUID /sealer')}" in unit
    assert server.service("sealer.mount").is_enabled


def test_scratch_is_watched(server: Host) -> None:
    assert server.service("scratch-alarm.timer").is_running and server.service("scratch-alarm.timer").is_enabled
    assert server.run("systemctl start scratch-alarm.service").rc == 0


def test_nfsd_listens_on_rdma_and_no_client_can_reach_its_tcp(server: Host) -> None:
    assert "rdma 20049" in server.file("/proc/fs/nfsd/portlist").content_string.splitlines()
    listening = server.check_output("ss -Htln 'sport = :2049'").split("\n")
    assert listening and all(line.split()[3] == "127.0.0.1:2049" for line in listening)
    assert server.service("nfs-server").is_enabled


def test_the_export_is_open_to_the_rdma_network_alone(server: Host) -> None:
    lines = server.check_output("cat /var/lib/nfs/etab").splitlines()
    assert [line.split("(")[0] for line in lines] == ["/sealer\t10.99.0.0/24"]
    assert {"sync", "root_squash"} <= set(lines[0].split("(")[1].rstrip(")").split(","))
    # mp: an unmounted data disk is not exported, so that nothing fills the system disk.
    assert "mp)" in server.file("/etc/exports.d/sealyard.exports").content_string


def test_no_share_is_asked_for_before_its_disk_is_there(server: Host) -> None:
    """A client would be told that it is gone, for half an hour; outage.yml makes the disk slow."""
    mounted = server.check_output("systemctl show --property=ActiveEnterTimestampMonotonic --value sealer.mount")
    served = server.check_output("systemctl show --property=ExecMainStartTimestampMonotonic --value nfs-server")
    assert 0 < int(mounted) <= int(served)
    known = server.file("/proc/net/rpc/nfsd.fh/content").content_string.splitlines()[1:]
    assert not [line for line in known if line.startswith("#")]


def test_the_mount_is_carried_by_rdma(client: Host) -> None:
    """Not the options, which lie: the connections themselves."""
    block: list[str] = []
    inside = False
    for line in client.check_output("cat /proc/self/mountstats").splitlines():
        if line.startswith("device "):
            inside = " mounted on /sealer with fstype nfs4" in line
        elif inside and line.strip().startswith("xprt:"):
            block.append(line.split()[1])
    assert block and set(block) == {"rdma"}


def test_the_mount_is_hard_and_4_2(client: Host) -> None:
    options = client.mount_point("/sealer").options
    assert {"hard", "vers=4.2", "proto=rdma", "noatime", "nosuid", "nodev"} <= set(options)
    assert client.service("sealer.mount").is_enabled


def test_no_worker_starts_before_its_share(client: Host) -> None:
    unit = client.check_output("systemctl list-units --plain --no-legend 'lotus-worker@*' | head -1").split()[0]
    tied = client.check_output("systemctl show --property=Wants --property=After --property=PartOf %s", unit)
    assert len(tied.splitlines()) == 3 and all("sealer.mount" in line for line in tied.splitlines())
    assert client.service(unit).is_running
    assert client.file("/run/worker-started-on").content_string.strip() == "nfs4"


def test_the_guard_says_no_to_a_mount_that_is_not_rdma(client: Host) -> None:
    guard = "python3 /usr/local/lib/sealyard/nfs_transport.py"
    assert client.run(f"{guard} /sealer=rdma").rc == 0
    assert client.run(f"{guard} /sealer=tcp").rc == 1
    assert client.run(f"{guard} /=rdma").rc == 1


def test_nobody_mounts_over_tcp_that_was_not_asked_for(client: Host) -> None:
    """By 4.1, because the kernel would carry a second mount by 4.2 over the RDMA connection that it has."""
    options = "proto=tcp,vers=4.1,retry=0,soft,timeo=50,retrans=1"
    tried = client.run("mkdir -p /run/by-tcp && timeout 60 mount -t nfs4 -o %s 10.99.0.1:/sealer /run/by-tcp", options)
    assert tried.rc != 0 and "refused" in tried.stderr
    assert not client.mount_point("/run/by-tcp").exists


def test_one_sector_path_has_one_id_on_every_host(server: Host) -> None:
    texts = {on(name).file("/sealer/sectorstore.json").content_string for name in (SERVER, *CLIENTS)}
    assert len(texts) == 1 and '"AllowTo": [\n    "a"' in texts.pop()


def test_what_a_worker_writes_others_read(server: Host) -> None:
    writer, reader = on("pc1-1"), on("pc2-1")
    text = writer.check_output("cat /proc/sys/kernel/random/uuid")
    path = f"/sealer/seen-{text}"
    writer.check_output("setpriv --reuid=400 --regid=400 --clear-groups sh -c %s", f"echo {text} >{path}; sync {path}")
    assert reader.file(path).content_string.strip() == text
    assert server.file(path).uid == 400
    writer.check_output("setpriv --reuid=400 --regid=400 --clear-groups rm %s", path)


def test_no_byte_is_lost_when_the_server_loses_its_power(server: Host) -> None:
    writer = on("pc1-1")
    if not writer.file("/var/lib/outage/done").exists:
        pytest.skip("no outage yet")
    wanted = writer.file("/var/lib/outage/sha256").content_string
    server.check_output("sync; echo 3 >/proc/sys/vm/drop_caches")
    for host in (server, on("pc2-1")):
        assert host.check_output("sha256sum /sealer/outage").split()[0] == wanted
