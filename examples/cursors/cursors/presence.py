"""The presence channel of a canvas, and the channel of its waves."""

from __future__ import annotations

from dataclasses import dataclass

from tanstack_realtime import ChannelLike, create_presence_channel

__all__ = ["Cursor", "canvas_presence", "waves_channel"]


@dataclass(frozen=True)
class Cursor:
    """Where somebody points.

    Attributes:
        name: who.
        x: 0 at the left edge of the canvas, 1 at the right one; None while the pointer is elsewhere.
        y: the same from the top.
    """

    name: str
    x: float | None = None
    y: float | None = None


def canvas(canvas_id: str) -> ChannelLike:
    return ("canvas", {"canvas_id": canvas_id})


def waves_channel(canvas_id: str) -> ChannelLike:
    return ("canvas:waves", {"canvas_id": canvas_id})


canvas_presence = create_presence_channel(id="canvas", channel=canvas, state=Cursor)
