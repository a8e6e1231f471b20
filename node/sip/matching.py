"""Which transaction a message belongs to, and where responses go (RFC 3261 17.2.3, 18.2)."""

from federation.model.address import Endpoint
from node.sip.effects import ClientKey, ServerKey
from node.sip.flow import DEFAULT_PORT, Flow
from node.sip.headers import MAGIC_COOKIE, Via
from node.sip.message import Request


def note_arrival(request: Request, flow: Flow) -> Via:
    """Write where the request came from into its top Via (RFC 3261 18.2.1, RFC 3581 section 4).

    Raises:
        SipParseError: there is no readable Via.
    """
    via = request.top_via
    noted = via.with_received(flow.remote.host.partition("%")[0], flow.remote.port)
    if noted is not via:
        request.note_top_via(noted)
    return noted


def server_key(request: Request, via: Via, method: str, *, to_tag: str | None = None) -> ServerKey:
    """Name the server transaction of this request, as if its method were `method`.

    A branch with the cookie, the sent-by and the method name it; without one everything that
    RFC 2543 compared does, `to_tag` standing for the request's own where given.

    Raises:
        SipParseError: a field that has to be compared cannot be read.
    """
    branch = via.branch
    if branch is not None and branch.startswith(MAGIC_COOKIE) and branch != MAGIC_COOKIE:
        return ServerKey(f"{branch} {via.sent_by} {method}")
    to_tag = (request.to.tag or "") if to_tag is None else to_tag
    from_tag, number = request.from_.tag or "", request.cseq.number
    return ServerKey(
        f"2543 {via.transport} {via.sent_by} {branch} {request.raw_uri} {request.call_id}"
        f" {from_tag} {to_tag} {number} {method}"
    )


def client_key(branch: str, method: str) -> ClientKey:
    """Name the client transaction with this branch and this method in CSeq."""
    return ClientKey(f"{branch} {method}")


def reply_flow(via: Via, flow: Flow) -> Flow:
    """Where the responses to a request from `flow` go (RFC 3261 18.2.2).

    `maddr` is not obeyed: it would let anybody aim our responses at anybody.
    """
    if flow.reliable or via.wants_rport:
        return flow
    port = via.port or DEFAULT_PORT
    if port == flow.remote.port:
        return flow
    return Flow(flow.transport, flow.local, Endpoint(flow.remote.host, port))


def source_flow(flow: Flow, port: int) -> Flow:
    """Where an answer goes that is due at another port of a datagram's source."""
    if flow.reliable or port == flow.remote.port:
        return flow
    return Flow(flow.transport, flow.local, Endpoint(flow.remote.host, port))


def fallback_flow(sent_by_port: int | None, flow: Flow) -> Flow:
    """Where they go once the request's connection is gone: a new one to the sent-by port."""
    port = sent_by_port or DEFAULT_PORT
    return Flow(flow.transport, flow.local, Endpoint(flow.remote.host, port))
