"""Child processes that never outlive the test run, and polls instead of sleeps."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
POLL_SEC = 0.25
# Also when the test run itself is killed and no finaliser runs.
DIE_WITH_PARENT = ("setpriv", "--pdeathsig", "KILL")


def until(what: str, probe: Callable[[], T | None], limit_sec: float, poll_sec: float = POLL_SEC) -> T:
    """Ask `probe` until its answer is true; after `limit_sec` an AssertionError with `what` and the last exception."""
    end = time.monotonic() + limit_sec
    last: Exception | None = None
    while True:
        try:
            if found := probe():
                return found
            last = None
        except (OSError, LookupError, ValueError, RuntimeError) as error:
            last = error
        if time.monotonic() > end:
            raise AssertionError(f"waited {limit_sec:.0f} s for {what}" + (f"; last: {last!r}" if last else ""))
        time.sleep(poll_sec)


def holds(what: str, probe: Callable[[], bool], duration_sec: float) -> None:
    """Assert that `probe` stays true for `duration_sec`."""
    end = time.monotonic() + duration_sec
    while time.monotonic() < end:
        assert probe(), what
        time.sleep(POLL_SEC)


@dataclass
class Process:
    """A running program in its own process group; stdout and stderr are read from files."""

    name: str
    popen: subprocess.Popen[bytes]
    stdout_path: Path
    stderr_path: Path

    def stdout(self) -> str:
        return self.stdout_path.read_text(errors="replace")

    def log(self) -> str:
        """Everything it printed, standard output first."""
        return self.stdout() + self.stderr_path.read_text(errors="replace")

    def alive(self) -> bool:
        return self.popen.poll() is None

    def wait_log(self, text: str, limit_sec: float = 60, count: int = 1) -> None:
        def probe() -> bool:
            found = self.log().count(text) >= count
            if not found and not self.alive():
                raise AssertionError(
                    f"{self.name} ended with {self.popen.returncode} before {text!r}: {self.log()[-2000:]}"
                )
            return found

        until(f"{text!r} in the log of {self.name}", probe, limit_sec)

    def wait_exit(self, limit_sec: float = 60) -> int:
        try:
            return self.popen.wait(limit_sec)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} still runs after {limit_sec:.0f} s: {self.log()[-1500:]}") from None

    def terminate(self, limit_sec: float = 30) -> int:
        """SIGTERM to the process itself; its exit status."""
        self.popen.send_signal(signal.SIGTERM)
        return self.wait_exit(limit_sec)

    def kill(self) -> None:
        """SIGKILL to the whole group, whatever is left of it."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.popen.pid, signal.SIGKILL)
        self.popen.wait()


@dataclass
class Finished:
    """What a command that has ended left behind."""

    status: int
    stdout: str
    stderr: str

    @property
    def text(self) -> str:
        return self.stdout + self.stderr


@dataclass
class Runner:
    """Starts the four programs of one directory, with a home and a temporary folder of their own."""

    binaries: Path
    params: Path
    root: Path
    processes: list[Process] = field(default_factory=list)
    # Workers report their paths this often; a path is unusable after five missed reports.
    heartbeat_sec: float = 10.0
    speed: dict[str, str] = field(default_factory=dict)

    def environment(self, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        home = self.root / "home"
        tmp = self.root / "tmp"
        home.mkdir(exist_ok=True)
        tmp.mkdir(exist_ok=True)
        return {
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "HOME": str(home),
            "TMPDIR": str(tmp),
            "LOTUS_MOCK_BEACON": "1",
            "LOTUS_SKIP_GENESIS_CHECK": "_yes_",
            "TRUST_PARAMS": "1",
            "FIL_PROOFS_PARAMETER_CACHE": str(self.params),
            "FIL_PROOFS_PARENT_CACHE": str(self.root / "parents"),
            "STANDIN_VIOLATIONS": str(self.root / "violations.ndjson"),
            "GOLOG_LOG_FMT": "nocolor",
            **self.speed,
            **(extra or {}),
        }

    def run(
        self,
        program: str,
        *arguments: str,
        env: Mapping[str, str] | None = None,
        limit_sec: float = 120,
        check: bool = False,
        prefix: Sequence[str] = (),
    ) -> Finished:
        """Run to the end; with `check` a status other than 0 is an AssertionError with the output."""
        process = subprocess.run(
            [*prefix, str(self.binaries / program), *arguments],
            env=self.environment(env),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=limit_sec,
            cwd=self.root,
            check=False,
        )
        done = Finished(
            process.returncode, process.stdout.decode(errors="replace"), process.stderr.decode(errors="replace")
        )
        if check:
            assert done.status == 0, f"{program} {' '.join(arguments)}: status {done.status}\n{done.text[-3000:]}"
        return done

    def start(
        self, name: str, program: str, *arguments: str, env: Mapping[str, str] | None = None, prefix: Sequence[str] = ()
    ) -> Process:
        """Start in the background; its output goes to ROOT/logs/NAME.N.{out,err}."""
        logs = self.root / "logs"
        logs.mkdir(exist_ok=True)
        number = len(self.processes)
        out, err = logs / f"{name}.{number}.out", logs / f"{name}.{number}.err"
        with out.open("wb") as stdout, err.open("wb") as stderr:
            popen = subprocess.Popen(
                [*DIE_WITH_PARENT, *prefix, str(self.binaries / program), *arguments],
                env=self.environment(env),
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                cwd=self.root,
                start_new_session=True,
            )
        process = Process(name, popen, out, err)
        self.processes.append(process)
        return process

    @contextlib.contextmanager
    def started(
        self, name: str, program: str, *arguments: str, env: Mapping[str, str] | None = None, prefix: Sequence[str] = ()
    ) -> Iterator[Process]:
        process = self.start(name, program, *arguments, env=env, prefix=prefix)
        try:
            yield process
        finally:
            process.kill()

    def kill_all(self) -> None:
        for process in reversed(self.processes):
            process.kill()
