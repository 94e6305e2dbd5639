"""Server functions: a plain async function on the server, the same call over HTTP in a client."""

from ._version import __version__

__all__ = ["__version__"]
