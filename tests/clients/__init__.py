"""The published clients, unchanged, against a running server with known rows, on both databases."""
