"""Reliability: faults and races against the whole service, on both databases. Each trial prints its figures and fails
when its guard is removed. `make test` runs the short forms, `make torture` the long ones.
"""
