"""Benchmarks of fastlrp against what users would pick instead; ``python -m benchmarks`` writes results.md."""
