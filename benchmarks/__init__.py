"""Benchmarks of fastlrp against the libraries users might pick instead; ``python -m benchmarks`` writes results.md."""
