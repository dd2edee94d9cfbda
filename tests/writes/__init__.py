"""The set-based writer: what it keeps, what it refuses, and that it means the same as entities."""
