"""TanStack Realtime preset: Centrifugo.

Layers, top down::

    _preset                      the preset object
    _client                      a client's transport: a token from the application, then Centrifugo
    _link  _subscription         one connection, one channel of it
    _sdk                         what is used of centrifuge-python
    _server                      the application's side: tokens, publishing, revoking
    _proxies  _api               what Centrifugo asks, what it is told
    _config                      Centrifugo's configuration
    _tokens _codes _names _settings
"""

from ._preset import CentrifugoPreset, preset
from ._version import __version__

__all__ = ["CentrifugoPreset", "__version__", "preset"]
