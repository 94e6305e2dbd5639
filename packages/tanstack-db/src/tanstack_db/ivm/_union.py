"""Puts several inputs together; keys tell from which one a row is, so that equal keys do not clash."""

from __future__ import annotations

from .._base.delta import Deltas

__all__ = ["union_all"]


def union_all(*inputs: Deltas) -> Deltas:
    """Take the deltas of one batch, of each input; return those of the union. Its keys are ``(input, key)``."""
    return [((index, key), old, new) for index, deltas in enumerate(inputs) for key, old, new in deltas]
