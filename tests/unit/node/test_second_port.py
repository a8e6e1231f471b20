"""The port that ping-backs leave from."""

import socket

from federation.model.address import Endpoint
from node.second_port import SecondPort


def test_it_sends_from_a_port_of_its_own_and_loses_what_has_no_way() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.bind(("127.0.0.1", 0))
        peer.settimeout(5)
        to = Endpoint.of(peer.getsockname())
        port = SecondPort(["127.0.0.1"])
        port.send(b"here", to)
        data, source = peer.recvfrom(100)
        assert data == b"here"
        assert source[1] != to.port
        port.send(b"lost", Endpoint("::1", to.port))
        port.close()
        port.send(b"lost", to)
        port.close()


def test_a_host_that_cannot_be_bound_sends_nothing() -> None:
    port = SecondPort(["192.0.2.77"])
    port.send(b"lost", Endpoint("127.0.0.1", 9))
    port.close()
