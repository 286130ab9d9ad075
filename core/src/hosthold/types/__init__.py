"""Frozen, typed, serialisable values that cross borders. Nothing here knows a database, a process or a vendor."""
