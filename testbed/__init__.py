"""A whole network on one machine: nodes behind NAT, phones behind others, and a check of it all."""
