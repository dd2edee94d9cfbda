"""Tests of the machinery that keeps rows: engines, lanes, sessions, faults."""
