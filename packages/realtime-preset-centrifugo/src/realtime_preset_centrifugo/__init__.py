"""TanStack Realtime preset: Centrifugo.

Layers, top down::

    _preset                      the preset object
    _client                      a client's transport: a token from the application, then Centrifugo
    _link                        one connection
    _subscription  _presence     one channel of it, one room
    _sdk                         what is used of centrifuge-python
    _server                      the application's side: tokens, publishing, revoking
    _proxies  _api               what Centrifugo asks, what it is told
    _commands                    tanstack-realtime centrifugo …
    _config  _compose            Centrifugo's configuration, and services for a compose file
    _tokens _codes _names _settings
"""

from ._preset import CentrifugoPreset, preset
from ._version import __version__

__all__ = ["CentrifugoPreset", "__version__", "preset"]
