"""What a challenge says about its sender: a forgotten password, a guess, or a scanner."""

from node.accounts.book import AccountBook
from node.edge.guard import Guard, Misdeed
from node.sip.digest import Challenge, Failure
from node.sip.errors import SipParseError
from node.sip.flow import Flow
from node.sip.message import Request


def is_turned_away(guard: Guard, request: Request, flow: Flow) -> bool:
    """Whether a request that proves nothing comes from a scanner, which is noted."""
    if not guard.is_scanner(request.get("User-Agent")):
        return False
    guard.offend(flow, Misdeed.SCANNER)
    return True


def note_challenge(
    guard: Guard, accounts: AccountBook, request: Request, flow: Flow, challenge: Challenge
) -> None:
    """Note why a request is challenged."""
    if challenge.failure is Failure.MISSING:
        guard.challenged(flow)
    elif challenge.failure is Failure.WRONG:
        try:
            login = request.from_.uri.user or ""
        except SipParseError:
            login = ""
        guard.failed(flow, login, is_known=accounts.find(login) is not None)
