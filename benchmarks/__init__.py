"""Benchmarks: this client against its peers, all measured in one run. ``python -m benchmarks.run --help``."""
