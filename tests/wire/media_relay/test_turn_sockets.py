"""The socket that is connected to a channel's peer."""

import socket
from typing import Any

import pytest

from media_relay.turn_sockets import connected_twin


@pytest.fixture
def sockets() -> Any:
    """A relay port, a peer and a stranger."""
    made = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(3)]
    for one in made:
        one.bind(("127.0.0.1", 0))
        one.setblocking(False)
    yield made
    for one in made:
        one.close()


def test_what_a_stranger_sent_before_it_was_connected_is_not_taken_for_the_peers(
    sockets: list[socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    relay, peer, stranger = sockets

    class Slow(socket.socket):
        """One to which something comes between `bind` and `connect`."""

        def connect(self, address: Any, /) -> None:
            for _ in range(3):
                stranger.sendto(b"stray", self.getsockname())
            super().connect(address)

    monkeypatch.setattr(socket, "socket", Slow)
    with connected_twin(relay, peer.getsockname()) as twin:
        stranger.sendto(b"stray", twin.getsockname())
        peer.sendto(b"media", twin.getsockname())
        assert twin.recv(100) == b"media"
        with pytest.raises(BlockingIOError):
            twin.recv(100)
