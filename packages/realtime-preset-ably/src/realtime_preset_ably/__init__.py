"""TanStack Realtime preset: Ably.

Layers, top down::

    _preset                      the preset object
    _client                      a client's transport: a grant from the application, a token from Ably, a connection
    _link  _token                one connection, whose token follows what is subscribed
    _subscription  _presence     one channel of it, one room
    _stream  _wanted  _life      positions; what the token is needed for; what is under way: no I/O
    _exchange  _hosts            a token for a token request; where Ably is
    _sdk  _sdk_channel           what is used of ably
    _server  _local              the application's side: grants, publishing, revoking; clients in its process
    _api  _failures              Ably's REST API, and its refusals
    _tokens                      token requests, signed
    emulator                     a server that speaks Ably's protocol, for development and tests; an extra
    _commands                    tanstack-realtime ably …
    _grant _names _codes _limits _timing _settings
"""

from ._preset import AblyPreset, preset
from ._version import __version__

__all__ = ["AblyPreset", "__version__", "preset"]
