"""Entry point of all four programs: parse, dispatch, and end with the real program's status."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType

from . import buildinfo, contract
from .cli import Call, UsageError, help_text, parse
from .common import MINER_VERSION, NODE_VERSION, CommandError, Exit, log
from .stack import IS_FORK


def dispatch(program: str, call: Call) -> None:
    if IS_FORK:
        from .fork import entry

        if entry.dispatch(program, call):
            return
    if program == "lotus":
        if call.command == "daemon":
            from . import daemon

            daemon.run(call)
        else:
            from . import lotus_cli

            lotus_cli.run(call)
    elif program == "lotus-miner":
        if call.command in ("run", "init", "init restore"):
            from . import miner_start

            miner_start.run(call)
        else:
            from . import miner_cli

            miner_cli.run(call)
    elif program == "lotus-worker":
        from . import worker

        worker.run(call)
    else:
        from . import seed

        seed.run(call)


def main(program: str = buildinfo.PROGRAM, argv: list[str] | None = None) -> int:
    arguments = sys.argv[1:] if argv is None else argv
    log("INFO", "system", "memory limits initialized", max_mem_heap=0, total_system_mem=0, effective_mem_limit=0)
    table = contract.cli(program)
    if program != "lotus-worker":
        # Until a process is ready a signal ends it at once with 1; the worker leaves that to the system.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, end_at_once)
    failed = 0 if program == "lotus-worker" else 1  # the worker's main logs the error and returns
    try:
        call = parse(table, arguments)
        if call.version:
            print(f"{program} version {NODE_VERSION if program in ('lotus', 'lotus-seed') else MINER_VERSION}")
        elif call.help:
            print(help_text(program, table, call))
        else:
            dispatch(program, call)
    except Exit as error:
        sys.stderr.write(str(error) + ("" if str(error).endswith("\n") or not str(error) else "\n"))
        return error.status if program != "lotus-worker" or error.status == 3 else 0
    except UsageError as error:
        print(f"Incorrect Usage: {error}\n")
        return fail(program, str(error), failed)
    except (CommandError, OSError) as error:
        return fail(program, str(error), failed)
    except KeyboardInterrupt:
        return failed
    return 0


def end_at_once(_number: int, _frame: FrameType | None) -> None:
    os._exit(1)


def fail(program: str, text: str, status: int) -> int:
    if program == "lotus-worker":
        log("WARN", "main", text)
    else:
        sys.stderr.write(f"ERROR: {text}\n\n")
    sys.stderr.flush()
    return status
