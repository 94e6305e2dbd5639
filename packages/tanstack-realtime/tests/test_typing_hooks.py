"""What type checkers infer from the realtime hooks and bindings, in every framework.

Both checkers read this file in `make types`; `assert_type` fails there. Nothing of it is rendered.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_type

from tanstack_realtime import (
    ChannelLike,
    Member,
    Presence,
    PresenceView,
    RealtimeClient,
    create_presence_channel,
    flet,
    react,
    solara,
)
from tanstack_realtime.hooks import PresenceHandle, Publish
from tanstack_realtime.nicegui import RealtimePage
from tanstack_realtime.textual import RealtimeMixin


@dataclass(frozen=True)
class Cursor:
    name: str
    x: int = 0


def editor_channel(document_id: str) -> ChannelLike:
    return "editor", {"document_id": document_id}


editor = create_presence_channel(id="editor", channel=editor_channel, state=Cursor)


def moved(cursor: Cursor) -> Cursor:
    return Cursor(cursor.name, cursor.x + 1)


def in_react(room: str) -> None:
    presence = react.use_presence(editor.scope("d1"), initial=Cursor("Ann"))
    assert_type(presence, PresenceHandle[Cursor])
    assert_type(presence.others, tuple[Member[Cursor], ...])
    assert_type(presence.me, Cursor | None)
    presence.update(moved)
    publish = react.use_publish(("chat:typing", {"room": room}))
    assert_type(publish, Publish)
    publish({"typing": True})
    react.use_subscribe(("chat:typing", {"room": room}), lambda data: data["typing"])
    assert_type(react.use_realtime(), RealtimeClient)


def in_solara(room: str) -> None:
    assert_type(solara.use_presence(editor.scope("d1"), initial=Cursor("Ann")), PresenceHandle[Cursor])
    assert_type(solara.use_publish(("chat:typing", {"room": room})), Publish)
    solara.use_subscribe(("chat:typing", {"room": room}), lambda data: data["typing"])
    assert_type(solara.use_realtime(), RealtimeClient)


def in_flet(room: str) -> None:
    assert_type(flet.use_presence(editor.scope("d1"), initial=Cursor("Ann")), PresenceHandle[Cursor])
    assert_type(flet.use_publish(("chat:typing", {"room": room})), Publish)
    flet.use_subscribe(("chat:typing", {"room": room}), lambda data: data["typing"])
    assert_type(flet.use_realtime(), RealtimeClient)


def show(view: PresenceView[Cursor]) -> None:
    raise NotImplementedError


def in_nicegui(room: str) -> None:
    page = RealtimePage()
    assert_type(page.realtime, RealtimeClient)
    assert_type(page.show_presence(editor.scope("d1"), show, initial=Cursor("Ann")), Presence[Cursor])
    page.on_channel(("chat:typing", {"room": room}), lambda data: data["typing"])


def in_textual(widget: RealtimeMixin, room: str) -> None:
    assert_type(widget.realtime, RealtimeClient)
    assert_type(widget.show_presence(editor.scope("d1"), show, initial=Cursor("Ann")), Presence[Cursor])
    widget.on_channel(("chat:typing", {"room": room}), lambda data: data["typing"])


def test_the_names_are_there() -> None:
    names = ["use_realtime", "use_presence", "use_publish", "use_subscribe", "RealtimeProvider"]
    for module in (react, solara, flet):
        assert [name for name in names if name not in module.__all__] == []
