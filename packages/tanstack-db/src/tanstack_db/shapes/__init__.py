"""Collections that follow a log: a server's table as it is now, and every change of it from then on.

`shape_collection_options` makes one from a *shape*, a filtered table behind an HTTP endpoint that speaks the protocol
of Electric's HTTP API (https://electric-sql.com/docs/api/http): PostgreSQL with Electric in front of it, or any server
that keeps such a log. How requests are made is given as a function; `httpx_fetch` is one.

=============== ====================================================================================
``_collection`` `shape_collection_options`, `ShapeCollection`; `httpx_fetch`
``_reader``     follows a log in one run of a collection, and shows whole states of it
``_log``        the protocol without I/O: which request comes next, and what an answer means
``_values``     values in PostgreSQL's text forms
=============== ====================================================================================
"""

from ._collection import ShapeCollection, TxidTimeoutError, httpx_fetch, shape_collection_options
from ._log import ShapeError
from ._reader import Fetch, Headers, ShapeResponse

__all__ = [
    "Fetch",
    "Headers",
    "ShapeCollection",
    "ShapeError",
    "ShapeResponse",
    "TxidTimeoutError",
    "httpx_fetch",
    "shape_collection_options",
]
