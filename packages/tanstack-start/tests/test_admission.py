"""Who gets in: origins, methods, media types, sizes, users."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Mount

from tanstack_start import (
    FailedCall,
    FunctionCallError,
    FunctionsClient,
    ServerFunctions,
    UsageError,
    as_user,
    current_request,
    current_user,
    server_fn,
)

Connect = Callable[..., FunctionsClient]
Http = Callable[[ServerFunctions], httpx.AsyncClient]

JSON = {"content-type": "application/json"}


@server_fn(path="shop/buy")
async def buy(what: str) -> str:
    bought.append(what)
    return what


@server_fn(path="shop/look", method="GET")
async def look() -> list[str]:
    return bought


@server_fn(path="shop/whoami")
async def whoami() -> str | None:
    return current_user()


@server_fn(path="shop/agent")
async def agent() -> str:
    return current_request().headers["user-agent"]


@server_fn(path="shop/through")
async def through() -> str | None:
    return await whoami()


bought: list[str] = []
failed: list[FailedCall] = []


def get_user(request: Request) -> str | None:
    return request.headers.get("x-user")


def serve(**options: Any) -> ServerFunctions:
    bought.clear()
    failed.clear()
    options = {"get_user": get_user, "on_error": failed.append, **options}
    return ServerFunctions(buy, look, whoami, agent, through, **options)


def error(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


# Section A of the register asks for default deny; browsers are where a request can come without its user's will.
@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "http://server.evil.example"},
        {"origin": "http://server:8080"},
        {"origin": "null"},
        {"origin": ""},
        {"origin": "http://[::1"},
        {"origin": "http://server", "sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"origin": "https://evil.example", "sec-fetch-site": "cross-site"},
        {"origin": "https://app.example.evil", "sec-fetch-site": "cross-site"},
        {"origin": "http://app.example", "sec-fetch-site": "same-site"},
    ],
)
async def test_posts_from_pages_of_other_sites_are_refused(http: Http, headers: dict[str, str]) -> None:
    app = serve(allowed_origins=["https://app.example"])
    answer = await http(app).post("/shop/buy", json={"what": "tea"}, headers=headers)

    assert error(answer) == (403, "bad_origin")
    assert bought == []


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"origin": "http://server"},
        {"origin": "http://SERVER:80"},
        {"origin": "https://server"},  # behind a proxy that ends TLS
        {"origin": "http://server", "sec-fetch-site": "same-origin"},
        {"origin": "https://public.example", "sec-fetch-site": "same-origin"},  # behind a proxy that changes Host
        {"sec-fetch-site": "none"},
        {"origin": "https://app.example"},
        {"origin": "https://app.example:443", "sec-fetch-site": "cross-site"},
    ],
)
async def test_posts_from_own_pages_listed_origins_and_programs_pass(http: Http, headers: dict[str, str]) -> None:
    app = serve(allowed_origins=["https://app.example"])
    answer = await http(app).post("/shop/buy", json={"what": "tea"}, headers=headers)

    assert answer.json() == {"result": "tea"}


@pytest.mark.parametrize(
    "origins", ["https://a.example", ["a.example"], ["https://a.example/"], ["https://a.example/x"], ["*"], [""]]
)
def test_what_is_not_a_list_of_origins_is_refused(origins: Any) -> None:
    with pytest.raises(UsageError, match=r"pass a list|an origin is scheme and host"):
        serve(allowed_origins=origins)


@pytest.mark.parametrize("media_type", [None, "text/plain", "application/x-www-form-urlencoded", "application/jsonx"])
async def test_a_form_cannot_post(http: Http, media_type: str | None) -> None:
    headers = {"content-type": media_type} if media_type else {}
    answer = await http(serve()).post("/shop/buy", content=b'{"what": "tea"}', headers=headers)

    assert error(answer) == (415, "bad_media_type")
    assert bought == []


async def test_a_media_type_may_have_a_charset(http: Http) -> None:
    headers = {"content-type": "Application/JSON; charset=utf-8"}
    assert (await http(serve()).post("/shop/buy", content=b'{"what": "tea"}', headers=headers)).status_code == 200


async def test_each_function_has_one_method(http: Http) -> None:
    client = http(serve())

    for answer, allowed in [
        (await client.get("/shop/buy", params={"args": '{"what": "tea"}'}), "POST"),
        (await client.post("/shop/look", json={}), "GET"),
    ]:
        assert error(answer) == (405, "bad_method")
        assert answer.headers["allow"] == allowed
    assert bought == []


@pytest.mark.parametrize("path", ["/", "/shop", "/shop/buy/", "/shop/sell", "//shop/buy"])
async def test_other_paths_are_refused(http: Http, path: str) -> None:
    assert error(await http(serve()).post(path, json={"what": "tea"})) == (404, "unknown_function")


async def test_a_body_has_a_limit(http: Http) -> None:
    client = http(serve(max_body_bytes=21))
    sent: list[bytes] = []

    async def endless() -> AsyncIterator[bytes]:
        for _ in range(100):
            sent.append(b'{"what": "')
            yield sent[-1]

    fits, too_large = b'{"what": "123456789"}', b'{"what": "1234567890"}'
    assert (await client.post("/shop/buy", content=fits, headers=JSON)).json() == {"result": "123456789"}
    assert error(await client.post("/shop/buy", content=too_large, headers=JSON)) == (413, "too_large")
    assert error(await client.post("/shop/buy", content=endless(), headers=JSON)) == (413, "too_large")
    assert len(sent) == 3


async def test_answers_are_not_stored_and_not_guessed_at(http: Http) -> None:
    client = http(serve())
    for answer in (await client.get("/shop/look"), await client.post("/shop/buy"), await client.get("/nowhere")):
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["content-type"] == "application/json"


async def test_the_user_is_the_requests(connect: Connect) -> None:
    app = serve()
    with connect(app, headers={"x-user": "ada"}).activate():
        assert await whoami() == "ada"
    with connect(app).activate():
        assert await whoami() is None
    assert current_user() is None


async def test_get_user_may_be_async(connect: Connect) -> None:
    async def get_user(request: Request) -> str | None:
        return "bob"

    with connect(serve(get_user=get_user)).activate():
        assert await whoami() == "bob"


@pytest.mark.parametrize("user", [5, "", b"ada", object()])
async def test_a_user_that_is_not_a_name_fails_the_call(connect: Connect, user: object) -> None:  # V5
    def get_user(request: Request) -> object:
        return user

    with connect(serve(get_user=get_user)).activate(), pytest.raises(FunctionCallError, match="failed in the server"):
        await buy("tea")

    assert bought == []
    assert "return the user's id as a non-empty str (for example str(user.id))" in str(failed[0].error)


async def test_a_get_user_that_raises_fails_one_call_only(connect: Connect) -> None:  # V5
    def get_user(request: Request) -> str | None:
        if "x-user" not in request.headers:
            raise RuntimeError("no session store")
        return request.headers["x-user"]

    app = serve(get_user=get_user)
    with connect(app).activate(), pytest.raises(FunctionCallError, match="failed in the server"):
        await buy("tea")
    with connect(app, headers={"x-user": "ada"}).activate():
        assert await buy("tea") == "tea"
    assert bought == ["tea"]
    assert [str(call.error) for call in failed] == ["no session store"]


def test_without_get_user_there_is_no_server() -> None:  # A4
    with pytest.raises(UsageError, match="get_user=lambda request: None"):
        serve(get_user=None)


async def test_the_request_is_at_hand_inside_a_call_only(connect: Connect) -> None:
    with connect(serve(), headers={"user-agent": "test/1"}).activate():
        assert await agent() == "test/1"
    with pytest.raises(UsageError, match="did not come over HTTP"):
        await agent()


async def test_a_function_calls_another_in_place_as_the_same_user(connect: Connect) -> None:
    requests: list[str] = []
    app = serve()
    sender = httpx.AsyncClient(transport=httpx.ASGITransport(app), headers={"x-user": "ada"})

    async def note(request: httpx.Request) -> None:
        requests.append(request.url.path)

    sender.event_hooks["request"].append(note)
    async with sender:
        with FunctionsClient("http://server", http=sender).activate():
            assert await through() == "ada"

    assert requests == ["/shop/through"]


async def test_as_user_is_for_calls_without_http() -> None:
    with as_user("ada"):
        assert await through() == "ada"
        with as_user(None):
            assert await through() is None
        assert await through() == "ada"
    assert await through() is None
    with pytest.raises(UsageError, match="non-empty str"), as_user(""):
        pass


async def test_it_can_be_mounted_below_a_path(http: Http) -> None:
    app = Starlette(routes=[Mount("/api/functions", serve())])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app)) as sender:
        with FunctionsClient("http://server/api/functions/", http=sender).activate():
            assert await buy("tea") == "tea"


async def test_a_websocket_is_closed_and_a_lifespan_answered() -> None:
    app = serve()
    sent: list[Any] = []
    incoming = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])

    async def receive() -> Any:
        return next(incoming)

    async def send(message: Any) -> None:
        sent.append(message["type"])

    await app({"type": "websocket", "path": "/shop/buy", "headers": [], "root_path": ""}, receive, send)
    await app({"type": "lifespan"}, receive, send)

    assert sent == ["websocket.close", "lifespan.startup.complete", "lifespan.shutdown.complete"]


async def test_a_caller_that_goes_away_while_sending_runs_nothing() -> None:
    app = serve()
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message.get("status"))

    headers = [(b"content-type", b"application/json")]
    scope = {"type": "http", "method": "POST", "path": "/shop/buy", "root_path": "", "query_string": b""}
    await app({**scope, "headers": headers}, receive, send)

    assert sent[0] == 400
    assert (bought, failed) == ([], [])
