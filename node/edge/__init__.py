"""The SIP edge: a dialog-aware record-routing proxy between phones, and phones and nodes."""
