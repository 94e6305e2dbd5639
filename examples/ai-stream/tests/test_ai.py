"""The server functions, with clients in this process, and no page."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from functools import partial
from typing import Any

import pytest
from ai_stream.collections import turns
from ai_stream.schemas import Turn
from ai_stream.server.functions import ai
from ai_stream.server.realtime_auth import authorize
from ai_stream.server.transcript import Transcript

from tanstack_db import DbClient, LiveQuery, Rows, live_query
from tanstack_realtime import create_realtime_client
from tanstack_realtime.server import Realtime, publish_text
from tanstack_start import as_user


class Model:
    """Gives the tokens that the test feeds it."""

    def __init__(self) -> None:
        self.tokens: asyncio.Queue[str | Exception | None] = asyncio.Queue()

    async def __call__(self, question: str) -> AsyncIterator[str]:
        while (token := await self.tokens.get()) is not None:
            if isinstance(token, Exception):
                raise token
            yield token


class Window:
    """What Ann's window shows."""

    def __init__(self, realtime: Realtime) -> None:
        self._client = create_realtime_client(
            transport=realtime.local_transport(user_id="ann"), db=DbClient(), preset="node"
        )
        shown = self._client.collection(turns)
        self.query: LiveQuery[Rows[Turn]] = live_query(
            lambda q: q.from_(shown).where(lambda t: t.session_id == "ann").order_by(lambda t: t.id),
            client=self._client.db,
        )
        self._changed = asyncio.Event()
        self._stop: Callable[[], None] = lambda: None

    async def open(self) -> None:
        self._client.connect()
        await self._client.connected()
        with as_user("ann"):
            self._stop = self.query.subscribe(self._changed.set)
        await self.query.preload()

    async def until(self, *expected: tuple[str, str]) -> None:
        async with asyncio.timeout(10):
            while [(turn.text, turn.status) for turn in self.query.get()] != list(expected):
                self._changed.clear()
                await self._changed.wait()

    async def close(self) -> None:
        self._stop()
        await self._client.close()


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Model:
    model = Model()
    monkeypatch.setattr(ai, "tokens", model)
    monkeypatch.setattr(ai, "transcript", Transcript())
    return model


@pytest.fixture
async def realtime(model: Model, monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[Realtime]:
    async with Realtime(authorize=authorize, get_user=lambda connection: None, preset="node") as realtime:
        # Other examples that the same test process has imported have a Realtime, too.
        monkeypatch.setattr(ai, "publish", realtime.publish)
        monkeypatch.setattr(ai, "publish_text", partial(publish_text, publish=realtime.publish))
        yield realtime
        await ai.answering.aclose()


async def test_an_answer_grows_in_windows_that_come_before_and_in_the_middle(realtime: Realtime, model: Model) -> None:
    early = Window(realtime)
    await early.open()
    with as_user("ann"):
        await ai.ask(session_id="ann", question="Why?")
    await early.until(("Why?", "done"))
    model.tokens.put_nowait("Be")
    await early.until(("Why?", "done"), ("Be", "streaming"))

    late = Window(realtime)
    await late.open()
    await late.until(("Why?", "done"), ("Be", "streaming"))
    for token in ("cause", None):
        model.tokens.put_nowait(token)
    for window in (early, late):
        await window.until(("Why?", "done"), ("Because", "done"))
        await window.close()


@pytest.mark.parametrize("how", ["the model fails", "somebody stops it"])
async def test_an_answer_that_breaks_off_says_so(
    realtime: Realtime, model: Model, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    window = Window(realtime)
    await window.open()
    with as_user("ann"):
        await ai.ask(session_id="ann", question="Why?")
        model.tokens.put_nowait("Be")
        await window.until(("Why?", "done"), ("Be", "streaming"))
        with pytest.raises(ai.Busy):
            await ai.ask(session_id="ann", question="And?")
        if how == "the model fails":
            with caplog.at_level(logging.CRITICAL):
                model.tokens.put_nowait(ConnectionError("gone"))
                await window.until(("Why?", "done"), ("Be", "failed"))
        else:
            await ai.stop_answer(session_id="ann")
            await window.until(("Why?", "done"), ("Be", "failed"))
        await window.close()
        assert [turn.status for turn in await ai.get_turns(session_id="ann")] == ["done", "failed"]


@pytest.mark.parametrize("call", [ai.get_turns, ai.stop_answer])
async def test_strangers_are_refused(call: Any) -> None:
    with as_user("bo"), pytest.raises(ai.NotYours):
        await call(session_id="ann")
