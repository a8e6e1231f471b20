"""How the node is, for machines: metrics and health."""
