"""Who may use this node: users and trunks, their credentials, numbers and extensions."""
