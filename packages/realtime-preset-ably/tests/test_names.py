"""What users and channels are called at Ably."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime_preset_ably._names import BASE_CHANNEL, client_id_of, presence_channel, user_of
from tanstack_realtime import ChannelError, parse_channel


@given(st.text(max_size=20))
def test_a_client_id_names_one_user(user_id: str) -> None:
    """Kills the mutant that leaves ``~`` as it is, so that the user ``~`` is nobody."""
    client_id = client_id_of(user_id)

    assert user_of(client_id) == user_id
    assert client_id
    assert "*" not in client_id
    assert len(client_id.splitlines()) == 1


@given(st.text(alphabet="a%~*@27Ee", max_size=6))
def test_a_client_id_that_nobody_was_given_is_nobodys(client_id: str) -> None:
    """Kills the mutant that takes ``%61nn`` for the user ``ann``."""
    user_id = user_of(client_id)

    assert user_id is None or client_id_of(user_id) == client_id


def test_an_address_stays_legible() -> None:
    assert client_id_of("ann+todos@example.com") == "ann+todos@example.com"


@pytest.mark.parametrize("name", [BASE_CHANNEL, presence_channel("news"), presence_channel("chat:room=1")])
def test_no_application_channel_has_a_name_of_ours(name: str) -> None:  # A9
    with pytest.raises(ChannelError):
        parse_channel(name)
