"""What people may see of a message: enough to find a fault, nothing that proves a password."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.tracing.masking import masked

HEAD = "INVITE sip:bob@x SIP/2.0\r\nCall-ID: c\r\n"


@pytest.mark.parametrize(
    ("field", "shown"),
    [
        (
            'Authorization: Digest username="alice", realm="ringmesh", nonce="n1", '
            'uri="sip:x", response="5ccc069c", cnonce="aa", nc=00000001, qop=auth',
            'Authorization: Digest username="alice", realm="ringmesh", nonce=***, '
            'uri="sip:x", response=***, cnonce=***, nc=00000001, qop=auth',
        ),
        ('proxy-authorization : Digest response = "se\\"cret"', None),
        ("Proxy-Authorization: Digest response=secret", None),
        ("Authorization: Basic secret", "Authorization: Basic ***"),
        ("Authorization: Digest\r\n response=\r\n secret", None),
        ('Authentication-Info: rspauth="secret", qop=auth', None),
        ("Contact: <sip:alice:secret@192.0.2.1>", "Contact: <sip:alice:***@192.0.2.1>"),
    ],
)
def test_proofs_of_a_password_are_not_shown(field: str, shown: str | None) -> None:
    text = masked(f"{HEAD}{field}\r\n\r\n".encode())
    assert "secret" not in text
    assert "***" in text
    if shown is not None:
        assert shown in text.split("\n")


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        (
            "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:secretkey|2^20|1:32",
            "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:***|2^20|1:32",
        ),
        (
            "a=crypto:2 F8_128 inline:secret1;inline:secret2 KDR=1",
            "a=crypto:2 F8_128 inline:***;inline:*** KDR=1",
        ),
        ("a=ice-pwd:secret", "a=ice-pwd:***"),
        ("a=key-mgmt:mikey secret", "a=key-mgmt:***"),
        ("k=clear:secret", "k=***"),
        ("a=fingerprint:sha-256 AB:CD", "a=fingerprint:sha-256 AB:CD"),
    ],
)
def test_media_keys_are_not_shown(line: str, shown: str) -> None:
    sdp = f"v=0\r\nm=audio 4000 RTP/SAVP 0\r\n{line}\r\n"
    for body in (
        f"Content-Type: application/sdp\r\n\r\n{sdp}",
        f"c: application/sdp;charset=utf-8\r\n\r\n{sdp}",
        "Content-Type: multipart/mixed; boundary=b1\r\n\r\n"
        f"--b1\r\nContent-Type: application/sdp\r\n\r\n{sdp}\r\n--b1--\r\n",
    ):
        text = masked((HEAD + body).encode())
        assert "secret" not in text
        assert shown in text.split("\n")
        assert "m=audio 4000 RTP/SAVP 0" in text


@pytest.mark.parametrize(
    "body",
    [
        "Content-Type: text/plain\r\n\r\nsecret",
        "Content-Type: application/dtmf-relay\r\n\r\nSignal=secret\r\n",
        "\r\nsecret",
        "Content-Type: multipart/mixed;boundary=\"b\"\r\n\r\n--b\r\n\r\nsecret\r\n--b--",
        "Content-Type: multipart/mixed\r\n\r\n--b\r\n\r\nsecret\r\n--b--",
        "Content-Type: multipart/mixed;boundary=b\r\n\r\nsecret\r\n--b\r\n\r\nx\r\n--b--",
    ],
)  # fmt: skip
def test_what_people_say_and_dial_is_not_shown(body: str) -> None:
    assert "secret" not in masked((HEAD + body).encode())


def test_a_report_of_sip_is_shown() -> None:
    text = masked((HEAD + "Content-Type: message/sipfrag\r\n\r\nSIP/2.0 200 OK\r\n").encode())
    assert text.endswith("SIP/2.0 200 OK\n")


def test_credentials_in_a_report_of_sip_are_masked() -> None:
    lines = 'INVITE sip:a@b SIP/2.0\r\nProxy-Authorization: Digest realm="r",\r\n response="secret"'
    text = masked((HEAD + f"Content-Type: message/sipfrag\r\n\r\n{lines}\r\n").encode())
    assert "secret" not in text
    assert "INVITE sip:a@b SIP/2.0\n" in text


@given(st.binary(max_size=300), st.text(min_size=8, max_size=20, alphabet="0123456789abcdef"))
def test_any_bytes_can_be_shown_and_a_response_never_is(noise: bytes, secret: str) -> None:
    line = f'\r\nAuthorization: Digest response="{secret}"\r\n\r\n'.encode()
    assert secret not in masked(HEAD.encode() + b"X: " + noise.replace(b"\n", b"") + line)
    masked(noise)
