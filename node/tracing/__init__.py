"""What passes the SIP edge, remembered for people: traces of calls, and counts."""
