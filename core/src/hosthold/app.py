"""Where all parts meet: from settings to a platform, from there to an application, and to a server."""

from __future__ import annotations

from starlette.routing import Router

from hosthold import panel
from hosthold.accounts import api as accounts_api
from hosthold.auth import api as auth_api
from hosthold.db.unit_of_work import Database
from hosthold.drift import api as drift_api
from hosthold.nodes import api as nodes_api
from hosthold.packages import api as packages_api
from hosthold.plugins import api as plugins_api
from hosthold.plugins.discovery import PluginSettingsSource, discover
from hosthold.settings import Settings
from hosthold.sites import api as sites_api
from hosthold.web import server
from hosthold.web.application import Application
from hosthold.web.operation import operations_of
from hosthold.web.platform import Platform
from hosthold.web.routes import Routes
from hosthold.work import api as work_api
from hosthold.work.doorbell import Doorbell

API = (sites_api, accounts_api, packages_api, nodes_api, drift_api, work_api, plugins_api, auth_api)
"""The modules whose operations are served, in the order in which the documentation shows them."""


def build_platform(settings: Settings) -> Platform:
    """Find plugins, open the database, and tie both together. Nothing is listened to or run yet."""
    registry = discover(PluginSettingsSource.of(settings))
    bell = Doorbell(settings)
    return Platform(settings, registry, Database(settings, registry, bell), bell)


def build_app(platform: Platform) -> Application:
    """The ASGI application of a platform: the API, its documentation, health, and the panel."""
    pages = Router(panel.routes(platform), redirect_slashes=False)
    return Application(platform, Routes(operations_of(API)), pages)


def serve(settings: Settings) -> None:
    """Serve API and panel until told to stop."""
    server.serve(settings.web, lambda: build_app(build_platform(settings)))
