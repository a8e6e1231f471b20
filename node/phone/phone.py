"""A telephone: registers, calls, is called, sends messages. Everything it waits for has a deadline.

```python
async with Phone(local_ip="127.0.0.1") as phone:
    await phone.register("alice", "secret", server="192.0.2.7:5060")
    call = await phone.call("0234 5678 9012 345", playing=Tone(440))
    await call.wait_confirmed()
```
"""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, Self

from federation.model.address import AddressError, parse_ip
from node.phone.call import WAIT, Call, Party, SipText
from node.phone.choices import (
    Manual,
    Media,
    Playing,
    Policy,
    Silence,
    TurnRelay,
    playing_to_wire,
    policy_to_wire,
    turn_to_wire,
)
from node.phone.errors import PhoneRefused, RegistrationFailed
from node.phone.process import Changes, PhoneProcess
from node.phone.wire import Line

MOST_EVENTS = 4096
"Events that are kept for reading."

Transport = Literal["udp", "tcp", "tls"]
Presence = Literal["unknown", "offline", "online", "busy"]


@dataclass(frozen=True, slots=True)
class TextMessage:
    """A MESSAGE that was received (RFC 3428)."""

    at: float
    sender: Party
    text: str
    content_type: str
    message: SipText


class Phone:
    """One telephone in a process of its own: one line, four calls at most.

    Without `register` it can be called at `uri` and calls others at `sip:name@ip:port`.
    """

    def __init__(
        self,
        *,
        local_ip: str = "127.0.0.1",
        sip_port: int = 0,
        name: str = "phone",
        codecs: tuple[str, ...] = ("PCMU", "PCMA"),
        policy: Policy | None = None,
        playing: Playing | None = None,
        drop_received: int = 0,
        log: Path | None = None,
        trust: Path | None = None,
        turn: TurnRelay | None = None,
        media: Media | None = None,
        user_agent: str = "Ringmesh phone",
        child: Sequence[str] | None = None,
    ) -> None:
        """Describe the phone; `start` (or `async with`) brings it to life.

        Args:
            local_ip: IPv4 address that SIP and RTP are bound to; the wheel has no IPv6.
            sip_port: for UDP and TCP alike, the next one for TLS; 0: any.
            name: user part of `uri`.
            codecs: PCMU, PCMA, G722, GSM, iLBC, speex, L16, in order of preference.
            policy: what to do with incoming calls; nothing by default (`Manual`).
            playing: what is said into incoming calls.
            drop_received: per cent of the received RTP packets to throw away, for proofs.
            log: file for everything pjsip has to say.
            trust: PEM file with the certificates that a server's over TLS must be one of, or signed
                by; without it none is checked.
            turn: speak ICE, with a relay at this server as the only candidate.
            media: ICE and SRTP; neither by default.
            user_agent: text of the User-Agent header.
            child: command line of a program that speaks as `node.phone.child` does, for a phone
                that lives elsewhere; `local_ip` is an address there.
        """
        try:
            is_ipv6 = parse_ip(local_ip).version == 6
        except AddressError as error:
            raise PhoneRefused(str(error)) from error
        if is_ipv6:
            raise PhoneRefused("this build of pjsua2 has no IPv6: give the phone an IPv4 address")
        if not 0 <= drop_received <= 100:
            raise PhoneRefused(f"drop_received is {drop_received}, not 0-100 per cent")
        self.local_ip = local_ip
        self.name = name
        self.sip_port = sip_port
        self.server: str | None = None
        "Where it is registered."
        self.events: deque[Line] = deque(maxlen=MOST_EVENTS)
        "What the child reported lately, oldest first."
        self._settings: Line = {
            "codecs": list(codecs),
            "drop_received": drop_received,
            "log": str(log.absolute()) if log else "",
            "trust": str(trust.absolute()) if trust else "",
            "turn": turn_to_wire(turn),
            "media": asdict(media or Media()),
            "user_agent": user_agent,
        }
        self._policy: Policy = policy or Manual()
        self._playing: Playing = playing or Silence()
        self._changes = Changes()
        self._process = PhoneProcess(self._take, self._changes, child)
        self._calls: dict[int, Call] = {}
        self._incoming: deque[Call] = deque()
        self._messages: deque[TextMessage] = deque()
        self._message_statuses: dict[int, int] = {}
        self._registration: Line | None = None
        self._presence: dict[str, Presence] = {}
        self._waiting: deque[str] = deque()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @property
    def uri(self) -> str:
        """Where it can be called directly."""
        return f"sip:{self.name}@{self.local_ip}:{self.sip_port}"

    @property
    def pid(self) -> int | None:
        """The child's process id."""
        return self._process.pid

    async def start(self) -> None:
        """Start the process and open its ports.

        Raises:
            PhoneMissing: the pjsua2 wheel is not installed.
            PhoneRefused: an address, port or codec cannot be had.
            PhoneDied, PhoneTimeout: the process does not come up.
        """
        await self._process.start()
        try:
            result = await self._process.ask(
                "start",
                name=self.name,
                local_ip=self.local_ip,
                sip_port=self.sip_port,
                **self._settings,
            )
            self.sip_port = result["sip_port"]
            await self.set_policy(self._policy, self._playing)
        except BaseException:
            await self._process.stop()
            raise

    async def stop(self) -> None:
        """Hang up, un-register, and end the process. Harmless when repeated."""
        await self._process.stop()

    async def set_policy(self, policy: Policy, playing: Playing | None = None) -> None:
        """What to do with incoming calls from now on, and what to say into them."""
        self._policy, self._playing = policy, playing or self._playing
        await self._process.ask(
            "policy", policy=policy_to_wire(policy), play=playing_to_wire(self._playing)
        )

    async def register(
        self,
        login: str,
        password: str,
        *,
        server: str,
        transport: Transport = "udp",
        expires: int = 300,
        retry: int = 0,
        asks_for_messages: bool = False,
        within: float = WAIT,
    ) -> int:
        """Register with `server` (`host` or `host:port`), through which all calls then go.

        Over TLS the server's certificate is checked if the phone was given whom to `trust`.
        Returns the seconds granted. With `retry` the phone tries again by itself after that many
        seconds whenever a later refresh fails. With `asks_for_messages` it subscribes to what is
        said of waiting messages at its own address (RFC 3842), for `next_waiting`.

        Raises:
            RegistrationFailed: the server refused, or does not answer and the transport noticed.
            PhoneTimeout: no answer.
            PhoneRefused: there are calls.
        """
        self._registration, self.server = None, server
        await self._process.ask(
            "register",
            login=login,
            password=password,
            server=server,
            transport=transport,
            expires=expires,
            retry=retry,
            mwi=asks_for_messages,
        )
        line = await self._changes.until(lambda: self._registration, within, "registration")
        if line["code"] // 100 != 2:
            raise RegistrationFailed(line["code"], line["reason"])
        return int(line["expires"])

    async def unregister(self, within: float = WAIT) -> None:
        """Take the registration back.

        Raises:
            PhoneRefused: there is none.
            RegistrationFailed, PhoneTimeout: the server does not take it.
        """
        self._registration = None
        await self._process.ask("unregister")
        line = await self._changes.until(lambda: self._registration, within, "un-registration")
        if line["code"] // 100 != 2:
            raise RegistrationFailed(line["code"], line["reason"])

    async def call(
        self,
        target: str,
        *,
        playing: Playing | None = None,
        headers: Mapping[str, str] | None = None,
        caller: str = "",
        offer: bool = True,
    ) -> Call:
        """Send an INVITE; the returned call is followed with its `wait_…` methods.

        Without `offer` it has no description: the callee offers, in its 200.

        `caller` stands in From in place of what the phone is registered as, for a PBX that calls
        for one of its people: an extension, or whatever else `target` may be.

        `target` is a URI, or, on a registered phone, whatever a person would dial: a number (spaces
        are fine), a login, `user@domain`, `*43`.

        Raises:
            PhoneRefused: not something that can be called, or four calls are held already.
        """
        result = await self._process.ask(
            "call",
            uri=self.uri_of(target),
            play=playing_to_wire(playing or Silence()),
            headers=dict(headers or {}),
            caller=self.uri_of(caller) if caller else "",
            offer=offer,
        )
        return self._call(result["call"])

    def uri_of(self, target: str) -> str:
        """The URI that dialling `target` means.

        Raises:
            PhoneRefused: a bare user part on a phone that is not registered.
        """
        if target.partition(":")[0].lower() in ("sip", "sips", "tel"):
            return target
        if "@" in target:
            return f"sip:{target}"
        if self.server is None:
            raise PhoneRefused(f"{target!r} is no URI, and without a server it is no address")
        return f"sip:{''.join(target.split()).replace('#', '%23')}@{self.server}"

    async def next_call(self, within: float = WAIT) -> Call:
        """Wait for an incoming call that was not taken yet. Raises: PhoneTimeout, PhoneDied."""
        return await self._changes.until(
            lambda: self._incoming.popleft() if self._incoming else None, within, "an incoming call"
        )

    async def send_message(
        self, target: str, text: str, *, content_type: str = "text/plain", within: float = WAIT
    ) -> int:
        """Send a MESSAGE outside calls and return the SIP status it earned."""
        result = await self._process.ask(
            "message", uri=self.uri_of(target), text=text, type=content_type
        )
        number = result["message"]
        return await self._changes.until(
            lambda: self._message_statuses.pop(number, None), within, "an answer to the message"
        )

    async def next_message(self, within: float = WAIT) -> TextMessage:
        """Wait for a MESSAGE that was not taken yet. Raises: PhoneTimeout, PhoneDied."""
        return await self._changes.until(
            lambda: self._messages.popleft() if self._messages else None, within, "a message"
        )

    async def next_waiting(self, within: float = WAIT) -> str:
        """Wait for a notice of waiting messages that was not taken yet: its body."""
        return await self._changes.until(
            lambda: self._waiting.popleft() if self._waiting else None, within, "a notice"
        )

    async def watch(self, target: str) -> None:
        """Subscribe to somebody's presence (RFC 3856); once for each `target`."""
        await self._process.ask("watch", uri=self.uri_of(target))

    async def unwatch(self, target: str) -> None:
        """End that subscription."""
        await self._process.ask("unwatch", uri=self.uri_of(target))

    async def wait_presence(self, target: str, state: Presence, within: float = WAIT) -> None:
        """Wait until somebody who is watched is told to be so. Raises: PhoneTimeout, PhoneDied."""
        uri = self.uri_of(target)
        await self._changes.until(
            lambda: True if self._presence.get(uri) == state else None, within, f"{uri} {state}"
        )

    async def appear(self, state: Presence) -> None:
        """Be seen so by those who watch this phone."""
        await self._process.ask("appear", state=state)

    def _call(self, serial: int) -> Call:
        if serial not in self._calls:
            self._calls[serial] = Call(serial, self._process, self._changes)
        return self._calls[serial]

    def _take(self, line: Line) -> None:
        self.events.append(line)
        match line["event"]:
            case "registration":
                self._registration = line
            case "message":
                message = SipText(line["raw"])
                sender = Party.parse(message.value("from") or "")
                self._messages.append(
                    TextMessage(line["at"], sender, line["body"], line["type"], message)
                )
            case "presence":
                self._presence[line["uri"]] = line["state"]
            case "waiting":
                self._waiting.append(line["body"])
            case "message_status":
                self._message_statuses[line["message"]] = line["code"]
            case event:
                call = self._call(line["call"])
                call.take(line)
                if event == "incoming":
                    self._incoming.append(call)
                if "successor" in line:
                    call.successor = self._call(line["successor"])
