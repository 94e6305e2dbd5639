"""Token requests: what is signed, and how."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json

import pytest

from realtime_preset_ably._names import BASE_CHANNEL
from realtime_preset_ably._settings import ServerSettings
from realtime_preset_ably._tokens import capability_of, token_request

SETTINGS = ServerSettings.read({"ABLY_API_KEY": "app.key:the-secret"})


def test_the_signature_is_over_the_documented_text() -> None:  # A14
    request = token_request(
        SETTINGS, "ann", {"b": ["subscribe"], "a": ["subscribe"]}, ttl=900.5, now=1700000000.25, nonce="n" * 16
    )
    text = 'app.key\n900500\n{"a":["subscribe"],"b":["subscribe"]}\nann\n1700000000250\nnnnnnnnnnnnnnnnn\n'

    assert request["mac"] == base64.b64encode(hmac.new(b"the-secret", text.encode(), hashlib.sha256).digest()).decode()
    assert json.loads(request["capability"]) == {"a": ["subscribe"], "b": ["subscribe"]}
    assert (request["keyName"], request["clientId"], request["nonce"]) == ("app.key", "ann", "n" * 16)
    assert (request["ttl"], request["timestamp"]) == (900500, 1700000000250)


def test_every_operation_is_one_of_its_own() -> None:
    """Who may see the members does not so read the messages, nor the other way round."""
    granted = {
        "reads": {"subscribe"},
        "meets": {"presence"},
        "writes": {"publish"},
        "all:n=1": {"subscribe", "presence", "publish"},
    }

    assert capability_of(granted) == {
        BASE_CHANNEL: ["subscribe"],
        "reads": ["subscribe"],
        "meets:presence": ["presence", "subscribe"],
        "all:n=1": ["subscribe"],
        "all:n=1:presence": ["presence", "subscribe"],
    }


def test_it_is_never_empty() -> None:
    assert capability_of({}) == capability_of({"writes": {"publish"}}) == {BASE_CHANNEL: ["subscribe"]}


@pytest.mark.parametrize("capability", [{}, {"a": []}])
def test_nothing_is_signed_that_ably_would_take_for_everything(capability: dict[str, list[str]]) -> None:  # A14
    with pytest.raises(ValueError, match="grants nothing"):
        token_request(SETTINGS, "ann", capability, ttl=900, now=0, nonce="n" * 16)
