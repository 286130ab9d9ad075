"""PHP-FPM as a Hosthold runtime: the manifest."""

from hosthold_sdk import Plugin


class PhpFpm(Plugin):
    """Runs sites with PHP; its driver is found by the entry point `php`."""

    title = "PHP-FPM"


plugin = PhpFpm()
