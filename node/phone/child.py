"""The child process that is a telephone: pjsua2 driven by lines of JSON (see `wire`).

This is the one file that imports pjsua2, and nothing else of the program imports this file. pjsua2
answers misuse with `abort()`, so commands are checked here before they reach it, and the parent
survives if one slips by. Its rules, each learnt the hard way: every callback runs in this thread
(no worker threads, one loop); every Call, player and recorder is kept until it is dropped on
purpose, outside callbacks; the library is never destroyed, the process just ends; the interpreter's
cyclic collector is off because it would drop calls at a moment of its own.
"""

import contextlib
import gc
import json
import os
import signal
import sys
import time
import uuid
from collections import deque
from collections.abc import Callable
from typing import Any

import pjsua2 as pj

from node.phone.wire import Channel, Line
from node.tether import die_with_parent

MOST_CALLS = 4
"PJSUA_MAX_CALLS of the wheel; it cannot be raised."
BRIDGE_RATE = 16000
"Samples a second of recordings and tones."
_POLL_MS = 10
_JITTER_BUFFER_MS = 60
"As desk phones have it; a buffer that starts empty makes a gap of the first late packet."
_FAREWELL = 1.5
"Seconds for BYEs and the un-REGISTER at the end."
_SAME_PORT_TRIES = 8
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
_DTMF = {"rfc4733": pj.PJSUA_DTMF_METHOD_RFC2833, "info": pj.PJSUA_DTMF_METHOD_SIP_INFO}
_DTMF_NAMES = {method: name for name, method in _DTMF.items()}


class _Refused(Exception):
    """A command cannot be done; the text goes to the parent."""


def _sources(wish: Line) -> list[Any]:
    """The conference ports that produce what `wish` asks for: a tone, a file, or nothing at all."""
    if "wav" in wish:
        if not os.path.isfile(wish["wav"]):
            raise _Refused(f"there is no file {wish['wav']}")
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


class _Call(pj.Call):  # type: ignore[misc]  # the wheel carries no types
    """One call, what is played into it, and what is heard from it."""

    def __init__(self, child: "_Child", account: Any, call_id: int = pj.PJSUA_INVALID_ID) -> None:
        super().__init__(account, call_id)
        self.child = child
        self.serial = child.adopt(self)
        self.gone = False
        self._audio: Any = None
        self._playing: list[Any] = []
        self._recorder: Any = None

    def tell(self, event: str, **fields: Any) -> None:
        self.child.tell(event, call=self.serial, **fields)

    # what pjsua2 calls; the names are its own
    def onCallState(self, prm: Any) -> None:  # noqa: N802
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

    def onCallTsxState(self, prm: Any) -> None:  # noqa: N802
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

    def onCallMediaState(self, prm: Any) -> None:  # noqa: N802
        self._audio = None
        info = self.getInfo()  # held by a name: its vectors are views into it
        for medium in info.media:
            if medium.type != pj.PJMEDIA_TYPE_AUDIO:
                continue
            if medium.status in (pj.PJSUA_CALL_MEDIA_ACTIVE, pj.PJSUA_CALL_MEDIA_REMOTE_HOLD):
                self._audio = self.getAudioMedia(medium.index)
                self._join()
            self.tell("media", status=_MEDIA[medium.status])

    def onDtmfDigit(self, prm: Any) -> None:  # noqa: N802
        method = _DTMF_NAMES.get(prm.method, "unknown")
        self.tell("dtmf", digit=prm.digit, method=method)

    def onInstantMessage(self, prm: Any) -> None:  # noqa: N802
        self.child.message_arrived(prm)

    def onCallTransferRequest(self, prm: Any) -> None:  # noqa: N802
        successor = _Call(self.child, self.child.account)
        prm.newCall = successor
        self.tell("transfer", to=prm.dstUri, successor=successor.serial)

    def onCallTransferStatus(self, prm: Any) -> None:  # noqa: N802
        self.tell("transfer_status", code=prm.statusCode, reason=prm.reason, final=prm.finalNotify)

    def onCallReplaced(self, prm: Any) -> None:  # noqa: N802
        successor = _Call(self.child, self.child.account, prm.newCallId)
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


def _without_discards(config: Any) -> Any:
    """The same configuration, in which the jitter buffer plays every packet that came.

    By default it drops 10 ms every half second to be quicker, which a measurement takes for loss.
    The wheel gives Python no value of that enumeration, but reads it as a number from JSON.
    """
    written = pj.JsonDocument()
    written.writeObject(config)
    document = json.loads(written.saveString())
    document["EpConfig"]["MediaConfig"]["jbDiscardAlgo"] = 0
    changed, read = pj.EpConfig(), pj.JsonDocument()
    read.loadString(json.dumps(document))
    read.readObject(changed)
    return changed


class _Account(pj.Account):  # type: ignore[misc]  # the wheel carries no types
    """The line: where calls and messages come in."""

    def __init__(self, child: "_Child") -> None:
        super().__init__()
        self._child = child

    def onIncomingCall(self, prm: Any) -> None:  # noqa: N802
        call = _Call(self._child, self, prm.callId)
        call.tell("incoming", raw=prm.rdata.wholeMsg, source=prm.rdata.srcAddress)
        self._child.apply_policy(call)

    def onRegState(self, prm: Any) -> None:  # noqa: N802
        self._child.registered = prm.code // 100 == 2 and prm.expiration > 0
        self._child.tell("registration", code=prm.code, reason=prm.reason, expires=prm.expiration)

    def onInstantMessage(self, prm: Any) -> None:  # noqa: N802
        self._child.message_arrived(prm)

    def onInstantMessageStatus(self, prm: Any) -> None:  # noqa: N802
        self._child.message_answered(prm)


class _Child:
    """Everything of this process: library, line, calls, and the loop that serves them."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._endpoint = pj.Endpoint()
        self._calls: dict[int, _Call] = {}
        self._serial = 0
        self._timers: list[tuple[float, Callable[[], None]]] = []
        self._policy: Line = {"kind": "manual"}
        self._greeting: Line = {}
        self._buddies: deque[tuple[str, int, Any]] = deque()
        self._settings: Line = {}
        self._retired: list[Any] = []
        self._started = False
        self._ending: float | None = None
        self.registered = False
        self.account: Any = None
        self.silence: Any = None

    # what the calls and accounts need
    def tell(self, event: str, **fields: Any) -> None:
        self._channel.send({"event": event, "at": time.monotonic(), **fields})

    def adopt(self, call: _Call) -> int:
        self._serial += 1
        self._calls[self._serial] = call
        return self._serial

    def message_arrived(self, prm: Any) -> None:
        self.tell("message", body=prm.msgBody, type=prm.contentType, raw=prm.rdata.wholeMsg)

    def message_answered(self, prm: Any) -> None:
        for entry in self._buddies:
            if entry[0] == prm.toUri.strip("<>"):
                self._buddies.remove(entry)
                self.tell("message_status", message=entry[1], code=prm.code, reason=prm.reason)
                return

    def apply_policy(self, call: _Call) -> None:
        """Do with an incoming call what the parent said to do with all of them."""
        call.play(self._greeting)
        match self._policy["kind"]:
            case "refuse":
                _answer(call, self._policy["status"])
            case "answer" | "ring":
                _answer(call, 183 if self._policy.get("early") else 180)
                if "after" in self._policy:
                    self._later(self._policy["after"], lambda: _answer(call, 200))

    def _later(self, seconds: float, action: Callable[[], None]) -> None:
        self._timers.append((time.monotonic() + seconds, action))

    # commands
    def do_start(self, line: Line) -> Line:
        self._settings = line
        config = pj.EpConfig()
        config.uaConfig.threadCnt = 0
        config.uaConfig.mainThreadOnly = True
        config.uaConfig.maxCalls = MOST_CALLS
        config.uaConfig.userAgent = line["user_agent"]
        config.logConfig.level = 5 if line["log"] else 0
        config.logConfig.consoleLevel = 0
        config.logConfig.filename = line["log"]
        config.medConfig.noVad = True
        config.medConfig.ecTailLen = 0
        config.medConfig.clockRate = config.medConfig.sndClockRate = BRIDGE_RATE
        config.medConfig.sndAutoCloseTime = -1
        config.medConfig.jbInit = config.medConfig.jbMinPre = _JITTER_BUFFER_MS
        config.medConfig.rxDropPct = line["drop_received"]
        self._endpoint.libCreate()
        self._endpoint.libInit(_without_discards(config))
        self._endpoint.audDevManager().setNullDev()
        port = self._open_transports(line["local_ip"], line["sip_port"])
        self._endpoint.libStart()
        self._choose_codecs(line["codecs"])
        self.silence = pj.ToneGenerator()
        self.silence.createToneGenerator(BRIDGE_RATE, 1)
        self._open_line(f"sip:{line['name']}@{line['local_ip']}:{port}", lambda config: None)
        self._started = True
        return {"sip_port": port}

    def _open_transports(self, ip: str, wanted: int) -> int:
        """UDP and TCP on one port, since requests above 1300 octets switch (RFC 3261 18.1.1)."""
        for _ in range(_SAME_PORT_TRIES):
            config = pj.TransportConfig()
            config.boundAddress, config.port = ip, wanted
            udp = self._endpoint.transportCreate(pj.PJSIP_TRANSPORT_UDP, config)
            config.port = int(self._endpoint.transportGetInfo(udp).localName.rpartition(":")[2])
            try:
                self._endpoint.transportCreate(pj.PJSIP_TRANSPORT_TCP, config)
            except pj.Error:
                self._endpoint.transportClose(udp)
                continue
            return int(config.port)
        raise _Refused(f"no SIP port is free for both UDP and TCP on {ip}")

    def _choose_codecs(self, wanted: list[str]) -> None:
        """Offer `wanted` in that order and nothing else, and never hide a loss by concealment."""
        codecs = self._endpoint.codecEnum2()
        known = [codec.codecId for codec in codecs]
        for codec in known:
            self._endpoint.codecSetPriority(codec, 0)
        for rank, name in enumerate(wanted):
            matching = [codec for codec in known if codec.partition("/")[0].upper() == name.upper()]
            if not matching:
                offers = ", ".join(sorted({codec.partition("/")[0] for codec in known}))
                raise _Refused(f"codec {name} is unknown; there are {offers}")
            for codec in matching:
                param = self._endpoint.codecGetParam(codec)
                param.setting.plc = param.setting.vad = False
                self._endpoint.codecSetParam(codec, param)
                self._endpoint.codecSetPriority(codec, 250 - rank)

    def _open_line(self, uri: str, more: Callable[[Any], None]) -> None:
        """Make `uri` this phone's line; an earlier one un-registers."""
        config = pj.AccountConfig()
        config.idUri = uri
        config.regConfig.retryIntervalSec = config.regConfig.firstRetryIntervalSec = 0
        config.natConfig.sipOutboundInstanceId = f"<urn:uuid:{uuid.uuid4()}>"
        config.mediaConfig.lockCodecEnabled = False  # no re-INVITE of its own to meet ours
        media = config.mediaConfig.transportConfig
        media.boundAddress = self._settings["local_ip"]
        media.port, media.portRange = self._settings["rtp_port"], self._settings["rtp_ports"]
        more(config)
        earlier, self.account = self.account, _Account(self)
        if earlier is not None:
            self._retired.append(earlier)
            earlier.shutdown()
        self.account.create(config, True)

    def do_register(self, line: Line) -> Line:
        if self._calls:
            raise _Refused("there are calls on the present line: end them before registering")

        def more(config: Any) -> None:
            transport = "" if line["transport"] == "udp" else f";transport={line['transport']}"
            config.regConfig.registrarUri = f"sip:{line['server']}{transport}"
            config.regConfig.timeoutSec = line["expires"]
            config.regConfig.retryIntervalSec = line["retry"]
            config.sipConfig.proxies.append(f"sip:{line['server']}{transport};lr")
            config.sipConfig.authCreds.append(
                pj.AuthCredInfo("digest", "*", line["login"], 0, line["password"])
            )

        self._open_line(f"sip:{line['login']}@{line['server']}", more)
        return {}

    def do_unregister(self, line: Line) -> Line:
        info = self.account.getInfo()
        if not info.regIsConfigured:
            raise _Refused("this phone is not registered anywhere")
        self.account.setRegistration(False)
        return {}

    def do_policy(self, line: Line) -> Line:
        self._policy = line["policy"]
        self._greeting = line["play"]
        return {}

    def do_call(self, line: Line) -> Line:
        self._check_uri(line["uri"])
        if len(self._calls) >= MOST_CALLS:
            raise _Refused(f"a phone holds {MOST_CALLS} calls at most")
        call = _Call(self, self.account)
        call.play(line["play"])
        prm = pj.CallOpParam(True)
        prm.opt.audioCount, prm.opt.videoCount = 1, 0
        for name, value in line["headers"].items():
            header = pj.SipHeader()
            header.hName, header.hValue = name, value
            prm.txOption.headers.append(header)
        try:
            call.makeCall(line["uri"], prm)
        except pj.Error:
            call.gone = True
            raise
        return {"call": call.serial}

    def _check_uri(self, uri: str) -> None:
        if self._endpoint.utilVerifyUri(uri) != pj.PJ_SUCCESS:
            raise _Refused(f"{uri!r} is not a URI that can be called")

    def do_answer(self, line: Line) -> Line:
        _answer(self._call(line), line["code"])
        return {}

    def do_hangup(self, line: Line) -> Line:
        prm = pj.CallOpParam(True)
        prm.statusCode = line["code"]
        self._call(line).hangup(prm)
        return {}

    def do_hold(self, line: Line) -> Line:
        self._call(line).setHold(pj.CallOpParam(True))
        return {}

    def do_resume(self, line: Line) -> Line:
        prm = pj.CallOpParam(True)
        prm.opt.flag = pj.PJSUA_CALL_UNHOLD
        self._call(line).reinvite(prm)
        return {}

    def do_dtmf(self, line: Line) -> Line:
        prm = pj.CallSendDtmfParam()
        prm.method, prm.digits = _DTMF[line["method"]], line["digits"]
        prm.duration = line["milliseconds"]
        self._call(line).sendDtmf(prm)
        return {}

    def do_transfer(self, line: Line) -> Line:
        prm = pj.CallOpParam(True)
        if "to_call" in line:
            self._call(line).xferReplaces(self._call({"call": line["to_call"]}), prm)
        else:
            self._check_uri(line["uri"])
            self._call(line).xfer(line["uri"], prm)
        return {}

    def do_message(self, line: Line) -> Line:
        self._check_uri(line["uri"])
        buddy, config, prm = pj.Buddy(), pj.BuddyConfig(), pj.SendInstantMessageParam()
        config.uri, config.subscribe = line["uri"], False
        buddy.create(self.account, config)
        prm.content, prm.contentType = line["text"], line["type"]
        self._serial += 1
        self._buddies.append((line["uri"], self._serial, buddy))
        buddy.sendInstantMessage(prm)
        return {"message": self._serial}

    def do_play(self, line: Line) -> Line:
        self._call(line).play(line["play"])
        return {}

    def do_record(self, line: Line) -> Line:
        self._call(line).record(line["path"])
        return {"at": time.monotonic()}

    def do_stop_recording(self, line: Line) -> Line:
        self._call(line).stop_recording()
        return {"at": time.monotonic()}

    def do_stats(self, line: Line) -> Line:
        call = self._call(line)
        info, rtcp = call.getStreamInfo(0), call.getStreamStat(0).rtcp
        return {
            "codec": f"{info.codecName}/{info.codecClockRate}",
            "remote": info.remoteRtpAddress,
            "sent": rtcp.txStat.pkt,
            "received": rtcp.rxStat.pkt,
            "lost": rtcp.rxStat.loss,
            "discarded": rtcp.rxStat.discard,
            "jitter": rtcp.rxStat.jitterUsec.mean / 1e6,
        }

    def do_stop(self, line: Line) -> Line:
        self._ending = time.monotonic() + _FAREWELL
        if self._started:
            self._endpoint.hangupAllCalls()
        if self.registered:
            self.account.setRegistration(False)
        return {}

    def _call(self, line: Line) -> _Call:
        call = self._calls.get(line["call"])
        if call is None or call.gone:
            raise _Refused("that call has ended")
        return call

    # the loop
    def run(self) -> None:
        """Serve until told to stop, or until nobody is there to serve."""
        while not self._finished():
            if self._started:
                self._endpoint.libHandleEvents(_POLL_MS)
            else:
                time.sleep(_POLL_MS / 1000)
            for line in self._channel.receive():
                self._obey(line)
            now = time.monotonic()
            due = [action for at, action in self._timers if at <= now]
            self._timers = [timer for timer in self._timers if timer[0] > now]
            for action in due:
                action()
            for serial in [serial for serial, call in self._calls.items() if call.gone]:
                self._calls.pop(serial).drop()

    def _finished(self) -> bool:
        if self._ending is None:
            return False
        return time.monotonic() > self._ending or not (self._calls or self.registered)

    def _obey(self, line: Line) -> None:
        try:
            result = getattr(self, f"do_{line['do']}")(line)
        except _Refused as error:
            answer: Line = {"error": str(error)}
        except pj.Error as error:
            answer = {"error": error.reason or error.info()}
        else:
            answer = {"result": result}
        self._channel.send({"id": line["id"], **answer})


def _answer(call: _Call, code: int) -> None:
    """Answer an incoming call, unless it has ended meanwhile."""
    if not call.gone:
        prm = pj.CallOpParam(True)
        prm.statusCode = code
        call.answer(prm)


def main() -> None:
    """Be a telephone for the process at the other end of stdin and stdout."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    die_with_parent(int(sys.argv[1]))
    gc.disable()
    answers = os.dup(1)
    os.dup2(2, 1)  # what the library prints must not get between the lines
    channel = Channel(0, answers)
    with contextlib.suppress(EOFError, BrokenPipeError):
        _Child(channel).run()
    os._exit(0)


if __name__ == "__main__":
    main()
