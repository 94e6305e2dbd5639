"""Errors as Ably's protocol sends them: a message, a five-digit code and an HTTP status.

The numbers are Ably's own (https://github.com/ably/ably-common/blob/main/protocol/errors.json). Both halves of the
emulator raise :class:`AblyError`; REST answers with it, the realtime half puts it into ERROR, NACK or DISCONNECTED.
"""

from __future__ import annotations

from typing import TypedDict

__all__ = ["AblyError", "ErrorInfo", "bad_request", "denied"]

MAX_MESSAGE = 1000
"""The longest message. It is in a header of REST's answers too, and may repeat what a client sent."""

_FIRST_OWN_RANGE = 60_000
"""Codes from here on (80018, 90001, ...) do not begin with an HTTP status."""


class ErrorInfo(TypedDict):
    """An error on the wire. SDKs need all of ``message``, ``code`` and ``statusCode``."""

    message: str
    code: int
    statusCode: int
    href: str


class AblyError(Exception):
    """What the emulator refuses, and why.

    Attributes:
        message: For people.
        code: Ably's number, for example 40160.
        status: The HTTP status that belongs to it, for example 401.
    """

    message: str
    code: int
    status: int

    def __init__(self, message: str, code: int, status: int | None = None) -> None:
        """Describe a refusal.

        Args:
            message: What is wrong and what would be right.
            code: Ably's number.
            status: The HTTP status. Default: the first three digits of the code, and 400 for codes such as 80018
                that do not begin with one.
        """
        message = message if len(message) <= MAX_MESSAGE else f"{message[: MAX_MESSAGE - 3]}..."
        super().__init__(f"{message} ({code})")
        self.message = message
        self.code = code
        self.status = status if status is not None else code // 100 if code < _FIRST_OWN_RANGE else 400

    def info(self) -> ErrorInfo:
        """Return the error as it is sent."""
        return {
            "message": self.message,
            "code": self.code,
            "statusCode": self.status,
            "href": f"https://help.ably.io/error/{self.code}",
        }


def bad_request(message: str) -> AblyError:
    """Return the general refusal of a malformed request: 40000, status 400."""
    return AblyError(message, 40000)


def denied(operation: str, resource: str) -> AblyError:
    """Return the refusal of an operation that the capability does not hold: 40160, status 401."""
    return AblyError(f"the capability does not permit {operation!r} on {resource!r}", 40160)
