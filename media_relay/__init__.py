"""What carries sound: anchors, sealed legs and the worker processes that forward them."""
