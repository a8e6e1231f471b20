"""The STUN message format (RFC 8489), as a TURN server needs it."""
