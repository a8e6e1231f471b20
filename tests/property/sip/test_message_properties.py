"""Any bytes: one error type, a message that leaves as it came, edits that stay in their place."""

import contextlib
import re
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from node.sip.headers import NameAddr, Via
from node.sip.message import Message, SipParseError, parse_message
from node.sip.text import first_value_end, parse_params, quote, split_values, unquote
from node.sip.uri import Uri
from tests.support.sip_hostile import CHARACTERS, FIELDS, HEAD, PIECES, START
from tests.support.sip_load import cpu_seconds, exercise, is_traced

VECTORS = Path(__file__).parents[2] / "vectors" / "sip-torture"
CORPUS = [path.read_bytes() for path in sorted(VECTORS.glob("*.dat"))] + [START + HEAD + b"\r\n"]
SPLIT = re.compile(rb"\r\n(?![ \t])")
SMALL_LIMIT = float("inf") if is_traced() else 0.005

pieces = st.sampled_from(CHARACTERS + PIECES + FIELDS)
soup = st.lists(st.one_of(pieces, st.binary(max_size=6)), max_size=60).map(b"".join)
field_soup = st.lists(st.tuples(st.sampled_from(FIELDS), soup), max_size=8).map(
    lambda fields: START + b"".join(name + value + b"\r\n" for name, value in fields) + b"\r\n"
)


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """One of the torture messages with some bytes cut out, repeated or put in."""
    data = draw(st.sampled_from(CORPUS))
    for _ in range(draw(st.integers(1, 6))):
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(st.integers(0, 40)))
        new = draw(st.one_of(st.just(b""), st.just(data[start:end] * 3), pieces, soup))
        data = data[:start] + new + data[end:]
    return data[:3_000]


anything = st.one_of(mutated(), field_soup, soup, st.binary(max_size=400))


@settings(deadline=None, max_examples=250)
@given(anything)
def test_any_bytes_are_cheap_and_raise_one_error(data: bytes) -> None:
    """Through parsing, checking, every view, answering, editing and writing."""
    assert cpu_seconds(lambda: exercise(data), SMALL_LIMIT) <= SMALL_LIMIT


@settings(deadline=None, max_examples=250)
@given(anything)
def test_a_message_leaves_as_it_came(data: bytes) -> None:
    try:
        message = parse_message(data)
    except SipParseError:
        return
    came = data.lstrip(b"\r\n")
    assert came.startswith(message.encode())
    if "Content-Length" not in message:
        assert message.encode() == came
    assert message.copy().encode() == message.encode()
    assert parse_message(message.encode()).encode() == message.encode()


names = st.sampled_from(["Via", "v", "Route", "Contact", "M", "X-Any", "Subject", "Max-Forwards"])
values = st.text(st.characters(min_codepoint=32, max_codepoint=0x2FF), max_size=20)
edits = st.one_of(
    st.tuples(st.sampled_from(["set", "prepend", "append"]), names, values),
    st.tuples(st.sampled_from(["remove", "pop_first_value"]), names),
)


def others(message: Message, key: str) -> list[bytes]:
    """The raw lines of all fields but one."""
    lines = SPLIT.split(message.encode().partition(b"\r\n\r\n")[0])[1:]
    keys = [name for name, _ in message.header_lines()]
    return [line for line, name in zip(lines, keys, strict=True) if name != key]


LONG = {"v": "via", "M": "contact"}


@settings(deadline=None, max_examples=150)
@given(st.one_of(mutated(), field_soup), st.lists(edits, min_size=1, max_size=6))
def test_an_edit_touches_its_own_field_only(data: bytes, changes: list[tuple[str, ...]]) -> None:
    try:
        message = parse_message(data)
    except SipParseError:
        return
    for action, name, *value in changes:
        key = LONG.get(name, name.lower())
        before, start, body = others(message, key), message.start_line, message.body
        getattr(message, action)(name, *value)
        assert others(message, key) == before
        assert (message.start_line, message.body) == (start, body)
    again = parse_message(message.encode())
    assert again.header_lines() == message.header_lines()


@given(field_soup, names)
@settings(deadline=None, max_examples=100)
def test_popping_takes_the_values_in_their_order(data: bytes, name: str) -> None:
    """Until nothing is left, and every value that a list has is seen."""
    try:
        message = parse_message(data)
    except SipParseError:
        return
    expected = [value for line in message.get_all(name) for value in split_values(line)]
    popped = []
    while (value := message.pop_first_value(name)) is not None:
        popped.append(value)
    assert [value for value in popped if value] == [value for value in expected if value]
    assert name not in message


uri_text = st.text(st.sampled_from("abAB01.-_~!*'();:@&=+$,/?%#[]<>\" \u00e9"), max_size=30).map(
    lambda rest: "sip:" + rest
)
grammar = st.from_regex(
    r"sips?:([a-z0-9+.;?/&%]{0,9}(:[a-z0-9]{0,4})?@)?([a-z0-9.-]{1,9}|\[[0-9a-f:]{2,12}\])"
    r"(:[0-9]{1,5})?(;[a-z]{1,4}(=[a-z0-9:%]{1,4})?){0,3}(\?[a-z]{1,4}=[a-z]{0,4}(&[a-z]{1,3}=)?)?",
    fullmatch=True,
)


@settings(deadline=None, max_examples=300)
@given(st.one_of(uri_text, grammar, st.text(max_size=20)))
def test_a_uri_is_written_as_it_was_read(text: str) -> None:
    """But for the case of scheme and host, and zeros before the port."""
    try:
        uri = Uri.parse(text)
    except SipParseError:
        return
    assert Uri.parse(str(uri)) == uri
    assert uri.same_as(uri)
    if uri.is_sip and uri.port is None and ":::" not in text:
        assert str(uri).lower() == text.lower()


tokens = st.text(st.sampled_from("abcXYZ019-.!%*_+`'~"), min_size=1, max_size=8)
params = st.lists(
    st.tuples(tokens, st.one_of(st.none(), tokens, st.text(max_size=8).map(quote))), max_size=4
).map(tuple)
displays = st.text(st.characters(exclude_characters="\r\n"), max_size=12)


@settings(deadline=None, max_examples=200)
@given(displays, grammar, params)
def test_a_name_addr_survives_writing(
    display: str, uri: str, parameters: tuple[tuple[str, str | None], ...]
) -> None:
    try:
        value = NameAddr(display, Uri.parse(uri), parameters)
    except SipParseError:
        return
    assert NameAddr.parse(str(value)) == value
    assert split_values(f"{value} , {value}") == [str(value), str(value)]
    assert first_value_end(f"{value},{value}") == len(str(value))


@settings(deadline=None, max_examples=200)
@given(tokens, st.sampled_from(["a.example", "192.0.2.1", "2001:db8::1"]), params)
def test_a_via_survives_writing(
    transport: str, host: str, parameters: tuple[tuple[str, str | None], ...]
) -> None:
    via = Via(transport.upper(), host, 5060, parameters)
    assert Via.parse(str(via)) == via
    noted = via.with_received("198.51.100.7", 4711)
    assert noted.received == "198.51.100.7"
    assert noted.rport == (4711 if via.wants_rport else None)


@settings(deadline=None, max_examples=200)
@given(st.text(st.sampled_from('ab=;,"\\ <>\t'), max_size=30))
def test_parameters_and_lists_never_fail_otherwise(text: str) -> None:
    with contextlib.suppress(SipParseError):
        parse_params(text)
    joined = split_values(text)
    assert [piece for piece in joined if not piece or piece.strip(" \t") == piece] == joined
    assert unquote(quote(text)) == text
