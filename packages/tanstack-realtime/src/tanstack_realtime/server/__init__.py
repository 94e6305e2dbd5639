"""The server half: one ASGI application, one gate, one `authorize` for every preset.

Layers, top down::

    _changes        publish_change(): a row that a server function wrote
    _text           publish_text(): text that comes in parts
    _app            Realtime: the ASGI application; publish()
    _routes         POST /publish and GET /config, on every preset; _requests: what all routes have in common
    _gate           who may do what; everything from outside passes it
    _origin _declared _token _permissions _observe _limiter      what the gate is made of
    _statistics     numbers, counted where the observer is told; opentelemetry: traces and metrics
    _preset         the seam that a preset's server half implements

Needs the extra: ``pip install "tanstack-realtime[server]"``.
"""

from ._app import Realtime, publish
from ._changes import publish_change
from ._declared import Channels, DeclaresChannel
from ._gate import Gate, Operation
from ._permissions import ANONYMOUS, Authorize, GetUser, Identity, Permissions, Reject, Validate
from ._preset import (
    LocalServerPreset,
    MeasuredServerPreset,
    Publication,
    ServerContext,
    ServerObserver,
    ServerPreset,
)
from ._statistics import ServerStatistics
from ._text import publish_text
from ._token import bearer_token, connection_with_token

__all__ = [
    "ANONYMOUS",
    "Authorize",
    "Channels",
    "DeclaresChannel",
    "Gate",
    "GetUser",
    "Identity",
    "LocalServerPreset",
    "MeasuredServerPreset",
    "Operation",
    "Permissions",
    "Publication",
    "Realtime",
    "Reject",
    "ServerContext",
    "ServerObserver",
    "ServerPreset",
    "ServerStatistics",
    "Validate",
    "bearer_token",
    "connection_with_token",
    "publish",
    "publish_change",
    "publish_text",
]
