"""Benchmarks: `python -m bench` runs them all, `--quick` their short form. Times are printed, never asserted."""
