"""A phone that knows the password gets in; anything else is challenged, and nothing raises."""

import hashlib

from hypothesis import given, settings
from hypothesis import strategies as st

from federation.model.clocks import UnixTime
from federation.model.errors import UsageError
from node.sip.digest import (
    Algorithm,
    Challenge,
    DigestAuthenticator,
    Failure,
    Role,
    StoredCredential,
    Verified,
    parse_auth_params,
)
from node.sip.errors import SipParseError
from tests.support.digest_client import DigestClient, register
from tests.support.sip_exchange import SeededEntropy

NOW = UnixTime(1_800_000_000.0)
LOGINS = st.from_regex(r"[a-z0-9][a-z0-9._-]{0,20}(@[a-z.]{1,10})?", fullmatch=True)
PASSWORDS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=30)


def an_authenticator(username: str, password: str) -> DigestAuthenticator:
    secret = f"{username}:ringmesh:{password}".encode()
    stored = StoredCredential(
        username.partition("@")[0],
        hashlib.md5(secret).hexdigest(),
        hashlib.sha256(secret).hexdigest(),
    )
    return DigestAuthenticator({username: stored}.get, secret=b"s", entropy=SeededEntropy())


@given(
    username=LOGINS, password=PASSWORDS, guess=PASSWORDS, role=st.sampled_from(Role),
    qop=st.sampled_from(["auth", "auth-int"]), line=st.integers(0, 1), body=st.binary(max_size=20),
    age=st.floats(0, 7200),
)  # fmt: skip
@settings(max_examples=150, deadline=None)
def test_only_the_password_opens_and_only_in_time(
    username: str, password: str, guess: str, role: Role, qop: str, line: int, body: bytes,
    age: float,
) -> None:  # fmt: skip
    auth = an_authenticator(username, password)
    request = register(method="MESSAGE", body=body)
    challenge = auth.authenticate(request, role, source="a", now=NOW)
    assert isinstance(challenge, Challenge)
    answered = request.copy()
    answered.append(
        role.credentials,
        DigestClient(username, guess, qop=qop).answer(challenge.headers[line][1], request),
    )
    verdict = auth.authenticate(answered, role, source="a", now=UnixTime(NOW + age))
    if guess != password:
        assert isinstance(verdict, Challenge)
        assert verdict.failure is Failure.WRONG
    elif int((NOW + age) * 1000) >= int(NOW * 1000) + 3_600_000:
        assert isinstance(verdict, Challenge)
        assert verdict.failure is Failure.STALE
    else:
        login = username.partition("@")[0]
        assert verdict == Verified(login, username, list(Algorithm)[line])


@given(
    st.one_of(
        st.text(max_size=200),
        st.lists(
            st.tuples(
                st.sampled_from(
                    [
                        "username",
                        "realm",
                        "nonce",
                        "uri",
                        "response",
                        "algorithm",
                        "qop",
                        "nc",
                        "cnonce",
                        "opaque",
                    ]
                ),
                st.sampled_from(["=", " = ", ""]),
                st.one_of(
                    st.sampled_from(
                        ['"ringmesh"', "auth", "MD5", "00000001", '"alice"', '"sip:x"', '"\\"', '"']
                    ),
                    st.text(max_size=20),
                ),
            ),
            max_size=14,
        ).map(lambda parts: "Digest " + ",".join("".join(part) for part in parts)),
    )
)
@settings(max_examples=300, deadline=None)
def test_no_credentials_of_whatever_kind_raise_or_open(text: str) -> None:
    auth = an_authenticator("alice", "secret password")
    request = register()
    try:
        request.append("Authorization", text)
    except UsageError:  # a line end is in it, so it is no header field
        return
    verdict = auth.authenticate(request, Role.REGISTRAR, source="a", now=NOW)
    assert isinstance(verdict, Challenge)
    try:
        params = parse_auth_params(text)
    except SipParseError:
        return
    assert all(name == name.lower() for name in params)
