"""The door: everything that a plugin may use of Hosthold. Import nothing else of ours.

`API_VERSION` is this distribution's major and minor version; a plugin states what it needs as a dependency on
`hosthold-sdk`.
"""

from importlib.metadata import version as _version
from typing import TYPE_CHECKING as _TYPE_CHECKING

from hosthold.drivers.base import Driver, DriverSettings
from hosthold.drivers.runtime import RuntimeDriver, RuntimeRendered
from hosthold.drivers.supervisor import SupervisorDriver
from hosthold.drivers.webserver import LogFields, Rendered, Upstream, WebServerDriver
from hosthold.errors import (
    DriverError,
    FieldError,
    HostholdError,
    InvalidInput,
    Misconfigured,
    NotInstalled,
    NotSupported,
    Rejected,
    Unavailable,
)
from hosthold.hookspecs import hookimpl
from hosthold.types.account import Account, AccountKind
from hosthold.types.actor import Actor
from hosthold.types.base import Frozen
from hosthold.types.call import DriverCall
from hosthold.types.event import Event
from hosthold.types.extension import Command, HealthCheck, Job, MenuItem, Page, PageContent, PageRequest, Permission
from hosthold.types.manifest import Plugin, PluginSettings
from hosthold.types.node import Isolation, Listen, Node, NodeLayout, Owner
from hosthold.types.package import Limits
from hosthold.types.resource import Account as UnixAccount
from hosthold.types.resource import Directory, File, Link, Probe, Resource, Service, ServiceLimits, UnixSocket
from hosthold.types.site import Condition, Phase, Runtime, Site
from hosthold.types.text import AbsolutePath, Domain, RelativePath, UnixName
from hosthold.types.web import (
    Access,
    BasicAuth,
    BasicAuthUser,
    Header,
    Match,
    PathRule,
    Proxy,
    Redirect,
    UrlPath,
    WebOptions,
)

from hosthold_sdk.deprecation import Deprecated as _Deprecated
from hosthold_sdk.deprecation import deprecated_names as _deprecated_names

API_VERSION = ".".join(_version("hosthold-sdk").split(".")[:2])
_DEPRECATED: dict[str, _Deprecated] = {}
if not _TYPE_CHECKING:  # with it a type checker would accept every name
    __getattr__ = _deprecated_names(__name__, _DEPRECATED, globals())

__all__ = [
    "API_VERSION",
    "AbsolutePath",
    "Access",
    "Account",
    "AccountKind",
    "Actor",
    "BasicAuth",
    "BasicAuthUser",
    "Command",
    "Condition",
    "Directory",
    "Domain",
    "Driver",
    "DriverCall",
    "DriverError",
    "DriverSettings",
    "Event",
    "FieldError",
    "File",
    "Frozen",
    "Header",
    "HealthCheck",
    "HostholdError",
    "InvalidInput",
    "Isolation",
    "Job",
    "Limits",
    "Link",
    "Listen",
    "LogFields",
    "Match",
    "MenuItem",
    "Misconfigured",
    "Node",
    "NodeLayout",
    "NotInstalled",
    "NotSupported",
    "Owner",
    "Page",
    "PageContent",
    "PageRequest",
    "PathRule",
    "Permission",
    "Phase",
    "Plugin",
    "PluginSettings",
    "Probe",
    "Proxy",
    "Redirect",
    "Rejected",
    "RelativePath",
    "Rendered",
    "Resource",
    "Runtime",
    "RuntimeDriver",
    "RuntimeRendered",
    "Service",
    "ServiceLimits",
    "Site",
    "SupervisorDriver",
    "Unavailable",
    "UnixAccount",
    "UnixName",
    "UnixSocket",
    "Upstream",
    "UrlPath",
    "WebOptions",
    "WebServerDriver",
    "hookimpl",
]
