"""Where accounts can be found: signed records in a Kademlia DHT."""
