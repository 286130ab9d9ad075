"""Hosthold: a hosting platform in which a site is a declared state that is reconciled."""
