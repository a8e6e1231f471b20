"""A SIP core of its own (RFC 3261 and companions); it knows nothing of the DHT or of QUIC."""
