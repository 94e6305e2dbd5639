"""The client's socket in a browser, with JavaScript played by the test. tests-integration/ runs it under Pyodide."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any, cast

import pytest

from realtime_preset_node._browser import connect
from realtime_preset_node._client import NodeTransport
from realtime_preset_node._preset import preset
from tanstack_db.testing import settle
from tanstack_realtime import (
    AuthenticationError,
    CloseReason,
    ConfigurationError,
    ConnectionLostError,
    EagerLink,
    HttpResponse,
    Link,
    OpenRequest,
    PresetMismatchError,
)

WELCOME = {
    "type": "welcome",
    "version": 1,
    "connection": "c1",
    "user": "ann",
    "preset": "node",
    "heartbeat": 25,
    "timeout": 10,
    "max_message_bytes": 65536,
}


class JsException(Exception):
    """What JavaScript throws."""


class Proxy:
    """A function that JavaScript keeps."""

    def __init__(self, function: Callable[[Any], None]) -> None:
        self._function = function
        self.is_running = self.is_destroyed = False

    def __call__(self, event: Any) -> None:
        assert not self.is_destroyed
        self.is_running = True
        self._function(event)
        self.is_running = False

    def destroy(self) -> None:
        assert not self.is_running
        self.is_destroyed = True


class Event:
    def __init__(self, **values: object) -> None:
        self.__dict__.update(values)


class WebSocket:
    """A browser's socket, as far as scripts see it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.readyState = 0
        self.bufferedAmount = 0
        self.sent: list[Any] = []
        self.listeners: dict[str, Proxy] = {}
        self.closed_with: list[int | None] = []

    def addEventListener(self, event: str, listener: Proxy) -> None:
        self.listeners[event] = listener

    def removeEventListener(self, event: str, listener: Proxy) -> None:
        assert self.listeners.pop(event) is listener

    def send(self, text: str) -> None:
        self.sent.append(json.loads(text))

    def close(self, code: int | None = None) -> None:
        self.closed_with.append(code)
        if self.readyState < 2:
            self.readyState = 2

    # -- what the test does --

    def happens(self, event: str, **values: object) -> None:
        listener = self.listeners.get(event)
        if listener is not None:
            listener(Event(**values))

    def opens(self) -> None:
        self.readyState = 1
        self.happens("open")

    def says(self, *frames: Mapping[str, Any]) -> None:
        self.happens("message", data="\n".join(map(json.dumps, frames)))

    def closes(self, code: int, reason: str = "") -> None:
        self.readyState = 3
        self.happens("close", code=code, reason=reason)


class Browser:
    """The modules ``js`` and ``pyodide.ffi``."""

    def __init__(self) -> None:
        self.sockets: list[WebSocket] = []
        self.proxies: list[Proxy] = []
        self.refusal: str | None = None

    @property
    def socket(self) -> WebSocket:
        return self.sockets[-1]

    def new(self, url: str) -> WebSocket:
        if self.refusal is not None:
            raise JsException(self.refusal)
        self.sockets.append(WebSocket(url))
        return self.socket

    def create_proxy(self, function: Callable[[Any], None]) -> Proxy:
        self.proxies.append(Proxy(function))
        return self.proxies[-1]


class Sink:
    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *arguments: self.told.append((name, *arguments))


class Http:
    """Answers ``/config`` as a server with this preset would, or not at all."""

    def __init__(self, preset: str | None = None) -> None:
        self._preset = preset

    async def __call__(
        self, method: str, url: str, /, *, headers: Mapping[str, str], body: bytes | None
    ) -> HttpResponse:
        if self._preset is None:
            raise ConnectionLostError(f"{method} {url}")
        return HttpResponse(200, json.dumps({"preset": self._preset}).encode())


@pytest.fixture
def browser(monkeypatch: pytest.MonkeyPatch) -> Browser:
    browser = Browser()
    js, ffi = ModuleType("js"), ModuleType("pyodide.ffi")
    vars(js)["WebSocket"] = browser
    vars(ffi).update(create_proxy=browser.create_proxy, JsException=JsException)
    monkeypatch.setitem(sys.modules, "js", js)
    monkeypatch.setitem(sys.modules, "pyodide", ModuleType("pyodide"))
    monkeypatch.setitem(sys.modules, "pyodide.ffi", ffi)
    return browser


def opening(sink: Sink, http: Http | None = None, **options: Any) -> asyncio.Task[Link]:
    transport = NodeTransport(preset.capabilities, http or Http(), connect)
    request = OpenRequest(url="https://app.example/_realtime", **options)
    return asyncio.ensure_future(transport.open(request, cast("Any", sink)))


async def linked(browser: Browser, sink: Sink, **options: Any) -> Link:
    task = opening(sink, **options)
    await settle()
    browser.socket.opens()
    await settle()
    browser.socket.says(WELCOME)
    return await task


async def test_the_token_goes_into_the_first_frame_and_messages_arrive_in_order(browser: Browser) -> None:
    sink = Sink()
    link = await linked(browser, sink, token="secret")
    assert browser.socket.url == "wss://app.example/_realtime/ws"
    assert browser.socket.sent[0]["token"] == "secret"
    subscribing = asyncio.ensure_future(link.subscribe("chat:room=1", since=None))
    await settle()
    browser.socket.says({"type": "subscribed", "id": 1, "channel": "chat:room=1", "epoch": "e", "offset": 0})
    messages = [{"type": "messages", "channel": "chat:room=1", "offset": n, "data": [n]} for n in (1, 2, 3)]
    browser.socket.says(*messages[:2])
    browser.socket.says(messages[2])
    browser.socket.happens("message", data=b"binary")
    await subscribing
    await settle()
    assert [told[2].data for told in sink.told] == [1, 2, 3]


async def test_closing_waits_for_the_server_and_lets_javascript_go(browser: Browser) -> None:
    sink = Sink()
    link = await linked(browser, sink)
    closing = asyncio.ensure_future(link.close())
    await settle()
    assert not closing.done()
    browser.socket.closes(1000)
    await closing
    await link.close()
    assert browser.socket.closed_with[0] == 1000
    assert sink.told == []
    assert all(proxy.is_destroyed for proxy in browser.proxies)
    assert browser.socket.listeners == {}


async def test_a_server_that_does_not_answer_the_close_is_not_waited_for(browser: Browser) -> None:
    link = await linked(browser, Sink())
    began = asyncio.get_running_loop().time()
    await link.close()
    assert asyncio.get_running_loop().time() - began == pytest.approx(2.0, abs=0.01)
    assert all(proxy.is_destroyed for proxy in browser.proxies)


async def test_the_end_of_the_connection_is_told_once_behind_what_arrived(browser: Browser) -> None:
    sink = Sink()
    link = await linked(browser, sink)
    pinging = asyncio.ensure_future(link.ping())
    await settle()
    browser.socket.says({"type": "pong", "id": 1})
    browser.socket.closes(1006)
    await pinging
    await settle()
    assert sink.told == [("closed", CloseReason(1006, "the connection broke"))]
    with pytest.raises(ConnectionLostError, match="broke"):
        await link.ping()
    await link.close()
    assert len(sink.told) == 1


async def test_silence_drops_the_socket(browser: Browser) -> None:
    sink = Sink()
    link = await linked(browser, sink)
    await asyncio.sleep(40)
    assert [told[0] for told in sink.told] == ["closed"]
    assert browser.socket.closed_with == [None]
    assert browser.socket.listeners == {}
    await link.close()


async def test_what_is_sent_on_a_closing_socket_fails(browser: Browser) -> None:
    link = await linked(browser, Sink())
    browser.socket.readyState = 2
    with pytest.raises(ConnectionLostError, match="closing"):
        await link.ping()
    browser.socket.closes(1000)
    await link.close()


async def test_a_message_is_written_at_once_where_the_socket_is_free(browser: Browser) -> None:
    link = await linked(browser, Sink())
    assert isinstance(link, EagerLink)
    assert link.begin_publish("a", 1) is not None
    browser.socket.bufferedAmount = 1
    assert link.begin_publish("a", 2) is None
    browser.socket.bufferedAmount = 0
    browser.socket.readyState = 2
    assert link.begin_publish("a", 3) is None
    browser.socket.closes(1000)
    await link.close()

    assert [frame["data"] for frame in browser.socket.sent if frame["type"] == "publish"] == [1]


async def test_a_refused_identity_is_final(browser: Browser) -> None:
    task = opening(Sink())
    await settle()
    browser.socket.opens()
    await settle()
    browser.socket.closes(4401, "who are you?")
    with pytest.raises(AuthenticationError, match="who are you"):
        await task
    assert browser.socket.listeners == {}


async def test_a_socket_that_does_not_open_may_be_tried_again(browser: Browser) -> None:
    task = opening(Sink())
    await settle()
    browser.socket.closes(1006)
    with pytest.raises(ConnectionLostError, match=r"mounted at /_realtime.*origin"):
        await task
    assert all(proxy.is_destroyed for proxy in browser.proxies)


async def test_a_server_with_another_preset_is_named(browser: Browser) -> None:
    task = opening(Sink(), Http("centrifugo"))
    await settle()
    browser.socket.closes(1006)
    with pytest.raises(PresetMismatchError, match="centrifugo"):
        await task


async def test_giving_up_while_it_opens_leaves_nothing(browser: Browser) -> None:
    task = opening(Sink())
    await settle()
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert browser.socket.closed_with == [None]
    assert all(proxy.is_destroyed for proxy in browser.proxies)


async def test_what_a_browser_cannot_do_is_said_at_once(browser: Browser) -> None:
    with pytest.raises(ConfigurationError, match=r"X-Team.*get_token="):
        await opening(Sink(), headers={"X-Team": "1"})
    browser.refusal = "SecurityError: insecure"
    with pytest.raises(ConfigurationError, match="insecure"):
        await opening(Sink())
    assert browser.sockets == []
