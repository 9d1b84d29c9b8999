"""`bin/test`: what is checked, in which order, and the count at the end."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lab import containers, vm
from lab.settings import ROOT

LINTS = (
    ("ruff", ("ruff", "check", ".")),
    ("mypy", ("mypy", "--cache-dir=.lab/mypy")),
    ("yamllint", ("yamllint", "--strict", ".")),
    ("ansible-lint", ("ansible-lint",)),
)
TYPED = ("lab", "action_plugins", "filter_plugins", "library", "module_utils", "roles", "tests", "benchmarks")


@dataclass
class Count:
    """Checks by outcome."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0
    # What failed, a line each: a long run's end is often all that is kept of it.
    blamed: list[str] = field(default_factory=list)

    def add(self, other: Count) -> None:
        """Add another count to this one."""
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped
        self.blamed += other.blamed

    def __str__(self) -> str:
        return f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped"


def main(arguments: list[str]) -> int:
    """Run the parts that were asked for; 0 when nothing failed."""
    scenarios = sorted(path.parent.name for path in (ROOT / "molecule").glob("*/molecule.yml"))
    fast = ["lint", "unit", "conformance"]
    names, options = [], []
    words = iter(arguments)
    for word in words:
        if word in ("--lotus", "--params"):
            options += [word, str(Path(next(words, "")).resolve())]
        elif word == "--fast":
            names += fast
        elif word.removeprefix("--") == "rdma":
            names.append("rdma")
        elif word in (*fast, *scenarios):
            names.append(word)
        else:
            usage = (ROOT / "bin/test.txt").read_text(encoding="utf-8")
            print(
                f"bin/test: unknown part {word!r}; there are {', '.join([*fast, *scenarios])}\n{usage}", file=sys.stderr
            )
            return 2
    names = names or [*fast, "default"]
    in_containers = any(name in scenarios and name != "rdma" for name in names)
    lacks = (containers.missing() if in_containers else []) + (vm.missing() if "rdma" in names else [])
    if lacks:
        print("bin/test: this machine cannot run the lab. Missing:", file=sys.stderr)
        print("\n".join(f"- {lack}" for lack in lacks), file=sys.stderr)
        print("bin/test --fast runs all that needs none.", file=sys.stderr)
        return 1
    if in_containers:
        containers.prepare_podman()
    os.environ["PATH"] = f"{ROOT / '.venv/bin'}:{os.environ['PATH']}"
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    total, lines = Count(), []
    for name in names:
        begin = time.monotonic()
        count = _part(name, options)
        total.add(count)
        lines.append(f"{name:14} {count}  ({time.monotonic() - begin:.0f} s)")
    print("\n".join(["", "What ran:", *lines]))
    if total.blamed:
        print("\n".join(["", "What failed:", *total.blamed, ""]))
    print(total)
    return 1 if total.failed else 0


def _part(name: str, options: list[str]) -> Count:
    if name == "lint":
        return lint()
    if name == "unit":
        return pytest(["tests/unit"])
    if name == "conformance":
        return pytest(["tests/conformance", *options])
    return scenario(name)


def lint() -> Count:
    """Every linter once; each counts as one check."""
    count = Count()
    for name, command in LINTS:
        typed = [folder for folder in TYPED if any((ROOT / folder).rglob("*.py"))] if name == "mypy" else []
        _outcome(count, name, _run([*command, *typed]))
    return count


def pytest(arguments: list[str], command: Sequence[str] = ("pytest",)) -> Count:
    """A run of pytest, counted from its own report."""
    with tempfile.TemporaryDirectory(prefix="sealyard-test-") as folder:
        report = Path(folder) / "report.xml"
        code = _run([*command, *arguments, f"--junitxml={report}"])
        return _count(report, code)


def scenario(name: str) -> Count:
    """One molecule scenario: one check for itself, and those of testinfra within it."""
    with tempfile.TemporaryDirectory(prefix="sealyard-test-") as folder:
        report = Path(folder) / "report.xml"
        os.environ["PYTEST_ADDOPTS"] = f"--junitxml={report}"
        code = _run(["molecule", "test", "--scenario-name", name])
        del os.environ["PYTEST_ADDOPTS"]
        count = _count(report, 0) if report.exists() else Count()
        _outcome(count, f"molecule {name}", code)
        return count


def _count(report: Path, code: int) -> Count:
    """What pytest's report says; a run without a report, or that failed with no test to blame, is one failure."""
    count = Count()
    if report.exists():
        for suite in ElementTree.parse(report).getroot().iter("testsuite"):
            failed = int(suite.get("failures", 0)) + int(suite.get("errors", 0))
            skipped = int(suite.get("skipped", 0))
            count.add(Count(int(suite.get("tests", 0)) - failed - skipped, failed, skipped, _blame(suite)))
    if code != 0 and count.failed == 0:
        count.add(Count(failed=1, blamed=[f"pytest ended with status {code}"]))
    return count


def _blame(suite: ElementTree.Element) -> list[str]:
    """The tests that failed in one suite of a report, with the first line of what they said."""
    return [
        f"{case.get('classname')}::{case.get('name')}: {(said.get('message') or '').partition(chr(10))[0][:200]}"
        for case in suite.iter("testcase")
        for said in (*case.findall("failure"), *case.findall("error"))
    ]


def _outcome(count: Count, name: str, code: int) -> None:
    print(f"{name}: {'passed' if code == 0 else 'FAILED'}", flush=True)
    count.add(Count(passed=1) if code == 0 else Count(failed=1, blamed=[name]))


def _run(command: Sequence[str]) -> int:
    print(f"\n== {' '.join(command)}", flush=True)
    return subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
