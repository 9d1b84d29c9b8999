"""`lotus-worker run` of the fork, and of its base version where generation is 0."""

from __future__ import annotations

import fcntl
import os

from .. import buildinfo
from ..common import CommandError, Json, log, shared_directory, violation, violations_file
from ..worker import WorkerProcess
from . import limits
from .store import ForkStore
from .tasks import ForkExecutor, Settings, worker_fallback

FLAG_TASKS = (("addpiece", "AP"), ("precommit1", "PC1"), ("unseal", "UNS"), ("precommit2", "PC2"), ("commit", "C2"))
ALWAYS = {"FIN", "GET", "C1"}
RANGE_VARIABLES = ("ENV_CPU_CORE_BEGIN_NUM", "ENV_CPU_CORE_END_NUM")
# What the documents allow.
BOUNDS = {"NUM_HANDLES": (1, 30), "NUM_KERNELS": (1, 4)}


class ForkWorkerProcess(WorkerProcess):
    store_kind = ForkStore
    executor_kind = ForkExecutor
    checks_open_files = False

    def _choose_tasks(self) -> set[str]:
        return ALWAYS | {short for flag, short in FLAG_TASKS if self.call.on(flag)}

    def _before_paths(self) -> None:
        if buildinfo.GENERATION:
            self._claim_cores()
            check_bounds()
        if buildinfo.GENERATION == 2:
            try:
                limits.write_missing(self.repo.path, limits.FILE, limits.WRITTEN | {"WorkerName": self._name()})
            except OSError as error:
                log("ERROR", "main", f"persisting myScheduler metadata: {error}")

    def _worker_info(self, name: str, _sector_bytes: int) -> Json:
        from ..tasks import visible_gpus

        return {"Hostname": name, "IgnoreResources": False, "Resources": {"GPUs": visible_gpus()}}

    def _info(self) -> Json:
        if not hasattr(self, "settings"):
            assert isinstance(self.executor, ForkExecutor)
            self.settings = Settings(self.executor.name, self.executor, worker_fallback(self.call), False)
        return self.settings.info()

    def _run_task(self, ident: str, task: str, sector: Json, arguments: Json) -> None:
        if task == "AP" and buildinfo.GENERATION == 0:
            raise CommandError("wrong param count (method 'Filecoin.AddPiece'): 5")
        super()._run_task(ident, task, sector, arguments)

    def _claim_cores(self) -> None:
        """Core groups of the closed releases: [begin, end), not shared by two processes of a host."""
        given = [os.environ.get(name) for name in RANGE_VARIABLES]
        if given == [None, None]:
            return
        try:
            begin, end = (int(value or "") for value in given)
            if not 0 <= begin < end:
                raise ValueError
        except ValueError:
            detail = " ".join(f"{name}={value}" for name, value in zip(RANGE_VARIABLES, given, strict=True))
            violation("core-range-invalid", detail)
            return
        log("INFO", "main", f"core groups {begin} to {end} (end not included)")
        folder = os.path.join(os.path.dirname(violations_file()) or ".", "core-groups")
        self.cores: list[int] = []
        shared = []
        for group in range(begin, end):
            try:
                shared_directory(folder)
                fd = os.open(os.path.join(folder, str(group)), os.O_RDWR | os.O_CREAT, 0o666)
            except OSError:
                continue
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self.cores.append(fd)
            except OSError:
                os.close(fd)
                shared.append(group)
        if shared:
            violation("core-ranges-overlap", f"core groups {shared} of {begin}-{end} belong to another worker")


def check_bounds() -> None:
    for name, (low, high) in BOUNDS.items():
        value = os.environ.get(name)
        if value is None:
            continue
        if value.isdigit() and low <= int(value) <= high:
            log("INFO", "main", f"{name} is {value}")
        else:
            violation("num-out-of-range", f"{name}={value}: {low} to {high}")
