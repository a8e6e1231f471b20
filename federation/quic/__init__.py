"""QUIC between nodes, over aioquic: certificates, connections and the endpoint that owns them."""
