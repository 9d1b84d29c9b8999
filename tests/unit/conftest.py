"""Fixtures that several test files share."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from standin import params

from tests.unit.fork_net import ForkNet, build


@pytest.fixture(scope="session")
def fork_programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("fork"), "--fork")


@pytest.fixture(scope="session")
def fork_template(fork_programs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Repos of a daemon with the wallet and of a miner without sectors, and the genesis file."""
    root = tmp_path_factory.mktemp("template")
    params.write(str(root / "params"))
    net = ForkNet(fork_programs, root)
    net.make_genesis()
    daemon = net.daemon()
    try:
        net.run("lotus", "wallet", "import", "--as-default", f"{root}/pre/pre-seal-t01000.key")
        words = ("--genesis-miner", "--actor=t01000", "--sector-size=2KiB", "--no-local-storage")
        net.run("lotus-miner", "init", *words, LOTUS_MINER_PATH=f"{root}/miner")
        daemon.process.terminate()
        daemon.ends()
    finally:
        net.close()
    # As if it had been the only miner until now: its own counter stands at the last pre-sealed sector.
    meta = root / "miner" / "datastore" / "metadata" / "state.json"
    meta.write_text(json.dumps(json.loads(meta.read_text()) | {"nextid": 1}))
    return root


@pytest.fixture
def fork_quick(fork_programs: Path, fork_template: Path, tmp_path: Path) -> Iterator[ForkNet]:
    """Blocks so fast that a proving deadline comes within a test."""
    net = ForkNet(fork_programs, tmp_path, fork_template)
    net.environment |= {"STANDIN_BLOCK_DELAY_MS": "20", "STANDIN_WNP_MS": "1"}
    net.daemon()
    yield net
    net.close()


@pytest.fixture
def fork(fork_programs: Path, fork_template: Path, tmp_path: Path) -> Iterator[ForkNet]:
    """A net of its own with its daemon running."""
    net = ForkNet(fork_programs, tmp_path, fork_template)
    net.daemon()
    yield net
    net.close()
