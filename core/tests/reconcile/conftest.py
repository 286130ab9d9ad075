"""The small world of the sites' tests serves here too."""

from core.tests.sites.conftest import node, world

__all__ = ["node", "world"]
