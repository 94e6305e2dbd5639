"""One channel's presence: what is asked for, what is sent when, and who the others are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tanstack_realtime._errors import ChannelDeniedError, PublishError
from tanstack_realtime._presence import (
    CancelWait,
    Join,
    Leave,
    Observe,
    PresenceAction,
    PresenceMachine,
    Refused,
    Show,
    Unobserve,
    Update,
    Wait,
)
from tanstack_realtime._presence_link import PresenceEntry


def machine() -> PresenceMachine:
    return PresenceMachine("editor", interval=1.0, random=lambda: 0.5)


def without_show(actions: Sequence[PresenceAction]) -> list[PresenceAction]:
    return [action for action in actions if action != Show()]


def up(m: PresenceMachine, connection_id: str = "me", *, keeps_state: bool = True) -> list[PresenceAction]:
    return without_show(m.link_up(connection_id, keeps_state=keeps_state, retry_denied=False))


def entry(connection_id: str, clock: int = 0, **state: Any) -> PresenceEntry:
    return PresenceEntry(connection_id, f"user of {connection_id}", state, clock)


def ids(m: PresenceMachine) -> list[str]:
    return [member.connection_id for member in m.others]


def member(connection_id: str = "me", *, keeps_state: bool = True, **state: Any) -> PresenceMachine:
    m = machine()
    m.observed()
    m.joined(state, 0.0)
    [join] = up(m, connection_id, keeps_state=keeps_state)
    assert isinstance(join, Join)
    m.snapshot([entry(connection_id, **state)])
    m.done(join.number, 0.0)
    return m


def test_a_join_before_there_is_a_link_is_remembered() -> None:  # R2
    m = machine()
    m.observed()
    assert without_show(m.joined({"x": 1}, 0.0)) == []
    assert up(m) == [Join(1, {"x": 1})]


def test_observing_makes_no_member_and_the_last_one_ends_it() -> None:  # R5, R6
    m = machine()
    m.observed()
    m.observed()
    assert up(m) == [Observe(1)]
    m.snapshot([entry("a")])
    m.done(1, 0.0)
    assert ids(m) == ["a"]
    assert m.unobserved() == []
    assert m.unobserved() == [Unobserve(2)]
    m.done(2, 0.0)
    assert ids(m) == []
    assert m.is_disposable


def test_others_never_hold_oneself_nor_ones_former_connection() -> None:  # R1
    m = member("me")
    m.snapshot([entry("me"), entry("a")])
    assert ids(m) == ["a"]
    m.link_down()
    up(m, "me again")
    m.snapshot([entry("me"), entry("me again"), entry("a"), entry("b")])
    assert ids(m) == ["a", "b"]
    m.changed([entry("me", x=1)], [])
    assert ids(m) == ["a", "b"]


def test_it_joins_again_with_the_latest_merged_state() -> None:  # R3, R7
    m = member(x=1, name="ada")
    m.updated_by({"x": 2}, 5.0)
    m.link_down()
    m.updated_by({"y": 3}, 6.0)
    assert up(m, "me again") == [Join(2, {"x": 2, "name": "ada", "y": 3})]


def test_updates_are_merged_and_throttled_and_the_last_one_is_sent() -> None:  # R7, R15, T1
    m = member(x=0, name="ada")
    assert without_show(m.updated_by({"x": 1}, 1.0)) == [Update({"x": 1, "name": "ada"}, 1)]
    assert without_show(m.updated_by({"x": 2}, 1.5)) == [Wait("update", 0.5)]
    m.updated(1.625)
    assert without_show(m.updated_by({"x": 3, "y": 1}, 1.75)) == []
    assert m.timer_fired("update", 2.0) == [Update({"x": 3, "y": 1, "name": "ada"}, 2)]
    assert m.updated(2.1) == []
    assert m.updated_by({"x": 3}, 9.0) == [], "nothing changed"


def test_a_state_that_changed_while_the_join_was_under_way_follows_it() -> None:
    m = machine()
    m.joined({"x": 1}, 0.0)
    up(m)
    m.updated_by({"x": 2}, 0.1)
    assert without_show(m.done(1, 0.2)) == [Update({"x": 2}, 1)]


def test_what_waits_is_sent_before_one_leaves() -> None:  # R15, T1
    m = member(x=0)
    m.updated_by({"x": 1}, 1.0)
    m.updated_by({"x": 2}, 1.1)
    assert without_show(m.left(1.2)) == [Update({"x": 2}, 2), CancelWait("update"), Leave(2)]
    assert m.timer_fired("update", 2.0) == []
    assert m.left(3.0) == [], "R9: leave without join"


def test_a_slow_network_is_not_fed_faster_than_it_answers() -> None:
    m = member(x=0)
    sent: list[PresenceAction] = []
    for turn in range(1, 20):
        sent += without_show(m.updated_by({"x": turn}, turn * 10.0))
    assert len(sent) == 8
    assert without_show(m.updated(500.0)) == [Update({"x": 19}, 9)]


def test_a_last_update_that_did_not_get_through_is_tried_again() -> None:
    m = member(x=0)
    m.updated_by({"x": 1}, 1.0)
    error = PublishError("too fast", code="rate_limited", retryable=True, retry_after=3.0)
    assert m.updated(2.0, error) == [Wait("update", 3.0)]
    assert m.timer_fired("update", 5.0) == [Update({"x": 1}, 2)]
    assert m.updated(5.5, PublishError("who?", code="not_joined")) == [Join(2, {"x": 1})]


def test_requests_follow_each_other() -> None:  # S9
    m = machine()
    m.observed()
    assert up(m) == [Observe(1)]
    assert without_show(m.joined({}, 0.0)) == []
    assert without_show(m.left(0.0)) == []
    assert without_show(m.joined({"x": 1}, 0.0)) == []
    assert without_show(m.done(1, 0.1)) == [Join(2, {"x": 1})]
    assert m.done(1, 0.2) == [], "an old answer"
    m.left(0.3)
    m.unobserved()
    assert m.done(2, 0.4) == [Unobserve(3)]


def test_unchanged_news_is_no_news() -> None:  # R12
    m = member()
    m.snapshot([entry("a", x=1)])
    assert m.snapshot([entry("a", x=1)]) == []
    assert m.changed([entry("a", x=1)], ["unknown"]) == []
    assert m.changed([entry("a", x=2), entry("b")], []) == [Show()]
    assert m.changed([], ["a"]) == [Show()]
    assert ids(m) == ["b"]


def test_an_older_state_does_not_replace_a_newer_one() -> None:
    m = member()
    m.snapshot([entry("a", clock=5, x=5)])
    assert m.changed([entry("a", clock=4, x=4)], []) == []
    m.changed([entry("a", clock=6, x=6)], [])
    assert m.others[0].state == {"x": 6}


def test_without_a_connection_the_others_are_stalled() -> None:  # R14
    m = member()
    m.snapshot([entry("a")])
    assert m.link_down() == [Show()]
    assert [member.stalled for member in m.others] == [True]
    assert m.status == "pending"
    up(m, "me again")
    m.snapshot([])
    assert ids(m) == []


def test_a_refusal_is_told_once_and_asked_again_only_when_told_to() -> None:  # S18, R9
    m = machine()
    m.observed()
    m.joined({"x": 1}, 0.0)
    up(m)
    error = ChannelDeniedError("no")
    assert without_show(m.failed(1, error)) == [Refused(error)]
    assert m.status == "denied"
    m.link_down()
    assert up(m, "me again") == []
    assert without_show(m.retry()) == [Join(2, {"x": 1})]
    m.snapshot([entry("a")])
    m.done(2, 0.0)
    [refused] = without_show(m.revoked("revoked", "no longer"))
    assert isinstance(refused, Refused)
    assert ids(m) == []


def test_a_temporary_failure_is_tried_again() -> None:  # S17
    m = machine()
    m.observed()
    up(m)
    error = ChannelDeniedError("away", code="unavailable", retryable=True)
    [wait] = without_show(m.failed(1, error))
    assert isinstance(wait, Wait)
    assert m.timer_fired("retry", 9.0) == [Observe(2)]


def test_another_user_neither_sees_nor_says_what_the_former_one_did() -> None:  # C18
    m = member(name="ada")
    m.snapshot([entry("a")])
    m.link_down()
    m.forget()
    assert ids(m) == []
    assert m.state is None
    assert up(m, "me again") == [Observe(2)]


def test_a_member_announces_itself_where_the_provider_keeps_no_state() -> None:  # R5
    m = member("me", keeps_state=False, x=0)
    assert m.changed([entry("a")], []) == [Show()], "the state of the join is known to newcomers"
    m.updated_by({"x": 1}, 1.0)
    m.updated(1.1)
    assert without_show(m.changed([entry("b")], [])) == [Wait("announce", 0.125)]
    assert without_show(m.changed([entry("c")], [])) == []
    assert m.timer_fired("announce", 2.0) == [Update({"x": 1}, 2)]
    assert m.timer_fired("renew", 15.0) == [Wait("renew", 15.0), Update({"x": 1}, 3)]


def test_a_provider_that_keeps_the_state_needs_no_announcements() -> None:
    m = member(x=0)
    m.updated_by({"x": 1}, 1.0)
    assert without_show(m.changed([entry("b")], [])) == []
