"""Drift: what somebody changed by hand on a node, to be looked at, adopted or repaired."""
