"""An Ably-protocol server for development and tests, in memory. Needs the extra ``emulator``.

Ably's own SDKs connect to it. ``README.md`` in this folder lists what Ably's cloud has and this server has not.

    async with serve() as emulator:
        rest = AblyRest(key=emulator.key, endpoint=emulator.endpoint, tls=False, use_token_auth=True)

Layers, each of which knows those above it only:

* ``_errors``, ``_limits``, ``_capability``, ``_access``, ``_tokens``, ``_authority``: who may do what.
* ``_wire``, ``_messages``, ``_names``, ``_log``, ``_presence``, ``_channel``: one channel and what is sent on it.
* ``_realtime`` with ``_websocket``; ``_rest`` with ``_resources`` and ``_http``; ``_sandbox``: the ways in.
* ``_asgi`` puts them together, ``_server`` on a socket; ``_faults`` makes things go wrong.
"""

from __future__ import annotations

from ._authority import Authority
from ._errors import AblyError
from ._faults import Faults
from ._limits import Limits
from ._server import Emulator, serve
from ._wire import Action, Frame

__all__ = ["AblyError", "Action", "Authority", "Emulator", "Faults", "Frame", "Limits", "serve"]
