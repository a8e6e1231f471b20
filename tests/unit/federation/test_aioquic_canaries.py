"""One canary for each private name of aioquic that `federation/quic/pinned.py` uses.

If one of these fails after an upgrade, that file is what to look at, and nothing else.
"""

import asyncio
import inspect
from importlib.metadata import version

import pytest
from aioquic import tls
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection

from federation.model.network import Network
from federation.quic import pinned
from federation.quic.certificate import node_certificate, quic_configuration
from federation.quic.pinned import MAX_STREAMS, PinnedConnection
from tests.support.mesh_nodes import key

NETWORK = Network.named("test")


def client() -> PinnedConnection:
    node = key(1)
    configuration = quic_configuration(node, node_certificate(node), NETWORK, is_client=True)
    connection = PinnedConnection(configuration=configuration)
    connection.connect(("127.0.0.1", 1), now=0.0)
    return connection


def server_context() -> tls.Context:
    return tls.Context(is_client=False)


def test_the_version_is_the_one_that_was_read() -> None:
    assert version("aioquic") == "1.7.2"


def test_only_one_file_touches_private_names() -> None:
    """No other module of the package subclasses or reaches into aioquic's connection."""
    from federation import link
    from federation.quic import connection, endpoint

    for module in (connection, endpoint, link):
        assert "quic._" not in inspect.getsource(module)


def test_initialize_is_called_with_the_peer_cid() -> None:
    assert list(inspect.signature(QuicConnection._initialize).parameters) == ["self", "peer_cid"]


@pytest.mark.parametrize(
    "name", ["_request_client_certificate", "_peer_certificate", "_peer_certificate_chain",
             "_supported_groups", "_signature_algorithms"]
)  # fmt: skip
def test_the_tls_context_has(name: str) -> None:
    assert hasattr(server_context(), name)


def test_client_certificates_are_not_asked_for_by_default() -> None:
    assert server_context()._request_client_certificate is False


@pytest.mark.parametrize("name", ["_set_peer_certificate", "_server_handle_certificate"])
def test_the_tls_context_has_a_method_of_one_argument(name: str) -> None:
    assert len(inspect.signature(getattr(server_context(), name)).parameters) == 1


def test_set_peer_certificate_is_what_both_roles_call() -> None:
    for handler in (tls.Context._client_handle_certificate, tls.Context._server_handle_certificate):
        assert "self._set_peer_certificate(" in inspect.getsource(handler)


def test_the_dispatch_looks_the_certificate_handler_up_on_the_instance() -> None:
    source = inspect.getsource(tls.Context._handle_reassembled_message)
    assert "self._server_handle_certificate(" in source


def test_stream_limits_are_raised_before_the_transport_parameters_are_written() -> None:
    plain = QuicConnection(configuration=QuicConfiguration(is_client=True))
    assert plain._local_max_streams_bidi.value == plain._local_max_streams_uni.value == 128
    assert "_local_max_streams_bidi" in inspect.getsource(
        QuicConnection._serialize_transport_parameters
    )
    raised = client()
    for limit in (raised._local_max_streams_bidi, raised._local_max_streams_uni):
        assert limit.value == limit.sent == MAX_STREAMS


def test_the_close_event_is_known_at_once() -> None:
    connection = client()
    assert connection.termination is None
    connection.close(error_code=7, reason_phrase="why")
    assert connection.termination is not None
    assert connection.termination.reason_phrase == "why"


def test_streams_and_their_backlog_can_be_counted() -> None:
    connection = client()
    assert (connection.stream_count, connection.backlog(), connection.claimed_bytes) == (0, 0, 0)
    connection.send_stream_data(0, b"12345")
    connection.send_stream_data(4, b"678")
    assert (connection.stream_count, connection.backlog()) == (2, 8)


def test_no_peer_is_named_before_the_handshake_is_over() -> None:
    connection = client()
    connection._peer = key(2).id
    assert connection._handshake_complete is False
    assert connection.peer is None


def test_public_names_that_are_leant_on_are_there() -> None:
    for name in ("get_peer_address", "get_timer", "next_event", "stop_stream", "reset_stream"):
        assert callable(getattr(QuicConnection, name))
    assert pinned.MAX_STREAMS == 4096
    assert asyncio.iscoroutinefunction(QuicConnection.receive_datagram) is False
