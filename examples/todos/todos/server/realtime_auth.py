"""Who may do what on which channel: the one function that guards every channel on every preset."""

from __future__ import annotations

from tanstack_realtime import Channel
from tanstack_realtime.server import Permissions

from .. import db
from ..db.schema import ProjectMember

__all__ = ["authorize"]


async def authorize(user_id: str, channel: Channel) -> Permissions:
    match channel:
        case Channel(namespace="todos", params={"project_id": project_id}):
            async with db.session() as session:
                if await session.get(ProjectMember, (user_id, project_id)) is not None:
                    # publish: the collection publishes what the server function returned.
                    return Permissions(subscribe=True, publish=True)
        case _:
            pass
    return Permissions()
