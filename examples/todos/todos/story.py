"""What the demonstration shows: each step does something to one client and waits until both show what they must."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

from .stage import Picture, Stage

__all__ = ["tell"]


def shows(*texts: str) -> Callable[[Picture], bool]:
    return lambda picture: sorted(picture.texts) == sorted(texts) and not any(item.pending for item in picture.items)


async def tell(stage: Stage) -> AsyncIterator[str]:
    """Run the story; yields a sentence after each step that came true.

    Raises:
        TimeoutError: a client did not show what it must.
        AssertionError: a client showed what it must not.
    """
    ada, bob = stage.clients["ada"], stage.clients["bob"]
    for client in (ada, bob):
        await client.until(lambda picture: picture.status == "connected" and picture.items == (), "an empty live list")
    yield "Both clients are connected and see an empty list."

    seen = len(ada.history)
    await ada.do("add", text="buy milk")
    for client in (ada, bob):
        await client.until(shows("buy milk"), "the new todo")
    assert ada.saw(lambda picture: any(item.pending for item in picture.items), since=seen), (
        "no optimistic row was seen"
    )
    for picture in ada.history[seen:]:
        assert len(picture.items) <= 1, "the temporary row and the server's row were seen side by side"
    yield "Ada adds “buy milk”: at once on her screen, a moment later on Bob's."

    await bob.do("add", text="walk the dog")
    for client in (ada, bob):
        await client.until(shows("buy milk", "walk the dog"), "both todos")
    await bob.do("complete", text="buy milk")
    for client in (ada, bob):
        await client.until(
            lambda picture: any(item.done and not item.pending for item in picture.items), "the completed todo"
        )
    yield "Bob adds “walk the dog” and completes “buy milk”: both see it."

    seen_ada, seen_bob = len(ada.history), len(bob.history)
    await ada.do("add", text="   ")
    await ada.until(lambda picture: "needs words" in picture.notice, "why the write failed")
    await ada.until(shows("buy milk", "walk the dog"), "the list as it was")
    assert ada.saw(lambda picture: len(picture.items) == 3, since=seen_ada), "the failing write was never shown"
    assert not bob.saw(lambda picture: len(picture.items) == 3, since=seen_bob), "the failing write reached Bob"
    yield "Ada's empty todo is shown, refused by the server, and rolled back; Bob never saw it."

    await stage.kill_server()
    for client in (ada, bob):
        await client.until(lambda picture: picture.status == "reconnecting", "that the connection is gone")
    yield "The server is killed: both show “reconnecting” and keep their list."

    seen_ada = len(ada.history)
    await ada.do("add", text="while the server is down")
    await ada.until(
        lambda picture: picture.notice not in ("", "a todo needs words"), "that the write did not reach the server"
    )
    await ada.until(shows("buy milk", "walk the dog"), "the list as it was")
    assert ada.saw(lambda picture: len(picture.items) == 3, since=seen_ada), "the failing write was never shown"
    yield "A write while the server is down is rolled back with the reason."

    await stage.write_elsewhere("from outside")
    await stage.start_server()
    for client in (ada, bob):
        await client.until(
            lambda picture: picture.status == "connected" and "from outside" in picture.texts,
            "the todo that was written while it was away",
        )
    yield "The server is back: both reconnect and fetch what they missed (“from outside”)."

    for text in ("buy milk", "walk the dog", "from outside"):
        await ada.do("delete", text=text)
    for client in (ada, bob):
        await client.until(shows(), "an empty list")
    yield "Ada deletes everything: both lists are empty."
