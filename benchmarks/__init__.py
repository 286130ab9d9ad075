"""The measured promises of the platform, each beside its own limit in the same run."""
