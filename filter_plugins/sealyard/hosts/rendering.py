"""Text of a file from a template and its values, which are all that the template knows."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jinja2

from sealyard.errors import SealyardError


class Unrendered(SealyardError):
    """A template could not be rendered; the text names it, the line and what is missing."""


def _read(path: str) -> str:
    return Path(path).read_text(encoding="utf-8")


def _shown(value: Any) -> Any:
    """What an expression writes; "None" in a unit is never what was meant."""
    if value is None:
        raise jinja2.UndefinedError("a value is none")
    return value


class Renderer:
    """Renders templates by their absolute paths, each compiled once.

    Own Jinja and not Ansible's templar, because that copies the variables of the run, and because nothing in a value
    is a template here. `filters` are added to Jinja's; `compiled_dir` is a private directory that keeps compiled
    templates for other processes of the run.
    """

    def __init__(
        self,
        filters: Mapping[str, Callable[..., Any]],
        read: Callable[[str], str] = _read,
        compiled_dir: str | None = None,
    ) -> None:
        self._environment = jinja2.Environment(
            loader=jinja2.FunctionLoader(lambda path: (read(path), path, lambda: True)),
            undefined=jinja2.StrictUndefined,
            finalize=_shown,
            trim_blocks=True,
            keep_trailing_newline=True,
            bytecode_cache=jinja2.FileSystemBytecodeCache(compiled_dir) if compiled_dir else None,
        )
        self._environment.filters.update(filters)

    def render(self, path: str, values: Mapping[str, Any]) -> str:
        """Text of the template at `path` with `values`; Unrendered when it is no template or lacks a value."""
        try:
            return self._environment.get_template(path).render(values)
        except jinja2.TemplateSyntaxError as error:
            raise Unrendered(f"template {path}, line {error.lineno}: {error.message}") from error
        except (jinja2.TemplateError, SealyardError, ValueError, TypeError, KeyError) as error:
            raise Unrendered(f"template {path}, line {_line(error, path)}: {error}{_known(error, values)}") from error


def _line(error: BaseException, path: str) -> int | str:
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == path]
    return lines[-1] if lines and lines[-1] else "unknown"


def _known(error: BaseException, values: Mapping[str, Any]) -> str:
    return f"; it is given {', '.join(sorted(values))}" if isinstance(error, jinja2.UndefinedError) else ""
