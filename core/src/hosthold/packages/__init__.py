"""Packages: what a customer can have, as limits."""
