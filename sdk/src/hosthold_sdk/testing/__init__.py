"""Values that tests of plugins start from."""

from hosthold_sdk.testing.samples import sample_actor, sample_node, sample_site

__all__ = ["sample_actor", "sample_node", "sample_site"]
