"""What is moved: sources, sinks, digests."""
