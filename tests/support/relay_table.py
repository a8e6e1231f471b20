"""A forwarding table without sockets: outlets are names, hops are compared whole."""

import struct

from federation.model.address import Endpoint
from media_relay.anchors import AnchorRoute
from media_relay.routes import RouteTable

ALICE = ("192.0.2.10", 4000)
BOB = ("192.0.2.20", 4000)
STRANGER = ("203.0.113.9", 4000)
KEY_A = bytes(range(16))
KEY_B = bytes(range(16, 32))


def rtp(
    sequence: int = 1,
    *,
    stamp: int | None = None,
    ssrc: int = 7,
    payload_type: int = 0,
    marker: bool = False,
    payload: bytes = bytes(160),
) -> bytes:
    """One RTP packet of 20 ms of G.711."""
    stamp = sequence * 160 if stamp is None else stamp
    second = payload_type | (128 if marker else 0)
    head = struct.pack("!BBHII", 128, second, sequence & 0xFFFF, stamp & 0xFFFFFFFF, ssrc)
    return head + payload


RTCP_PACKET = struct.pack("!BBHI", 128, 201, 1, 7)
STUN_PACKET = bytes.fromhex("000100002112a442") + bytes(12)
DTLS_PACKET = b"\x16\xfe\xfd" + bytes(20)
ZRTP_PACKET = b"\x10\x00" + bytes(20)
UDPTL_PACKET = b"\x00\x2a\x06" + bytes(8)
UDPTL_LATER = b"\x40\x2a\x06" + bytes(8)


def open_anchor(
    table: RouteTable, anchor_id: int, peer: tuple[str, int] | None, **options: object
) -> AnchorRoute:
    """An anchor whose phone was signalled at `peer`, RTCP one port higher."""
    anchor = table.open_anchor(anchor_id, f"rtp{anchor_id}", f"rtcp{anchor_id}")
    signalled = Endpoint(*peer) if peer else None
    rtcp = Endpoint(peer[0], peer[1] + 1) if peer else None
    sources = options.pop("sources", frozenset())
    table.expect(anchor_id, signalled, rtcp, sources, **options)  # type: ignore[arg-type]
    return anchor


def install_pair(one: RouteTable, one_id: int, other: RouteTable, other_id: int) -> None:
    """Two legs of two tables that are each other's peer; their ports are ONE_PORT, OTHER_PORT."""
    for table, own, peer_id, peer, send, receive in (
        (one, one_id, other_id, OTHER_PORT, KEY_A, KEY_B),
        (other, other_id, one_id, ONE_PORT, KEY_B, KEY_A),
    ):
        table.reserve_legs(own, 1)
        table.install_leg(
            own,
            peer_leg=peer_id,
            peer=peer,
            send_key=send,
            receive_key=receive,
            confirmed=True,
            generation=0,
            highest=-1,
            now=0.0,
        )


ONE_PORT = ("198.51.100.1", 10000)
OTHER_PORT = ("198.51.100.2", 10000)
