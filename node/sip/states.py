"""The four state machines of RFC 3261 section 17, with RFC 6026 and RFC 4320, as tables.

A machine says for each state which events count, what is then done and which state follows; an
event without a rule changes nothing and is absorbed. `timing` says which timers a state starts
when it is entered. Transports that are reliable never send again, and leave at once the states
whose end timer is zero for them.
"""

import enum
from dataclasses import dataclass, field

from node.sip.timers import (
    LATE_TRYING,
    T1,
    T2,
    TIMER_B,
    TIMER_D,
    TIMER_F,
    TIMER_H,
    TIMER_I,
    TIMER_J,
    TIMER_K,
    TIMER_L,
    TIMER_M,
)


class _Name(enum.StrEnum):
    """A word that tables are looked up by: its hash is that of a string, and made once."""

    __hash__ = str.__hash__


class State(_Name):
    """Where a transaction stands."""

    CALLING = "Calling"
    TRYING = "Trying"
    PROCEEDING = "Proceeding"
    COMPLETED = "Completed"
    CONFIRMED = "Confirmed"
    ACCEPTED = "Accepted"
    TERMINATED = "Terminated"


class Event(_Name):
    """What moves a transaction: a message from either side, or its own timers."""

    PROVISIONAL = "1xx"
    SUCCESS = "2xx"
    FAILURE = "3xx-6xx"
    REQUEST = "request again"
    ACK = "ACK"
    RESEND = "resend timer"
    GIVE_UP = "end timer"
    UNREACHABLE = "transport error"
    ABANDONED = "no answer to send"


class Step(_Name):
    """What a transaction does on a transition."""

    SEND_REQUEST = "send the request"
    SEND_ACK = "send ACK"
    SEND_CANCEL = "send a waiting CANCEL"
    SEND_RESPONSE = "send the response"
    SEND_AGAIN = "send the last response"
    SEND_TRYING = "send 100"
    DELIVER = "to the TU"
    DELIVER_STRAY = "to the TU as stray"
    DELIVER_ACK = "ACK to the TU"
    REPORT_TIMEOUT = "timeout to the TU"
    REPORT_FAILURE = "failure to the TU"


@dataclass(frozen=True, slots=True)
class Rule:
    """One transition."""

    target: State
    steps: tuple[Step, ...] = ()


@dataclass(frozen=True, slots=True)
class Timing:
    """The timers a state starts when entered; all in seconds."""

    end: float | None = None
    "Until `Event.GIVE_UP` on an unreliable transport; `None`: as long as it takes."
    end_reliable: float | None = None
    "The same on a reliable one; 0 leaves the state at once."
    resend: float | None = None
    "Until the first `Event.RESEND`; each interval is twice the one before."
    resend_cap: float | None = None
    "Longest such interval; `None`: no limit."
    resend_reliable: bool = False
    "Whether `resend` runs on a reliable transport too."
    continues: bool = False
    "The timers of the state before run on, `resend` becoming the interval after the next."


@dataclass(frozen=True, slots=True)
class Machine:
    """One kind of transaction."""

    name: str
    start: State
    rules: dict[State, dict[Event, Rule]]
    timing: dict[State, Timing]
    done: frozenset[State] = field(default=frozenset())
    "States in which the TU has had or given its final answer, so that they may be cut short."


S, E = State, Event
_UNTIMED = Timing()

INVITE_CLIENT = Machine(
    name="INVITE client",
    start=S.CALLING,
    rules={
        S.CALLING: {
            E.RESEND: Rule(S.CALLING, (Step.SEND_REQUEST,)),
            E.PROVISIONAL: Rule(S.PROCEEDING, (Step.DELIVER, Step.SEND_CANCEL)),
            E.SUCCESS: Rule(S.ACCEPTED, (Step.DELIVER,)),
            E.FAILURE: Rule(S.COMPLETED, (Step.SEND_ACK, Step.DELIVER)),
            E.GIVE_UP: Rule(S.TERMINATED, (Step.REPORT_TIMEOUT,)),
            E.UNREACHABLE: Rule(S.TERMINATED, (Step.REPORT_FAILURE,)),
        },
        S.PROCEEDING: {
            E.PROVISIONAL: Rule(S.PROCEEDING, (Step.DELIVER,)),
            E.SUCCESS: Rule(S.ACCEPTED, (Step.DELIVER,)),
            E.FAILURE: Rule(S.COMPLETED, (Step.SEND_ACK, Step.DELIVER)),
            E.GIVE_UP: Rule(S.TERMINATED, (Step.REPORT_TIMEOUT,)),
            E.UNREACHABLE: Rule(S.TERMINATED, (Step.REPORT_FAILURE,)),
        },
        S.COMPLETED: {
            # a downstream proxy may fork: its late 2xx makes a dialog whatever came before it
            E.SUCCESS: Rule(S.COMPLETED, (Step.DELIVER_STRAY,)),
            E.FAILURE: Rule(S.COMPLETED, (Step.SEND_ACK,)),
            E.GIVE_UP: Rule(S.TERMINATED),
            E.UNREACHABLE: Rule(S.TERMINATED),
        },
        S.ACCEPTED: {
            E.SUCCESS: Rule(S.ACCEPTED, (Step.DELIVER,)),
            E.GIVE_UP: Rule(S.TERMINATED),
        },
    },
    timing={
        S.CALLING: Timing(end=TIMER_B, end_reliable=TIMER_B, resend=T1),  # Timers A, B
        S.PROCEEDING: _UNTIMED,
        S.COMPLETED: Timing(end=TIMER_D, end_reliable=0),
        S.ACCEPTED: Timing(end=TIMER_M, end_reliable=TIMER_M),
    },
    done=frozenset({S.COMPLETED, S.ACCEPTED}),
)

NON_INVITE_CLIENT = Machine(
    name="non-INVITE client",
    start=S.TRYING,
    rules={
        S.TRYING: {
            E.RESEND: Rule(S.TRYING, (Step.SEND_REQUEST,)),
            E.PROVISIONAL: Rule(S.PROCEEDING, (Step.DELIVER,)),
            E.SUCCESS: Rule(S.COMPLETED, (Step.DELIVER,)),
            E.FAILURE: Rule(S.COMPLETED, (Step.DELIVER,)),
            E.GIVE_UP: Rule(S.TERMINATED, (Step.REPORT_TIMEOUT,)),
            E.UNREACHABLE: Rule(S.TERMINATED, (Step.REPORT_FAILURE,)),
        },
        S.PROCEEDING: {
            E.RESEND: Rule(S.PROCEEDING, (Step.SEND_REQUEST,)),
            E.PROVISIONAL: Rule(S.PROCEEDING, (Step.DELIVER,)),
            E.SUCCESS: Rule(S.COMPLETED, (Step.DELIVER,)),
            E.FAILURE: Rule(S.COMPLETED, (Step.DELIVER,)),
            E.GIVE_UP: Rule(S.TERMINATED, (Step.REPORT_TIMEOUT,)),
            E.UNREACHABLE: Rule(S.TERMINATED, (Step.REPORT_FAILURE,)),
        },
        S.COMPLETED: {E.GIVE_UP: Rule(S.TERMINATED)},
    },
    timing={
        S.TRYING: Timing(end=TIMER_F, end_reliable=TIMER_F, resend=T1, resend_cap=T2),  # E, F
        S.PROCEEDING: Timing(resend=T2, resend_cap=T2, continues=True),
        S.COMPLETED: Timing(end=TIMER_K, end_reliable=0),
    },
    done=frozenset({S.COMPLETED}),
)

INVITE_SERVER = Machine(
    name="INVITE server",
    start=S.PROCEEDING,
    rules={
        S.PROCEEDING: {
            E.REQUEST: Rule(S.PROCEEDING, (Step.SEND_AGAIN,)),
            E.PROVISIONAL: Rule(S.PROCEEDING, (Step.SEND_RESPONSE,)),
            E.SUCCESS: Rule(S.ACCEPTED, (Step.SEND_RESPONSE,)),
            E.FAILURE: Rule(S.COMPLETED, (Step.SEND_RESPONSE,)),
        },
        S.COMPLETED: {
            E.REQUEST: Rule(S.COMPLETED, (Step.SEND_AGAIN,)),
            E.RESEND: Rule(S.COMPLETED, (Step.SEND_AGAIN,)),
            E.ACK: Rule(S.CONFIRMED),
            E.GIVE_UP: Rule(S.TERMINATED),
        },
        S.CONFIRMED: {E.GIVE_UP: Rule(S.TERMINATED)},
        S.ACCEPTED: {
            E.SUCCESS: Rule(S.ACCEPTED, (Step.SEND_RESPONSE,)),
            E.ACK: Rule(S.ACCEPTED, (Step.DELIVER_ACK,)),
            E.GIVE_UP: Rule(S.TERMINATED),
        },
    },
    timing={
        S.PROCEEDING: _UNTIMED,
        S.COMPLETED: Timing(
            end=TIMER_H, end_reliable=TIMER_H, resend=T1, resend_cap=T2
        ),  # Timers G, H
        S.CONFIRMED: Timing(end=TIMER_I, end_reliable=0),
        S.ACCEPTED: Timing(end=TIMER_L, end_reliable=TIMER_L),
    },
    done=frozenset({S.COMPLETED, S.CONFIRMED, S.ACCEPTED}),
)

NON_INVITE_SERVER = Machine(
    name="non-INVITE server",
    start=S.TRYING,
    rules={
        S.TRYING: {
            E.RESEND: Rule(S.PROCEEDING, (Step.SEND_TRYING,)),
            E.SUCCESS: Rule(S.COMPLETED, (Step.SEND_RESPONSE,)),
            E.FAILURE: Rule(S.COMPLETED, (Step.SEND_RESPONSE,)),
            E.ABANDONED: Rule(S.COMPLETED),
            E.GIVE_UP: Rule(S.TERMINATED),
        },
        S.PROCEEDING: {
            E.REQUEST: Rule(S.PROCEEDING, (Step.SEND_AGAIN,)),
            E.SUCCESS: Rule(S.COMPLETED, (Step.SEND_RESPONSE,)),
            E.FAILURE: Rule(S.COMPLETED, (Step.SEND_RESPONSE,)),
            E.ABANDONED: Rule(S.COMPLETED),
            E.GIVE_UP: Rule(S.TERMINATED),
        },
        S.COMPLETED: {
            E.REQUEST: Rule(S.COMPLETED, (Step.SEND_AGAIN,)),
            E.GIVE_UP: Rule(S.TERMINATED),
        },
    },
    timing={
        # An answer later than Timer F of the client is of no use to it (RFC 4320 section 4.2).
        S.TRYING: Timing(
            end=TIMER_F, end_reliable=TIMER_F, resend=LATE_TRYING, resend_reliable=True
        ),
        S.PROCEEDING: Timing(continues=True),
        S.COMPLETED: Timing(end=TIMER_J, end_reliable=0),
    },
    done=frozenset({S.COMPLETED}),
)

MACHINES = (INVITE_CLIENT, NON_INVITE_CLIENT, INVITE_SERVER, NON_INVITE_SERVER)


def diagram(machine: Machine) -> str:
    """The machine as a Mermaid state diagram."""
    lines = ["stateDiagram-v2", f"    [*] --> {machine.start}"]
    for state, rules in machine.rules.items():
        for event, rule in rules.items():
            target = "[*]" if rule.target is State.TERMINATED else rule.target
            steps = ", ".join(rule.steps)
            lines.append(f"    {state} --> {target}: {event}" + (f" / {steps}" if steps else ""))
    return "\n".join(lines)
