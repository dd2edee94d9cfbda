"""Repositories, on both databases."""
