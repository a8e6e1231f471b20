"""Who is let in: challenges, keys, nonces, time-limited names, and what strangers get."""

import base64
import hashlib
import hmac

import pytest

from federation.model.clocks import Monotonic
from media_relay.stun.attributes import Attribute, MessageClass, Method
from media_relay.stun.message import Key, Message
from media_relay.turn.nonce import LIFETIME, TEXT_CHARS, Nonces, Validity, features_of
from tests.support.turn_core import REALM, UDP, UNIX, Shell, TurnClient, code_of

TRANSPORT = (int(Attribute.REQUESTED_TRANSPORT), UDP)


@pytest.mark.parametrize("sha256", [True, False])
def test_a_password_lets_in_by_either_algorithm(sha256: bool) -> None:
    alice = TurnClient(Shell(), sha256=sha256)
    response = alice.allocate()
    assert code_of(response) == 0
    assert response.is_signed_by(alice.key)
    assert response.has_integrity_sha256 is sha256


def test_the_challenge_names_realm_nonce_and_algorithms() -> None:
    response = TurnClient(Shell()).challenged()
    assert code_of(response) == 401
    assert response.get(Attribute.REALM) == b"ringmesh"
    nonce = response.get(Attribute.NONCE)
    assert nonce is not None
    assert (len(nonce), features_of(nonce.decode())) == (TEXT_CHARS, 3)
    assert response.get(Attribute.PASSWORD_ALGORITHMS) == bytes((0, 2, 0, 0, 0, 1, 0, 0))
    assert not response.has_integrity


def test_a_wrong_password_and_an_unknown_login_look_the_same() -> None:
    shell = Shell()
    answers = []
    for login in ("alice", "nobody"):
        client = TurnClient(shell, login)
        client.challenged()
        client.login = login
        data = client.signed(client.message(Method.ALLOCATE, [TRANSPORT], transaction=1))
        wrong = bytearray(data)
        wrong[-1] ^= 1
        shell.take(bytes(wrong), client.client)
        answers.append(shell.replies[-1].data)
    assert code_of(Message.decode(answers[0])) == 401
    assert answers[0] == answers[1]
    assert shell.pending == []


@pytest.mark.parametrize("missing", [Attribute.REALM, Attribute.NONCE, Attribute.USERNAME])
def test_an_incomplete_credential_is_a_bad_request(missing: Attribute) -> None:
    shell = Shell()
    alice = TurnClient(shell)
    alice.challenged()
    whole = Message.decode(alice.signed(alice.message(Method.ALLOCATE, [TRANSPORT])))
    kept = tuple(entry for entry in whole.attributes if entry[0] != missing)
    partial = Message(whole.method, whole.kind, whole.transaction_id, kept)
    shell.take(partial.encode(alice.key), alice.client)
    assert code_of(Message.decode(shell.replies[-1].data)) == 400


def test_a_stale_nonce_is_replaced() -> None:
    shell = Shell()
    alice = TurnClient(shell)
    alice.challenged()
    shell.pass_time(LIFETIME - 1)
    assert code_of(alice.ask(Method.REFRESH)) == 437
    shell.pass_time(2)
    response = alice.ask(Method.REFRESH)
    assert code_of(response) == 438
    assert response is not None
    nonce = response.get(Attribute.NONCE)
    assert nonce is not None
    alice.nonce = nonce
    assert code_of(alice.ask(Method.REFRESH)) == 437


def test_a_nonce_is_for_one_address() -> None:
    shell = Shell()
    alice, elsewhere = TurnClient(shell), TurnClient(shell, host="203.0.113.6")
    alice.challenged()
    elsewhere.nonce, elsewhere.algorithms = alice.nonce, alice.algorithms
    assert code_of(elsewhere.ask(Method.ALLOCATE, [TRANSPORT])) == 438


def test_taking_away_the_better_algorithm_is_noticed() -> None:
    """Somebody on the way cannot talk a client down to MD5 by editing the offer."""
    shell = Shell()
    alice = TurnClient(shell)
    alice.challenged()
    alice.algorithms = bytes((0, 1, 0, 0))
    assert code_of(alice.ask(Method.ALLOCATE, [TRANSPORT])) == 400
    # Nor by clearing the bit in the nonce, which its MAC covers.
    alice.nonce = alice.nonce.replace(b"obMatJos2AAAD", b"obMatJos2AAAC")
    alice.algorithms, alice.sha256 = None, False
    assert code_of(alice.ask(Method.ALLOCATE, [TRANSPORT])) == 438


def test_userhash_hides_the_login() -> None:
    shell = Shell()
    alice = TurnClient(shell)
    alice.challenged()
    userhash = hashlib.sha256(b"alice:ringmesh").digest()
    message = alice.message(
        Method.ALLOCATE,
        [
            TRANSPORT,
            (Attribute.USERHASH, userhash),
            (Attribute.REALM, b"ringmesh"),
            (Attribute.NONCE, alice.nonce),
            (Attribute.PASSWORD_ALGORITHMS, alice.algorithms or b""),
            (Attribute.PASSWORD_ALGORITHM, b"\0\2\0\0"),
        ],
    )
    shell.take(message.encode(alice.key), alice.client)
    assert [wanted.login for wanted in shell.pending] == ["alice"]


SECRET = b"a secret of the node"


@pytest.mark.parametrize(
    ("username", "code"),
    [
        (f"{int(UNIX) + 4000}:alice", 0),
        (f"{int(UNIX)}:alice", 401),
        (f"{int(UNIX) + 4000}:nobody", 401),
        ("soon:alice", 401),
        (f"{'9' * 30}:alice", 401),
    ],
)
def test_time_limited_names(username: str, code: int) -> None:
    """`expiry:login` with an HMAC-SHA1 password, until its time."""
    shell = Shell(rest_secret=SECRET)
    alice = TurnClient(shell)
    assert features_of((alice.challenged().get(Attribute.NONCE) or b"").decode()) == 1
    password = base64.b64encode(hmac.digest(SECRET, username.encode(), "sha1")).decode()
    key = Key(hashlib.md5(f"{username}:{REALM}:{password}".encode()).digest(), is_sha256=False)
    message = alice.message(
        Method.ALLOCATE,
        [
            TRANSPORT,
            (Attribute.USERNAME, username.encode()),
            (Attribute.REALM, b"ringmesh"),
            (Attribute.NONCE, alice.nonce),
        ],
    )
    shell.take(message.encode(key), alice.client)
    if code:
        assert code_of(Message.decode(shell.replies[-1].data)) == code
        assert shell.pending == []
    else:
        assert [wanted.login for wanted in shell.pending] == ["alice"]


def test_an_account_that_was_removed_is_refused() -> None:
    shell = Shell()
    alice = TurnClient(shell)
    alice.allocate()
    shell.credentials.remove("alice")
    assert code_of(alice.ask(Method.REFRESH)) == 401


@pytest.mark.parametrize("size", range(20, 220, 4))
def test_strangers_get_at_most_three_times_their_bytes(size: int) -> None:
    shell = Shell()
    client = TurnClient(shell)
    filler = [(int(Attribute.SOFTWARE), bytes(size - 24))] if size >= 24 else []
    for method in Method:
        request = client.message(method, filler).encode()
        assert len(request) == size
        before = len(shell.replies)
        shell.take(request, client.client)
        assert sum(len(reply.data) for reply in shell.replies[before:]) <= 3 * size


def test_the_smallest_allocate_request_is_challenged() -> None:
    """28 bytes leave room for a realm and a nonce, if for no words."""
    shell = Shell()
    client = TurnClient(shell)
    request = client.message(Method.ALLOCATE, [TRANSPORT]).encode()
    assert len(request) == 28
    shell.take(request, client.client)
    assert len(shell.replies[-1].data) <= 84
    assert Message.decode(shell.replies[-1].data).get(Attribute.NONCE)


def test_a_stream_gets_the_whole_challenge() -> None:
    shell = Shell()
    client = TurnClient(shell, connection=1)
    shell.take(client.message(Method.REFRESH).encode(), client.client)
    response = Message.decode(shell.replies[-1].data)
    assert response.get(Attribute.ERROR_CODE) == b"\0\0\4\1Unauthenticated"


def test_binding_needs_no_password() -> None:
    shell = Shell()
    client = TurnClient(shell, host="2001:db8::9")
    shell.take(client.message(Method.BINDING).encode(), client.client)
    assert Message.decode(shell.replies[-1].data).kind is MessageClass.SUCCESS


def test_nonces_age_and_cannot_be_made_up() -> None:
    nonces = Nonces(b"k" * 32)
    nonce = nonces.issue("192.0.2.1", features=3, now=Monotonic(100.0))
    for source, age, verdict in (
        ("192.0.2.1", 0, Validity.GOOD),
        ("192.0.2.1", LIFETIME, Validity.GOOD),
        ("192.0.2.1", LIFETIME + 1, Validity.STALE),
        ("192.0.2.2", 0, Validity.STALE),
    ):
        assert nonces.check(nonce, source, now=Monotonic(100.0 + age)) is verdict
    for forged in ("", "x" * TEXT_CHARS, nonce[:-1] + "!", nonce[:-1], "é" * TEXT_CHARS):
        assert nonces.check(forged, "192.0.2.1", now=Monotonic(100.0)) is Validity.STALE
    other = Nonces(b"j" * 32)
    assert other.check(nonce, "192.0.2.1", now=Monotonic(100.0)) is Validity.STALE
