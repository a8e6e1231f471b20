"""Calls and the line of the child process, as pjsua2 has them: what it calls, and sound.

Every Call, player and recorder is kept until it is dropped on purpose, outside callbacks.
"""

import os
from typing import Any, Protocol

import pjsua2 as pj

from node.phone.wire import Line

BRIDGE_RATE = 16000
"Samples a second of recordings and tones."
_STATES = {
    pj.PJSIP_INV_STATE_CALLING: "calling",
    pj.PJSIP_INV_STATE_INCOMING: "incoming",
    pj.PJSIP_INV_STATE_EARLY: "early",
    pj.PJSIP_INV_STATE_CONNECTING: "connecting",
    pj.PJSIP_INV_STATE_CONFIRMED: "confirmed",
    pj.PJSIP_INV_STATE_DISCONNECTED: "disconnected",
}
_MEDIA = {
    pj.PJSUA_CALL_MEDIA_NONE: "none",
    pj.PJSUA_CALL_MEDIA_ACTIVE: "active",
    pj.PJSUA_CALL_MEDIA_LOCAL_HOLD: "local_hold",
    pj.PJSUA_CALL_MEDIA_REMOTE_HOLD: "remote_hold",
    pj.PJSUA_CALL_MEDIA_ERROR: "error",
}
DTMF = {"rfc4733": pj.PJSUA_DTMF_METHOD_RFC2833, "info": pj.PJSUA_DTMF_METHOD_SIP_INFO}
_DTMF_NAMES = {method: name for name, method in DTMF.items()}


class Refused(Exception):
    """A command cannot be done; the text goes to the parent."""


class Owner(Protocol):
    """Whoever keeps the calls and speaks to the parent process."""

    account: Any
    "The line that calls are made on."
    silence: Any
    "A port that gives zeros, so that recordings have no holes."
    registered: bool

    def tell(self, event: str, **fields: Any) -> None:
        """Send an event to the parent."""

    def adopt(self, call: "Call") -> int:
        """Keep a call that begins, and number it."""

    def message_arrived(self, prm: Any) -> None:
        """Somebody sent a MESSAGE."""

    def message_answered(self, prm: Any) -> None:
        """A MESSAGE of ours got its answer."""

    def apply_policy(self, call: "Call") -> None:
        """Do with an incoming call what the parent said to do with all of them."""


def _sources(wish: Line) -> list[Any]:
    """The conference ports that produce what `wish` asks for: a tone, a file, or nothing at all."""
    if "wav" in wish:
        if not os.path.isfile(wish["wav"]):
            raise Refused(f"there is no file {wish['wav']}")
        player = pj.AudioMediaPlayer()
        player.createPlayer(wish["wav"], 0 if wish["loop"] else pj.PJMEDIA_FILE_NO_LOOP)
        return [player]
    if "tone" in wish:
        tone = pj.ToneDesc()
        tone.freq1, tone.freq2 = int(wish["tone"]), 0
        tone.on_msec, tone.off_msec = 30000, 0
        tone.volume = max(1, round(32767 * 10 ** (wish["level"] / 20)))
        tones = pj.ToneDescVector()
        tones.append(tone)
        generator = pj.ToneGenerator()
        generator.createToneGenerator(BRIDGE_RATE, 1)
        generator.play(tones, True)
        return [generator]
    return []


class Call(pj.Call):  # type: ignore[misc]  # the wheel carries no types
    """One call, what is played into it, and what is heard from it."""

    def __init__(self, child: Owner, account: Any, call_id: int = pj.PJSUA_INVALID_ID) -> None:
        super().__init__(account, call_id)
        self.child = child
        self.serial = child.adopt(self)
        self.gone = False
        self._audio: Any = None
        self._playing: list[Any] = []
        self._recorder: Any = None

    def tell(self, event: str, **fields: Any) -> None:
        """Send an event of this call to the parent."""
        self.child.tell(event, call=self.serial, **fields)

    # what pjsua2 calls; the names are its own
    def onCallState(self, prm: Any) -> None:  # noqa: D102, N802
        info = self.getInfo()
        self.tell(
            "state",
            state=_STATES[info.state],
            code=info.lastStatusCode,
            reason=info.lastReason,
            call_id=info.callIdString,
            raw=_received(prm.e),
        )
        if info.state == pj.PJSIP_INV_STATE_DISCONNECTED:
            self._audio = None
            self.gone = True

    def onCallTsxState(self, prm: Any) -> None:  # noqa: D102, N802
        raw = _received(prm.e)
        if not raw:
            return
        transaction = prm.e.body.tsxState.tsx
        first = raw.partition("\r\n")[0]
        if first.startswith("SIP/2.0 "):
            code, _, reason = first[8:].partition(" ")
            self.tell("response", method=transaction.method, code=int(code), reason=reason, raw=raw)
        else:
            self.tell("request", method=first.partition(" ")[0], raw=raw)

    def onCallMediaState(self, prm: Any) -> None:  # noqa: D102, N802
        self._audio = None
        info = self.getInfo()  # held by a name: its vectors are views into it
        for medium in info.media:
            if medium.type != pj.PJMEDIA_TYPE_AUDIO:
                continue
            if medium.status in (pj.PJSUA_CALL_MEDIA_ACTIVE, pj.PJSUA_CALL_MEDIA_REMOTE_HOLD):
                self._audio = self.getAudioMedia(medium.index)
                self._join()
            self.tell("media", status=_MEDIA[medium.status])

    def onDtmfDigit(self, prm: Any) -> None:  # noqa: D102, N802
        method = _DTMF_NAMES.get(prm.method, "unknown")
        self.tell("dtmf", digit=prm.digit, method=method)

    def onInstantMessage(self, prm: Any) -> None:  # noqa: D102, N802
        self.child.message_arrived(prm)

    def onCallTransferRequest(self, prm: Any) -> None:  # noqa: D102, N802
        successor = Call(self.child, self.child.account)
        prm.newCall = successor
        self.tell("transfer", to=prm.dstUri, successor=successor.serial)

    def onCallTransferStatus(self, prm: Any) -> None:  # noqa: D102, N802
        self.tell("transfer_status", code=prm.statusCode, reason=prm.reason, final=prm.finalNotify)

    def onCallReplaced(self, prm: Any) -> None:  # noqa: D102, N802
        successor = Call(self.child, self.child.account, prm.newCallId)
        prm.newCall = successor
        self.tell("replaced", successor=successor.serial)

    # sound
    def _join(self) -> None:
        for source in self._playing:
            source.startTransmit(self._audio)
        if self._recorder is not None:
            self._audio.startTransmit(self._recorder)

    def play(self, wish: Line) -> None:
        """Replace what this end says, now and after every re-negotiation."""
        fresh = _sources(wish)
        self._playing = fresh  # the earlier sources leave the bridge as they are dropped
        if self._audio is not None:
            self._join()

    def record(self, path: str) -> None:
        """Write what is heard to a wav of 16-bit samples, stretches without media as zeros."""
        recorder = pj.AudioMediaRecorder()
        recorder.createRecorder(path)
        self._recorder = recorder
        self.child.silence.startTransmit(recorder)
        if self._audio is not None:
            self._audio.startTransmit(recorder)

    def stop_recording(self) -> None:
        """Close the file. Harmless when there is none."""
        self._recorder = None

    def drop(self) -> None:
        """Let go of every port; call outside callbacks."""
        self._playing, self._recorder, self._audio = [], None, None


def _received(event: Any) -> str:
    """The SIP message whose arrival caused `event`, or an empty text."""
    if event.type != pj.PJSIP_EVENT_TSX_STATE or event.body.tsxState.type != pj.PJSIP_EVENT_RX_MSG:
        return ""
    return str(event.body.tsxState.src.rdata.wholeMsg)


class LineAccount(pj.Account):  # type: ignore[misc]  # the wheel carries no types
    """The line: where calls and messages come in."""

    def __init__(self, child: Owner) -> None:
        super().__init__()
        self._child = child

    def onIncomingCall(self, prm: Any) -> None:  # noqa: D102, N802
        call = Call(self._child, self, prm.callId)
        call.tell("incoming", raw=prm.rdata.wholeMsg, source=prm.rdata.srcAddress)
        self._child.apply_policy(call)

    def onRegState(self, prm: Any) -> None:  # noqa: D102, N802
        self._child.registered = prm.code // 100 == 2 and prm.expiration > 0
        self._child.tell("registration", code=prm.code, reason=prm.reason, expires=prm.expiration)

    def onMwiInfo(self, prm: Any) -> None:  # noqa: D102, N802
        self._child.tell("waiting", body=prm.rdata.wholeMsg.partition("\r\n\r\n")[2])

    def onInstantMessage(self, prm: Any) -> None:  # noqa: D102, N802
        self._child.message_arrived(prm)

    def onInstantMessageStatus(self, prm: Any) -> None:  # noqa: D102, N802
        self._child.message_answered(prm)


def answer(call: Call, code: int) -> None:
    """Answer an incoming call, unless it has ended meanwhile."""
    if not call.gone:
        prm = pj.CallOpParam(True)
        prm.statusCode = code
        call.answer(prm)
