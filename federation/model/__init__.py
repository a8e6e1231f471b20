"""The types shared by every package: identity, addresses, networks, numbers, clocks, errors."""
