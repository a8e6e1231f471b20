"""What nodes say to each other: identity, the mesh socket, QUIC links, SIP between nodes."""
