"""An Ably-protocol server for development and tests, in memory. Needs the extra ``emulator``.

Ably's own SDKs connect to it. ``README.md`` in this folder lists what Ably's cloud has and this server has not.

    async with serve() as emulator:
        rest = AblyRest(key=emulator.key, endpoint=emulator.endpoint, tls=False, use_token_auth=True)

Layers, top down::

    _server  _ticker             on a socket, in the running loop; calls when something is due
    _asgi                        the ways in, put together
    _websocket                   a client's socket
    _rest  _resources  _paging   the REST API: paths, what is done with channels, lists in pages
    _sandbox                     apps made over HTTP
    _http                        bounded requests; answers in the reader's format
    _simulated                   the realtime half without sockets, for this package's tests
    _realtime  _faults           all connections and channels, without I/O; what makes things go wrong
    _connection  _operations     one connection; what it does on channels
    _attachment                  one channel of it: what it hears, where it goes on
    _channels  _channel          an app's channels; one of them, with _log and _presence
    _outbox  _timers  _recent    what waits to be written, deadlines, answers to give again
    _authority  _tokens          who somebody is: keys, tokens and their end
    _access  _capability         what they may do
    _messages  _names            what clients may send, and how channels are called
    _wire  _plain                protocol messages in JSON and MessagePack
    _clock _errors _limits
"""

from __future__ import annotations

from ._authority import Authority
from ._errors import AblyError
from ._faults import Faults
from ._limits import Limits
from ._server import Emulator, serve
from ._wire import Action, Frame

__all__ = ["AblyError", "Action", "Authority", "Emulator", "Faults", "Frame", "Limits", "serve"]
