"""The lines between a phone and its process, and the headers a phone reads."""

import json
import os

import pytest

from node.phone.call import Party, SipText
from node.phone.wire import LONGEST_LINE, Channel, LineReader, encode


def test_lines_may_arrive_in_any_pieces() -> None:
    data = encode({"id": 1, "do": "call"}) + b"\n" + encode({"id": 2, "text": "grüße\n"})
    reader = LineReader()
    lines = [line for n in range(len(data)) for line in reader.feed(data[n : n + 1])]
    assert lines == [{"id": 1, "do": "call"}, {"id": 2, "text": "grüße\n"}]
    assert LineReader().feed(data) == lines


@pytest.mark.parametrize("data", [b"[1]\n", b"no\n", b"\xff\n", b"x" * (LONGEST_LINE + 1)])
def test_what_is_no_line_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError):
        LineReader().feed(data)


def test_the_channel_reads_without_waiting_and_notices_the_end() -> None:
    commands, theirs = os.pipe()
    heard, answers = os.pipe()
    channel = Channel(commands, answers)
    assert channel.receive() == []
    os.write(theirs, b'{"id":1}\n')
    assert channel.receive() == [{"id": 1}]
    channel.send({"event": "state"})
    assert json.loads(os.read(heard, 100)) == {"event": "state"}
    os.close(theirs)
    with pytest.raises(EOFError):
        channel.receive()
    for descriptor in (commands, heard, answers):
        os.close(descriptor)


@pytest.mark.parametrize(
    ("value", "party"),
    [
        ('"Alice \\"A\\" B" <sip:alice@h:5060>;tag=1', Party('Alice "A" B', "sip:alice@h:5060")),
        ("Alice <sip:alice@h>", Party("Alice", "sip:alice@h")),
        ("<sip:012@h>;tag=x", Party("", "sip:012@h")),
        ("sip:alice@h;tag=x", Party("", "sip:alice@h")),
    ],
)
def test_a_party_is_read_from_a_header(value: str, party: Party) -> None:
    assert Party.parse(value) == party


def test_headers_are_found_in_long_short_and_folded_form() -> None:
    message = SipText(
        "INVITE sip:a@b SIP/2.0\r\nf: <sip:x@y>\r\nVIA: one,\r\n two\r\nVia: three\r\n\r\nFrom: no"
    )
    assert message.first_line == "INVITE sip:a@b SIP/2.0"
    assert message.value("From") == "<sip:x@y>"
    assert message.values("via") == ["one, two", "three"]
    assert message.value("To") is None
