"""What can go wrong with a phone, by who has to do something about it."""

from federation.model.errors import RingmeshError


class PhoneError(RingmeshError):
    """Something a phone was asked to do did not happen; the text says what."""


class PhoneMissing(PhoneError):
    """The pjsua2 wheel is not installed."""


class PhoneDied(PhoneError):
    """The phone's process has ended or cannot be spoken to."""


class PhoneRefused(PhoneError):
    """The phone cannot do that now, or the request makes no sense."""


class PhoneTimeout(PhoneError):
    """What was waited for did not happen in time."""


class RegistrationFailed(PhoneError):
    """The server refused the registration, or none answered."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(f"registration failed: {status} {reason}")
        self.status = status
        "The SIP status; 408 and 503 also stand for a server that does not answer."
        self.reason = reason


class CallFailed(PhoneError):
    """A call ended before, or instead of, what was waited for."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(f"the call ended: {status} {reason}")
        self.status = status
        "The SIP status of the final response; 200 for a call that was hung up."
        self.reason = reason
