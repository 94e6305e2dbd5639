"""Errors that reach the caller with their type."""

from __future__ import annotations

from tanstack_start import ServerFnError

__all__ = ["AlreadyThere", "EmptyText", "NotFound", "NotMember"]


class NotMember(ServerFnError):
    """The caller is not a member of the project."""


class NotFound(ServerFnError):
    """There is no such row."""


class EmptyText(ServerFnError):
    """A todo needs words."""


class AlreadyThere(ServerFnError):
    """The list has an open todo with the same words."""
