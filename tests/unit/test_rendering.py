"""Text of files: the quoting filter, the renderer, and the controller's half of file_set."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.errors import AnsibleActionFail
from ansible.parsing.dataloader import DataLoader
from ansible.playbook.play_context import PlayContext
from sealyard.errors import SealyardError
from sealyard.hosts.rendering import Renderer, Unrendered
from sealyard.hosts.systemd import systemd_quoted

ROOT = Path(__file__).parents[2]


def load_action() -> Any:
    """action_plugins/file_set.py; its name is that of the module."""
    spec = importlib.util.spec_from_file_location("file_set_action", ROOT / "action_plugins/file_set.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


ACTION = load_action()


@pytest.mark.parametrize(
    ("value", "place", "text"),
    [
        ("filecoin", "line", "filecoin"),
        ("a 50% share", "line", "a 50%% share"),
        (r"mnt-a\x2db.mount", "line", r"mnt-a\x2db.mount"),
        ("/mnt/a b", "word", '"/mnt/a b"'),
        ("/mnt/store", "word", "/mnt/store"),
        ('A=50% "x"', "environment", '"A=50%% \\"x\\""'),
        ("A=1", "environment", '"A=1"'),
        ("C:\\x", "word", '"C:\\\\x"'),
        ("--cost=$5", "command", "--cost=$$5"),
        (["run", "--a=b c", 5], "command", 'run "--a=b c" 5'),
        ("", "command", '""'),
        ([], "command", ""),
    ],
)
def test_a_value_is_read_as_what_it_is(value: Any, place: str, text: str) -> None:
    assert systemd_quoted(value, place) == text


def test_a_line_break_cannot_smuggle_a_setting_in() -> None:
    with pytest.raises(SealyardError, match="line break"):
        systemd_quoted("filecoin\nExecStart=/bin/sh")


def render(tmp_path: Path, text: str, **values: Any) -> str:
    path = tmp_path / "x.service.j2"
    path.write_text(text)
    return Renderer({"systemd_quoted": systemd_quoted}).render(str(path), values)


def test_a_template_knows_its_values_and_keeps_its_lines(tmp_path: Path) -> None:
    text = "[Unit]\n{% if a %}\nA={{ a | systemd_quoted }}\n{% endif %}\nEnd\n"
    assert render(tmp_path, text, a="5%") == "[Unit]\nA=5%%\nEnd\n"
    # What stands in a value is text, never a template.
    assert render(tmp_path, "{{ a }}\n", a="{{ b }}") == "{{ b }}\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("one\nUser={{ user }}\n", r"x\.service\.j2, line 2: 'user' is undefined; it is given host, none, rule"),
        ("one\ntwo\n{{ rule.x }}\n", r"line 3: .*has no attribute 'x'"),
        ("one\n{% if %}\n", r"line 2: Expected an expression"),
        ("one\n{{ none }}\n", r"line 2: a value is none"),
        ("one\n{{ host | systemd_quoted }}\n", r"line 2: .*line break"),
        ("one\n{{ host | nosuch }}\n", r"line 2: No filter named 'nosuch'"),
    ],
)
def test_an_error_names_template_line_and_what_is_missing(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(Unrendered, match=said):
        render(tmp_path, text, host="a\nb", rule={}, none=None)


def test_a_compiled_template_is_compiled_anew_when_it_changes(tmp_path: Path) -> None:
    for text in ("one\n", "two\n"):
        (tmp_path / "t").write_text(text)
        assert Renderer({}, compiled_dir=str(tmp_path)).render(str(tmp_path / "t"), {}) == text


class Task:
    """What the action asks of a task: its options, and where its role lies."""

    def __init__(self, role: Path, arguments: dict[str, Any]) -> None:
        self.args, self.role, self.action, self.async_val = arguments, role, "file_set", 0

    def get_search_path(self) -> list[str]:
        return [str(self.role)]


def action(tmp_path: Path, **arguments: Any) -> Any:
    role = tmp_path / "role"
    for kind, name, text in (("templates", "own.j2", "role {{ a }}\n"), ("files", "p.py", "print('{{ a }}')\n")):
        (role / kind).mkdir(parents=True, exist_ok=True)
        (role / kind / name).write_text(text)
    (tmp_path / "inventory").mkdir(exist_ok=True)
    made = ACTION.ActionModule(
        task=Task(role, arguments),
        connection=SimpleNamespace(_shell=None),
        play_context=PlayContext(),
        loader=DataLoader(),
        templar=None,
        shared_loader_obj=None,
    )
    return made.rendered(arguments, {"inventory_dir": str(tmp_path / "inventory"), "a": "of the run"})


def test_entries_get_their_text_and_the_module_sees_no_template(tmp_path: Path) -> None:
    entry = {"path": "/x", "template": "own.j2", "values": {"a": 1}, "mode": "0640"}
    files = [entry, {"path": "/p", "source": "p.py"}, {"path": "/c", "content": "{{ a }}"}]
    done = action(tmp_path, files=files, secrets=[{**entry, "path": "/s"}, {"path": "/k"}], owner="root")
    assert done["files"] == [
        {"path": "/x", "content": "role 1\n", "mode": "0640"},
        {"path": "/p", "content": "print('{{ a }}')\n"},
        {"path": "/c", "content": "{{ a }}"},
    ]
    assert done["secrets"] == [{"path": "/s", "content": "role 1\n", "mode": "0640"}, {"path": "/k"}]
    assert done["owner"] == "root"


def test_variables_of_the_run_are_not_known_to_a_template(tmp_path: Path) -> None:
    with pytest.raises(AnsibleActionFail, match=r"/x: template .*own\.j2, line 1: 'a' is undefined"):
        action(tmp_path, files=[{"path": "/x", "template": "own.j2"}])


def test_an_error_does_not_show_what_a_secret_is_made_of(tmp_path: Path) -> None:
    template = tmp_path / "quoted.j2"
    template.write_text("{{ a | systemd_quoted }}\n")
    entry = {"path": "/s", "template": str(template), "values": {"a": "hidden\nwords"}}
    with pytest.raises(AnsibleActionFail, match="words"):
        action(tmp_path, files=[entry])
    with pytest.raises(AnsibleActionFail, match=r"/s: its template .*quoted\.j2 cannot be rendered") as told:
        action(tmp_path, secrets=[entry])
    assert "words" not in str(told.value)


def test_the_operators_own_template_wins(tmp_path: Path) -> None:
    own = tmp_path / "mine.j2"
    own.write_text("mine\n")
    (tmp_path / "inventory/templates").mkdir(parents=True)
    (tmp_path / "inventory/templates/site.j2").write_text("beside the inventory\n")
    files = [{"path": "/a", "template": str(own)}, {"path": "/b", "template": "templates/site.j2"}]
    done = action(tmp_path, files=files)["files"]
    assert [entry["content"] for entry in done] == ["mine\n", "beside the inventory\n"]
    with pytest.raises(AnsibleActionFail, match=r"/x: .*gone\.j2"):
        action(tmp_path, files=[{"path": "/x", "template": "gone.j2"}])


def test_a_failure_of_the_module_names_host_and_template(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own.j2").write_text("x\n")
    arguments = {"files": [{"path": "/x.service", "template": str(tmp_path / "own.j2")}]}
    made = ACTION.ActionModule(
        task=Task(tmp_path, arguments),
        connection=SimpleNamespace(_shell=SimpleNamespace(tmpdir=None)),
        play_context=PlayContext(),
        loader=DataLoader(),
        templar=None,
        shared_loader_obj=None,
    )
    failure = {"failed": True, "msg": "/x.service:2: Unknown key"}
    monkeypatch.setattr(ACTION.ActionBase, "run", lambda self, tmp, variables: {})
    monkeypatch.setattr(made, "_execute_module", lambda **_: dict(failure))
    said = made.run(task_vars={"inventory_hostname": "pc1-a"})["msg"]
    assert said == f"pc1-a: /x.service:2: Unknown key. /x.service comes from {tmp_path}/own.j2"


UNIT_TEMPLATE = re.compile(r"\.(service|timer|mount|path|socket)\.j2$|drop-in\.conf\.j2$")
UNITS = sorted(path for path in ROOT.glob("roles/*/templates/*.j2") if UNIT_TEMPLATE.search(path.name))


@pytest.mark.parametrize("template", UNITS, ids=lambda path: path.name)
def test_every_value_of_a_unit_goes_through_the_one_filter(template: Path) -> None:
    written = re.findall(r"\{\{(.*?)\}\}", template.read_text(), re.DOTALL)
    assert not [each for each in written if "systemd_quoted" not in each]


def test_no_role_reads_a_template_or_a_file_by_lookup() -> None:
    texts = {path: path.read_text() for path in ROOT.glob("roles/*/*/*.yml")}
    assert not [
        str(path) for path, text in texts.items() if re.search(r"lookup\('ansible.builtin.(template|file)'", text)
    ]
