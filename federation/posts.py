"""Frames without a transaction: ACK, further 2xx, bye. They wait for a link, or for one answer."""

import asyncio
from dataclasses import dataclass

from federation.link import Link
from federation.messages import Bye, Request, Response, StreamError
from federation.model.clocks import Monotonic

MAX_WAITING = 1_024
"Frames that wait for a link to one peer."
POST_TIMEOUT = 5.5
"Seconds that an ACK or a further 2xx waits."


@dataclass(eq=False, slots=True)
class Post:
    """One frame. With `answer`, the peer's response settles it: whether it was a 200, or None."""

    frame: Request | Response | Bye
    expires: Monotonic
    answer: asyncio.Future[bool | None] | None = None

    def settle(self, was_done: bool | None) -> None:
        """Tell whoever waits, `None` where no answer came; a second time is harmless."""
        if self.answer is not None and not self.answer.done():
            self.answer.set_result(was_done)


class Posts:
    """The frames of one peer that are not settled."""

    def __init__(self) -> None:
        self._waiting: list[Post] = []
        self._unanswered: dict[int, Post] = {}

    @property
    def is_waiting(self) -> bool:
        """Whether a link is needed."""
        return bool(self._waiting)

    def __bool__(self) -> bool:
        return bool(self._waiting or self._unanswered)

    def add(self, post: Post) -> None:
        """Let a frame wait; with too many waiting it is dropped."""
        if len(self._waiting) >= MAX_WAITING:
            post.settle(None)
        else:
            self._waiting.append(post)

    def send(self, link: Link, *, now: Monotonic) -> None:
        """Send everything that waits and is not too old."""
        waiting, self._waiting = self._waiting, []
        for post in waiting:
            if post.expires <= now:
                post.settle(None)
                continue
            stream = link.open_stream((post.frame,), end=True)
            if post.answer is not None:
                self._unanswered[stream] = post

    def answered(self, stream: int, was_done: bool | None) -> bool:
        """A stream brought its answer, or ended without; whether it was one of these."""
        post = self._unanswered.pop(stream, None)
        if post is not None:
            post.settle(was_done)
        return post is not None

    def link_gone(self) -> None:
        """What was not answered waits for the next link."""
        unanswered, self._unanswered = self._unanswered, {}
        self._waiting += unanswered.values()

    def fail(self) -> None:
        """Give up everything."""
        self.link_gone()
        waiting, self._waiting = self._waiting, []
        for post in waiting:
            post.settle(None)

    def withdraw(self, post: Post, link: Link | None) -> None:
        """Nobody waits for this one any more."""
        if post in self._waiting:
            self._waiting.remove(post)
        for stream, other in list(self._unanswered.items()):
            if other is post:
                del self._unanswered[stream]
                if link is not None:
                    link.reset(stream, StreamError.NONE)
