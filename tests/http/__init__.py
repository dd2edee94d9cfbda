"""The HTTP layer, asked in process as a server would ask it, on both databases."""
