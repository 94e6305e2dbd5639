"""Every ```python block of the documentation is a test, and so is every notebook.

The blocks of one document run in order, in one module, inside one running event loop in virtual time; `await` works at
their top level. ``<!-- skip: next "reason" -->`` before a block leaves it out.

The cells of a notebook run likewise, and must show what the file says that they show. With UPDATE_NOTEBOOKS=1 the file
is made to say what they show.
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import inspect
import io
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, settings
from sybil import Example, Sybil
from sybil.parsers.markdown import CodeBlockParser, SkipParser

from tanstack_db.testing import VirtualClockLoop

# Hypothesis builds its tables of characters in the first test that needs them, which takes seconds on a busy machine.
# Under CI it has a profile of its own, which is as patient.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("fuzz", settings.get_profile("patient"), max_examples=int(os.environ.get("EXAMPLES", "5000")))
if "CI" not in os.environ:
    settings.load_profile("patient")

_STATE = "__document__"


class _DocumentRun:
    """The module and the loop of one document."""

    def __init__(self, path: str) -> None:
        self.module = ModuleType("document_" + Path(path).as_posix().replace("/", "_").replace(".", "_"))
        self.module.__file__ = path
        # Dataclasses and pydantic look for a class's module there.
        sys.modules[self.module.__name__] = self.module
        self.loop = VirtualClockLoop()

    def run(self, source: str | ast.Module, path: str) -> None:
        code = compile(source, path, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
        self.loop.run_until_complete(self._run(code))

    async def _run(self, code: CodeType) -> None:
        result: object = FunctionType(code, vars(self.module))()
        if inspect.isawaitable(result):
            await result

    def close(self) -> None:
        self.loop.run_until_complete(self._end())
        self.loop.close()
        del sys.modules[self.module.__name__]
        # Caches keep classes, and their methods keep these names: a `Realtime` among them would stay for later tests.
        vars(self.module).clear()

    async def _end(self) -> None:
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        await self.loop.shutdown_asyncgens()


def _evaluate(example: Example) -> None:
    run = example.namespace.get(_STATE)
    if run is None:
        run = example.namespace[_STATE] = _DocumentRun(str(Path(example.path).relative_to(Path(__file__).parent)))
    # Blank lines in front keep the line numbers of the document.
    run.run("\n" * (example.line + example.parsed.line_offset) + example.parsed, example.path)


def _teardown(namespace: dict[str, Any]) -> None:
    run = namespace.pop(_STATE, None)
    if run is not None:
        run.close()


class _Notebook(pytest.File):
    """A Jupyter notebook: one test."""

    def collect(self) -> Iterator[pytest.Item]:
        """Give the one test."""
        yield cast("Any", _NotebookRun).from_parent(self, name="cells")


class _NotebookRun(pytest.Item):
    """Runs the cells of a notebook."""

    def runtest(self) -> None:
        """Run every code cell, and compare what it shows with what the file has."""
        document: dict[str, Any] = json.loads(self.path.read_text())
        cells = [cell for cell in document["cells"] if cell["cell_type"] == "code"]
        run = _DocumentRun(str(self.path.relative_to(self.config.rootpath)))
        try:
            shown = [_show(run, "".join(cell["source"]), number) for number, cell in enumerate(cells, 1)]
        finally:
            run.close()
        if os.environ.get("UPDATE_NOTEBOOKS"):
            for cell, (number, outputs) in zip(cells, enumerate(shown, 1), strict=True):
                cell.update(execution_count=number, outputs=outputs)
            self.path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")
        assert [cell["outputs"] for cell in cells] == shown, "UPDATE_NOTEBOOKS=1 keeps what the cells show now"

    def reportinfo(self) -> tuple[Path, int, str]:
        """Say what is tested."""
        return self.path, 0, self.path.name


def _show(run: _DocumentRun, source: str, number: int) -> list[dict[str, Any]]:
    """Run one cell; return what Jupyter would keep of it: what is printed, and the value of a last expression."""
    tree = ast.parse(source)
    last = tree.body[-1] if tree.body else None
    vars(run.module).pop("_", None)
    if isinstance(last, ast.Expr):
        tree.body[-1] = ast.copy_location(ast.Assign([ast.Name("_", ast.Store())], last.value), last)
        ast.fix_missing_locations(tree)
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        run.run(tree, f"cell {number}")
    outputs: list[dict[str, Any]] = []
    if text := printed.getvalue():
        outputs.append({"name": "stdout", "output_type": "stream", "text": text.splitlines(keepends=True)})
    if (value := vars(run.module).get("_")) is not None:
        data = {"text/plain": repr(value).splitlines(keepends=True)}
        outputs.append({"data": data, "execution_count": number, "metadata": {}, "output_type": "execute_result"})
    return outputs


_collect_document = Sybil(
    parsers=[CodeBlockParser(language="python", evaluator=_evaluate), SkipParser()],
    patterns=["*.md"],
    teardown=_teardown,
).pytest()


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Take documents and notebooks."""
    if file_path.suffix == ".ipynb":
        return cast("pytest.Collector", cast("Any", _Notebook).from_parent(parent, path=file_path))
    return cast("pytest.Collector | None", _collect_document(file_path, parent))
