"""Numbers of STUN and TURN: methods, classes, attributes, error codes.

The attributes are those of RFC 8489, 8656 and 5780, and those of RFC 8445 that may reach a server.
"""

import enum

MAGIC_COOKIE = 0x2112A442
COMPREHENSION_OPTIONAL = 0x8000
"Attributes from here on may be ignored (RFC 8489 section 14)."


class Method(enum.IntEnum):
    """What a message is about."""

    BINDING = 0x001
    ALLOCATE = 0x003
    REFRESH = 0x004
    SEND = 0x006
    DATA = 0x007
    CREATE_PERMISSION = 0x008
    CHANNEL_BIND = 0x009


class MessageClass(enum.IntEnum):
    """Whether a message asks, tells or answers."""

    REQUEST = 0
    INDICATION = 1
    SUCCESS = 2
    ERROR = 3


class Attribute(enum.IntEnum):
    """Attribute types."""

    MAPPED_ADDRESS = 0x0001
    CHANGE_REQUEST = 0x0003
    USERNAME = 0x0006
    MESSAGE_INTEGRITY = 0x0008
    ERROR_CODE = 0x0009
    UNKNOWN_ATTRIBUTES = 0x000A
    CHANNEL_NUMBER = 0x000C
    LIFETIME = 0x000D
    XOR_PEER_ADDRESS = 0x0012
    DATA = 0x0013
    REALM = 0x0014
    NONCE = 0x0015
    XOR_RELAYED_ADDRESS = 0x0016
    REQUESTED_ADDRESS_FAMILY = 0x0017
    EVEN_PORT = 0x0018
    REQUESTED_TRANSPORT = 0x0019
    DONT_FRAGMENT = 0x001A
    MESSAGE_INTEGRITY_SHA256 = 0x001C
    PASSWORD_ALGORITHM = 0x001D
    USERHASH = 0x001E
    XOR_MAPPED_ADDRESS = 0x0020
    RESERVATION_TOKEN = 0x0022
    PRIORITY = 0x0024
    USE_CANDIDATE = 0x0025
    PADDING = 0x0026
    RESPONSE_PORT = 0x0027
    ADDITIONAL_ADDRESS_FAMILY = 0x8000
    ADDRESS_ERROR_CODE = 0x8001
    PASSWORD_ALGORITHMS = 0x8002
    ALTERNATE_DOMAIN = 0x8003
    ICMP = 0x8004
    SOFTWARE = 0x8022
    ALTERNATE_SERVER = 0x8023
    FINGERPRINT = 0x8028
    ICE_CONTROLLED = 0x8029
    ICE_CONTROLLING = 0x802A
    RESPONSE_ORIGIN = 0x802B
    OTHER_ADDRESS = 0x802C


UNDERSTOOD = frozenset(map(int, Attribute)) - {
    Attribute.CHANGE_REQUEST,
    Attribute.PADDING,
    Attribute.RESPONSE_PORT,
}
"""Any other comprehension-required attribute earns a 420; so do those of behaviour discovery, but
for Binding where that is served."""


class Code(enum.IntEnum):
    """Error codes; `REASONS` has the words."""

    BAD_REQUEST = 400
    UNAUTHENTICATED = 401
    FORBIDDEN = 403
    UNKNOWN_ATTRIBUTE = 420
    ALLOCATION_MISMATCH = 437
    STALE_NONCE = 438
    ADDRESS_FAMILY_NOT_SUPPORTED = 440
    WRONG_CREDENTIALS = 441
    UNSUPPORTED_TRANSPORT_PROTOCOL = 442
    PEER_ADDRESS_FAMILY_MISMATCH = 443
    CONNECTION_ALREADY_EXISTS = 446
    ALLOCATION_QUOTA_REACHED = 486
    SERVER_ERROR = 500
    INSUFFICIENT_CAPACITY = 508


REASONS = {
    Code.BAD_REQUEST: "Bad Request",
    Code.UNAUTHENTICATED: "Unauthenticated",
    Code.FORBIDDEN: "Forbidden",
    Code.UNKNOWN_ATTRIBUTE: "Unknown Attribute",
    Code.ALLOCATION_MISMATCH: "Allocation Mismatch",
    Code.STALE_NONCE: "Stale Nonce",
    Code.ADDRESS_FAMILY_NOT_SUPPORTED: "Address Family not Supported",
    Code.WRONG_CREDENTIALS: "Wrong Credentials",
    Code.UNSUPPORTED_TRANSPORT_PROTOCOL: "Unsupported Transport Protocol",
    Code.PEER_ADDRESS_FAMILY_MISMATCH: "Peer Address Family Mismatch",
    Code.CONNECTION_ALREADY_EXISTS: "Connection Already Exists",
    Code.ALLOCATION_QUOTA_REACHED: "Allocation Quota Reached",
    Code.SERVER_ERROR: "Server Error",
    Code.INSUFFICIENT_CAPACITY: "Insufficient Capacity",
}


class Family(enum.IntEnum):
    """Address families as STUN numbers them."""

    IPV4 = 0x01
    IPV6 = 0x02


class PasswordAlgorithm(enum.IntEnum):
    """How a long-term key is made from user name, realm and password (RFC 8489 section 18.5)."""

    MD5 = 1
    SHA256 = 2
