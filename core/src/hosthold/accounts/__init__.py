"""Accounts: who owns things, as a tree."""
