"""What must hold across the whole repository: specs, defaults, playbooks, templates and names agree."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from jinja2 import Environment
from sealyard.variables.options import FORMER, PLAN_FACTS, findings
from standin import contract

ROOT = Path(__file__).parents[2]
ROLES = sorted(path.parent for path in ROOT.glob("roles/*/tasks"))
CLUSTER = ROOT / "roles/sealing"
"""The variables of the whole cluster, their defaults and what follows from them."""
PLAYBOOKS = [ROOT / "site.yml", *sorted((ROOT / "playbooks").glob("*.yml"))]
TEMPLATES = sorted(ROOT.glob("roles/*/templates/**/*.j2"))
UNITS = [path for path in TEMPLATES if re.search(r"\.(service|timer|socket|conf)\.j2$", path.name)]

# Flags that make a daemon import or create its chain: at every start that carries them.
FIRST_START_FLAGS = ("--import-snapshot", "--import-chain", "--halt-after-import", "--genesis", "--lotus-make-genesis")
TOKENS = re.compile(
    r"--token|api[-_]info\b(?!_file|\.env)|(FULLNODE|MINER)_API_INFO\s*=|eyJhbGci|password", re.IGNORECASE
)


def load(path: Path) -> Any:
    """Return a YAML file's content."""
    return yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else None


@cache
def options(role: Path) -> dict[str, dict[str, Any]]:
    """Return the options of a role's main entry point."""
    specs = (load(role / "meta/argument_specs.yml") or {}).get("argument_specs", {})
    return dict(specs.get("main", {}).get("options") or {})


@cache
def defaults(role: Path) -> dict[str, Any]:
    """Return a role's defaults."""
    return dict(load(role / "defaults/main.yml") or {})


@cache
def tracked_files() -> list[Path]:
    """Return the files that belong to the repository."""
    if (ROOT / ".git").exists() and shutil.which("git"):
        command = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        names = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split("\0")
        return [ROOT / name for name in names if name and (ROOT / name).is_file()]
    hidden = {".venv", ".lab", ".git", "__pycache__"}
    return [path for path in ROOT.rglob("*") if path.is_file() and not hidden & set(path.relative_to(ROOT).parts)]


def texts(*suffixes: str) -> Iterator[tuple[Path, str]]:
    """Yield every tracked text file with one of the suffixes, and its content."""
    for path in tracked_files():
        if path.suffix in suffixes and not path.is_symlink():
            yield path, path.read_text(encoding="utf-8", errors="replace")


def by_name(path: Path) -> str:
    """Return a test's name for a path."""
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
class TestRole:
    """A role's defaults and its argument spec are the same list of documented, typed, prefixed variables."""

    def test_has_an_argument_spec(self, role: Path) -> None:
        specs = load(role / "meta/argument_specs.yml")
        assert specs, "meta/argument_specs.yml is missing"
        assert specs["argument_specs"]["main"]["short_description"]

    def test_spec_lists_every_default(self, role: Path) -> None:
        required = {
            name for name, option in options(role).items() if "default" not in option and name not in defaults(role)
        }
        assert set(options(role)) - required == set(defaults(role))

    def test_an_option_without_default_is_required_or_says_when_it_is_left_out(self, role: Path) -> None:
        bare = [
            name for name in options(role) if name not in defaults(role) and not options(role)[name].get("required")
        ]
        assert not bare, f"no default and not required: {bare}"

    def test_spec_tells_the_default(self, role: Path) -> None:
        told = {name: option.get("default") for name, option in options(role).items() if name in defaults(role)}
        assert told == defaults(role)

    def test_defaults_have_the_declared_type(self, role: Path) -> None:
        wrong = {
            name + finding.where: finding.problem
            for name, value in defaults(role).items()
            if not (isinstance(value, str) and "{{" in value)
            for finding in findings(name, value, options(role).get(name, {"type": "raw"}))
        }
        assert not wrong

    def test_options_are_described(self, role: Path) -> None:
        assert not [name for name, option in options(role).items() if not option.get("description")]

    def test_variables_have_the_role_as_prefix(self, role: Path) -> None:
        own = {*defaults(role), *options(role), *(load(role / "vars/main.yml") or {})}
        assert not [name for name in own if not name.lstrip("_").startswith(f"{role.name}_")]


def cluster() -> dict[str, dict[str, Any]]:
    """The options of the cluster's variables."""
    specs = load(CLUSTER / "meta/argument_specs.yml")["argument_specs"]
    # An entry point `main` would give every role of every play a task that validates what preflight has judged.
    assert list(specs) == ["cluster"]
    return dict(specs["cluster"]["options"])


def test_a_cluster_variable_is_declared_with_its_default() -> None:
    told = {name: option["default"] for name, option in cluster().items() if "default" in option}
    assert told == defaults(CLUSTER)
    assert not [name for name, option in cluster().items() if not option.get("description")]
    assert not set(cluster()) & set(load(CLUSTER / "vars/main.yml"))
    wrong = [
        name
        for name, value in defaults(CLUSTER).items()
        if not (isinstance(value, str) and "{{" in value) and list(findings(name, value, cluster()[name]))
    ]
    assert not wrong


def test_the_role_of_the_defaults_has_no_task_and_every_role_depends_on_it() -> None:
    assert not (CLUSTER / "tasks").exists() and not (CLUSTER / "handlers").exists()
    without = [
        role.name for role in ROLES if {"role": CLUSTER.name} not in load(role / "meta/main.yml")["dependencies"]
    ]
    assert not without


def test_a_default_of_the_cluster_is_spelt_once() -> None:
    """A playbook that spells /etc/sealyard leaves an operator's own sealing_config_dir behind."""
    paths = {
        value for value in {**defaults(CLUSTER), **load(CLUSTER / "vars/main.yml")}.values() if str(value)[:1] == "/"
    }
    paths -= {defaults(CLUSTER)["sealing_scratch_path"]}
    found = [
        f"{by_name(path)}:{number}: {line.strip()}"
        for path, text in texts(".yml", ".j2")
        if by_name(path).startswith(("roles/", "playbooks/"))
        and CLUSTER not in path.parents
        and path.parent.name != "meta"
        for number, line in enumerate(text.splitlines(), start=1)
        if any(re.search(rf"{place}(?![\w.-])", line) for place in (paths - LEFT if path.suffix == ".j2" else paths))
        or any(re.search(rf"\b{name}\s*\|\s*default\b", line) for name in defaults(CLUSTER))
    ]
    assert not found


LEFT = {"/usr/local/lib/sealyard"}
"""Spelt in templates too, where nobody sets it."""


def test_cluster_variables_are_documented() -> None:
    """Every sealing_ word in a play, a role or an inventory is a documented variable, a role, a filter or a module."""
    known = {*cluster(), *load(CLUSTER / "vars/main.yml"), *(role.name for role in ROLES)}
    known |= {name for role in ROLES for name in (*options(role), *(load(role / "vars/main.yml") or {}))}
    known |= {path.stem for path in ROOT.glob("library/*.py")} | {
        path.stem for path in ROOT.glob("filter_plugins/*/*.py")
    }
    for path in ROOT.glob("filter_plugins/*/*.py"):
        known |= set(re.findall(r'"(sealing_\w+)":', path.read_text(encoding="utf-8")))
    unknown = {
        f"{by_name(path)}: {word}"
        for path, text in texts(".yml", ".j2")
        if path.relative_to(ROOT).parts[0] in ("roles", "playbooks", "inventories", "site.yml")
        for word in re.findall(r"(?<![\w.-])(sealing_[a-z0-9_]+)", text)
        if word not in known and not word.startswith((*PLAN_FACTS, *(f"{role.name}_" for role in ROLES)))
    }
    assert not unknown


NAMES = re.compile(
    r"(?<=register: )\w+|(?<=loop_var: )\w+|(?<=index_var: )\w+|\b\w+(?=:)|(?<=% set )\w+|(?<=% for )\w+|(?<=&)\w+"
)
"""Where YAML and Jinja give something a name."""


def test_roles_use_variables_that_are_there() -> None:
    """A word with a role's prefix that nothing is called by is found on a host only, in the middle of a run."""
    known = {role.name for role in ROLES} | set(FORMER)
    known |= {path.stem for path in (*ROOT.glob("library/*.py"), *ROOT.glob("roles/*/files/*"))}
    for path in ROOT.glob("filter_plugins/*/*.py"):
        known |= set(re.findall(r'"(\w+)":', path.read_text(encoding="utf-8")))
    ours = [(path, text) for path, text in texts(".yml", ".j2") if by_name(path).startswith(("roles/", "playbooks/"))]
    for _, text in ours:
        known |= set(NAMES.findall(text))
    word = re.compile(rf"(?<![\w./-])(?:{'|'.join(role.name for role in ROLES)})_\w+")
    unknown = {
        f"{by_name(path)}: {name}"
        for path, text in ours
        if path.parent.name != "meta"
        for line in text.splitlines()
        if not line.lstrip().startswith("#")
        for name in word.findall(line)
        if name not in known
    }
    assert not unknown


def test_playbooks_parse() -> None:
    program = Path(sys.executable).parent / "ansible-playbook"
    command = [str(program), "--syntax-check", "-i", "localhost,", *map(str, PLAYBOOKS)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr + run.stdout


@pytest.mark.parametrize("path", TEMPLATES, ids=by_name)
def test_template_parses(path: Path) -> None:
    environment = Environment(extensions=["jinja2.ext.do", "jinja2.ext.loopcontrols"])
    assert environment.parse(path.read_text(encoding="utf-8")).body


@pytest.mark.parametrize("path", UNITS, ids=by_name)
def test_unit_holds_no_token_and_no_first_start_flag(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    code = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    assert not TOKENS.search(code)
    if "Type=oneshot" not in code:
        assert not [flag for flag in FIRST_START_FLAGS if re.search(rf"{flag}(?![\w-])", code)]


def strings(value: Any) -> Iterator[str]:
    """Yield every text of a YAML document."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for one in value.values() if isinstance(value, dict) else value:
            yield from strings(one)


def test_lines_are_joined_by_line_breaks() -> None:
    """Ansible leaves a backslash alone that YAML has not read: people would see it in place of a line break."""
    tasks = [*PLAYBOOKS, *ROOT.glob("roles/*/*/*.yml"), *ROOT.glob("molecule/*/*.yml")]
    found = [f"{path.relative_to(ROOT)}: {text}" for path in tasks for text in strings(load(path)) if "'\\n'" in text]
    assert found == []


def test_no_path_of_some_machine() -> None:
    """What works only where it was written does not belong here."""
    of_a_machine = re.compile(r"(?<![\w./}$~-])/(?:root(?!/\.ssh)|work|home/\w+|Users)/[\w.]")
    here = by_name(Path(__file__))
    found = [
        f"{by_name(path)}:{number}: {line.strip()[:100]}"
        for path, text in texts(".py", ".yml", ".j2", ".md", ".toml", ".cfg", ".sh", ".svg", ".json", "")
        if by_name(path) != here and "tests/contracts" not in by_name(path) and "tests/topologies" not in by_name(path)
        for number, line in enumerate(text.splitlines(), start=1)
        if of_a_machine.search(line)
    ]
    assert not found


def contract_has(document: Any, key: str) -> bool:
    """Whether a dotted path such as tasks.*.task_type leads somewhere in a contract."""
    for word in key.split("."):
        if word != "*" and word not in document:
            return False
        document = next(iter(document.values())) if word == "*" else document[word]
    return True


def test_a_contract_that_is_cited_says_so() -> None:
    """A comment such as (contract lotus/files.json, http): the file is there, and the key is in it."""
    stacks = sorted(path.name for path in (ROOT / "tests/contracts").iterdir() if path.is_dir())
    cited = [
        (by_name(path), stack, name, key.removesuffix("."))
        for path, text in texts(".py", ".yml", ".j2", ".json", ".md")
        if by_name(path) != by_name(Path(__file__)) and "tests/contracts" not in by_name(path)
        for stack, name, key in re.findall(r"[Cc]ontracts? (?:(\w+)/)?(\w+)\.json(?:,\s+(?:# )?([\w.*/]+))?", text)
    ]
    assert len(cited) >= 10
    unfounded = [
        (place, stack, name, key)
        for place, stack, name, key in cited
        if not any(
            contract_has(contract.document(one, name), key) if key else True
            for one in ([stack] if stack else stacks)
            if (ROOT / "tests/contracts" / one / f"{name}.json").is_file()
        )
    ]
    assert unfounded == []


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Yield every function and method of a module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def proves_something(function: ast.AST) -> bool:
    """Whether a test asserts, expects an error by its text, or hands over to a helper that is named assert_…."""
    for node in ast.walk(function):
        if isinstance(node, ast.Assert):
            return True
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            if name.rpartition(".")[2].startswith("assert_"):
                return True
            if name == "pytest.raises" and any(keyword.arg == "match" for keyword in node.keywords):
                return True
    return False


def test_every_test_proves_something() -> None:
    """That a helper which waits or raises came back is no proof that a reader sees, and often none at all."""
    tests = [
        (f"{by_name(path)}: {function.name}", function)
        for path, text in texts(".py")
        if path.name.startswith("test_") and path.relative_to(ROOT).parts[0] in ("tests", "molecule")
        for function in functions(ast.parse(text))
        if function.name.startswith("test_")
    ]
    assert len(tests) > 500
    assert [name for name, function in tests if not proves_something(function)] == []


MODULE_LINES, FUNCTION_LINES = 450, 60
PRODUCTION = re.compile(r"(filter_plugins|action_plugins|library|module_utils|lab|roles/\w+/files)/.*\.py")


def too_long() -> Iterator[str]:
    """Yield each production module, and each function as module:name, that is above its bound."""
    for path, text in texts(".py"):
        if PRODUCTION.fullmatch(by_name(path)):
            if len(text.splitlines()) > MODULE_LINES:
                yield by_name(path)
            for function in functions(ast.parse(text)):
                if (function.end_lineno or 0) - function.lineno >= FUNCTION_LINES:
                    yield f"{by_name(path)}:{function.name}"


def test_modules_and_functions_fit_in_a_readers_head() -> None:
    assert sorted(too_long()) == [], f"above {MODULE_LINES} lines, or a function above {FUNCTION_LINES}"


def test_no_lint_rule_is_switched_off_in_place() -> None:
    assert not [by_name(path) for path, text in texts(".yml", ".j2") if re.search(r"#\s*noqa", text)]


def test_every_playbook_is_in_the_readme() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert not [path.name for path in PLAYBOOKS if path.name not in readme]


def test_every_dependency_has_a_reason_in_the_readme() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    chosen = [
        line.replace("==", " ")
        for name in ("requirements.txt", "requirements-dev.txt")
        for line in (ROOT / name).read_text(encoding="utf-8").partition("# Needed by")[0].splitlines()
        if "==" in line
    ]
    assert chosen
    assert not [package for package in chosen if package not in readme]


def test_every_vault_example_holds_only_placeholders() -> None:
    """An example that looks like a secret would be taken for one, and preflight would let it pass."""
    for path in ROOT.glob("inventories/*/group_vars/all/vault.yml.example"):
        values = load(path)
        assert values
        assert all(name.startswith("vault_") and "REPLACE" in str(value) for name, value in values.items())
