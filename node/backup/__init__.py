"""Files that carry a node, or one account, to another place: sealed with a passphrase."""
