"""docs/protocol.md is true: its transcripts are replayed against the server."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import HTTPConnection
from starlette.types import Message

from realtime_preset_node import CloseCode, NodePreset
from tanstack_db.testing import settle
from tanstack_realtime import Channel
from tanstack_realtime.server import Identity, Permissions, Realtime, Reject, bearer_token

_PAGE = Path(__file__).parent / "../../../docs/protocol.md"
_TEXT = _PAGE.read_text(encoding="utf-8") if _PAGE.exists() else ""
_TRANSCRIPTS = re.findall(r"```wire\n(.*?)```", _TEXT, re.DOTALL)

pytestmark = pytest.mark.skipif(not _TEXT, reason="docs/protocol.md is not part of an installed package")


class Replay:
    """One connection to a real server; ids that the server makes up stand for those on the page."""

    def __init__(self) -> None:
        self.trial_is_over = False
        self.realtime = Realtime(
            authorize=self._authorize, get_user=self._get_user, validate=self._validate, preset=NodePreset()
        )
        self.sent: list[Any] = []
        self.names: dict[str, str] = {}
        self._incoming: asyncio.Queue[Message] = asyncio.Queue()
        self._incoming.put_nowait({"type": "websocket.connect"})

    def _get_user(self, connection: HTTPConnection) -> str | Identity | None:
        match bearer_token(connection):
            case "carol until noon" | "carol until one":
                return Identity("carol", expires_in=20)
            case "carol until two":
                raise OSError("database away")
            case token:
                return token

    def _authorize(self, user_id: str, channel: Channel) -> Permissions:
        match channel.namespace:
            case "todos" | "chat":
                return Permissions(subscribe=True, publish=True)
            case "editor":
                return Permissions(presence=True)
            case "trial" if not self.trial_is_over:
                self.trial_is_over = True
                return Permissions(subscribe=True, expires_in=20)
            case "broken":
                raise OSError("database away")
            case _:
                return Permissions()

    def _validate(self, user_id: str, channel: Channel, data: Any) -> Any:
        if data["text"] == "rude":
            raise Reject("be nice")
        return data

    async def _send(self, message: Message) -> None:
        if message["type"] == "websocket.send":
            self.sent += [json.loads(line) for line in message["text"].split("\n")]
        elif message["type"] == "websocket.close":
            self.sent.append(f"close {message['code']}")

    async def run(self, transcript: str) -> None:
        scope: dict[str, Any] = {"type": "websocket", "path": "/ws", "headers": [], "query_string": b"", "scheme": "ws"}
        serving = asyncio.ensure_future(self.realtime(scope, self._incoming.get, self._send))
        for line in transcript.splitlines():
            await self._step(line)
        assert self.sent == []
        self._incoming.put_nowait({"type": "websocket.disconnect", "code": 1000})
        await serving

    async def _step(self, line: str) -> None:
        await settle()
        if waited := re.fullmatch(r"\((\d+) s later\)", line):
            assert self.sent == []
            await asyncio.sleep(int(waited[1]))
        elif line.startswith("C: "):
            text = line[3:]
            for name, value in self.names.items():
                text = text.replace(name, value)
            self._incoming.put_nowait({"type": "websocket.receive", "text": text})
        elif published := re.fullmatch(r"A: publish (\S+) (.*)", line):
            await self.realtime.publish(published[1], json.loads(published[2]))
        elif revoked := re.fullmatch(r"A: revoke (\S+)(?: (\S+))?", line):
            await self.realtime.revoke(revoked[1], revoked[2])
        else:
            assert line.startswith("S: "), line
            assert self.sent, f"nothing was sent where the page has {line}"
            actual = self.sent.pop(0)
            if line.startswith("S: close"):
                assert actual == line[3:]
                return
            text = line[3:]
            for name, value in self.names.items():
                text = text.replace(f'"{name}"', f'"{value}"')
            expected: dict[str, Any] = json.loads(text)
            for member in {"connection", "epoch"} & expected.keys():
                self.names.setdefault(expected[member], actual[member])
                expected[member] = self.names[expected[member]]
            assert actual == expected


@pytest.mark.parametrize("transcript", _TRANSCRIPTS)
async def test_the_transcripts_are_what_happens(transcript: str) -> None:
    await Replay().run(transcript)


def test_there_are_transcripts() -> None:
    assert len(_TRANSCRIPTS) >= 8


def test_every_close_code_is_explained_and_none_is_invented() -> None:
    section = _TEXT.split("## Close codes")[1].split("\n## ")[0]
    documented = {int(code) for code in re.findall(r"^\| (\d{4}) \|", section, re.MULTILINE)}
    never_sent = {CloseCode.NORMAL, CloseCode.GOING_AWAY, CloseCode.LOST}
    assert documented == {int(code) for code in CloseCode} - never_sent
