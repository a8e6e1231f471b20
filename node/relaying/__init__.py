"""Relaying for other nodes with the owner's consent, and being relayed for by others."""
