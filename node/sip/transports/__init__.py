"""The sockets that carry SIP: UDP and TCP."""
