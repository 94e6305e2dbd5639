"""Texts that arrive in parts: order, holes, ends, and where they come from."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tanstack_realtime import Channel, Fold, LiveEvent, TextPart, TextState, read_text_part, text_stream
from tanstack_realtime.server import publish_text

CHANNEL = Channel("ai-stream", {"session_id": "s"})


def row_of(text: TextState) -> dict[str, Any]:
    return {"id": text.id, "text": text.text, "status": text.status, "complete": text.complete, "count": text.count}


def state_of(row: dict[str, Any]) -> TextState:
    return TextState(id=row["id"], text=row["text"], status=row["status"], complete=row["complete"], count=row["count"])


class Reader:
    """One reader's fold and the row that it sees."""

    def __init__(self) -> None:
        self.fold: Fold[dict[str, Any]] = text_stream(row_of, resume=state_of).open()
        self.row: Any = None

    def hear(self, *events: dict[str, Any]) -> Reader:
        for event in events:
            row = self.fold.event(LiveEvent(event, channel=CHANNEL))
            self.row = row if row is not None else self.row
        return self

    def gap(self) -> Reader:
        for row in self.fold.gap():
            self.row = row
        return self

    @property
    def text(self) -> str:
        return str(self.row["text"])


def token(seq: int | None, content: str) -> dict[str, Any]:
    event: dict[str, Any] = {"type": "token", "id": "a", "content": content}
    return event if seq is None else {**event, "seq": seq}


def end(seq: int | None = None, text: str | None = None) -> dict[str, Any]:
    event: dict[str, Any] = {"type": "end", "id": "a"}
    return event | ({} if seq is None else {"seq": seq}) | ({} if text is None else {"text": text})


def test_parts_grow_one_row_and_the_end_ends_it() -> None:
    reader = Reader().hear(token(0, "Hel"), token(1, "lo"))
    assert reader.row == {"id": "a", "text": "Hello", "status": "streaming", "complete": True, "count": 2}
    reader.hear(end(2))
    assert (reader.row["status"], reader.text, reader.row["complete"]) == ("done", "Hello", True)
    reader.hear(token(1, "lo"), token(3, "more"))
    assert reader.row["status"] == "done"


def test_without_numbers_the_order_of_arrival_counts_and_a_gap_is_known() -> None:
    reader = Reader().hear(token(None, "a"), token(None, "b"))
    assert reader.text == "ab"
    assert reader.gap().row["complete"] is False
    reader.hear(token(None, "d"), end())
    assert (reader.text, reader.row["complete"], reader.row["status"]) == ("abd", False, "done")


def test_what_is_there_is_shown_around_a_hole_and_a_late_part_fills_it() -> None:
    reader = Reader().hear(token(0, "a"), token(2, "c"))
    assert (reader.text, reader.row["complete"]) == ("ac", False)
    reader.hear(token(1, "b"))
    assert (reader.text, reader.row["complete"]) == ("abc", True)


def test_a_numbered_text_is_whole_again_as_soon_as_its_numbers_say_so() -> None:  # G12
    reader = Reader().hear(token(0, "a")).gap()
    assert reader.row["complete"] is False
    assert reader.hear(token(1, "b")).row["complete"] is True


def test_the_whole_text_at_the_end_heals_whatever_was_missed() -> None:
    late = Reader().hear(token(7, "lo"), end(8, "Hello"))
    assert late.row == {"id": "a", "text": "Hello", "status": "done", "complete": True, "count": 9}


def test_an_error_breaks_the_text_off() -> None:
    reader = Reader().hear(token(0, "a"), {"type": "error", "id": "a", "seq": 1, "reason": "no more"})
    assert (reader.text, reader.row["status"]) == ("a", "failed")


def test_a_history_is_continued_and_never_set_back() -> None:  # L1
    row = {"id": "a", "text": "Hello", "status": "streaming", "complete": True, "count": 2}
    reader = Reader()
    assert reader.fold.adopt(row) == row
    reader.hear(token(1, "lo"), token(2, " world"))
    assert reader.text == "Hello world"
    assert reader.fold.adopt(row) == reader.row, "older than what is known"
    reader.fold.forget("a")
    assert reader.fold.adopt(row) == row


def test_a_hole_is_given_up_before_the_memory_is() -> None:
    reader = Reader().hear(*(token(seq, "x") for seq in range(1, 1100)))
    assert reader.row["complete"] is False
    assert reader.row["count"] == 1100
    assert reader.hear(token(0, "late")).text == "x" * 1099


@given(
    parts=st.lists(st.text(min_size=1, max_size=3), min_size=1, max_size=8),
    seed=st.randoms(use_true_random=False),
    repeats=st.integers(0, 3),
)
def test_numbered_parts_make_the_same_text_in_any_order(parts: list[str], seed: random.Random, repeats: int) -> None:
    """Kills: a `take` that ignores parts after the end; one that uses a repeated held part twice."""
    events = [*(token(seq, part) for seq, part in enumerate(parts)), end(len(parts))]
    events += [seed.choice(events) for _ in range(repeats)]
    seed.shuffle(events)
    reader = Reader().hear(*events)
    assert reader.row == {
        "id": "a",
        "text": "".join(parts),
        "status": "done",
        "complete": True,
        "count": len(parts) + 1,
    }


def test_other_events_are_none_of_a_text() -> None:
    assert read_text_part({"type": "message"}) is None
    assert Reader().hear({"hello": "world"}).row is None


def test_the_bare_form_is_read_by_an_own_function() -> None:
    fold = text_stream(row_of, part=lambda event: TextPart(id="only", text=event["content"])).open()
    row: Any = fold.event(LiveEvent({"type": "token", "content": "Hel"}, channel=CHANNEL))
    assert row["text"] == "Hel"


# -- the server's side -------------------------------------------------------------------------------------------------


async def chunks(*texts: str, failure: Exception | None = None) -> AsyncIterator[str]:
    for text in texts:
        yield text
    if failure is not None:
        raise failure


class Published:
    def __init__(self) -> None:
        self.events: list[Any] = []

    async def __call__(self, channel: object, data: Any) -> None:
        assert channel == CHANNEL
        self.events.append(data)


async def test_the_server_publishes_parts_and_the_whole() -> None:
    published = Published()
    assert await publish_text(CHANNEL, chunks("Hel", "", "lo"), id="a", publish=published) == "Hello"
    assert published.events == [token(0, "Hel"), token(1, "lo"), end(2, "Hello")]
    assert Reader().hear(*published.events).text == "Hello"


async def test_a_long_text_does_not_come_whole_at_the_end() -> None:
    published = Published()
    await publish_text(CHANNEL, chunks("x" * 10_001), id="a", publish=published)
    assert published.events[-1] == end(1)


async def test_a_failing_source_breaks_the_text_off_for_everybody() -> None:
    published = Published()
    with pytest.raises(OSError, match="secret"):
        await publish_text(CHANNEL, chunks("Hel", failure=OSError("secret")), id="a", publish=published)
    assert Reader().hear(*published.events).row["status"] == "failed"
    assert "secret" not in str(published.events)
