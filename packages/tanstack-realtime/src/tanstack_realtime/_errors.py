"""Errors of tanstack-realtime.

* RealtimeError                     channel, code, reason, retryable
  * ChannelError                    a channel that cannot be serialized or parsed
  * ConfigurationError              settings, presets, missing packages or environment variables
    * UnknownPresetError            no installed package provides the preset
    * PresetMismatchError           client and server name different presets
  * NotConnectedError               an operation needs a connection that is not there
  * ConnectionLostError             the connection went away while the operation was in flight
  * AuthenticationError             the server refused who we are; final until a new token or `connect()`
  * ChannelDeniedError              `authorize` said no to this operation on this channel
  * PublishError                    the publish did not happen; `retryable` says whether trying again can help
  * MessageError                    a message that breaks the wire contract
  * ClosedError                     the client was closed

Each carries the facts as attributes and its message says what to do.
"""

from __future__ import annotations

__all__ = [
    "AuthenticationError",
    "ChannelDeniedError",
    "ChannelError",
    "ClosedError",
    "ConfigurationError",
    "ConnectionLostError",
    "MessageError",
    "NotConnectedError",
    "PresetMismatchError",
    "PublishError",
    "RealtimeError",
    "UnknownPresetError",
]


class RealtimeError(Exception):
    """Root of every error that tanstack-realtime and its presets raise.

    Attributes:
        channel: the wire string of the channel concerned, or None.
        code: a stable machine-readable word, for example ``"denied"``.
        reason: the human-readable reason, without the advice that the message adds.
        retryable: whether the same call can succeed later without a change.
        retry_after: least delay in seconds before that, where the server asked for one, or None.
    """

    code: str = "error"
    retryable: bool = False

    def __init__(
        self,
        message: str,
        *,
        channel: str | None = None,
        code: str | None = None,
        reason: str | None = None,
        retryable: bool | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.channel = channel
        self.reason = reason if reason is not None else message
        if code is not None:
            self.code = code
        if retryable is not None:
            self.retryable = retryable


class ChannelError(RealtimeError, ValueError):
    """A channel that cannot be serialized, parsed, or is not in canonical form."""

    code = "bad_channel"


class ConfigurationError(RealtimeError):
    """Settings, presets, packages or environment variables are missing or contradict each other."""

    code = "configuration"


class UnknownPresetError(ConfigurationError):
    """No installed package provides the preset."""

    code = "unknown_preset"


class PresetMismatchError(ConfigurationError):
    """The client was set up for another preset than the server runs."""

    code = "preset_mismatch"


class NotConnectedError(RealtimeError):
    """The operation needs a connection and there is none."""

    code = "not_connected"
    retryable = True


class ConnectionLostError(RealtimeError):
    """The connection ended while the operation was in flight, or could not be opened."""

    code = "connection_lost"
    retryable = True


class AuthenticationError(RealtimeError):
    """The server refused the identity. Final until `connect()` is called again or a new token is given."""

    code = "unauthenticated"


class ChannelDeniedError(RealtimeError):
    """`authorize` did not grant this operation on this channel."""

    code = "denied"


class PublishError(RealtimeError):
    """The publish did not happen."""

    code = "publish_failed"


class MessageError(RealtimeError, ValueError):
    """A message that breaks the wire contract. It changed nothing."""

    code = "bad_message"


class ClosedError(RealtimeError):
    """The client was closed with `close()`; create a new one."""

    code = "closed"
