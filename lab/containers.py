"""The lab's hosts: systemd containers with fixed addresses on a network of their own."""

from __future__ import annotations

import json
import os
import resource
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from lab import image
from lab.settings import LAB_DIR, PARAMETERS_PATH, ROOT, STORE_HOSTS, STORE_PATH, Lab
from lab.shell import LabError, run

WANTED_NOFILE = 1048576
WANTED_NPROC = 20000
BOOT_LIMIT_SEC = 300
INOTIFY = Path("/proc/sys/fs/inotify/max_user_instances")
WANTED_INOTIFY = 1024
"""Each host's systemd holds half a dozen; with the usual 128 the containers beyond the twentieth end as they boot."""


def missing() -> list[str]:
    """What keeps podman from working here, in words; empty when nothing does. Rights were checked by lab/setup.sh."""
    lacks = [
        f"the program {tool}: apt-get install {tool}" for tool in ("podman", "mmdebstrap") if not shutil.which(tool)
    ]
    if not lacks:
        info = run(["podman", "info", "--format", "{{.Store.GraphDriverName}}"], check=False)
        if info.returncode != 0:
            lacks.append(f"a working podman: podman info says: {info.stderr.strip().splitlines()[-1]}")
    return lacks


def prepare_podman() -> None:
    """Make podman use netavark even where another tool left a CNI configuration behind."""
    backend = run(["podman", "info", "--format", "{{.Host.NetworkBackend}}"]).stdout.strip()
    if backend == "netavark":
        return
    settings = LAB_DIR / "containers.conf"
    settings.write_text('[network]\nnetwork_backend = "netavark"\n')
    os.environ["CONTAINERS_CONF"] = str(settings)


def start(lab: Lab) -> list[str]:
    """Bring every host up and reachable; returns the hosts that were made anew."""
    states = running(lab)
    if not states:
        remove(lab)  # A store without its hosts holds the sectors of a chain that is gone.
    _make_key(lab)
    _allow_inotify()
    if run(["podman", "network", "exists", lab.network], check=False).returncode != 0:
        _refuse_taken_subnet(lab)
        run(["podman", "network", "create", "--subnet", lab.subnet, "--label", "sealyard=lab", lab.network])
    if run(["podman", "volume", "exists", lab.volume], check=False).returncode != 0:
        run(["podman", "volume", "create", "--label", "sealyard=lab", lab.volume])
    new = [host for host in lab.hosts if host not in states]
    if new:
        runtime = _working_runtime()
        control = lab.folder / "control"
        if control.exists():
            shutil.rmtree(control)
        for host in new:
            _create(lab, host, runtime)
    for host, alive in states.items():
        if not alive:
            run(["podman", "start", lab.container(host)])
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda host: _wait_booted(lab, host, host in new), lab.hosts))
    return new


def refuse_anothers(lab: Lab) -> None:
    """A running lab belongs to the checkout that made it: only there are its key, programs and parameters."""
    for entry in _listed(lab):
        made_by = entry["Labels"].get("sealyard-checkout")
        if made_by and made_by != str(ROOT):
            raise LabError(f"a lab of {made_by} is on this machine: use it there, or end it with bin/lab down")


def running(lab: Lab) -> dict[str, bool]:
    """The lab's hosts that exist, and whether each is running."""
    states = {name: entry["State"] == "running" for entry in _listed(lab) for name in entry["Names"]}
    return {host: states[lab.container(host)] for host in lab.hosts if lab.container(host) in states}


def _listed(lab: Lab) -> list[dict[str, Any]]:
    command = ["podman", "ps", "--all", "--filter", f"label=sealyard={lab.name}", "--format", "json"]
    listed: list[dict[str, Any]] = json.loads(run(command).stdout or "[]")
    return listed


def remove(lab: Lab) -> None:
    """Take the lab away: containers, store and network. The base image and .lab stay for the next `up`."""
    names = [lab.container(host) for host in running(lab)]
    if names:
        run(["podman", "rm", "--force", "--time", "5", "--volumes", *names])
    run(["podman", "volume", "rm", "--force", lab.volume], check=False)
    run(["podman", "network", "rm", "--force", lab.network], check=False)
    lab.record.unlink(missing_ok=True)


def _make_key(lab: Lab) -> None:
    lab.folder.mkdir(parents=True, exist_ok=True)
    if not lab.key.exists():
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "sealyard lab", "-f", str(lab.key)])


def _allow_inotify() -> None:
    """Raise a limit of this machine, until its next boot, that would end hosts without a word."""
    if int(INOTIFY.read_text()) >= WANTED_INOTIFY:
        return
    try:
        INOTIFY.write_text(f"{WANTED_INOTIFY}\n")
    except OSError as error:
        raise LabError(f"fs.inotify.max_user_instances is too low: sysctl -w it to {WANTED_INOTIFY}") from error
    print(f"lab: fs.inotify.max_user_instances raised to {WANTED_INOTIFY} until the next boot")


def _refuse_taken_subnet(lab: Lab) -> None:
    """A subnet that this machine already routes elsewhere would cut that network off."""
    prefix = lab.subnet.removesuffix("0/24")
    for route in json.loads(run(["ip", "-json", "route"]).stdout or "[]"):
        if str(route.get("dst", "")).startswith(prefix):
            raise LabError(f"{lab.subnet} is already in use on {route.get('dev')}: change SUBNETS in lab/settings.py")


def _limits() -> list[str]:
    nofile = min(WANTED_NOFILE, _hard(resource.RLIMIT_NOFILE))
    nproc = min(WANTED_NPROC, _hard(resource.RLIMIT_NPROC))
    return ["--ulimit", f"nofile={nofile}:{nofile}", "--ulimit", f"nproc={nproc}:{nproc}"]


def _hard(limit: int) -> int:
    hard = resource.getrlimit(limit)[1]
    return 1 << 30 if hard == resource.RLIM_INFINITY else hard


def _working_runtime() -> str:
    """The first OCI runtime that boots on this machine's cgroups: crun refuses a hybrid hierarchy, runc does not."""
    default = run(["podman", "info", "--format", "{{.Host.OCIRuntime.Name}}"]).stdout.strip()
    said = []
    for runtime in dict.fromkeys((default, "crun", "runc")):
        if not shutil.which(runtime):
            continue
        probe = ["podman", "--runtime", runtime, "run", "--rm", "--privileged", "--systemd=always", "--network=none"]
        tried = run([*probe, *_limits(), image.name(), "/bin/true"], check=False)
        if tried.returncode == 0:
            return runtime
        said.append(f"{runtime}: {tried.stderr.strip().splitlines()[-1] if tried.stderr.strip() else 'no message'}")
    raise LabError("no container starts on this machine:\n" + "\n".join(said))


def _create(lab: Lab, host: str, runtime: str) -> None:
    command = ["podman", "--runtime", runtime, "run", "--detach", "--name", lab.container(host), "--hostname", host]
    command += [
        "--label",
        f"sealyard={lab.name}",
        "--label",
        f"sealyard-checkout={ROOT}",
        "--systemd=always",
        "--privileged",
        *_limits(),
    ]
    command += ["--network", lab.network, "--ip", lab.hosts[host], "--stop-timeout", "20"]
    command += ["--volume", f"{lab.folder / 'params'}:{PARAMETERS_PATH}:ro"]
    if host in STORE_HOSTS:
        command += ["--volume", f"{lab.volume}:{STORE_PATH}"]
    run([*command, image.name(), "/sbin/init"])


def _wait_booted(lab: Lab, host: str, new: bool) -> None:
    """Until systemd has reached its target and sshd answers to the lab's key."""
    inside = ["podman", "exec", "--interactive", lab.container(host)]
    if new:
        public = Path(f"{lab.key}.pub").read_text()
        run([*inside, "sh", "-c", "cat >/root/.ssh/authorized_keys"], text_in=public)
    limit = time.monotonic() + BOOT_LIMIT_SEC
    state = ""
    while time.monotonic() < limit:
        if not running(lab).get(host):
            raise LabError(f"{host} ended as it booted: podman logs {lab.container(host)}")
        state = run([*inside, "systemctl", "is-system-running"], check=False).stdout.strip()
        if (
            state in ("running", "degraded")
            and run([*inside, "systemctl", "is-active", "ssh"], check=False).returncode == 0
        ):
            return
        time.sleep(0.5)
    raise LabError(
        f"{host} did not boot within {BOOT_LIMIT_SEC} s (systemd says {state!r}): podman logs {lab.container(host)}"
    )
