"""Finding plugins and drivers, and reaching them: `discovery.discover` makes the registry of one running platform."""
