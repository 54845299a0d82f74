"""Scripted servers and proxies on localhost, for faults that real servers cannot be made to show."""
