"""Trunks: PBXs that are accounts of this node, providers it registers at, and their numbers."""
