"""Fixtures of the tests with a real browser, and of those with a provider: the module's ``app``."""

from __future__ import annotations

import json
import os
import re
from collections.abc import AsyncGenerator, Generator
from pathlib import Path

import pytest
from ably_js import AblyJs, install
from chromium import DEADLINE, FLAGS, SCREENSHOTS, Serve, ServerProcess, Windows, program
from playwright.async_api import async_playwright, expect
from screens import Screens

from tanstack_db import require_sessions
from tanstack_realtime.testing import ConformanceProvider, Kit


@pytest.fixture(autouse=True)
def one_user_again() -> Generator[None]:
    """A provider says that its process renders for many users; the next test's may be a terminal."""
    yield
    require_sessions(False)


@pytest.fixture
async def kit(app: ConformanceProvider) -> AsyncGenerator[Kit]:
    """Users of the module's ``app``; they are gone when the test ends."""
    kit = Kit(app)
    yield kit
    await kit.aclose()


@pytest.fixture
def screens(kit: Kit) -> Generator[Screens]:
    """What users see of a collection."""
    screens = Screens(kit)
    yield screens
    for screen in screens.made:
        screen.lease.release()


@pytest.fixture(scope="session")
def ably_js_installed() -> None:
    """Ably's SDK for JavaScript is installed."""
    install()


@pytest.fixture
async def js(app: ConformanceProvider, ably_js_installed: None) -> AsyncGenerator[AblyJs]:
    """A process with clients of ably-js, which ends before the module's ``app`` does."""
    async with AblyJs() as js:
        yield js


@pytest.fixture
async def serve(tmp_path: Path) -> AsyncGenerator[Serve]:
    """``await serve("todos.server.app:app", home, DATABASE_URL=...)`` starts a server, which ends with the test."""
    started: list[ServerProcess] = []

    async def serve(app: str, home: Path, /, **environment: str) -> ServerProcess:
        server = ServerProcess(app, home, tmp_path / f"server-{len(started)}.log", environment)
        started.append(server)
        await server.start()
        return server

    yield serve
    for server in started:
        await server.kill()
        print(server.log)  # shown where the test failed


@pytest.fixture
async def windows(request: pytest.FixtureRequest) -> AsyncGenerator[Windows]:
    """``await windows.open(url, name="ada")`` opens a window; errors in its console fail the test."""
    executable = program()
    SCREENSHOTS.mkdir(exist_ok=True)
    expect.set_options(timeout=DEADLINE * 1000)
    name: str = request.node.name
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=executable, args=FLAGS)
        windows = Windows(browser, re.sub(r"\W+", "-", name.removeprefix("test_")).strip("-"))
        try:
            yield windows
        finally:
            for window in windows.opened:
                # What it showed last is what one wants to see of a test that failed.
                if not window.page.is_closed():
                    await window.screenshot("end")
            await browser.close()
    windows.check()


class ConformanceRecord:
    """Writes down how each check of the conformance kit ended on each preset, for `scripts/capabilities.py`.

    Args:
        path: a JSON file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._results: dict[str, dict[str, str]] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note one phase of one test; a failure in any of them is one of the check."""
        found = re.search(r"test_([a-z]+)_conformance\.py::\w+\[(\w+)\]$", report.nodeid)
        if found is None or (report.passed and report.when != "call"):
            return
        said = "passed" if report.passed else "failed"
        if report.skipped and isinstance(report.longrepr, tuple):
            said = f"left out: {report.longrepr[2].removeprefix('Skipped: ')}"
        of_preset = self._results.setdefault(found[1], {})
        if of_preset.get(found[2]) != "failed":
            of_preset[found[2]] = said

    def pytest_sessionfinish(self) -> None:
        """Write the file."""
        self._path.write_text(json.dumps(self._results, indent=1))


def pytest_configure(config: pytest.Config) -> None:
    """Write the record where `scripts/integration.py` asks for it."""
    path = os.environ.get("CONFORMANCE_RECORD")
    if path:
        config.pluginmanager.register(ConformanceRecord(Path(path)))
