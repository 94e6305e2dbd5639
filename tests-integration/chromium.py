"""Pages in a real Chromium: a server process that can be killed and started again, and windows that collect errors.

`tests-integration/conftest.py` makes fixtures of it: `serve`, `windows`.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pytest

if TYPE_CHECKING:
    from playwright.async_api import Browser, ConsoleMessage, Page, ViewportSize

__all__ = ["DEADLINE", "FLAGS", "SCREENSHOTS", "Serve", "ServerProcess", "Window", "Windows", "program"]

DEADLINE = 60.0
"""Seconds for a server or a browser to start on a busy machine, and for a page to show what it must."""

FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions"),
)

SCREENSHOTS = Path(__file__).parent / "screenshots"
"""What the tests saw; made anew by each run, ignored by git."""


def program() -> str:
    """Return where Chromium is; without one the test is skipped, or fails where REQUIRE_BROWSER is set, as in CI."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        found = shutil.which(name)
        if found is not None:
            return found
    if os.environ.get("REQUIRE_BROWSER"):
        pytest.fail("no Chromium here; `make browser` installs it")
    pytest.skip("no Chromium here; `make browser` installs it")


class ServerProcess:
    """An application in a uvicorn process of its own, always on the same free port. `serve` makes it.

    Args:
        app: what uvicorn is to serve, as ``module:name``.
        home: the folder that the process runs in and imports from.
        log: where it writes its errors.
        environment: for the process, beside this one's own.
    """

    def __init__(self, app: str, home: Path, log: Path, environment: Mapping[str, str]) -> None:
        self._app = app
        self._home = home
        self._log = log
        self._environment = environment
        self._process: asyncio.subprocess.Process | None = None
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        """What the process wrote until now."""
        return self._log.read_text() if self._log.exists() else ""

    async def start(self) -> None:
        """Start the process, and wait until it answers.

        Raises:
            RuntimeError: it ended instead.
        """
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "uvicorn", self._app, "--port", str(self.port), "--log-level", "warning"),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._home,
                env={**os.environ, "PYTHONPATH": str(self._home), "PYTHONUNBUFFERED": "1", **self._environment},
            )
        async with asyncio.timeout(DEADLINE):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                except OSError:
                    if self._process.returncode is not None:
                        raise RuntimeError(f"the server did not start:\n{self.log}") from None
                    await asyncio.sleep(0.05)
                else:
                    writer.close()
                    await writer.wait_closed()
                    return

    async def kill(self) -> None:
        """End the process as a crash would."""
        if self._process is not None:
            if self._process.returncode is None:
                self._process.send_signal(signal.SIGKILL)
            await self._process.wait()
            self._process = None


class Serve(Protocol):
    """What the fixture `serve` is."""

    async def __call__(self, app: str, home: Path, /, **environment: str) -> ServerProcess:
        """Start a server process, which ends with the test. See `ServerProcess`."""
        ...


@dataclass(eq=False)
class Window:
    """A browser window with cookies of its own.

    Attributes:
        page: Playwright's.
        errors: what scripts threw and what the console showed as errors or warnings. Not empty at the end of the test
            is a failure.
        ignored: patterns of messages that are meant to happen, for example while the server is down.
    """

    name: str
    page: Page
    test: str
    errors: list[str] = field(default_factory=list[str])
    ignored: list[str] = field(default_factory=list[str])

    def __post_init__(self) -> None:
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self._note(str(error)))

    def ignore(self, pattern: str) -> None:
        """Let messages pass that `pattern` is found in."""
        self.ignored.append(pattern)

    async def screenshot(self, name: str, *, whole: bool = False) -> Path:
        """Keep what the window shows: ``screenshots/<test>-<name>-<window>.png``. Returns the file."""
        file = SCREENSHOTS / f"{self.test}-{name}-{self.name}.png"
        await self.page.screenshot(path=file, full_page=whole, animations="disabled")
        return file

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self._note(f"{message.type}: {message.text} ({message.location.get('url', '')})")

    def _note(self, error: str) -> None:
        if not any(re.search(pattern, error) for pattern in self.ignored):
            self.errors.append(error)


class Windows:
    """Opens windows of one browser. The fixture `windows` is one.

    Args:
        browser: Playwright's.
        test: the name of the test, for its screenshots.
    """

    def __init__(self, browser: Browser, test: str) -> None:
        self._browser = browser
        self._test = test
        self.opened: list[Window] = []

    async def open(
        self, url: str, *, name: str = "window", width: int = 900, height: int = 700, dark: bool = False
    ) -> Window:
        """Open a window that shares no cookies with the others, and wait until the page is loaded."""
        size: ViewportSize = {"width": width, "height": height}
        context = await self._browser.new_context(viewport=size, color_scheme="dark" if dark else "light")
        context.set_default_timeout(DEADLINE * 1000)
        window = Window(name, await context.new_page(), self._test)
        self.opened.append(window)
        await window.page.goto(url)
        return window

    def check(self) -> None:
        """Fail where a window met an error."""
        met = {window.name: window.errors for window in self.opened if window.errors}
        assert not met, met
