"""What a PBX is asked for: the Request-URI of a call to it, and the limits of its trunk."""

from node.accounts.account import Account
from node.sip.uri import Uri
from node.trunks.trunk import Mode, PbxSettings

BULK = "bnc"
"The URI parameter of a Contact that stands for all numbers of a PBX (RFC 6140 5)."


def is_bulk(contact: Uri) -> bool:
    """Whether a registered Contact stands for every number behind it."""
    return contact.param(BULK) is not None


def called_user(account: Account, extension: str | None, did: str | None) -> str:
    """The user part that names who was called, to a PBX that is told so."""
    if extension is not None:
        return extension
    if did is not None:
        return f"+{did}"
    return account.login


def called_at(
    settings: PbxSettings, contact: Uri, account: Account, extension: str | None, did: str | None
) -> Uri:
    """The Request-URI for a Contact that a PBX has registered.

    In single mode the Contact as it stands. Per user, the extension or DID is its user part; a
    call to the trunk itself leaves it. A bulk Contact has no user part of its own, so it always
    gets one (RFC 6140 section 5.3).
    """
    if is_bulk(contact):
        return contact.without_param(BULK).with_(user=called_user(account, extension, did))
    if settings.mode is Mode.PER_USER and (extension or did):
        return contact.with_(user=called_user(account, extension, did))
    return contact
