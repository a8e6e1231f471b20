"""How the child process sets pjsua2 up: the library, its sockets and its codecs."""

import json
from typing import Any

import pjsua2 as pj

from node.phone.child_calls import BRIDGE_RATE, Refused
from node.phone.rtp_ports import RTP_FIRST, RTP_LAST, free_rtp_block
from node.phone.wire import Line

MOST_CALLS = 4
"PJSUA_MAX_CALLS of the wheel; it cannot be raised."
_JITTER_BUFFER_MS = 60
"As desk phones have it; a buffer that starts empty makes a gap of the first late packet."
_SAME_PORT_TRIES = 8
_TURN_TRANSPORTS = {
    "udp": pj.PJ_TURN_TP_UDP,
    "tcp": pj.PJ_TURN_TP_TCP,
    "tls": pj.PJ_TURN_TP_TLS,
}


def library_config(line: Line) -> Any:
    """The library's configuration: no threads, no sound card, no silence suppression."""
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
    return _without_discards(config)


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


def find_rtp_block(ip: str) -> int:
    """The first of this phone's ports for sound."""
    first = free_rtp_block(ip)
    if first is None:
        raise Refused(f"no UDP ports from {RTP_FIRST} to {RTP_LAST} can be bound on {ip}")
    return first


def open_transports(endpoint: Any, ip: str, wanted: int, trust: str) -> int:
    """UDP and TCP on one port, since requests above 1300 octets switch (RFC 3261 18.1.1).

    TLS is on the port above, with no certificate to show; a server's is checked where `trust` names
    a PEM file of those that are believed.
    """
    for _ in range(_SAME_PORT_TRIES):
        config = pj.TransportConfig()
        config.boundAddress, config.port = ip, wanted
        udp = endpoint.transportCreate(pj.PJSIP_TRANSPORT_UDP, config)
        config.port = int(endpoint.transportGetInfo(udp).localName.rpartition(":")[2])
        tcp = None
        try:
            tcp = endpoint.transportCreate(pj.PJSIP_TRANSPORT_TCP, config)
            endpoint.transportCreate(pj.PJSIP_TRANSPORT_TLS, _above(ip, config.port, trust))
        except pj.Error:
            for opened in (udp, tcp):
                if opened is not None:
                    endpoint.transportClose(opened)
            continue
        return int(config.port)
    raise Refused(f"no SIP port is free for UDP and TCP, and the next for TLS, on {ip}")


def _above(ip: str, port: int, trust: str) -> Any:
    config = pj.TransportConfig()
    config.boundAddress, config.port = ip, port + 1
    config.tlsConfig.method = pj.PJSIP_TLSV1_2_METHOD
    config.tlsConfig.verifyServer = bool(trust)
    config.tlsConfig.CaListFile = trust
    return config


def choose_codecs(endpoint: Any, wanted: list[str]) -> None:
    """Offer `wanted` in that order and nothing else, and never hide a loss by concealment."""
    codecs = endpoint.codecEnum2()
    known = [codec.codecId for codec in codecs]
    for codec in known:
        endpoint.codecSetPriority(codec, 0)
    for rank, name in enumerate(wanted):
        matching = [codec for codec in known if codec.partition("/")[0].upper() == name.upper()]
        if not matching:
            offers = ", ".join(sorted({codec.partition("/")[0] for codec in known}))
            raise Refused(f"codec {name} is unknown; there are {offers}")
        for codec in matching:
            param = endpoint.codecGetParam(codec)
            param.setting.plc = param.setting.vad = False
            endpoint.codecSetParam(codec, param)
            endpoint.codecSetPriority(codec, 250 - rank)


def protect(account: Any, settings: Line) -> None:
    """What an account offers beside plain RTP: ICE, a relay, SRTP."""
    media = settings["media"]
    account.natConfig.iceEnabled = media["ice"]
    if settings["turn"]:
        _relay_only(account.natConfig, settings["turn"])
    if media["srtp"]:
        account.mediaConfig.srtpUse = pj.PJMEDIA_SRTP_MANDATORY
        account.mediaConfig.srtpSecureSignaling = 0


def _relay_only(nat: Any, turn: Line) -> None:
    """Let ICE offer nothing but a relay at a TURN server."""
    nat.iceEnabled = nat.turnEnabled = True
    nat.iceMaxHostCands = 0
    nat.mediaStunUse = pj.PJSUA_STUN_USE_DISABLED
    nat.turnServer = turn["server"]
    nat.turnUserName, nat.turnPassword = turn["username"], turn["password"]
    nat.turnConnType = _TURN_TRANSPORTS[turn["transport"]]
