"""Centrifugo's configuration, the same for every application: two namespaces, and who is asked about them.

`centrifugo_config` returns what `config.json` holds. It holds no secret: those reach Centrifugo as environment
variables, which `CONTAINER_ENV` names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from tanstack_realtime import ConfigurationError

from ._names import DATA_PREFIX, PRESENCE_PREFIX

__all__ = [
    "CONTAINER_ENV",
    "DEFAULT_ORIGINS",
    "DEFAULT_PORT",
    "GHOST_TIMEOUT",
    "HISTORY_SECONDS",
    "HISTORY_SIZE",
    "MAX_MESSAGE_BYTES",
    "PROXY_HEADER",
    "PUBLISH_ROUTE",
    "SUBSCRIBE_ROUTE",
    "centrifugo_config",
]

DEFAULT_PORT: Final = 8000
"""Centrifugo's own default."""

DEFAULT_ORIGINS: Final = ("http://localhost:*", "http://127.0.0.1:*")
"""Pages of a developer's own machine. Clients that are no browser send no origin and always pass."""

PROXY_HEADER: Final = "X-Realtime-Proxy-Secret"
"""The header in which Centrifugo shows REALTIME_PROXY_SECRET to the application."""

SUBSCRIBE_ROUTE: Final = "/centrifugo/subscribe"
"""Where the application is asked whether a subscription is granted, below its mount."""

PUBLISH_ROUTE: Final = "/centrifugo/publish"
"""Where the application is asked whether a client's message is taken, below its mount."""

CONTAINER_ENV: Final[Mapping[str, str]] = {
    "CENTRIFUGO_HTTP_API_KEY": "REALTIME_API_KEY",
    "CENTRIFUGO_CLIENT_TOKEN_HMAC_SECRET_KEY": "REALTIME_TOKEN_SECRET",
    "CENTRIFUGO_VAR_PROXY_SECRET": "REALTIME_PROXY_SECRET",
}
"""Centrifugo's variables, each with the preset's variable whose value it gets."""

HISTORY_SIZE: Final = 256
"""Messages of a channel that a client which comes back can get. Centrifugo recovers 300 at most by default."""

HISTORY_SECONDS: Final = 300
"""How long they are kept."""

MAX_MESSAGE_BYTES: Final = 65_536
"""Largest payload that an application takes by default."""

GHOST_TIMEOUT: Final = 35.0
"""Seconds after which a member is gone who vanished without a word, with the node that it was connected to if need be:
a ping and the wait for its answer (25 and 8 s), or the life of an entry in Redis (30 s)."""

_FRAME_BYTES: Final = 4 * MAX_MESSAGE_BYTES
"""Clients may write every character that is not ASCII as an escape, which makes a payload three times as long: `ü` has
two bytes, `\\u00fc` six. A larger frame costs its sender the connection."""

_QUEUE_BYTES: Final = 2 * HISTORY_SIZE * MAX_MESSAGE_BYTES
"""A queue that one full recovery does not fit into closes the connection as too slow, which comes back and recovers."""

_CHANNEL: Final = r"^[A-Za-z0-9_.~%:=&-]+$"
"""The characters of a channel's wire string. Centrifugo matches what follows the namespace."""


def centrifugo_config(
    app_url: str,
    *,
    origins: Sequence[str] = DEFAULT_ORIGINS,
    address: str = "",
    port: int = DEFAULT_PORT,
    internal_port: int | None = None,
) -> dict[str, Any]:
    """Return the configuration of Centrifugo v6.

    Args:
        app_url: the application as Centrifugo reaches it, with the path at which `Realtime` is mounted; without a path
            that is ``/_realtime``.
        origins: patterns of the pages whose browsers may connect, with ``*`` for any characters but a separator.
        address: the interface to listen on, empty for all of them.
        port: where clients connect.
        internal_port: serves the HTTP API, health and metrics there, which a firewall can then keep from clients; None
            for one port, without metrics.

    Raises:
        ConfigurationError: an argument cannot be used.
    """
    mount = _mount(app_url)
    for origin in origins:
        _check_origin(origin)
    server: dict[str, Any] = {"address": address, "port": _check_port(port)}
    if internal_port is not None:
        if _check_port(internal_port) == port:
            raise ConfigurationError(f"internal_port={internal_port}: take another one than port, or None")
        # Centrifugo reads this one as text.
        server |= {"internal_address": address, "internal_port": str(internal_port)}
    return {
        "http_server": server,
        "log": {"level": "info"},
        "usage_stats": {"disabled": True},
        "health": {"enabled": True},
        "prometheus": {"enabled": internal_port is not None},
        "websocket": {"message_size_limit": _FRAME_BYTES},
        # Who runs on Redis says so by CENTRIFUGO_ENGINE_TYPE; then an entry outlives a killed node for so long.
        "engine": {"redis": {"presence_ttl": "30s"}},
        "client": {
            "allowed_origins": list(origins),
            "disallow_anonymous_connection_tokens": True,
            # One command of a connection after the other, or its messages change places.
            "concurrency": 0,
            "channel_limit": 1000,
            "queue_max_size": _QUEUE_BYTES,
            "recovery_max_publication_limit": HISTORY_SIZE,
            # An expired grant is seen at the next update of presence. It ends the subscription, which is asked for
            # again.
            "presence_update_interval": "10s",
            "expired_sub_close_delay": "2s",
        },
        "channel": {
            "proxy": {
                "subscribe": _proxy(mount + SUBSCRIBE_ROUTE),
                "publish": _proxy(mount + PUBLISH_ROUTE),
            },
            # Nothing is allowed but what stands here: the proxies decide alone.
            "namespaces": [
                {
                    "name": DATA_PREFIX.rstrip(":"),
                    "subscribe_proxy_enabled": True,
                    "publish_proxy_enabled": True,
                    "history_size": HISTORY_SIZE,
                    "history_ttl": f"{HISTORY_SECONDS}s",
                    # Implies a position, which a client cannot choose where a proxy grants its subscription.
                    "force_recovery": True,
                    "publication_data_format": "json",
                    "channel_regex": _CHANNEL,
                },
                {
                    "name": PRESENCE_PREFIX.rstrip(":"),
                    "subscribe_proxy_enabled": True,
                    "presence": True,
                    "join_leave": True,
                    "force_push_join_leave": True,
                    # Who may be a member may read the members and say something of itself. Centrifugo adds who it was.
                    "allow_presence_for_subscriber": True,
                    "allow_publish_for_subscriber": True,
                    "publication_data_format": "json_object",
                    "channel_regex": _CHANNEL,
                },
            ],
        },
    }


def _proxy(endpoint: str) -> dict[str, Any]:
    # No status is mapped to an answer: one that is not 200 is a temporary error, and the client asks again.
    return {
        "endpoint": endpoint,
        "timeout": "3s",
        "http": {"static_headers": {PROXY_HEADER: "${CENTRIFUGO_VAR_PROXY_SECRET}"}},
    }


def _mount(app_url: str) -> str:
    try:
        parts = urlsplit(app_url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        parts, usable = urlsplit(""), False
    if not usable:
        raise ConfigurationError(
            f"app_url={app_url!r} is not the application's address; write for example http://127.0.0.1:3000/_realtime"
        )
    if parts.username is not None or parts.query or parts.fragment:
        raise ConfigurationError(f"app_url={app_url!r}: leave out everything but scheme, host, port and path")
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/') or '/_realtime'}"


def _check_origin(origin: str) -> None:
    if origin != "*" and re.fullmatch(r"[a-z*][a-z0-9+.*-]*://[^/\s]+", origin) is None:
        raise ConfigurationError(
            f"origin {origin!r} is not a pattern of origins; write for example https://app.example.com, "
            "without a slash at the end"
        )


def _check_port(port: int) -> int:
    if isinstance(port, bool) or not 0 < port < 65_536:
        raise ConfigurationError(f"port {port!r}: pass a number from 1 to 65535")
    return port
