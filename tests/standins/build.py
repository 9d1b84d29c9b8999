"""Build the stand-ins: four self-contained executables (zip archives with a shebang) from the package here."""

from __future__ import annotations

import argparse
import io
import json
import py_compile
import sys
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fork_contract
from standin import contract, params
from standin.stack import FORK, LOTUS

HERE = Path(__file__).resolve().parent
PROGRAMS = ("lotus", "lotus-miner", "lotus-worker", "lotus-seed")
ROLES = {"lotus": ("daemon",), "lotus-miner": ("miner",), "lotus-worker": (), "lotus-seed": ()}
# -I -S: no site packages, no user environment; half of the start-up time is saved.
SHEBANG = b"#!/usr/bin/python3 -IS\n"
MAIN = "import sys\nfrom standin.main import main\nsys.exit(main())\n"


@dataclass(frozen=True)
class Options:
    """What to build. `generation` is the fork's: 1 (limits by worker flags), 2 (myscheduler.json)."""

    network: str = "2k"
    nofile_floor: int = 100000
    stack: str = LOTUS
    generation: int = 2
    official_worker: bool = False
    newest_network_version: int = 14

    def generation_of(self, program: str) -> int:
        return 0 if program == "lotus-worker" and self.official_worker else self.generation


def reader(program: str, options: Options) -> Callable[[str], Any]:
    """Gives the documents cli, config, files and resources of the program's stack."""
    if options.stack == LOTUS:
        return lambda name: contract.document(LOTUS, name)
    return lambda name: fork_contract.document(name, options.generation_of(program))


def slim_cli(program: str, read: Callable[[str], Any]) -> Any:
    """Only what the parser reads: the whole table costs start-up time."""
    table = read("cli")[program]
    keep = ("names", "takes_value", "type", "default", "default_is_text", "env", "repeatable", "hidden")

    def flags(items: list[Any]) -> list[Any]:
        return [
            {k: f[k] for k in keep if f.get(k) not in (None, False)} | {"takes_value": f["takes_value"]} for f in items
        ]

    commands = {
        path: {k: c[k] for k in ("subcommands", "aliases", "hidden") if c.get(k)} | {"flags": flags(c["flags"])}
        for path, c in table["commands"].items()
        if "build_tag" not in c
    }
    return {program: {"global_flags": flags(table["global_flags"]), "commands": commands}}


def compiled(source: bytes, name: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "module.py"
        path.write_bytes(source)
        target = path.with_suffix(".pyc")
        py_compile.compile(
            str(path),
            str(target),
            dfile=name,
            doraise=True,
            invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
        )
        return target.read_bytes()


def archive(program: str, options: Options) -> bytes:
    read = reader(program, options)
    buffer = io.BytesIO()
    buffer.write(SHEBANG)
    with zipfile.ZipFile(buffer, "a", zipfile.ZIP_STORED) as bundle:

        def put(name: str, data: bytes) -> None:
            bundle.writestr(zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0)), data)

        def module(name: str, source: bytes) -> None:
            # Both forms: an interpreter of another version skips the compiled one and reads the source.
            put(name + "c", compiled(source, name))
            put(name, source)

        module("__main__.py", MAIN.encode())
        info = (
            f'PROGRAM = "{program}"\nNETWORK = "{options.network}"\nNOFILE_FLOOR = {options.nofile_floor}\n'
            f'STACK = "{options.stack}"\nVERSION = "{contract.version(options.stack)}"\n'
            f"GENERATION = {options.generation_of(program)}\n"
            f"NEWEST_NETWORK_VERSION = {options.newest_network_version}\n"
        )
        for path in sorted((HERE / "standin").glob("*.py")):
            module(f"standin/{path.name}", info.encode() if path.stem == "buildinfo" else path.read_bytes())
        if options.stack == FORK:
            for path in sorted((HERE / "standin" / "fork").glob("*.py")):
                module(f"standin/fork/{path.name}", path.read_bytes())
        put("standin/cli.json", json.dumps(slim_cli(program, read), separators=(",", ":")).encode())
        put("standin/environment.json", json.dumps(contract.environment_of(read), separators=(",", ":")).encode())
        if ROLES[program]:
            keys = read("config")
            put("standin/config.json", json.dumps({r: keys[r] for r in ROLES[program]}, separators=(",", ":")).encode())
        if program in ("lotus-miner", "lotus-worker"):
            put("standin/resources.json", json.dumps(read("resources"), separators=(",", ":")).encode())
    return buffer.getvalue()


def build(outdir: Path, options: Options) -> None:
    """Write the four programs; a file in use is replaced, not overwritten."""
    outdir.mkdir(parents=True, exist_ok=True)
    for program in PROGRAMS:
        data = archive(program, options)
        temp = outdir / f".{program}.new"
        temp.write_bytes(data)
        temp.chmod(0o755)
        temp.replace(outdir / program)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("outdir", type=Path)
    parser.add_argument("--network", choices=("2k", "calibnet", "mainnet"), default="2k")
    parser.add_argument(
        "--nofile-floor", type=int, default=100000, help="open files below which lotus-worker run refuses to start"
    )
    parser.add_argument(
        "--params", type=Path, help="also write stand-ins of the 2 KiB proof parameters into this folder"
    )
    parser.add_argument("--stack", choices=(LOTUS, FORK), default=LOTUS)
    parser.add_argument("--fork", dest="stack", action="store_const", const=FORK, help=f"the same as --stack {FORK}")
    parser.add_argument(
        "--generation",
        type=int,
        choices=(1, 2),
        default=2,
        help="of the fork: 1 schedules by flags, 2 by myscheduler.json",
    )
    parser.add_argument(
        "--official-worker", action="store_true", help="lotus-worker is the official one of the fork's base version"
    )
    parser.add_argument(
        "--newest-network-version", type=int, default=14, help="the newest network the fork follows (a closed fork may)"
    )
    given = vars(parser.parse_args())
    outdir, parameters = given.pop("outdir"), given.pop("params")
    build(outdir, Options(**given))
    if parameters:
        params.write(str(parameters))
    return 0


if __name__ == "__main__":
    sys.exit(main())
