"""Any text is a login or earns a sentence; any proposal in that sentence would do."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.accounts.login import (
    EMERGENCY_NUMBERS,
    SERVICES,
    AccountError,
    Reserved,
    check_extension,
    check_login,
    check_name,
    check_password,
)

RESERVED = Reserved()
TEXTS = st.one_of(
    st.text(max_size=80),
    st.from_regex(r"[a-z0-9._@*-]{0,70}", fullmatch=True),
    st.from_regex(r"[0-9]{1,20}", fullmatch=True),
    st.sampled_from([*sorted(EMERGENCY_NUMBERS), *sorted(SERVICES)]),
)


@given(TEXTS)
@settings(max_examples=300, deadline=None)
def test_a_login_is_what_the_rules_say(text: str) -> None:
    """The rules once more, in one expression."""
    is_right = (
        re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,63}", text) is not None
        and not re.fullmatch(r"[0-9]{7,}", text)
        and text not in SERVICES | EMERGENCY_NUMBERS
    )
    if is_right:
        check_login(text, RESERVED)
        return
    with pytest.raises(AccountError) as refused:
        check_login(text, RESERVED)
    said = str(refused.value)
    assert said.isprintable() or not text.isprintable()
    proposal = re.search(r"; (\S+) would do$|; (\S+) alone is the login$|such as (u\d+)$", said)
    if proposal:
        name = next(group for group in proposal.groups() if group)
        if len(name) <= 64 and not name.isdigit() and name not in SERVICES:
            check_login(name, RESERVED)


@given(TEXTS)
@settings(max_examples=200, deadline=None)
def test_extensions_names_and_passwords_are_taken_or_refused_with_a_sentence(text: str) -> None:
    for check in (
        lambda: check_extension(text, RESERVED),
        lambda: check_name(text),
        lambda: check_password(text, "alice"),
    ):
        said = "fine: nothing to say"
        try:
            check()
        except AccountError as error:
            said = str(error)
        assert re.search(r"[;:] \S", said)  # what is wrong, then what would do
