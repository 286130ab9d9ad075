"""The two markers that tie specifications and implementations together."""

from __future__ import annotations

import pluggy

PROJECT = "hosthold"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)
