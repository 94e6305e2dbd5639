"""`create_realtime_client`: from settings to a client."""

from __future__ import annotations

from collections.abc import Mapping

from tanstack_db import DbClient, NoSessionError, current_client

from ._client import GetToken, OnError, RealtimeClient
from ._connection import Timing
from ._http import DefaultHttp, Http
from ._observe import Observer
from ._page import this_page
from ._presets import ClientContext, Preset, load_preset
from ._settings import DEFAULT_PRESET, read_environment, resolve_settings
from ._slot import client_slot
from ._transport import RealtimeTransport

__all__ = ["create_realtime_client"]


def create_realtime_client(
    url: str | None = None,
    *,
    preset: str | Preset | None = None,
    get_token: GetToken | None = None,
    headers: Mapping[str, str] | None = None,
    transport: RealtimeTransport | None = None,
    db: DbClient | None = None,
    on_error: OnError | None = None,
    http: Http | None = None,
    timing: Timing | None = None,
    observer: Observer | None = None,
) -> RealtimeClient:
    """Create a client. It does not connect by itself: call `RealtimeClient.connect`, or use it in ``async with``.

    In a browser page it follows the page: the tab is shown again, the window has the focus again, the network is back.

    Args:
        url: the server's address, for example ``"https://example.com"``; without a path, ``/_realtime`` is meant.
            Default: ``REALTIME_URL``, then pyproject.toml.
        preset: name of the preset. Default: ``REALTIME_PRESET``, then pyproject.toml, then ``"node"``.
        get_token: returns a fresh token, sync or async; asked before every attempt.
        headers: extra headers of every request to the server, for example a cookie.
        transport: instead of a preset's: ``realtime.local_transport(user_id=...)`` in the server's own process.
        db: the `DbClient` whose collections use this client. Default: the active session's, or the process-wide one,
            where it has no realtime client yet; else a new one, which is closed with the client.
        on_error: takes failures that no caller can be told about. Default: the `DbClient`'s `on_error`.
        http: sends HTTP requests. Default: httpx, or the browser's ``fetch``.
        timing: deadlines and delays.
        observer: hears what happens: `Observer`, for metrics and traces.

    Raises:
        ConfigurationError: a setting, an environment variable or a package is missing, or cannot be used.
        UnknownPresetError: no installed package provides the preset.

    Example:
        >>> async with create_realtime_client("https://example.com", get_token=read_token) as client:
        ...     await client.publish(("chat", {"room": "1"}), {"text": "hello"})
    """
    named: str | None = None
    sender: Http = http or DefaultHttp()
    if transport is None:
        settings = resolve_settings(preset=preset if isinstance(preset, str) else None, url=url)
        chosen = load_preset(settings.preset) if preset is None or isinstance(preset, str) else preset
        address = settings.url
        if preset is not None or settings.preset_source is not None:
            named = chosen.name
        environ = read_environment(chosen.name, chosen.client_env)
        transport = chosen.create_transport(ClientContext(url=address, environ=environ, http=sender))
    else:
        address = resolve_settings(preset=DEFAULT_PRESET, url=url).url if url is not None else None
    owner, is_new = _owner(db, on_error)
    client = RealtimeClient(
        transport=transport,
        db=owner,
        url=address,
        preset=named,
        get_token=get_token,
        headers=headers,
        http=sender,
        on_error=on_error,
        owns_db=is_new,
        timing=timing,
        observer=observer,
    )
    page = this_page()
    if page is not None:
        client.lifecycle.follow(page)
    return client


def _owner(db: DbClient | None, on_error: OnError | None) -> tuple[DbClient, bool]:
    if db is not None:
        return db, False
    try:
        present = current_client()
    except NoSessionError:
        return DbClient(on_error=on_error), True
    if client_slot(present).client is None:
        return present, False
    return DbClient(on_error=on_error), True
