"""systemd as Hosthold's supervisor: the manifest."""

from hosthold_sdk import Plugin


class SupervisorSystemd(Plugin):
    """Runs services as units of systemd; its driver is found by the entry point `systemd`."""

    title = "systemd"


plugin = SupervisorSystemd()
