"""Text that arrives in parts, such as the tokens of a language model: parts folded into one growing row.

Parts may be numbered. Then each is used once and in its place, whatever the order of arrival, and a missing one is
known as missing. What is there is shown at once, around a hole too, so nothing waits for a part that may never come; a
part that comes late fills its hole. Without numbers the order of arrival counts, and only a gap of the channel tells
that something is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Generic, Literal, TypeAlias

from typing_extensions import TypeVar

from ._live_events import EventFold, Fold, LiveEvent, Remove

__all__ = ["TextPart", "TextState", "TextStatus", "read_text_part", "text_stream"]

T = TypeVar("T", default=dict[str, Any])

TextStatus: TypeAlias = Literal["streaming", "done", "failed"]

_HELD: Final = 1000
"""Parts after a hole that are kept apart. With more, the hole counts as lost for good."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextPart:
    """What one event adds to a text.

    Attributes:
        id: which text; the key of its row.
        text: what comes next.
        seq: the part's number in its text, counted from 0; None where the order of arrival counts.
        end: whether nothing follows.
        whole: whether `text` is everything up to and including this part, instead of what this part adds.
        error: why the text ends here although it is not finished, or None.
    """

    id: str | int
    text: str = ""
    seq: int | None = None
    end: bool = False
    whole: bool = False
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TextState:
    """A text as far as it is known.

    Attributes:
        id: which text.
        text: all parts that are there, in order.
        status: ``streaming``, ``done``, or ``failed``.
        complete: whether nothing is missing so far.
        count: how many parts there are without a hole: the number of the next one.
        error: why it failed, or None.
    """

    id: str | int
    text: str
    status: TextStatus = "streaming"
    complete: bool = True
    count: int = 0
    error: str | None = None


class _Assembly:
    """One text under way."""

    __slots__ = ("count", "doubt", "ended", "error", "held", "id", "lost", "numbered", "text")

    def __init__(self, id: str | int) -> None:  # noqa: A002 -- the wire's name
        self.id = id
        self.text = ""
        self.count = 0
        self.held: dict[int, str] = {}
        self.numbered = False
        self.lost = False
        self.doubt = False
        """Whether a gap may have taken parts, or the end."""
        self.ended = False
        self.error: str | None = None

    def take(self, part: TextPart) -> bool:
        """Add a part. Returns whether that changed anything."""
        before = (self.ended, self.error)
        added = self._add(part)
        self.ended = self.ended or part.end or part.error is not None
        self.error = self.error or part.error
        return added or before != (self.ended, self.error)

    def _add(self, part: TextPart) -> bool:
        if part.seq is None:
            if self.ended:
                return False
            self.text = part.text if part.whole else self.text + part.text
            self.count += 1
            self.lost = self.doubt = (self.lost or self.doubt) and not part.whole
            return True
        self.numbered = True
        if part.whole:
            if part.seq < self.count and not (self.lost or self.doubt):
                return False
            self.text, self.count = part.text, part.seq + 1
            self.lost = self.doubt = False
        elif part.seq < self.count or part.seq in self.held:
            return False
        else:
            self.held[part.seq] = part.text
        self._close_up()
        if len(self.held) > _HELD:
            self.lost = True
            self.count = min(self.held)
            self._close_up()
        return True

    def _close_up(self) -> None:
        for seq in [seq for seq in self.held if seq < self.count]:
            del self.held[seq]
        while self.count in self.held:
            self.text += self.held.pop(self.count)
            self.count += 1
            self.doubt = False

    def resume(self, state: TextState) -> None:
        """Take over what a history knows, where that is more."""
        if state.count < self.count or (state.count == self.count and self.ended):
            return
        self.text, self.count = state.text, state.count
        self.lost = not state.complete
        self.doubt = False
        self.ended = self.ended or state.status != "streaming"
        self.error = self.error or state.error
        self._close_up()

    def gap(self) -> bool:
        """Events were lost. Returns whether that changed anything."""
        if self.ended and not self.held:
            return False
        known = self.lost or self.doubt or bool(self.held)
        # Numbers will tell whether parts are missing; without them nothing ever will.
        self.doubt, self.lost = True, self.lost or not self.numbered
        return not known

    def state(self) -> TextState:
        text = self.text + "".join(self.held[seq] for seq in sorted(self.held))
        return TextState(
            id=self.id,
            text=text,
            status="failed" if self.error is not None else "done" if self.ended else "streaming",
            complete=not (self.held or self.lost or self.doubt),
            count=self.count,
            error=self.error,
        )


class _TextFold(Fold[T]):
    def __init__(self, stream: _TextStream[T]) -> None:
        self._stream = stream
        self._texts: dict[Any, _Assembly] = {}

    def event(self, event: LiveEvent, /) -> T | Mapping[str, Any] | Remove | None:
        part = self._stream.part(event)
        if part is None:
            return None
        text = self._texts.get(part.id)
        if text is None:
            text = self._texts[part.id] = _Assembly(part.id)
        changed = text.take(part)
        return self._stream.row(text.state()) if changed else None

    def adopt(self, row: T, /) -> T | Mapping[str, Any]:
        resume = self._stream.resume
        state = None if resume is None else resume(row)
        if state is None:
            return row
        text = self._texts.get(state.id)
        if text is None:
            text = self._texts[state.id] = _Assembly(state.id)
        text.resume(state)
        return row if text.state() == state else self._stream.row(text.state())

    def gap(self) -> Iterable[T | Mapping[str, Any]]:
        return [self._stream.row(text.state()) for text in self._texts.values() if text.gap()]

    def forget(self, key: Any, /) -> None:
        self._texts.pop(key, None)


class _TextStream(EventFold[T], Generic[T]):
    def __init__(
        self,
        row: Callable[[TextState], T | Mapping[str, Any]],
        part: Callable[[LiveEvent], TextPart | None],
        resume: Callable[[T], TextState | None] | None,
    ) -> None:
        self.row = row
        self.part = part
        self.resume = resume

    def open(self) -> Fold[T]:
        return _TextFold(self)


def read_text_part(event: Mapping[str, Any]) -> TextPart | None:
    """Read an event as `tanstack_realtime.server.publish_text` writes it; None for any other.

    ``{"type": "token", "id": "a1", "seq": 0, "content": "Hel"}`` adds a part. ``{"type": "end", …}`` ends the text,
    with the whole of it as ``"text"`` if that is short. ``{"type": "error", …, "reason": "…"}`` breaks it off.
    """
    kind = event.get("type")
    if kind == "token":
        return TextPart(id=event["id"], text=str(event["content"]), seq=event.get("seq"))
    if kind == "end":
        whole = event.get("text")
        return TextPart(id=event["id"], text=whole or "", seq=event.get("seq"), end=True, whole=whole is not None)
    if kind == "error":
        return TextPart(id=event["id"], seq=event.get("seq"), error=str(event.get("reason", "the stream failed")))
    return None


def text_stream(
    row: Callable[[TextState], T | Mapping[str, Any]],
    /,
    *,
    part: Callable[[LiveEvent], TextPart | None] = read_text_part,
    resume: Callable[[T], TextState | None] | None = None,
) -> EventFold[T]:
    """Fold the parts of texts into rows that grow: an ``on_event`` for `live_channel_options`.

    Args:
        row: makes the row of a text; its key must be the text's `TextState.id`. The parameter columns may be left out.
        part: reads an event; None for an event that is none of a text. Default: `read_text_part`.
        resume: reads a row of ``initial_data`` back, so that parts which come later continue it. `TextState.count` must
            be the number of parts that the row holds.

    Example:
        >>> answers = create_collection(live_channel_options(
        ...     id="answers", schema=Answer, get_key=lambda answer: answer.id,
        ...     channel=lambda session_id: ("ai-stream", {"session_id": session_id}),
        ...     on_event=text_stream(lambda text: {"id": text.id, "text": text.text, "status": text.status})))
    """
    return _TextStream(row, part, resume)
