"""Ids of transactions and mutations: unique among all clients, cheap to make."""

from __future__ import annotations

import os
from random import Random

__all__ = ["new_id"]

# Asking the operating system for each id costs a third of an optimistic write. Not the global generator: an application
# that seeds it would give all of its processes the same ids.
_random = Random()  # noqa: S311 -- ids tell apart, they guard nothing
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_random.seed)


def new_id() -> str:
    """Return 32 hexadecimal digits, 128 random bits."""
    return f"{_random.getrandbits(128):032x}"
