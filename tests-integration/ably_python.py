"""ably-python, unmodified, with the face of `ably_sdk`."""

from __future__ import annotations

import asyncio
import base64
import importlib
import json
from typing import Any, Final, cast

from ably_sdk import DEADLINE, Said, SdkClient, SdkError

from tanstack_realtime._http import DefaultHttp

__all__ = ["AblyPython", "PythonClient"]

# It has no types: whatever it gives is Any.
_ably: Any = importlib.import_module("ably")
_options: Any = importlib.import_module("ably.types.channeloptions")
_request: Any = importlib.import_module("ably.types.tokenrequest")
_util: Any = importlib.import_module("ably.util.exceptions")

_QUICK: Final = {
    "realtime_request_timeout": 2000,
    "disconnected_retry_timeout": 200,
    "suspended_retry_timeout": 500,
    "channel_retry_timeout": 300,
}
_ACTIONS: Final = ("absent", "present", "enter", "leave", "update")


def _told(value: Any) -> Any:
    return {"$bytes": base64.b64encode(value).decode()} if isinstance(value, bytes | bytearray) else value


def _meant(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    given = cast("dict[str, Any]", value)
    return bytearray(base64.b64decode(given["$bytes"])) if "$bytes" in given else given


def _facts(error: Any) -> Said | None:
    if error is None:
        return None
    if not isinstance(error, _util.AblyException):  # whatever the socket raised
        return {"code": None, "statusCode": None, "message": repr(error)}
    return {"code": error.code, "statusCode": error.status_code, "message": error.message}


def _message(message: Any) -> Said:
    return {
        "id": message.id,
        "name": message.name,
        "data": _told(message.data),
        "clientId": message.client_id,
        "connectionId": message.connection_id,
        "serial": message.serial,
    }


def _member(member: Any) -> Said:
    return {
        "action": _ACTIONS[member.action],
        "clientId": member.client_id,
        "connectionId": member.connection_id,
        "data": _told(member.data),
    }


class PythonClient(SdkClient):
    """One client. A command is a method of its name."""

    def __init__(self, name: str, news: asyncio.Event, options: Said, auth: Said | None) -> None:
        super().__init__(name, news)
        self._wanted: list[str] = []
        self._auth = None if auth is None else dict(auth)
        self._followed: set[str] = set()
        if self._auth is not None:
            options["auth_callback"] = self._signed(self._auth) if "key" in self._auth else self._asked(self._auth)
        self._rt = _ably.AblyRealtime(**options)
        self._rt.connection.on(self._on_connection)

    async def do(self, command: str, *, within: float = DEADLINE, **arguments: Any) -> Any:
        """Have it do something, and return what comes of it."""
        try:
            async with asyncio.timeout(within):
                return await getattr(self, command)(**arguments)
        except TimeoutError:
            raise AssertionError(f"{self._name}: no end of {command} {arguments} within {within:g} s") from None
        except _util.AblyException as error:
            raise SdkError(error.code, error.status_code, error.message) from error

    # -- what it says --------------------------------------------------------------------------------------------------

    def _say(self, event: str, **facts: Any) -> None:
        self.said.append({"event": event, **facts})
        self._news.set()

    def _on_connection(self, change: Any) -> None:
        self._say("connection", state=change.current.value, reason=_facts(change.reason))

    def _channel(self, name: str, params: dict[str, str] | None = None) -> Any:
        options = _options.ChannelOptions(params=params) if params else None
        channel = self._rt.channels.get(name, options)
        if name not in self._followed:
            self._followed.add(name)

            def changed(change: Any) -> None:
                state, reason = change.current.value, _facts(change.reason)
                self._say("channel", channel=name, state=state, resumed=bool(change.resumed), reason=reason)

            channel.on(changed)
        return channel

    def _signed(self, auth: Said) -> Any:
        async def callback(_: Any) -> Any:
            self._say("token")
            given = {name: value for name, value in auth.get("params", {}).items() if name != "clientId"}
            if "clientId" in auth.get("params", {}):
                given["client_id"] = auth["params"]["clientId"]
            rest = _ably.AblyRest(key=auth["key"])
            try:
                return await rest.auth.create_token_request(given)
            finally:
                await rest.close()

        return callback

    def _asked(self, auth: Said) -> Any:
        async def callback(_: Any) -> Any:
            self._say("token")
            http = DefaultHttp()
            headers = {"authorization": f"Bearer {auth['bearer']}", "content-type": "application/json"}
            body = json.dumps({"channels": self._wanted}).encode()
            response = await http("POST", f"{auth['url']}/ably/token", headers=headers, body=body)
            await http.aclose()
            if response.status != 200:
                raise _util.AblyException(f"no token: {response.status}", response.status, 40170)
            return _request.TokenRequest.from_json(json.loads(response.body)["token_request"])

        return callback

    # -- commands ------------------------------------------------------------------------------------------------------

    async def connect(self) -> None:
        self._rt.connect()

    async def connected(self) -> Said:
        connection = self._rt.connection
        if connection.state != "connected":
            ends = asyncio.get_running_loop().create_future()

            def changed(change: Any) -> None:
                if change.current in ("connected", "failed") and not ends.done():
                    ends.set_result(change)

            connection.on(changed)
            change = await ends
            connection.off(changed)
            if change.current == "failed":
                raise change.reason
        return {"id": connection.connection_manager.connection_id, "clientId": self._rt.auth.client_id}

    async def close(self) -> None:
        await self._rt.close()

    async def state(self) -> Said:
        connection = self._rt.connection
        return {
            "id": connection.connection_manager.connection_id,
            "state": connection.state.value,
            "reason": _facts(connection.error_reason),
        }

    async def ping(self) -> float:
        return float(await self._rt.connection.ping())

    async def authorize(self, params: Said | None = None) -> Said:
        """Get another token. With `params`, it and all later ones are for them."""
        if params is not None:
            assert self._auth is not None
            self._auth["params"] = params
        details = await self._rt.auth.authorize()
        return {
            "token": details.token,
            "clientId": details.client_id,
            "capability": json.dumps(details.capability.to_dict()),
        }

    async def want(self, channels: list[str]) -> None:
        self._wanted = list(channels)

    async def attach(self, channel: str, params: dict[str, str] | None = None) -> Said:
        made = self._channel(channel, params)
        await made.attach()
        return {"state": made.state.value, "params": made.params or {}, "modes": [mode.name for mode in made.modes]}

    async def detach(self, channel: str) -> None:
        await self._channel(channel).detach()

    async def subscribe(self, channel: str, params: dict[str, str] | None = None) -> None:
        def hear(message: Any) -> None:
            self._say("message", channel=channel, **_message(message))

        await self._channel(channel, params).subscribe(hear)

    async def publish(self, channel: str, data: Any, name: str | None = None) -> None:
        await self._channel(channel).publish(name, _meant(data))

    async def burst(self, channel: str, count: int, first: int = 0) -> None:
        made = self._channel(channel)
        await asyncio.gather(*(made.publish("n", {"n": first + index}) for index in range(count)))

    async def history(self, channel: str, limit: int | None = None, direction: str | None = None) -> Said:
        page = await self._channel(channel).history(limit=limit, direction=direction)
        return {"messages": [_message(message) for message in page.items], "more": page.has_next()}

    async def watch(self, channel: str) -> None:
        def hear(member: Any) -> None:
            self._say("presence", channel=channel, **_member(member))

        await self._channel(channel).presence.subscribe(hear)

    async def enter(self, channel: str, data: Any) -> None:
        await self._channel(channel).presence.enter(data)

    async def crowd(self, channel: str, names: list[str], data: Any = None) -> None:
        presence = self._channel(channel).presence
        await asyncio.gather(*(presence.enter_client(name, data) for name in names))

    async def update(self, channel: str, data: Any) -> None:
        await self._channel(channel).presence.update(data)

    async def leave(self, channel: str) -> None:
        await self._channel(channel).presence.leave()

    async def members(self, channel: str) -> list[Said]:
        return [_member(member) for member in await self._channel(channel).presence.get()]

    async def time(self) -> int:
        return int(await self._rt.time())


class AblyPython:
    """Makes clients in this process. Use it in ``async with``."""

    def __init__(self) -> None:
        self._news = asyncio.Event()
        self._clients: list[PythonClient] = []

    async def __aenter__(self) -> AblyPython:
        return self

    async def __aexit__(self, *exc: object) -> None:
        for client in self._clients:
            await client.do("close")

    async def open(
        self,
        name: str,
        *,
        port: int | None,
        tls: bool = False,
        key: str | None = None,
        auth: Said | None = None,
        client_id: str | None = None,
        binary: bool = False,
        echo: bool = True,
        transport: dict[str, str] | None = None,
    ) -> PythonClient:
        """Make a client, which connects; see `ably_sdk.Sdk`."""
        options = {
            **_QUICK,
            **({} if port is None else {"endpoint": f"127.0.0.1:{port}/", "tls": tls}),
            "use_binary_protocol": binary,
            **({} if key is None else {"key": key}),
            **({} if client_id is None else {"client_id": client_id}),
            "transport_params": {**(transport or {}), **({} if echo else {"echo": "false"})},
        }
        client = PythonClient(name, self._news, options, auth)
        self._clients.append(client)
        return client
