"""Machinery: how rows are kept and guarded. Knows no resource by name."""
