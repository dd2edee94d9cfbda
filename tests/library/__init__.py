"""A second application on the same machinery: a lending library with its own models and rules. The product never
imports it.
"""
