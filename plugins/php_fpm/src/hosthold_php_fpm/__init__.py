"""Placeholder."""
from hosthold_sdk import Plugin
plugin = Plugin()
