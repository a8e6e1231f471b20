"""Maps of autonomous systems: their forms, their complaints, and what they limit."""

from pathlib import Path

import pytest

from dht import asn_map
from dht.asn_map import AsnMap, load_asn_map
from dht.lookup import AGREEING, Lookup, Seed
from dht.messages import ContactEntry
from dht.overlay_id import OverlayId
from dht.table import ASN_ALWAYS, ASN_SHARE, Contact, SecureTable
from federation.model.address import Endpoint, parse_ip
from federation.model.clocks import Monotonic
from federation.model.errors import ConfigError
from federation.model.identity import NodeKey
from tests.support.dht_records import a_record

NOW = Monotonic(10.0)
MAP = """
# a comment
192.0.0.0/8,64500
192.0.2.0/24, AS64501
192.0.2.128/25,64502
198.51.100.0\t198.51.100.99\t64503\tZZ\tEXAMPLE
203.0.113.0\t203.0.113.255\t0\tNone\tNot routed
2001:db8::/32,64504
2001:db8:1::/48,64505
255.255.255.0/24,64506
"""


@pytest.mark.parametrize(
    ("address", "asn"),
    [
        ("191.255.255.255", None),
        ("192.0.0.0", 64500),
        ("192.0.1.255", 64500),
        ("192.0.2.1", 64501),
        ("192.0.2.127", 64501),
        ("192.0.2.128", 64502),
        ("192.0.2.255", 64502),
        ("192.0.3.0", 64500),
        ("193.0.0.0", None),
        ("198.51.100.99", 64503),
        ("198.51.100.100", None),
        ("203.0.113.5", None),
        ("255.255.255.255", 64506),
        ("::ffff:192.0.2.1", 64501),
        ("2001:db8::1", 64504),
        ("2001:db8:1::1", 64505),
        ("2001:db8:2::1", 64504),
        ("2001:db9::", None),
        ("::1", None),
    ],
)
def test_the_longest_prefix_counts(address: str, asn: int | None) -> None:
    assert AsnMap(MAP.splitlines(), "map").asn_of(parse_ip(address)) == asn


@pytest.mark.parametrize(
    "line",
    [
        "192.0.2.1/24,64500",
        "192.0.2.0/24",
        "192.0.2.0/24,example",
        "192.0.2.0/24,4294967296",
        "192.0.2.0/24,-1",
        "192.0.2.0/24,64500,more",
        "example.org/24,64500",
        "192.0.2.9\t192.0.2.1\t64500",
        "192.0.2.9\t2001:db8::\t64500",
        "192.0.2.0\t64500",
    ],
)
def test_complaints_name_file_and_line(tmp_path: Path, line: str) -> None:
    file = tmp_path / "map.csv"
    file.write_text(f"198.51.100.0/24,64500\n\n{line}\n")
    with pytest.raises(ConfigError) as caught:
        load_asn_map(file)
    assert str(caught.value).startswith(f"{file}:3: ")
    assert line.split("\t")[0][:5] in str(caught.value)


def test_ranges_that_overlap_in_part_are_refused() -> None:
    lines = ["192.0.2.0\t192.0.2.99\t1", "192.0.2.50\t192.0.2.200\t2"]
    with pytest.raises(ConfigError, match=r"map:2: .* line 1 overlap"):
        AsnMap(lines, "map")


def test_files_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_asn_map(tmp_path / "none")
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="not UTF-8"):
        load_asn_map(binary)
    monkeypatch.setattr(asn_map, "MAX_MAP_BYTES", 2)
    with pytest.raises(ConfigError, match="over 2 bytes"):
        load_asn_map(binary)


def test_a_crlf_file_is_read(tmp_path: Path) -> None:
    file = tmp_path / "map.csv"
    file.write_bytes(b"192.0.2.0/24,64500\r\n198.51.100.0/24,64501\r\n")
    read = load_asn_map(file)
    assert read.entries == 2
    assert read.asn_of(parse_ip("198.51.100.7")) == 64501


# What a map limits

ONE_PROVIDER = AsnMap(["20.0.0.0/8,64500"], "map").asn_of


def a_contact(depth: int, number: int, host: str) -> Contact:
    """One that shares `depth` leading bits with the table's owner, so in a bucket of its own."""
    id_ = OverlayId((1 << (255 - depth) | number).to_bytes(32, "big"))
    return Contact(id_, NodeKey(bytes([1]) * 32).id, bytes(8), Endpoint(host, 7060), now=NOW)


def test_a_provider_fills_a_twentieth_of_the_table() -> None:
    table = SecureTable(OverlayId(bytes(32)), ONE_PROVIDER)
    theirs = [a_contact(depth, 99, f"20.{depth}.1.1") for depth in range(60)]
    taken = [contact for contact in theirs if table.add_contact(contact)]
    assert len(taken) == ASN_ALWAYS
    for depth in range(20):
        for n in range(15):
            assert table.add_contact(a_contact(depth, n, f"{30 + depth}.{n}.1.1"))
    most = int(ASN_SHARE * len(table))
    assert most > ASN_ALWAYS
    taken += [contact for contact in theirs if table.add_contact(contact)]
    assert len(taken) == most
    table.remove_contact(taken.pop())
    assert table.add_contact(theirs[-1])
    table.moved(taken[1], Endpoint("99.1.1.1", 7060))
    assert table.add_contact(theirs[-2])
    assert not table.add_contact(theirs[-3])


def agreeing_answers(hosts: list[str], asn_of: object) -> bool:
    """Whether answers from these hosts settle a lookup while one more is waited for."""
    record = a_record()
    entries = [
        ContactEntry(OverlayId(bytes([n + 1]) * 32), Endpoint(host, 7060))
        for n, host in enumerate([*hosts, "9.9.9.9"])
    ]
    lookup = Lookup(
        bytes(32),
        own_id=OverlayId(bytes([255]) * 32),
        seeds=[Seed(entry) for entry in entries],
        wants_records=True,
        deadline=Monotonic(14.0),
        asn_of=asn_of,  # type: ignore[arg-type]
    )
    lookup.start(now=NOW)
    for entry in entries[:-1]:
        lookup.answered(entry.id, contacts=(), records=(record,), endpoint=entry.endpoint, now=NOW)
    lookup.handle_timer(now=Monotonic(12.0))
    return lookup.outcome is not None and lookup.outcome.agreed


def test_answers_from_one_provider_are_one_voice() -> None:
    same = [f"20.{n}.1.1" for n in range(AGREEING)]
    assert agreeing_answers(same, None)
    assert not agreeing_answers(same, ONE_PROVIDER)
    assert agreeing_answers([same[0], "30.1.1.1", "31.1.1.1"], ONE_PROVIDER)
