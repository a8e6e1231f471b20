"""The child process that is a telephone: pjsua2 driven by lines of JSON (see `wire`).

Only this file and those it is cut into (`child_calls`, `child_presence`, `child_setup`) import
pjsua2, and nothing else of the program imports them. pjsua2 answers misuse with `abort()`, so
commands are checked here before they reach it, and the parent survives if one slips by. Its rules,
each learnt the hard way: every callback runs in this thread (no worker threads, one loop); every
Call, player and recorder is kept until it is dropped on purpose, outside callbacks; the library is
never destroyed, the process just ends; the interpreter's cyclic collector is off because it would
drop calls at a moment of its own.
"""

import contextlib
import gc
import os
import signal
import sys
import time
import uuid
from collections import deque
from collections.abc import Callable
from typing import Any

import pjsua2 as pj

from node.phone.child_calls import BRIDGE_RATE, DTMF, Call, LineAccount, Refused, answer
from node.phone.child_presence import Watched, presence_status
from node.phone.child_setup import (
    MOST_CALLS,
    choose_codecs,
    find_rtp_block,
    library_config,
    open_transports,
    protect,
)
from node.phone.rtp_ports import RTP_BLOCK
from node.phone.wire import Channel, Line
from node.tether import die_with_parent

_POLL_MS = 10
_FAREWELL = 1.5
"Seconds for BYEs and the un-REGISTER at the end."


class _Child:
    """Everything of this process: library, line, calls, and the loop that serves them."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._endpoint = pj.Endpoint()
        self._calls: dict[int, Call] = {}
        self._serial = 0
        self._timers: list[tuple[float, Callable[[], None]]] = []
        self._policy: Line = {"kind": "manual"}
        self._greeting: Line = {}
        self._watched: dict[str, Watched] = {}
        self._buddies: deque[tuple[str, int, Any]] = deque()
        self._settings: Line = {}
        self._rtp_port = 0
        self._retired: list[Any] = []
        self._started = False
        self._ending: float | None = None
        self.registered = False
        self.account: Any = None
        self.silence: Any = None

    # what the calls and accounts need
    def tell(self, event: str, **fields: Any) -> None:
        self._channel.send({"event": event, "at": time.monotonic(), **fields})

    def adopt(self, call: Call) -> int:
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

    def apply_policy(self, call: Call) -> None:
        """Do with an incoming call what the parent said to do with all of them."""
        call.play(self._greeting)
        match self._policy["kind"]:
            case "refuse":
                answer(call, self._policy["status"])
            case "answer" | "ring":
                answer(call, 183 if self._policy.get("early") else 180)
                if "after" in self._policy:
                    self._later(self._policy["after"], lambda: answer(call, 200))

    def _later(self, seconds: float, action: Callable[[], None]) -> None:
        self._timers.append((time.monotonic() + seconds, action))

    # commands
    def do_start(self, line: Line) -> Line:
        self._settings = line
        self._rtp_port = find_rtp_block(line["local_ip"])
        self._endpoint.libCreate()
        self._endpoint.libInit(library_config(line))
        self._endpoint.audDevManager().setNullDev()
        port = open_transports(self._endpoint, line["local_ip"], line["sip_port"], line["trust"])
        self._endpoint.libStart()
        choose_codecs(self._endpoint, line["codecs"])
        self.silence = pj.ToneGenerator()
        self.silence.createToneGenerator(BRIDGE_RATE, 1)
        self._open_line(f"sip:{line['name']}@{line['local_ip']}:{port}", lambda config: None)
        self._started = True
        return {"sip_port": port}

    def _open_line(self, uri: str, more: Callable[[Any], None]) -> None:
        """Make `uri` this phone's line; an earlier one un-registers."""
        config = pj.AccountConfig()
        config.idUri = uri
        config.regConfig.retryIntervalSec = config.regConfig.firstRetryIntervalSec = 0
        config.natConfig.sipOutboundInstanceId = f"<urn:uuid:{uuid.uuid4()}>"
        config.mediaConfig.lockCodecEnabled = False  # no re-INVITE of its own to meet ours
        media = config.mediaConfig.transportConfig
        media.boundAddress = self._settings["local_ip"]
        media.port, media.portRange = self._rtp_port, RTP_BLOCK
        protect(config, self._settings)
        more(config)
        earlier, self.account = self.account, LineAccount(self)
        if earlier is not None:
            self._retired.append(earlier)
            earlier.shutdown()
        self.account.create(config, True)

    def do_register(self, line: Line) -> Line:
        if self._calls:
            raise Refused("there are calls on the present line: end them before registering")

        def more(config: Any) -> None:
            transport = "" if line["transport"] == "udp" else f";transport={line['transport']}"
            config.regConfig.registrarUri = f"sip:{line['server']}{transport}"
            config.regConfig.timeoutSec = line["expires"]
            config.regConfig.retryIntervalSec = line["retry"]
            config.mwiConfig.enabled = line["mwi"]
            config.sipConfig.proxies.append(f"sip:{line['server']}{transport};lr")
            config.sipConfig.authCreds.append(
                pj.AuthCredInfo("digest", "*", line["login"], 0, line["password"])
            )

        self._open_line(f"sip:{line['login']}@{line['server']}", more)
        return {}

    def do_unregister(self, line: Line) -> Line:
        info = self.account.getInfo()
        if not info.regIsConfigured:
            raise Refused("this phone is not registered anywhere")
        self.account.setRegistration(False)
        return {}

    def do_policy(self, line: Line) -> Line:
        self._policy = line["policy"]
        self._greeting = line["play"]
        return {}

    def do_call(self, line: Line) -> Line:
        self._check_uri(line["uri"])
        if len(self._calls) >= MOST_CALLS:
            raise Refused(f"a phone holds {MOST_CALLS} calls at most")
        call = Call(self, self.account)
        call.play(line["play"])
        prm = pj.CallOpParam(True)
        prm.opt.audioCount, prm.opt.videoCount = 1, 0
        prm.opt.flag |= 0 if line["offer"] else pj.PJSUA_CALL_NO_SDP_OFFER
        for name, value in line["headers"].items():
            header = pj.SipHeader()
            header.hName, header.hValue = name, value
            prm.txOption.headers.append(header)
        if line["caller"]:
            self._check_uri(line["caller"])
            prm.txOption.localUri = line["caller"]
        try:
            call.makeCall(line["uri"], prm)
        except pj.Error:
            call.gone = True
            raise
        return {"call": call.serial}

    def _check_uri(self, uri: str) -> None:
        if self._endpoint.utilVerifyUri(uri) != pj.PJ_SUCCESS:
            raise Refused(f"{uri!r} is not a URI that can be called")

    def do_answer(self, line: Line) -> Line:
        answer(self._call(line), line["code"])
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

    def do_renegotiate(self, line: Line) -> Line:
        prm = pj.CallOpParam(True)
        prm.opt.flag = 0 if line["offer"] else pj.PJSUA_CALL_NO_SDP_OFFER
        call = self._call(line)
        time.sleep(max(0.0, line["at"] - time.monotonic()))
        call.reinvite(prm)
        return {}

    def do_dtmf(self, line: Line) -> Line:
        prm = pj.CallSendDtmfParam()
        prm.method, prm.digits = DTMF[line["method"]], line["digits"]
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

    def do_watch(self, line: Line) -> Line:
        self._check_uri(line["uri"])
        if line["uri"] not in self._watched:
            self._watched[line["uri"]] = Watched(self, self.account, line["uri"])
        self._watched[line["uri"]].subscribePresence(True)
        return {}

    def do_unwatch(self, line: Line) -> Line:
        watched = self._watched.get(line["uri"])
        if watched is None:
            raise Refused("that is not watched")
        watched.subscribePresence(False)
        return {}

    def do_appear(self, line: Line) -> Line:
        self.account.setOnlineStatus(presence_status(line["state"]))
        return {}

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

    def _call(self, line: Line) -> Call:
        call = self._calls.get(line["call"])
        if call is None or call.gone:
            raise Refused("that call has ended")
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
            self._do_what_is_due(time.monotonic())
            for serial in [serial for serial, call in self._calls.items() if call.gone]:
                self._calls.pop(serial).drop()

    def _do_what_is_due(self, now: float) -> None:
        """Do what was put off until `now`, and keep nothing of it.

        An action holds its call, and a call that is dropped late hangs up whichever has its place
        in the library by then.
        """
        due = [action for at, action in self._timers if at <= now]
        self._timers = [timer for timer in self._timers if timer[0] > now]
        for action in due:
            try:
                action()
            except pj.Error as error:  # it cannot be done any more
                sys.stderr.write(f"{error.info()}\n")

    def _finished(self) -> bool:
        if self._ending is None:
            return False
        return time.monotonic() > self._ending or not (self._calls or self.registered)

    def _obey(self, line: Line) -> None:
        try:
            result = getattr(self, f"do_{line['do']}")(line)
        except Refused as error:
            answer: Line = {"error": str(error)}
        except pj.Error as error:
            answer = {"error": error.reason or error.info()}
        else:
            answer = {"result": result}
        self._channel.send({"id": line["id"], **answer})


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
