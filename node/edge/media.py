"""The media of one call: anchors towards phones, sealed legs towards nodes (RFC 3264).

A `CallMedia` has one end towards the caller and one for each branch. A description passes in two
steps: the end it came from *takes* it (learns where the sender wants its media), the end it goes
to *gives* it (writes its own addresses in, or brings legs). An answer then joins the two ends of
every m= line. One relay session holds everything, so closing it frees all.
"""

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from federation.messages import LegAnswer, LegOffer
from federation.model.clocks import Entropy, Monotonic
from federation.model.errors import PeerError
from media_relay.counters import NO_DROPS
from media_relay.reports import EndpointReport
from media_relay.session import Anchor, RelaySession
from node.edge.codec import codec_of
from node.edge.legs import Leg, LegEnd, LegMark, NoIndex
from node.edge.phone_media import PhoneEnd, PhoneMark
from node.sip.flow import Flow
from node.sip.sdp import MediaSection, Sdp

__all__ = ["CallMedia", "Carried", "LegAnswer", "LegOffer", "MediaError", "NoIndex", "Role"]

LONG_AGO = Monotonic(0.0)
MAX_MEDIA_LINES = 16
"More m= lines than any phone offers; each may cost two ports."
BETWEEN_NODES_PORT = 9
BETWEEN_NODES_HOST = "192.0.2.1"


class MediaError(PeerError):
    """A description or its legs cannot be carried; that call ends, nothing else."""


class Role(enum.Enum):
    """What a description is in the offer/answer model."""

    OFFER = "offer"
    ANSWER = "answer"


@dataclass(frozen=True, slots=True)
class Carried:
    """A description as it goes on, with its legs: one or nil for each m= line."""

    body: bytes
    legs: tuple[Leg | None, ...] = ()


End = PhoneEnd | LegEnd
Handle = Anchor | int
"What an m= line runs through: an anchor, or a leg's id."


@dataclass(slots=True)
class Activity:
    """Since when no media packet arrived at all."""

    since: Monotonic
    packets: int = -1
    heard: Monotonic = LONG_AGO
    "When the sum of packets was seen to have changed."

    def note(self, packets: int, now: Monotonic) -> Monotonic:
        """Take in the present sum of packets; the time since which it has not changed."""
        if packets != self.packets:
            self.packets, self.since, self.heard = packets, now, now
        return self.since

    def restart(self, now: Monotonic) -> None:
        """Silence is no sign of anything at present; `heard` stays."""
        self.since = now


class Offered:
    """What one offer inside a dialog changes, until it is answered.

    An offer is learnt before its answer is known. Refused, it must leave everything as it was:
    the phone still listens where it did, and only what the offer brought is freed.
    """

    def __init__(self, media: "CallMedia", sender: int | None, receiver: int | None) -> None:
        self._media = media
        self._sender = sender
        self._marks: list[tuple[PhoneEnd, PhoneMark] | tuple[LegEnd, LegMark]] = []
        for end in (media.end(sender), media.end(receiver)):
            if isinstance(end, PhoneEnd):
                self._marks.append((end, end.mark()))
            else:
                self._marks.append((end, end.mark()))
        self._sent = media.sends.get(sender)

    def take_back(self) -> None:
        """The offer was refused."""
        if self._media.closed:
            return
        for end, mark in self._marks:
            end.take_back(mark)  # type: ignore[arg-type]  # each end has a mark of its own kind
        if self._sent is not None:
            self._media.sends[self._sender] = self._sent


class Quality(NamedTuple):
    """How the main stream of a call arrived, and what went nowhere of all its media."""

    caller: EndpointReport | None
    callee: EndpointReport | None
    drops: tuple[int, ...] = NO_DROPS


class CallMedia:
    """Every stream of one call, on all its branches."""

    def __init__(self, session: RelaySession, entropy: Entropy, now: Monotonic) -> None:
        self.session = session
        self._entropy = entropy
        self._caller: End | None = None
        self._branches: dict[int, End] = {}
        self._settled: tuple[int, str] | None = None
        self._answers: dict[tuple[int, str], frozenset[int]] = {}
        "The m= lines in use, by branch and To-tag, as its last answer says."
        self._audio: set[int] = set()
        "The m= lines that are audio; an answer has those of its offer."
        self.sends: dict[int | None, bool] = {}
        "Whether a side sends media through us all the time, by its own last description."
        self.activity = Activity(now)
        self.closed = False
        self.codec: str | None = None
        "What the newest answer of the main stream agreed on, as in SDP, upper case."
        self._main: dict[str, tuple[Handle, Handle | None]] = {}
        "By To-tag: the caller's and the callee's end of the main stream."

    @property
    def may_be_silent(self) -> bool:
        """Whether some party need not send through us: on hold, or reached directly by ICE."""
        return not self.sends or not all(self.sends.values())

    @property
    def ends(self) -> tuple[End, ...]:
        """The caller's end and those of all branches."""
        caller = () if self._caller is None else (self._caller,)
        return (*caller, *self._branches.values())

    def phone(
        self,
        flow: Flow,
        told_ip: str,
        *,
        branch: int | None = None,
        is_plain: bool = False,
    ) -> None:
        """Add an end towards a phone, which is told `told_ip`: the caller's, or that of a branch.

        `is_plain`: it belongs to another SIP network and proved nothing.
        """
        self._add(PhoneEnd(self.session, flow, told_ip, is_plain=is_plain), branch)

    def node(self, local_ip: str, peer_ip: str, *, branch: int | None = None) -> None:
        """Add an end towards another node: the caller's, or that of a branch."""
        self._add(LegEnd(self.session, self._entropy, local_ip, peer_ip), branch)

    def _add(self, end: End, branch: int | None) -> None:
        if branch is None:
            self._caller = end
        else:
            self._branches[branch] = end

    def has_branch(self, branch: int) -> bool:
        """Whether a branch has its end already."""
        return branch in self._branches

    def take(
        self,
        body: bytes,
        *,
        branch: int | None,
        tag: str,
        role: Role,
        legs: Sequence[Leg | None] = (),
        peer_ip: str = "",
        renew: bool = False,
    ) -> None:
        """Learn from a description that came from the caller (`branch` None) or a branch.

        `renew` says that a new exchange began, so a plain phone may send from elsewhere.

        Raises:
            MediaError: too many m= lines, or legs that do not fit them.
            SdpError: not a description.
            NoCapacity: no port is free.
        """
        end, sdp = self.end(branch), _parse(body)
        shared = bundled_lines(sdp) if role is Role.ANSWER else {}
        self.sends[branch] = any(
            is_carried(line) and line.direction == "sendrecv" and not line.has_ice
            for line in sdp.media
        )
        for index, line in enumerate(sdp.media):
            if not is_carried(line) or index in shared:
                continue
            if isinstance(end, PhoneEnd):
                end.take(index, line, renew=renew)
            else:
                leg = legs[index] if index < len(legs) else None
                end.take(index, tag, leg, peer_ip)

    def give(
        self, body: bytes, *, branch: int | None, tag: str, role: Role, forming: bool
    ) -> Carried:
        """Write a description for the caller (`branch` None) or a branch.

        `forming` says whether this belongs to the dialog-forming INVITE, whose offer brings a
        block of legs and whose answer is repeated in later responses.

        Raises:
            NoIndex: this To-tag gets no leg any more.
            MediaError, SdpError, NoCapacity: as for `take`.
        """
        end, sdp = self.end(branch), _parse(body)
        shared = bundled_lines(sdp) if role is Role.ANSWER else {}
        if isinstance(end, PhoneEnd):
            end.open(sdp)
            for index, line in enumerate(sdp.media):
                if is_carried(line):
                    end.give(shared.get(index, index), line)
                    if role is Role.ANSWER and index not in shared and not line.has_rtcp_mux:
                        end.part_rtcp(index)
            return Carried(sdp.encode())
        given: list[Leg | None] = []
        for index, line in enumerate(sdp.media):
            wanted = is_carried(line) and index not in shared
            given.append(
                end.give(index, tag, is_offer=role is Role.OFFER, forming=forming)
                if wanted
                else None
            )
        neutralise(sdp)
        return Carried(sdp.encode(), tuple(given))

    def join(self, body: bytes, *, branch: int, tag: str, final: bool) -> None:
        """Join the caller and this To-tag on every line that `body`, the answer, accepts.

        The newest To-tag is heard until the first final answer, which settles it for good.
        """
        sdp = _parse(body)
        shared = bundled_lines(sdp)
        self._audio = {index for index, line in enumerate(sdp.media) if line.kind == "audio"}
        self._answers[branch, tag] = frozenset(
            index
            for index, line in enumerate(sdp.media)
            if is_carried(line) and index not in shared
        )
        if self._settled is not None and self._settled != (branch, tag):
            return
        if final:
            self._settled = (branch, tag)
        self.codec = codec_of(sdp.media) or self.codec
        self._connect(branch, tag)

    def _connect(self, branch: int, tag: str) -> None:
        caller, callee = self.end(None), self.end(branch)
        for index in sorted(self._answers[branch, tag], key=self._not_audio):
            here, there = caller.handle(index, tag), callee.handle(index, tag)
            if here is not None and there is not None:
                self.session.join(here, there)
                self._main.setdefault(tag, (here, there))

    def _not_audio(self, line: int) -> tuple[bool, int]:
        """Sorts audio lines before all others."""
        return line not in self._audio, line

    def reserve_final(self, tag: str) -> None:
        """A 2xx with this To-tag may take the leg that early answers leave free.

        Raises:
            NoIndex: another 2xx has it.
        """
        if isinstance(self._caller, LegEnd):
            self._caller.take_last_index(tag)

    def settle(self, branch: int, tag: str) -> None:
        """This dialog was the first to be confirmed: it is heard from now on."""
        if self._settled is None:
            self._settled = (branch, tag)
            if (branch, tag) in self._answers:
                self._connect(branch, tag)

    def release_losers(self) -> None:
        """Free the branches, legs and m= lines that the confirmed dialog does not use."""
        if self._settled is None:
            return
        branch, tag = self._settled
        for other in [b for b in self._branches if b != branch]:
            self.drop_branch(other)
        live = self._answers.get(self._settled)
        for end in self.ends:
            if isinstance(end, LegEnd):
                end.release_all_but(tag)
                if live is not None:
                    end.keep_only(tag, live)
            elif live is not None:
                end.keep_only(live)

    def echo(self, line: int, tag: str) -> None:
        """Let the caller hear itself on one m= line."""
        handle = self.end(None).handle(line, tag)
        if handle is not None:
            self.session.echo(handle)
            self._main.setdefault(tag, (handle, None))

    def quality(self) -> Quality:
        """How the main stream of the confirmed dialog arrived: the caller's, the callee's.

        That is its first audio line, or its first line. The last counters come a moment after
        `close`.
        """
        ends = self._main.get(self._settled[1]) if self._settled else None
        if ends is None:
            return Quality(None, None)
        report = self.session.report()
        known = {(False, anchor.id): anchor for anchor in report.anchors}
        known |= {(True, leg.id): leg for leg in report.legs}
        caller, callee = (None if end is None else known.get(_key_of(end)) for end in ends)
        drops = zip(*(end.drops for end in (*report.anchors, *report.legs)), strict=True)
        return Quality(caller, callee, tuple(map(sum, drops)) or NO_DROPS)

    def legs_of(self, branch: int | None) -> frozenset[int]:
        """The ids of the legs towards the caller's node (`branch` None) or that of a branch."""
        end = self._caller if branch is None else self._branches.get(branch)
        return end.leg_ids if isinstance(end, LegEnd) else frozenset()

    def drop_branch(self, branch: int) -> None:
        """Free what a branch that failed had been given."""
        self.sends.pop(branch, None)
        end = self._branches.pop(branch, None)
        if end is not None:
            end.close()

    def close(self) -> None:
        """Free every anchor and leg of the call; idempotent."""
        self.closed = True
        self.session.close()

    def end(self, branch: int | None) -> End:
        """The end towards the caller, or that of a branch.

        Raises:
            MediaError: there is none.
        """
        end = self._caller if branch is None else self._branches.get(branch)
        if end is None:
            raise MediaError("this side of the call has no media")
        return end


def _key_of(handle: Handle) -> tuple[bool, int]:
    return (False, handle.id) if isinstance(handle, Anchor) else (True, handle)


def is_carried(line: MediaSection) -> bool:
    """Whether datagrams of this m= line run through us: UDP, and not declined."""
    return line.port != 0 and not line.is_tcp


def bundled_lines(sdp: Sdp) -> dict[int, int]:
    """Lines that an answer bundles (RFC 9143), each with the line whose transport it shares."""
    shared: dict[int, int] = {}
    for bundle in sdp.bundles():
        live = [index for index in bundle if sdp.media[index].is_live]
        shared.update((index, live[0]) for index in live[1:])
    return shared


def neutralise(sdp: Sdp) -> None:
    """Take every address of a phone out of what goes to another node."""
    for line in sdp.media:
        if line.is_tcp:
            line.pin_connection()
    if sdp.connection is not None and not sdp.connection.is_null:
        sdp.session.set_connection(BETWEEN_NODES_HOST)
    for line in sdp.media:
        if not is_carried(line):
            continue
        line.set_rtcp(None)
        connection = line.connection
        if connection is not None and connection.is_null:
            line.set_port(BETWEEN_NODES_PORT)
        else:
            line.set_address(BETWEEN_NODES_HOST, BETWEEN_NODES_PORT)


def _parse(body: bytes) -> Sdp:
    sdp = Sdp.parse(body)
    if len(sdp.media) > MAX_MEDIA_LINES:
        raise MediaError(f"more than {MAX_MEDIA_LINES} m= lines")
    return sdp
