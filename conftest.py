"""Every ```python block of the documentation is a test.

The blocks of one document run in order, in one module, inside one running event loop in virtual time; `await` works at
their top level. ``<!-- skip: next "reason" -->`` before a block leaves it out.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import os
import sys
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

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

    def run(self, source: str, path: str) -> None:
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


pytest_collect_file = Sybil(
    parsers=[CodeBlockParser(language="python", evaluator=_evaluate), SkipParser()],
    patterns=["*.md"],
    teardown=_teardown,
).pytest()
