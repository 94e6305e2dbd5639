"""A committed mutation's message is kept until the provider has it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import pytest

from tanstack_db.testing import settle
from tanstack_realtime._errors import ChannelDeniedError, ConnectionLostError, PublishError, RealtimeError
from tanstack_realtime._outbox import WINDOW, Outbox


class Provider:
    """Accepts messages unless told otherwise."""

    def __init__(self) -> None:
        self.accepted: list[tuple[str, Any]] = []
        self.failures: list[Exception] = []
        self.attempts: list[float] = []

    async def send(self, channel: str, message: Mapping[str, Any]) -> None:
        self.attempts.append(asyncio.get_running_loop().time())
        await asyncio.sleep(0)
        if self.failures:
            raise self.failures.pop(0)
        self.accepted.append((channel, message.get("n", message.get("action"))))


def never(_channel: str, _message: Mapping[str, Any]) -> None:
    """Take nothing at once."""


def outbox(provider: Provider, reported: list[Exception], **options: Any) -> Outbox:
    options.setdefault("begin", never)
    return Outbox(send=provider.send, report=reported.append, random=lambda: 0.5, **options)


async def test_a_publish_that_fails_is_retried_and_keeps_its_place() -> None:  # Q4
    provider, reported = Provider(), list[Exception]()
    provider.failures = [ConnectionLostError("gone"), ConnectionLostError("gone")]
    box = outbox(provider, reported)

    box.post("todos", {"n": 1})
    box.post("todos", {"n": 2})
    await asyncio.sleep(10)

    assert provider.accepted == [("todos", 1), ("todos", 2), ("todos", "refetch")]
    assert provider.attempts == pytest.approx([0.0, 1.0, 3.0, 3.0, 3.0], abs=1e-3)
    assert len(box) == 0
    assert reported == []


class Eager(Provider):
    """Takes a message in the call, and answers a turn later."""

    def __init__(self) -> None:
        super().__init__()
        self.taken: list[Any] = []
        self.is_busy = False

    def begin(self, channel: str, message: Mapping[str, Any]) -> Callable[[], Awaitable[None]] | None:
        if self.is_busy:
            return None
        self.taken.append(message.get("n", message.get("action")))
        return lambda: self.send(channel, message)


async def test_messages_are_on_their_way_together_where_the_connection_takes_them_at_once() -> None:
    provider, reported = Eager(), list[Exception]()
    box = outbox(provider, reported, begin=provider.begin)

    for number in range(WINDOW + 2):
        box.post("todos", {"n": number})
    box.post("notes", {"n": "other"})
    assert provider.taken == [*range(WINDOW), "other"]
    await asyncio.sleep(0.1)

    assert provider.taken == [*range(WINDOW), "other", WINDOW, WINDOW + 1]
    assert [n for channel, n in provider.accepted if channel == "todos"] == list(range(WINDOW + 2))
    assert (len(box), reported) == (0, [])


async def test_nothing_is_begun_before_what_could_not_be() -> None:  # Q4
    provider, reported = Eager(), list[Exception]()
    box = outbox(provider, reported, begin=provider.begin)
    provider.is_busy = True
    box.post("todos", {"n": 1})
    await asyncio.sleep(0)
    provider.is_busy = False
    box.post("todos", {"n": 2})
    box.post("todos", {"n": 3})
    assert provider.taken == []
    await asyncio.sleep(0.1)

    assert provider.taken == [2, 3]
    assert provider.accepted == [("todos", 1), ("todos", 2), ("todos", 3)]


async def test_what_was_on_its_way_when_the_connection_went_is_sent_again_in_order() -> None:  # Q4
    provider, reported = Eager(), list[Exception]()
    provider.failures = [ConnectionLostError("gone")] * 3
    box = outbox(provider, reported, begin=provider.begin)

    for number in (1, 2, 3):
        box.post("todos", {"n": number})
    await asyncio.sleep(0.5)
    box.post("todos", {"n": 4})  # waits with the others
    assert provider.taken == [1, 2, 3]
    await asyncio.sleep(0.4)
    box.wake()
    await asyncio.sleep(10)

    assert provider.taken == [1, 2, 3, 1, 2, 3, 4]
    assert provider.accepted == [("todos", 1), ("todos", 2), ("todos", 3), ("todos", 4)]
    assert reported == []


async def test_who_reads_fetches_after_a_message_that_others_have_overtaken() -> None:  # Q4, Q9
    provider, reported = Eager(), list[Exception]()
    provider.failures = [PublishError("too many", code="rate_limited", retryable=True)]
    box = outbox(provider, reported, begin=provider.begin)

    box.post("todos", {"n": 1})
    box.post("todos", {"n": 2})
    await asyncio.sleep(0.5)
    assert provider.accepted == [("todos", 2)]
    box.wake()
    await asyncio.sleep(10)

    assert provider.accepted == [("todos", 2), ("todos", 1), ("todos", "refetch")]
    assert (len(box), reported) == (0, [])


async def test_what_can_never_succeed_behind_a_message_that_is_sent_again_is_given_up_once() -> None:  # Q4
    provider, reported = Eager(), list[Exception]()
    provider.failures = [ConnectionLostError("gone"), ChannelDeniedError("no", channel="todos")]
    box = outbox(provider, reported, begin=provider.begin)

    box.post("todos", {"n": 1})
    box.post("todos", {"n": 2})
    await asyncio.sleep(0.5)
    box.wake()
    await asyncio.sleep(10)

    assert provider.taken == [1, 2, 1]
    assert provider.accepted == [("todos", 1)]
    assert [type(error) for error in reported] == [ChannelDeniedError]
    assert len(box) == 0


async def test_what_is_on_its_way_does_not_give_way_to_a_hint() -> None:
    provider, reported = Eager(), list[Exception]()
    box = outbox(provider, reported, begin=provider.begin, capacity=WINDOW + 2)
    for n in range(WINDOW + 50):
        box.post("todos", {"n": n})
    assert provider.taken == list(range(WINDOW))
    assert len(box) <= WINDOW + 2
    await asyncio.sleep(0.5)

    # The last one may follow the hint, which told the others to fetch what it says.
    assert provider.taken[WINDOW] == "refetch"
    assert provider.taken[WINDOW + 1 :] in ([], [WINDOW + 49])
    assert [message for _, message in provider.accepted] == provider.taken
    assert (reported, len(box)) == ([], 0)


async def test_a_hint_covers_what_was_to_be_sent_again() -> None:
    provider, reported = Eager(), list[Exception]()
    box = outbox(provider, reported, begin=provider.begin, capacity=3)
    provider.failures = [ConnectionLostError("gone")] * 3
    for n in (1, 2, 3):
        box.post("todos", {"n": n})
    await asyncio.sleep(0)  # now the answer to the first is waited for
    box.post("todos", {"n": 4})
    await asyncio.sleep(0.1)  # all have failed
    box.post("todos", {"n": 5})
    await asyncio.sleep(10)

    assert [message for _, message in provider.accepted] == [4, 1, "refetch", 5, "refetch"]
    assert (reported, len(box)) == ([], 0)


async def test_messages_that_come_late_are_followed_by_one_hint_to_fetch() -> None:  # Q9, Q11
    """Found by histories 464 and 499: a late message named a row that was deleted, in a gap of who read it."""
    provider, reported = Provider(), list[Exception]()
    provider.failures = [ConnectionLostError("gone")] * 2
    box = outbox(provider, reported)

    box.post("todos", {"n": 1})
    await asyncio.sleep(2.5)
    box.post("todos", {"n": 2})  # is in time itself
    await asyncio.sleep(60)
    box.post("todos", {"n": 3})
    await asyncio.sleep(60)

    assert [what for _, what in provider.accepted] == [1, 2, "refetch", 3]
    assert len(box) == 0


async def test_one_channel_does_not_wait_for_another() -> None:
    provider, reported = Provider(), list[Exception]()
    provider.failures = [ConnectionLostError("gone")]
    box = outbox(provider, reported)

    box.post("stuck", {"n": 1})
    box.post("free", {"n": 2})
    await settle()

    assert provider.accepted == [("free", 2)]
    await box.drain(0.0)


async def test_the_connection_coming_back_ends_the_wait() -> None:
    provider, reported = Provider(), list[Exception]()
    provider.failures = [ConnectionLostError("gone")]
    box = outbox(provider, reported)
    box.post("todos", {"n": 1})
    await settle()

    box.wake()
    await settle()

    assert provider.accepted == [("todos", 1)]


@pytest.mark.parametrize("failure", [ChannelDeniedError("no"), ValueError("a bug")])
async def test_what_can_never_succeed_is_reported_and_the_next_goes_on(failure: Exception) -> None:  # P3, Q4
    provider, reported = Provider(), list[Exception]()
    provider.failures = [failure]
    box = outbox(provider, reported)

    box.post("todos", {"n": 1})
    box.post("todos", {"n": 2})
    await settle()

    assert provider.accepted == [("todos", 2)]
    assert len(reported) == 1
    assert isinstance(reported[0], RealtimeError)


async def test_what_gives_way_to_a_hint_may_be_accepted_meanwhile() -> None:
    provider, reported = Eager(), list[Exception]()
    box = outbox(provider, reported, begin=provider.begin, capacity=3)
    provider.failures = [ConnectionLostError("gone")]
    for n in (1, 2, 3):
        box.post("todos", {"n": n})
    for _ in range(2):
        await asyncio.sleep(0)  # the first has failed, the answer to the second is waited for
    box.post("todos", {"n": 4})
    await asyncio.sleep(10)

    assert [message for _, message in provider.accepted] == [2, 3, 1, "refetch", 4, "refetch"]
    assert (reported, len(box)) == ([], 0)


async def test_where_too_many_wait_they_give_way_to_a_hint() -> None:  # P1
    provider, reported = Provider(), list[Exception]()
    provider.failures = [ConnectionLostError("gone")] * 2
    box = outbox(provider, reported, capacity=4)
    box.post("comments", {"n": 0})
    for n in range(1, 8):
        box.post("todos", {"n": n})
    box.post("comments", {"n": 8})
    assert len(box) <= 5
    await asyncio.sleep(30)

    told = [message for channel, message in provider.accepted if channel == "todos"]
    assert told[:2] == [1, "refetch"]
    assert {0, 8} <= {message for channel, message in provider.accepted if channel == "comments"}
    assert (reported, len(box)) == ([], 0)


async def test_channels_with_one_message_each_keep_it() -> None:  # P1
    provider, reported = Provider(), list[Exception]()
    box = outbox(provider, reported, capacity=2)
    for n in range(5):
        box.post(f"todos:n={n}", {"n": n})
    await asyncio.sleep(10)
    assert sorted(message for _, message in provider.accepted) == [0, 1, 2, 3, 4]
    assert reported == []


async def test_closing_sends_what_can_be_sent() -> None:  # P1
    provider, reported = Provider(), list[Exception]()
    box = outbox(provider, reported)
    box.post("todos", {"n": 1})
    box.post("todos", {"n": 2})

    await box.drain(2.0)

    assert provider.accepted == [("todos", 1), ("todos", 2)]
    assert reported == []


async def test_closing_reports_what_was_not_sent_and_leaves_no_task() -> None:  # P1, X9
    provider, reported = Provider(), list[Exception]()
    provider.failures = [ConnectionLostError("gone")] * 2
    box = outbox(provider, reported)
    box.post("todos", {"n": 1})
    await settle()

    await box.drain(2.0)

    assert [str(error)[:12] for error in reported] == ["1 message(s)"]
    assert len(asyncio.all_tasks()) == 1
