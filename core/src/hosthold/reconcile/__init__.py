"""Reconciliation: one loop that brings every declared noun to its declared state, and keeps it there."""
