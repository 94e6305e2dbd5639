"""The ably preset, and the tests that say what the emulator must do, against Ably itself.

They run only where ``ABLY_API_KEY`` is a key of an application at Ably that may be used for tests, and reach it over
the internet. With ``ABLY_ENDPOINT=http://127.0.0.1:PORT`` they run against a server on loopback instead.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from urllib.parse import urlsplit

import pytest
from ably_app import AblyApp
from ably_js import AblyJs
from ably_python import AblyPython
from ably_server import Rest
from test_ably_sdks import (
    Side,
    binary,
    name,
    test_a_bad_name_is_refused,
    test_a_token_says_who_it_is,
    test_data_means_the_same_in_every_format,
    test_it_connects_pings_and_closes,
    test_it_publishes_and_reads_history,
    test_members_are_seen,
    test_more_rights_do_not_cost_the_connection,
    test_rights_are_held_to,
    test_the_server_asks_for_another_token_in_time,
    test_who_comes_late_can_rewind,
    test_without_echo_it_does_not_hear_itself,
)

from tanstack_realtime.testing import ConformanceProvider, Fault

__all__ = [
    "binary",
    "name",
    "test_a_bad_name_is_refused",
    "test_a_token_says_who_it_is",
    "test_data_means_the_same_in_every_format",
    "test_it_connects_pings_and_closes",
    "test_it_publishes_and_reads_history",
    "test_members_are_seen",
    "test_more_rights_do_not_cost_the_connection",
    "test_rights_are_held_to",
    "test_the_server_asks_for_another_token_in_time",
    "test_who_comes_late_can_rewind",
    "test_without_echo_it_does_not_hear_itself",
]

KEY = os.environ.get("ABLY_API_KEY", "")
ENDPOINT = os.environ.get("ABLY_ENDPOINT")
PORT = urlsplit(ENDPOINT).port if ENDPOINT else None

pytestmark = [
    pytest.mark.skipif(not KEY, reason="ABLY_API_KEY is not set: nothing was tested against Ably itself"),
    pytest.mark.usefixtures("ably_js_installed"),
]


class LiveApp(AblyApp):
    """An application beside this process, and no emulator."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.monkeypatch.setenv("ABLY_API_KEY", KEY)
        if ENDPOINT is None:
            self.monkeypatch.delenv("ABLY_ENDPOINT")
        else:
            self.monkeypatch.setenv("ABLY_ENDPOINT", ENDPOINT)

    async def start_ably(self) -> None:
        """It runs."""

    async def stop_ably(self) -> None:
        """It goes on."""


@pytest.fixture
async def side(name: str, binary: bool) -> AsyncIterator[Side]:
    async with Rest(PORT, KEY) as rest, AblyJs() if name == "js" else AblyPython() as sdk:
        yield Side(sdk, binary, PORT, PORT, rest, KEY)


@pytest.fixture
async def provider(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[LiveApp]:
    away = "nobody can do that to Ably"
    lacks: dict[Fault, str] = {"cut": away, "half_open": away, "restart": away}
    provider = LiveApp(monkeypatch, quiet=1.5, answer_within=10.0, timing=None, lacks=lacks)
    async with provider:
        yield provider


async def test_the_preset_conforms(
    conformance_check: Callable[[ConformanceProvider], Awaitable[None]], provider: LiveApp
) -> None:
    await conformance_check(provider)
