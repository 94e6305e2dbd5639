"""The remote end: which client makes a call, what it sends, and what it says when there is no answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest

from tanstack_start import (
    FunctionCallError,
    FunctionsClient,
    RemoteError,
    ServerFunctions,
    UsageError,
    connect_functions,
    disconnect_functions,
    server_fn,
)

Connect = Callable[..., FunctionsClient]


@server_fn(path="notes/add")
async def add(text: str) -> str:
    return f"here: {text}"


@server_fn(path="notes/all", method="GET")
async def get_all(prefix: str = "") -> list[str]:
    return ["here"]


@server_fn(path="other/ping")
async def ping() -> str:
    return "here"


def answering(name: str) -> httpx.AsyncClient:
    """Return an HTTP client whose server answers every call with its name."""
    return mocked(lambda request: httpx.Response(200, json={"result": name}))


def mocked(handler: Callable[[httpx.Request], httpx.Response]) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.MockTransport(handler))


@pytest.fixture(autouse=True)
async def _leave_nothing_connected() -> AsyncIterator[None]:
    yield
    await disconnect_functions()


async def test_after_connect_calls_go_out_and_after_disconnect_they_run_here() -> None:
    assert await add("x") == "here: x"
    connect_functions("http://a", http=answering("a"))
    assert await add("x") == "a"
    await disconnect_functions()
    assert await add("x") == "here: x"


async def test_a_client_does_nothing_until_it_is_in_charge() -> None:
    FunctionsClient("http://a", http=answering("a"))
    assert await add("x") == "here: x"


async def test_the_newest_client_that_covers_a_function_is_in_charge() -> None:
    connect_functions("http://a", add, get_all, http=answering("a"))
    assert await ping() == "here"

    connect_functions("http://b", ping, http=answering("b"))
    assert (await add("x"), await ping()) == ("a", "b")

    connect_functions("http://c", http=answering("c"))
    assert (await add("x"), await ping()) == ("c", "c")


async def test_activate_goes_before_the_process_and_ends_with_the_block() -> None:
    connect_functions("http://a", http=answering("a"))
    with FunctionsClient("http://b", http=answering("b")).activate():
        assert await add("x") == "b"
        with FunctionsClient("http://c", ping, http=answering("c")).activate():
            assert (await add("x"), await ping()) == ("b", "c")
    assert await add("x") == "a"


async def test_tasks_keep_the_client_they_were_started_with() -> None:
    async def call(name: str) -> str:
        with FunctionsClient("http://x", http=answering(name)).activate():
            await asyncio.sleep(0)
            child = asyncio.create_task(add("x"))
        return await child

    assert [*await asyncio.gather(call("a"), call("b"))] == ["a", "b"]


async def test_a_function_that_serves_may_call_another_server() -> None:
    @server_fn(path="front/page")
    async def page() -> list[str]:
        return [await add("x"), await ping()]

    app = ServerFunctions(page, add, get_user=lambda request: None)
    connect_functions("http://backend", ping, http=answering("backend"))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app)) as http:
        with FunctionsClient("http://front", page, add, http=http).activate():
            assert await page() == ["here: x", "backend"]


async def test_a_closed_client_raises_and_does_not_run_the_function_here() -> None:
    client = connect_functions("http://a")
    await client.aclose()
    await client.aclose()

    assert client.closed
    with pytest.raises(UsageError, match="the client for http://a is closed"):
        await add("x")


async def test_async_with_closes() -> None:
    async with FunctionsClient("http://a") as client:
        assert not client.closed
    assert client.closed


async def test_an_http_client_that_was_given_stays_open() -> None:
    http = answering("a")
    async with FunctionsClient("http://a", http=http):
        pass
    assert not http.is_closed


@pytest.mark.parametrize(
    "url", ["", "/functions", "server/functions", "ws://server", "http://", "http://a:b", "http://a/?x=1"]
)
def test_what_is_not_an_address_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match="pass a URL such as"):
        FunctionsClient(url)


def test_what_is_not_a_server_function_is_refused() -> None:
    with pytest.raises(UsageError, match="is not a server function"):
        connect_functions("http://a", answering)  # type: ignore[arg-type]


async def test_what_is_sent() -> None:
    requests: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return httpx.Response(200, json={"result": [] if request.method == "GET" else ""})

    with FunctionsClient("http://a/functions/", http=mocked(handler)).activate():
        await add(text="ünï")
        await get_all()
        await get_all("a b&c")

    post, bare, get = requests
    assert (post.method, str(post.url), post.content) == (
        "POST",
        "http://a/functions/notes/add",
        '{"text":"ünï"}'.encode(),
    )
    assert post.headers["content-type"] == "application/json"
    assert (bare.method, str(bare.url)) == ("GET", "http://a/functions/notes/all")
    assert dict(get.url.params) == {"args": '{"prefix":"a b&c"}'}
    assert "authorization" not in post.headers


async def test_headers_and_token_are_asked_for_at_each_call() -> None:
    seen: list[tuple[str, str | None]] = []
    tokens = iter(["one", None, "three"])
    trace = iter(["1", "2", "3"])

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append((request.headers["x-trace"], request.headers.get("authorization")))
        return httpx.Response(200, json={"result": ""})

    async def get_token() -> str | None:
        return next(tokens)

    def headers() -> dict[str, str]:
        return {"X-Trace": next(trace)}

    with FunctionsClient("http://a", http=mocked(handler), headers=headers, get_token=get_token).activate():
        for _ in range(3):
            await add("x")

    assert seen == [("1", "Bearer one"), ("2", None), ("3", "Bearer three")]


async def test_a_get_token_may_be_sync() -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={"result": request.headers["authorization"]})

    with FunctionsClient("http://a", http=mocked(handler), get_token=lambda: "t").activate():
        assert await add("x") == "Bearer t"


@pytest.mark.parametrize("token", ["secret\n", " secret", "käse", "secret\r\nx-admin: 1", 7])
async def test_a_token_that_no_header_can_hold_is_refused_and_not_shown(token: Any) -> None:
    client = FunctionsClient("http://a", http=answering("a"), get_token=lambda: token)
    with client.activate(), pytest.raises(UsageError, match=r"get_token must return .*strip\(\)") as caught:
        await add("x")
    assert "secret" not in str(caught.value)


def test_a_token_in_place_of_get_token_is_refused_at_once() -> None:
    token: Any = "secret"
    with pytest.raises(UsageError, match="write get_token=lambda: token"):
        FunctionsClient("http://a", get_token=token)


@pytest.mark.parametrize(
    ("error", "code", "post", "get"),
    [
        (httpx.ConnectError, "unreachable", True, True),
        (httpx.ConnectTimeout, "timeout", True, True),
        (httpx.PoolTimeout, "timeout", True, True),
        # The server may have run the function before these.
        (httpx.ReadTimeout, "timeout", False, True),
        (httpx.ReadError, "unreachable", False, True),
        (httpx.RemoteProtocolError, "unreachable", False, True),
        (httpx.DecodingError, "bad_response", False, True),
    ],
)
async def test_a_network_failure_says_whether_to_try_again(
    error: type[httpx.RequestError], code: str, post: bool, get: bool
) -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        raise error("cable")

    with FunctionsClient("http://a", http=mocked(handler)).activate():
        with pytest.raises(FunctionCallError, match=r"notes/add: http://a .*cable") as failed_post:
            await add("x")
        with pytest.raises(FunctionCallError) as failed_get:
            await get_all()

    assert (failed_post.value.code, failed_post.value.retryable, failed_post.value.status) == (code, post, None)
    assert (failed_get.value.code, failed_get.value.retryable) == (code, get)
    assert isinstance(failed_post.value.__cause__, error)


@pytest.mark.parametrize(
    ("answer", "post", "get"),
    [
        (httpx.Response(502, text="<h1>Bad Gateway</h1>"), False, True),
        (httpx.Response(503), True, True),
        (httpx.Response(429), True, True),
        (httpx.Response(404, text="Not Found"), False, False),
        (httpx.Response(302, headers={"location": "http://b/login"}), False, False),
        (httpx.Response(200, text="<html>"), False, False),
        (httpx.Response(200, json={"results": 1}), False, False),
        (httpx.Response(400, json={"error": {"kind": "new", "code": "x"}}), False, False),
        (httpx.Response(400, json={"error": "no"}), False, False),
    ],
)
async def test_an_answer_from_something_else(answer: httpx.Response, post: bool, get: bool) -> None:
    with FunctionsClient("http://a", http=mocked(lambda request: answer)).activate():
        with pytest.raises(FunctionCallError, match=r"Is it mounted at http://a\?") as failed_post:
            await add("x")
        with pytest.raises(FunctionCallError) as failed_get:
            await get_all()

    assert (failed_post.value.code, failed_post.value.status) == ("bad_response", answer.status_code)
    assert (failed_post.value.retryable, failed_get.value.retryable) == (post, get)


async def test_a_refusal_says_what_to_do(connect: Connect) -> None:
    app = ServerFunctions(ping, get_user=lambda request: None)
    with connect(app).activate(), pytest.raises(FunctionCallError, match=r"notes/add: .*pass its module") as caught:
        await add("x")

    assert (caught.value.code, caught.value.status, caught.value.retryable) == ("unknown_function", 404, False)
    assert caught.value.function == "notes/add"


async def test_a_get_whose_arguments_do_not_fit_a_url_is_refused_before_it_is_sent() -> None:
    client = FunctionsClient("http://a", http=answering("a"))
    with client.activate(), pytest.raises(FunctionCallError, match='declare it with method="POST"') as caught:
        await get_all("x" * 8000)

    assert caught.value.code == "too_large"


async def test_an_error_id_may_be_missing() -> None:
    answer = httpx.Response(500, json={"error": {"kind": "failed", "new": 1}})
    client = FunctionsClient("http://a", http=mocked(lambda request: answer))
    with client.activate(), pytest.raises(RemoteError, match="unknown") as caught:
        await add("x")

    assert (caught.value.error_id, caught.value.status) == ("", 500)


async def test_cancelling_a_call_ends_it() -> None:
    started = asyncio.Event()

    async def wait(request: httpx.Request) -> httpx.Response:
        started.set()
        await asyncio.Event().wait()
        raise AssertionError

    async with httpx.AsyncClient(transport=httpx.MockTransport(wait)) as http:
        with FunctionsClient("http://a", http=http).activate():
            task: asyncio.Task[Any] = asyncio.ensure_future(add("x"))
            await started.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
