"""Who calls, towards a provider and from one.

A provider is told a number it may show: one that is mapped to the caller, else the trunk's own. It
is trusted with it, so a caller who wants to stay unknown is named in P-Asserted-Identity only, with
`Privacy: id` (RFC 3325 section 7). What a provider asserts of its callers is believed the same way.
"""

from dataclasses import dataclass

from node.accounts.account import Account
from node.accounts.identify import appearance_of
from node.edge.identity import ANONYMOUS_HOST, Caller, display_of, is_anonymous
from node.sip.errors import SipParseError
from node.sip.headers import NameAddr
from node.sip.message import Request
from node.sip.text import quote
from node.trunks.book import DidBook
from node.trunks.e164 import e164
from node.trunks.trunk import CallerId, ProviderSettings

PRIVATE = frozenset({"id", "user", "full", "header"})
"Values of Privacy (RFC 3323) by which a caller is not to be shown."


@dataclass(frozen=True, slots=True)
class ToldCaller:
    """The header fields that tell a provider who calls."""

    shown_from: str
    "The From value, without tag."
    asserted: str
    "The P-Asserted-Identity value."
    is_private: bool


def wants_privacy(request: Request) -> bool:
    """Whether the caller asked not to be shown."""
    if is_anonymous(request.from_.uri):
        return True
    if not request.has("privacy"):
        return False
    asked = (request.get("Privacy") or "").lower().replace(",", ";").split(";")
    return any(value.strip() in PRIVATE for value in asked)


def number_for(
    settings: ProviderSettings, dids: DidBook, account: Account | None, request: Request | None
) -> str | None:
    """The number that a provider shows for an account; digits of E.164. `None`: another node's.

    `request` is the account's own one, in whose From it may name a DID of its own; `None` where it
    sends on the call of somebody else.
    """
    if account is None or settings.caller_id is CallerId.FIXED:
        return settings.caller
    user = "" if request is None else request.from_.uri.user or ""
    named = dids.find(user)
    if named is not None and named.login == account.login:
        return named.number
    appearance = appearance_of(account, user)
    extension = None if appearance is None else appearance.extension
    own = dids.of(account.login, extension) or dids.of(account.login)
    return own[0].number if own else settings.caller


def told_caller(
    name: str,
    settings: ProviderSettings,
    number: str | None,
    account: Account | None,
    request: Request,
    *,
    is_own: bool,
    always_shown: bool = False,
) -> ToldCaller:
    """What a provider is told; `is_own`: the request is the account's, not one it sends on."""
    user = f"+{number}" if number is not None else settings.login or name
    uri = f"<sip:{user}@{settings.home}>"
    is_private = wants_privacy(request) and not always_shown
    if is_private:
        return ToldCaller(f'"Anonymous" <sip:anonymous@{ANONYMOUS_HOST}>', uri, True)
    display = display_of(request.from_) if is_own else ""
    if not display and account is not None:
        display = account.name
    shown = f"{quote(display)} {uri}" if display else uri
    return ToldCaller(shown, uri, False)


def caller_from(settings: ProviderSettings, request: Request) -> Caller:
    """Who a provider says is calling: its P-Asserted-Identity, else its From."""
    if wants_privacy(request):
        return Caller("", None, "", verified=False, anonymous=True)
    sender = _asserted(request) or request.from_
    number = e164(sender.uri.user or "", settings.country, bare=True)
    uri = f"{sender.uri.user}@{sender.uri.host}" if sender.uri.user else sender.uri.host
    display = display_of(sender) or display_of(request.from_)
    return Caller(
        display=display,
        number=None,
        uri=uri,
        verified=True,
        outside=None if number is None else f"+{number}",
    )


def _asserted(request: Request) -> NameAddr | None:
    for value in request.values("P-Asserted-Identity")[:2]:
        try:
            return NameAddr.parse(value)
        except SipParseError:
            continue
    return None
