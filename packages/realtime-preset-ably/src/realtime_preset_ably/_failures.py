"""What Ably says when it refuses a request, and what becomes of it here.

https://ably.com/docs/platform/errors/codes
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tanstack_realtime import PublishError
from tanstack_realtime._json import as_object

if TYPE_CHECKING:
    from ._settings import ServerSettings

__all__ = ["Failure"]

_TOO_LARGE: Final = frozenset({40009, 413})
_NOT_REVOCABLE: Final = 40164
_NOT_CAPABLE: Final = 40160


@dataclass(frozen=True, slots=True)
class Failure:
    """An error of Ably's.

    Attributes:
        status: of HTTP.
        number: Ably's, or the status where it gave none.
        said: for people.
        retry_after: seconds, or None.
    """

    status: int
    number: int
    said: str
    retry_after: float | None = None

    @staticmethod
    def read(status: int, error: object, *, retry_after: str | None = None) -> Failure:
        """Read an error object, as far as it is one."""
        named = as_object(error)
        number: object = named.get("code")
        return Failure(
            status,
            number if isinstance(number, int) else status,
            str(named.get("message") or f"HTTP {status}"),
            float(retry_after) if retry_after is not None and retry_after.isascii() and retry_after.isdigit() else None,
        )

    @property
    def is_not_revocable(self) -> bool:
        """Whether it says that tokens of this key cannot be revoked."""
        return self.number == _NOT_REVOCABLE

    def error(self, what: str, channel: str | None, settings: ServerSettings) -> PublishError:
        """Return the error for a request that was refused, without the key in it."""
        said = self.said.replace(settings.key_secret, "…")
        code, reason, advice = str(self.number), said, ""
        if self.status == 429:
            code, reason = "rate_limited", "Ably takes no more messages at the moment"
            advice = "; publish less often, or ask Ably for a higher limit"
        elif self.number in _TOO_LARGE:
            code, reason = "too_large", "larger than Ably takes"
        elif self.number == _NOT_CAPABLE:
            code, reason = "api_key", "the server's key does not allow it"
            advice = "; give the key of ABLY_API_KEY the capabilities publish, subscribe and presence"
        elif self.status == 401:
            code, reason = "api_key", "Ably refused the server's key"
            advice = "; is ABLY_API_KEY still valid, and of this app?"
        elif self.status == 404:
            advice = "; is ABLY_ENDPOINT an Ably server?"
        return PublishError(
            f"{what}: Ably answered {said} ({self.number}){advice}",
            channel=channel,
            code=code,
            reason=reason,
            retryable=self.status == 429,
            retry_after=self.retry_after,
        )
