"""Own mutations on the wire."""

from __future__ import annotations

from tanstack_realtime._echo import EchoRegister


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_an_echo_is_recognised_whether_it_comes_before_or_after_the_answer() -> None:  # Q6, P5
    register = EchoRegister[str](origin=lambda: "me", time=Clock())
    register.begin("m1")

    assert not register.admit("m1", "me", "early")
    assert register.settle("m1") == ["early"]
    assert not register.admit("m1", "me", "late")


def test_the_echo_of_a_failed_mutation_tells_that_the_server_did_commit_it() -> None:  # Q5, Q6
    register = EchoRegister[str](origin=lambda: "me", time=Clock())
    register.begin("m1")
    register.admit("m1", "me", "early")

    assert register.fail("m1") == ["early"]
    assert register.admit("m1", "me", "late")


def test_messages_of_others_without_id_or_with_an_unknown_one_apply() -> None:  # Q6
    register = EchoRegister[str](origin=lambda: "me", time=Clock())
    register.begin("m1")

    assert register.admit("m1", "somebody", "x")
    assert register.admit(None, "me", "x")
    assert register.admit("m2", "me", "x")


def test_ids_expire() -> None:  # Q7
    clock = Clock()
    register = EchoRegister[str](origin=lambda: "me", time=clock)
    register.begin("m1")
    register.settle("m1")
    clock.now = 301.0

    assert register.admit("m1", "me", "x")


def test_the_register_is_bounded_and_forgets_the_oldest_first() -> None:  # O7
    register = EchoRegister[str](origin=lambda: "me", time=Clock())
    for number in range(10_001):
        register.begin(f"m{number}")
        register.settle(f"m{number}")

    assert register.admit("m0", "me", "x")
    assert not register.admit("m1", "me", "x")
    assert not register.admit("m1", "me", "the same again")


def test_a_new_user_starts_without_the_old_ones_ids() -> None:  # C18
    register = EchoRegister[str](origin=lambda: "me", time=Clock())
    register.begin("m1")
    register.settle("m1")
    register.clear()

    assert register.admit("m1", "me", "x")
