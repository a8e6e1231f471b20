"""A TURN server (RFC 8656) that opens no socket: `server.TurnServer` decides, a worker does."""
