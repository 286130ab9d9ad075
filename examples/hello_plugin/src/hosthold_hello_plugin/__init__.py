"""A plugin that says hello: the manifest, and nothing else."""

from hosthold_hello_plugin.hooks import HelloHooks
from hosthold_hello_plugin.pages import HelloPages


class HelloPlugin(HelloPages, HelloHooks):
    """One page and one hook."""

    title = "Hello"


plugin = HelloPlugin()
