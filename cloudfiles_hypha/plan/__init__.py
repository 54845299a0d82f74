"""How to divide work: names into calls, ranges into requests, large objects into parts. No I/O, clock or threads."""
