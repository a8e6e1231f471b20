"""Answers to challenges, against the RFCs' own examples and our own server side."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from federation.model.clocks import UnixTime
from node.accounts.account import hash_password
from node.sip.auth_params import parse_auth_params
from node.sip.digest import DigestAuthenticator, Role, StoredCredential, Verified
from node.sip.digest_client import MAX_REMEMBERED, DigestClient, is_stale
from node.sip.message import Request, Response
from tests.support.sip_exchange import SeededEntropy


class FixedEntropy:
    """Gives one cnonce."""

    def __init__(self, value: bytes) -> None:
        self._value = value

    def token(self, size: int) -> bytes:
        return self._value


def a_request(method: str = "REGISTER", uri: str = "sip:example.org", body: bytes = b"") -> Request:
    return Request.create(
        method,
        uri,
        [
            ("Via", "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1"),
            ("From", "<sip:u100@example.org>;tag=1"),
            ("To", "<sip:u100@example.org>"),
            ("Call-ID", "c"),
            ("CSeq", f"1 {method}"),
        ],
        body,
    )


def challenged(*lines: str, status: int = 401) -> Response:
    name = "WWW-Authenticate" if status == 401 else "Proxy-Authenticate"
    return Response.answering(a_request(), status, headers=[(name, line) for line in lines])


def test_the_example_of_rfc_2617() -> None:
    """Section 3.5: Mufasa asks for a page; the digest is the same for any scheme of URI."""
    client = DigestClient("Mufasa", "Circle Of Life")
    assert client.take(
        challenged(
            'Digest realm="testrealm@host.com", qop="auth,auth-int", '
            'nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093", opaque="5ccc069c403ebaf9f0171e9517f40e41"'
        )
    )
    request = a_request("GET", "/dir/index.html")
    client.prove(request, FixedEntropy(bytes.fromhex("0a4f113b")))
    said = parse_auth_params(request.get("Authorization") or "")
    assert said["response"] == "6629fae49393a05397450978507c4ef1"
    assert said["opaque"] == "5ccc069c403ebaf9f0171e9517f40e41"
    assert (said["nc"], said["cnonce"], said["qop"]) == ("00000001", "0a4f113b", "auth")


def authenticator(password: str) -> DigestAuthenticator:
    hashes, _ = hash_password("u100", password, [])
    stored = StoredCredential("u100", hashes.ha1_md5, hashes.ha1_sha256)
    return DigestAuthenticator(
        lambda user: stored if user == "u100" else None,
        secret=b"s" * 32,
        entropy=SeededEntropy(1),
    )


@given(
    password=st.text(st.characters(codec="utf-8", exclude_categories=("C",)), min_size=1),
    body=st.binary(max_size=40),
    role=st.sampled_from(list(Role)),
)
def test_our_own_server_takes_what_we_prove(password: str, body: bytes, role: Role) -> None:
    """SHA-256 and MD5 are offered; the first request after the challenge proves itself."""
    server, client, now = authenticator(password), DigestClient("u100", password), UnixTime(1.0)
    entropy = SeededEntropy(2)
    request = a_request(body=body)
    first = server.authenticate(request, role, source="192.0.2.1", now=now)
    assert not isinstance(first, Verified)
    response = Response.answering(request, first.status, headers=list(first.headers))
    assert client.take(response)
    for _ in range(2):
        again = a_request(body=body)
        client.prove(again, entropy)
        proven = server.authenticate(again, role, source="192.0.2.1", now=now)
        assert isinstance(proven, Verified)
        assert proven.algorithm.value == "SHA-256"


@pytest.mark.parametrize(
    ("lines", "chosen"),
    [
        (['Digest realm="r", nonce="n"'], "MD5"),
        (['Digest realm="r", nonce="n", algorithm=SHA-256, qop="auth"'], "SHA-256"),
        (['Digest realm="r", nonce="n", algorithm=MD5-sess, qop="auth-int"'], "MD5-sess"),
        (
            [
                'Digest realm="r", nonce="n", algorithm=MD5',
                'Digest realm="r", nonce="n", algorithm=SHA-256',
            ],
            "SHA-256",
        ),
        (
            ['Digest realm="r", nonce="n", algorithm=SHA-512-256', 'Digest realm="r", nonce="n"'],
            "MD5",
        ),
    ],
)
def test_the_best_challenge_is_answered_once_a_realm(lines: list[str], chosen: str) -> None:
    client, request = DigestClient("u", "p"), a_request()
    assert client.take(challenged(*lines))
    client.prove(request, SeededEntropy(1))
    (answer,) = request.get_all("Authorization")
    assert parse_auth_params(answer)["algorithm"] == chosen


@pytest.mark.parametrize(
    "line",
    [
        "Basic realm=x",
        'Digest realm="r"',
        'Digest nonce="n"',
        'Digest realm="r", nonce=""',
        'Digest realm="r", nonce="n", algorithm=MD6',
        'Digest realm="r", nonce="n", qop="auth-conf"',
        'Digest realm="r", realm="r", nonce="n"',
        "Digest",
        "",
    ],
)
def test_what_cannot_be_answered_is_passed_over(line: str) -> None:
    client, request = DigestClient("u", "p"), a_request()
    assert not client.take(challenged(line))
    client.prove(request, SeededEntropy(1))
    assert "Authorization" not in request


def test_realms_are_remembered_up_to_a_bound() -> None:
    client = DigestClient("u", "p")
    for number in range(MAX_REMEMBERED + 5):
        client.take(challenged(f'Digest realm="r{number}", nonce="n"'))
    request = a_request()
    client.prove(request, SeededEntropy(1))
    assert len(request.get_all("Authorization")) == MAX_REMEMBERED
    client.forget()
    request = a_request()
    client.prove(request, SeededEntropy(1))
    assert "Authorization" not in request


def test_stale_is_told_from_wrong() -> None:
    assert is_stale(challenged('Digest realm="r", nonce="n", stale=TRUE', status=407))
    assert not is_stale(challenged('Digest realm="r", nonce="n"'))


def test_the_password_is_in_no_repr() -> None:
    assert "secret" not in repr(DigestClient("u", "secret"))
