"""Challenges, and what is accepted in answer to them (RFC 3261 22, RFC 7616, RFC 8760)."""

import hashlib
from dataclasses import replace

import pytest

from federation.model.clocks import UnixTime
from node.sip.auth_params import MAX_CREDENTIALS_TEXT
from node.sip.digest import (
    Algorithm,
    Challenge,
    DigestAuthenticator,
    DigestCredentials,
    DigestPreference,
    Failure,
    Role,
    StoredCredential,
    Verified,
    parse_auth_params,
    strip_credentials,
)
from node.sip.errors import SipParseError
from node.sip.message import Request
from node.software import IS_COMPILED
from tests.support.digest_client import DigestClient, register
from tests.support.sip_exchange import SeededEntropy

NOW = UnixTime(1_800_000_000.0)
HOST = "192.0.2.10"
PASSWORD = "correct horse"


def stored(username: str, preference: DigestPreference = DigestPreference.BOTH) -> StoredCredential:
    secret = f"{username}:ringmesh:{PASSWORD}".encode()
    return StoredCredential(
        username.partition("@")[0],
        hashlib.md5(secret).hexdigest(),
        hashlib.sha256(secret).hexdigest(),
        preference,
    )


USERS = {
    "alice": stored("alice"),
    "alice@example.org": stored("alice@example.org"),
    "old": stored("old", DigestPreference.MD5),
    "new": stored("new", DigestPreference.SHA256),
}
ALICE = DigestClient("alice", PASSWORD)


def an_authenticator(**options: object) -> DigestAuthenticator:
    return DigestAuthenticator(
        USERS.get,
        secret=b"s" * 32,
        entropy=SeededEntropy(),
        **options,  # type: ignore[arg-type]
    )


def challenge_of(
    auth: DigestAuthenticator,
    request: Request,
    role: Role = Role.REGISTRAR,
    now: UnixTime = NOW,
) -> Challenge:
    verdict = auth.authenticate(request, role, source=HOST, now=now)
    assert isinstance(verdict, Challenge)
    return verdict


def lines_of(challenge: Challenge) -> dict[str, str]:
    """Challenge lines by algorithm, in their order."""
    return {parse_auth_params(line)["algorithm"]: line for _, line in challenge.headers}


def answered(request: Request, *credentials: str, role: Role = Role.REGISTRAR) -> Request:
    twin = request.copy()
    for line in credentials:
        twin.append(role.credentials, line)
    return twin


def verdict(
    auth: DigestAuthenticator,
    request: Request,
    *credentials: str,
    role: Role = Role.REGISTRAR,
    now: UnixTime = NOW,
) -> Verified | Failure:
    result = auth.authenticate(
        answered(request, *credentials, role=role), role, source=HOST, now=now
    )
    return result if isinstance(result, Verified) else result.failure


def test_sha_256_is_offered_before_md5_in_a_line_of_its_own() -> None:
    challenge = challenge_of(an_authenticator(), register())
    assert challenge.status == 401
    assert [name for name, _ in challenge.headers] == ["WWW-Authenticate"] * 2
    first, second = (parse_auth_params(line) for _, line in challenge.headers)
    assert (first["algorithm"], second["algorithm"]) == ("SHA-256", "MD5")
    assert set(first) == {"realm", "nonce", "qop", "algorithm"}
    assert first["realm"] == second["realm"] == "ringmesh"
    assert first["qop"] == second["qop"] == "auth"


def test_a_proxy_asks_with_407_in_its_own_header() -> None:
    challenge = challenge_of(an_authenticator(), register(method="INVITE"), Role.PROXY)
    assert challenge.status == 407
    assert {name for name, _ in challenge.headers} == {"Proxy-Authenticate"}


@pytest.mark.parametrize("algorithm", list(Algorithm))
@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize("qop", ["auth", "auth-int"])
@pytest.mark.parametrize("username", ["alice", "alice@example.org"])
def test_a_good_answer_is_accepted(
    algorithm: Algorithm, role: Role, qop: str, username: str
) -> None:
    auth, client = an_authenticator(), DigestClient(username, PASSWORD, qop=qop)
    request = register(method="MESSAGE", body=b"hello")
    line = lines_of(challenge_of(auth, request, role))[algorithm.value]
    assert verdict(auth, request, client.answer(line, request), role=role) == Verified(
        "alice", username, algorithm
    )


def test_credentials_in_the_other_roles_header_do_not_count() -> None:
    auth, request = an_authenticator(), register()
    line = lines_of(challenge_of(auth, request))["SHA-256"]
    twin = answered(request, ALICE.answer(line, request), role=Role.PROXY)
    assert challenge_of(auth, twin).failure is Failure.MISSING


def test_when_both_challenges_are_answered_the_stronger_counts() -> None:
    auth, request = an_authenticator(), register()
    lines = lines_of(challenge_of(auth, request))
    both = [ALICE.answer(lines["MD5"], request), ALICE.answer(lines["SHA-256"], request)]
    result = verdict(auth, request, *both)
    assert isinstance(result, Verified)
    assert result.algorithm is Algorithm.SHA256


def test_auth_int_covers_the_body() -> None:
    auth, client = an_authenticator(), DigestClient("alice", PASSWORD, qop="auth-int")
    request = register(method="MESSAGE", body=b"hello")
    line = lines_of(challenge_of(auth, request))["MD5"]
    credentials = client.answer(line, request)
    assert verdict(auth, register(method="MESSAGE", body=b"HELLO"), credentials) is Failure.WRONG


def test_auth_int_is_offered_on_request() -> None:
    challenge = challenge_of(an_authenticator(offer_integrity=True), register())
    assert parse_auth_params(challenge.headers[0][1])["qop"] == "auth,auth-int"


@pytest.mark.parametrize(
    ("user", "offered"), [("alice", ["SHA-256", "MD5"]), ("old", ["MD5"]), ("new", ["SHA-256"])]
)
def test_an_account_may_be_restricted_to_one_algorithm(user: str, offered: list[str]) -> None:
    """By challenge, and in what is accepted."""
    auth, request = an_authenticator(), register(user=user)
    assert list(lines_of(challenge_of(auth, request))) == offered
    all_lines = lines_of(challenge_of(auth, register()))
    client = DigestClient(user, PASSWORD)
    for algorithm, line in all_lines.items():
        result = verdict(auth, request, client.answer(line, request))
        assert isinstance(result, Verified) == (algorithm in offered)


def test_md5_goes_first_for_the_devices_listed() -> None:
    auth = an_authenticator(md5_first=("Oldphone/",))
    picky = register(headers=[("User-Agent", "Oldphone/1.0")])
    assert list(lines_of(challenge_of(auth, picky))) == ["MD5", "SHA-256"]
    other = register(headers=[("User-Agent", "Newphone/1.0")])
    assert list(lines_of(challenge_of(auth, other))) == ["SHA-256", "MD5"]


def test_md5_alone_for_the_devices_that_give_up_at_anything_else() -> None:
    auth = an_authenticator(md5_only=("Oldphone/",))
    picky = register(headers=[("User-Agent", "Oldphone/1.0")])
    assert list(lines_of(challenge_of(auth, picky))) == ["MD5"]
    other = register(headers=[("User-Agent", "Newphone/1.0")])
    assert list(lines_of(challenge_of(auth, other))) == ["SHA-256", "MD5"]


def test_an_unknown_user_gets_the_answer_of_a_known_one() -> None:
    """Neither first challenge nor rejection differ by more than the nonce."""

    def shape(challenge: Challenge) -> list[tuple[str, dict[str, str]]]:
        return [(n, parse_auth_params(v) | {"nonce": ""}) for n, v in challenge.headers]

    auth = an_authenticator()
    seen = []
    for user in ("alice", "nobody"):
        request = register(user=user)
        first = challenge_of(auth, request)
        credentials = DigestClient(user, "guess").answer(lines_of(first)["MD5"], request)
        again = challenge_of(auth, answered(request, credentials))
        assert again.failure is Failure.WRONG
        seen.append((shape(first), shape(again)))
    assert seen[0] == seen[1]


@pytest.mark.skipif(IS_COMPILED, reason="nothing can be put in place of a compiled method")
def test_an_unknown_user_costs_the_same_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The digest is computed and compared for a login that does not exist as well."""
    computed: list[str] = []
    original = DigestCredentials.expected_response

    def counted(self: DigestCredentials, ha1: str, method: str, body: bytes) -> str:
        computed.append(self.username)
        return original(self, ha1, method, body)

    monkeypatch.setattr(DigestCredentials, "expected_response", counted)
    auth = an_authenticator()
    for user in ("alice", "nobody"):
        request = register(user=user)
        line = lines_of(challenge_of(auth, request))["SHA-256"]
        verdict(auth, request, DigestClient(user, "guess").answer(line, request))
    assert computed == ["alice", "nobody"]


def test_a_wrong_password_is_counted_for_its_source() -> None:
    auth, request = an_authenticator(), register()
    for number in range(1, 4):
        line = lines_of(challenge_of(auth, request))["MD5"]
        guess = DigestClient("alice", f"guess {number}").answer(line, request)
        assert verdict(auth, request, guess) is Failure.WRONG
        assert auth.failures.count(HOST, now=NOW) == number
    assert auth.failures.count("192.0.2.11", now=NOW) == 0


def test_missing_stale_and_good_credentials_are_no_failures() -> None:
    auth, request = an_authenticator(), register()
    line = lines_of(challenge_of(auth, request))["MD5"]
    assert isinstance(verdict(auth, request, ALICE.answer(line, request)), Verified)
    later = UnixTime(NOW + 3600)
    assert verdict(auth, request, ALICE.answer(line, request), now=later) is Failure.STALE
    assert auth.failures.count(HOST, now=later) == 0


def test_a_nonce_is_stale_when_its_lifetime_ends() -> None:
    auth, request = an_authenticator(lifetime=100.0), register()
    line = lines_of(challenge_of(auth, request))["SHA-256"]
    just_before = UnixTime(NOW + 99.9)
    assert isinstance(
        verdict(auth, request, ALICE.answer(line, request), now=just_before), Verified
    )
    late = answered(request, ALICE.answer(line, request))
    challenge = challenge_of(auth, late, now=UnixTime(NOW + 100.0))
    assert challenge.failure is Failure.STALE
    assert all(parse_auth_params(v)["stale"] == "true" for _, v in challenge.headers)


def test_after_a_restart_a_phone_is_challenged_with_stale_and_needs_no_new_password() -> None:
    """The secret is another one then; a wrong password is told apart from an old nonce."""
    request = register()
    before = lines_of(challenge_of(an_authenticator(), request))["SHA-256"]
    after = DigestAuthenticator(USERS.get, secret=b"t" * 32, entropy=SeededEntropy(2))
    assert verdict(after, request, ALICE.answer(before, request)) is Failure.STALE
    wrong = DigestClient("alice", "guess")
    assert verdict(after, request, wrong.answer(before, request)) is Failure.WRONG


def test_credentials_work_once() -> None:
    auth, request = an_authenticator(), register()
    credentials = ALICE.answer(lines_of(challenge_of(auth, request))["MD5"], request)
    assert isinstance(verdict(auth, request, credentials), Verified)
    challenge = challenge_of(auth, answered(request, credentials))
    assert challenge.failure is Failure.REPLAYED
    assert parse_auth_params(challenge.headers[0][1])["stale"] == "true"


def test_one_nonce_serves_many_requests_that_may_overtake_each_other() -> None:
    auth, request = an_authenticator(), register()
    line = lines_of(challenge_of(auth, request))["MD5"]
    for count in (1, 3, 2, 70, 7):
        credentials = ALICE.answer(line, request, count=count)
        assert isinstance(verdict(auth, request, credentials), Verified)
    for count in (1, 2, 3, 7, 70, 6):
        credentials = ALICE.answer(line, request, count=count)
        assert verdict(auth, request, credentials) is Failure.REPLAYED


@pytest.mark.parametrize(
    ("asked", "in_digest"),
    [
        ("sip:example.org", "sip:example.org;transport=tcp"),
        ("sip:example.org;transport=udp", "sip:example.org"),
        ("sip:example.org", "sip:EXAMPLE.org"),
        ("sip:example.org:5060", "sip:example.org"),
        ("sip:bob@example.org;user=phone", "sip:bob@example.org"),
        ("tel:+49301234", "tel:+49-30-1234"),
    ],
)
def test_the_uri_of_a_digest_may_differ_in_what_phones_get_wrong(
    asked: str, in_digest: str
) -> None:
    auth, request = an_authenticator(), register(uri=asked)
    line = lines_of(challenge_of(auth, request))["MD5"]
    credentials = ALICE.answer(line, request, uri=in_digest)
    assert isinstance(verdict(auth, request, credentials), Verified)


@pytest.mark.parametrize(
    ("asked", "in_digest"),
    [
        ("sip:bob@example.org", "sip:eve@example.org"),
        ("sip:bob@example.org", "sip:bob@example.net"),
        ("sip:example.org:5070", "sip:example.org:5080"),
        ("sip:example.org", "nonsense"),
        ("sip:900123@example.org", "tel:900123"),
    ],
)
def test_a_digest_for_another_uri_is_worth_nothing(asked: str, in_digest: str) -> None:
    auth, request = an_authenticator(), register(uri=asked)
    line = lines_of(challenge_of(auth, request))["MD5"]
    credentials = ALICE.answer(line, request, uri=in_digest)
    assert verdict(auth, request, credentials) is Failure.MALFORMED


@pytest.mark.parametrize(
    "changed",
    [
        {"qop": ""},
        {"qop": "none"},
        {"nc": "1"},
        {"nc": ""},
        {"cnonce": ""},
        {"response": '"zz"'},
        {"algorithm": "MD5-sess"},
        {"algorithm": "SHA-512-256"},
        {"username": ""},
    ],
)
def test_incomplete_or_odd_credentials_are_challenged_anew(changed: dict[str, str]) -> None:
    auth, request = an_authenticator(), register()
    line = lines_of(challenge_of(auth, request))["MD5"]
    credentials = ALICE.answer(line, request, **changed)
    assert verdict(auth, request, credentials) is Failure.MALFORMED


def test_credentials_for_another_realm_are_not_ours() -> None:
    auth, request = an_authenticator(), register()
    line = lines_of(challenge_of(auth, request))["MD5"]
    foreign = replace(ALICE, realm="pbx").answer(line, request)
    assert verdict(auth, request, foreign) is Failure.MISSING
    ours = ALICE.answer(line, request)
    assert isinstance(verdict(auth, request, foreign, ours), Verified)


def test_without_an_algorithm_md5_is_meant() -> None:
    auth, request = an_authenticator(), register()
    line = lines_of(challenge_of(auth, request))["MD5"]
    assert isinstance(verdict(auth, request, ALICE.answer(line, request, algorithm="")), Verified)


def test_only_our_own_credentials_are_stripped() -> None:
    auth, request = an_authenticator(), register(method="INVITE")
    line = lines_of(challenge_of(auth, request, Role.PROXY))["MD5"]
    foreign = replace(ALICE, realm="pbx").answer(line, request)
    twin = answered(request, ALICE.answer(line, request), foreign, role=Role.PROXY)
    strip_credentials(twin, Role.PROXY)
    assert twin.get_all("Proxy-Authorization") == [foreign]
    before = twin.encode()
    strip_credentials(twin, Role.PROXY)
    assert twin.encode() == before


@pytest.mark.parametrize(
    "text",
    [
        "Basic YWxpY2U6",
        'Digest username="a", username="b"',
        'Digest username="a" realm="b"',
        'Digest username="a',
        "Digest =",
        "Digest " + "a=b, " * MAX_CREDENTIALS_TEXT,
    ],
)
def test_what_is_no_list_of_parameters_is_refused(text: str) -> None:
    with pytest.raises(SipParseError):
        parse_auth_params(text)


def test_the_example_of_rfc_7616() -> None:
    """Section 3.9.1, both algorithms; only the arithmetic, since the realm is another one."""
    ha1 = {
        Algorithm.MD5: hashlib.md5(b"Mufasa:http-auth@example.org:Circle of Life").hexdigest(),
        Algorithm.SHA256: hashlib.sha256(
            b"Mufasa:http-auth@example.org:Circle of Life"
        ).hexdigest(),
    }
    expected = {
        Algorithm.MD5: "8ca523f5e9506fed4657c9700eebdbec",
        Algorithm.SHA256: "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1",
    }
    for algorithm, response in expected.items():
        credentials = DigestCredentials(
            username="Mufasa",
            realm="http-auth@example.org",
            nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
            uri="/dir/index.html",
            response=response,
            algorithm=algorithm,
            qop="auth",
            cnonce="f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
            count_text="00000001",
        )
        assert credentials.expected_response(ha1[algorithm], "GET", b"") == response
