"""What an account may be called, and what is said where it may not."""

import pytest

from node.accounts.login import (
    MAX_DIGIT_LOGIN,
    MAX_EXTENSION,
    MAX_LOGIN,
    MAX_NAME,
    MAX_PASSWORD,
    MIN_EXTENSION,
    MIN_PASSWORD,
    AccountError,
    Reserved,
    check_extension,
    check_login,
    check_name,
    check_password,
)

RESERVED = Reserved()


@pytest.mark.parametrize(
    "login", ["alice", "a", "7", "0.b_c-d", "a" * MAX_LOGIN, "1" * MAX_DIGIT_LOGIN, "1234567a"]
)
def test_good_logins(login: str) -> None:
    check_login(login, RESERVED)


@pytest.mark.parametrize(
    ("login", "sentence"),
    [
        ("", "a login is missing; choose one such as alice"),
        ("a" * 65, f"login {'a' * 16!r}…: it has 65 characters; use at most 64"),
        (
            "Alice",
            "login 'Alice': use lower-case letters a-z, digits, '.', '_' and '-', "
            "beginning with a letter or a digit; alice would do",
        ),
        (
            "-alice",
            "login '-alice': use lower-case letters a-z, digits, '.', '_' and '-', "
            "beginning with a letter or a digit; alice would do",
        ),
        (
            "ümlaut",
            "login 'ümlaut': use lower-case letters a-z, digits, '.', '_' and '-', "
            "beginning with a letter or a digit; mlaut would do",
        ),
        (
            "alice@example.org",
            "login 'alice@example.org': leave out the '@' and what follows; "
            "alice alone is the login",
        ),
        (
            "*43",
            "login '*43': use lower-case letters a-z, digits, '.', '_' and '-', "
            "beginning with a letter or a digit; 43 would do",
        ),
        (
            "112",
            "login '112': this is an emergency number; choose another, such as a name",
        ),
        ("echo", "login 'echo': this name belongs to a service of the node; choose another"),
        (
            "1234567",
            "login '1234567': it looks like a telephone number; use at most 6 digits, "
            "or put a letter in it, such as u1234567",
        ),
        (
            "alice\n",
            "login 'alice\\n': use lower-case letters a-z, digits, '.', '_' and '-', "
            "beginning with a letter or a digit; alice would do",
        ),
    ],
)
def test_bad_logins_are_told_what_would_do(login: str, sentence: str) -> None:
    with pytest.raises(AccountError) as refused:
        check_login(login, RESERVED)
    assert str(refused.value) == sentence


def test_the_operators_emergency_numbers_replace_the_usual_ones() -> None:
    own = Reserved(emergency=frozenset({"144"}))
    check_login("999", own)
    for check in (check_login, check_extension):
        with pytest.raises(AccountError, match="emergency number"):
            check("144", own)


@pytest.mark.parametrize("extension", ["10", "101", "1" * MAX_EXTENSION])
def test_good_extensions(extension: str) -> None:
    check_extension(extension, RESERVED)


@pytest.mark.parametrize(
    ("extension", "said"),
    [
        ("1" * (MIN_EXTENSION - 1), "use 2 to 6 digits, such as 101"),
        ("1" * (MAX_EXTENSION + 1), "use 2 to 6 digits, such as 101"),
        ("10a", "use digits only, such as 101"),
        ("", "use digits only, such as 101"),
        ("١٢٣", "use digits only, such as 101"),
        ("911", "this is an emergency number; choose another, such as 101"),
    ],
)
def test_bad_extensions_are_told_what_would_do(extension: str, said: str) -> None:
    with pytest.raises(AccountError) as refused:
        check_extension(extension, RESERVED)
    assert str(refused.value) == f"extension {extension!r}: {said}"


def test_names_fit_a_header() -> None:
    check_name("")
    check_name("Alice Müller, 3rd floor")
    check_name("n" * MAX_NAME)
    for name in ("n" * (MAX_NAME + 1), "Alice\r\nEvil: yes", "a\x00"):
        with pytest.raises(AccountError):
            check_name(name)


def test_passwords_have_a_length_and_are_never_quoted() -> None:
    check_password("x" * MIN_PASSWORD, "alice")
    check_password("x" * MAX_PASSWORD, "alice")
    too_long = "x" * (MAX_PASSWORD + 1)
    for password in ("sh0rt!!", too_long, "tab\tinside", " blanks around ", "\n" * 9):
        with pytest.raises(AccountError) as refused:
            check_password(password, "alice")
        assert password not in str(refused.value)
        assert "alice" in str(refused.value)


def test_a_password_is_not_the_login() -> None:
    with pytest.raises(AccountError, match="scanners try first"):
        check_password("Receptionist", "receptionist")
