"""The platform's own settings: `hosthold.toml`, overridden by `HOSTHOLD_*` variables (`HOSTHOLD_WEB__PORT=8600`)."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, IPvAnyNetwork, ValidationError, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from hosthold.errors import Misconfigured
from hosthold.types.node import Isolation, Listen, NodeName
from hosthold.types.resource import Repair
from hosthold.types.site import DriverName
from hosthold.types.text import AbsolutePath

DEFAULT_FILE = Path("/etc/hosthold/hosthold.toml")


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class WebSettings(_Section):
    """Where the API and the panel listen, and under which address people reach them."""

    host: str = "127.0.0.1"
    port: int = Field(default=8600, ge=1, le=65535)
    public_url: str = ""
    """The address that links are built from; empty means `http://<host>:<port>`."""
    processes: int = Field(default=1, ge=1, le=64)
    trusted_proxies: tuple[IPvAnyNetwork, ...] = ()
    """Networks of the proxies before the panel: from these, and only these, `X-Forwarded-For` is believed (S-47)."""


class DatabaseSettings(_Section):
    """The platform's database; empty means SQLite in the state folder."""

    url: str = ""


class QueueSettings(_Section):
    """The doorbells. `auto` is PostgreSQL where the database is, else SQLite files in the state folder."""

    kind: Literal["auto", "sqlite", "postgresql", "redis"] = "auto"
    url: str = ""
    """The Redis server, such as `redis://:password@host:6379/0` or `unix:///run/redis/redis.sock`."""


class LogSettings(_Section):
    """When the logs of a site are put away, each by itself."""

    max_mb: int = Field(default=10, ge=1, le=4096)
    """A log of this size is compressed and begun anew; each log is begun anew every day in any case."""
    max_days: int = Field(default=14, ge=1)
    """For how long logs are kept."""
    max_files: int = Field(default=14, ge=1)
    """How many old files of one log are kept at most."""


class NodeSettings(_Section):
    """This machine as a node. Only the node's own process decides by these; orders cannot change them."""

    name: NodeName = "local"
    state: AbsolutePath | None = None
    """Where sites lie; empty means `node` in the state folder."""
    run: AbsolutePath | None = None
    """Where sockets lie; empty means `run` in the node's state folder."""
    listen: Listen = Listen(address="127.0.0.1", port=8680)
    isolation: Isolation | Literal["auto"] = "auto"
    """`auto` is a Unix user per site when the node runs as root, else none."""
    uid_first: int = Field(default=200_000, ge=1000)
    uid_last: int = Field(default=899_999, le=2**31 - 1)
    web_user: str = "www-data"
    accounts_directory: AbsolutePath = AbsolutePath("/var/lib/extrausers")
    webserver: DriverName = "nginx"
    supervisor: DriverName = "process"
    logs: LogSettings = LogSettings()

    @model_validator(mode="after")
    def _range(self) -> NodeSettings:
        if self.uid_first > self.uid_last:
            raise ValueError("uid_first is above uid_last")
        return self


class DriftSettings(_Section):
    """What is done about changes that somebody makes by hand on nodes."""

    look_seconds: int = Field(default=600, ge=1, le=600)
    """How often each site and node is compared with what is declared, give or take 30 %: a change by hand is found
    within 15 minutes."""
    repair: Repair = Repair.missing
    """What is put right without asking: `missing` makes again what was removed and leaves alone what was edited, `all`
    overwrites edits too, `nothing` waits for a decision in every case."""


class NameSettings(_Section):
    """Rules for host names."""

    local_suffixes: tuple[str, ...] = ()
    """Special-use names below which sites may be made all the same, such as `localhost` on a test machine."""
    reserved: tuple[str, ...] = ()
    """Names of the platform's own, such as its panel or name servers: no site may have them or names below them."""


class Settings(BaseSettings):
    """Everything an operator can set. An unknown key is an error."""

    model_config = SettingsConfigDict(env_prefix="HOSTHOLD_", env_nested_delimiter="__", extra="forbid", frozen=True)

    state: AbsolutePath = AbsolutePath("/var/lib/hosthold")
    """The folder of the platform's own files: database, queues, keys."""
    web: WebSettings = WebSettings()
    database: DatabaseSettings = DatabaseSettings()
    queue: QueueSettings = QueueSettings()
    node: NodeSettings = NodeSettings()
    names: NameSettings = NameSettings()
    drift: DriftSettings = DriftSettings()
    enabled_plugins: tuple[str, ...] | None = None
    """Names of the plugins and drivers that may be used; unset means every installed one."""
    plugins: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Settings of plugins, by plugin name."""
    drivers: dict[str, dict[str, dict[str, Any]]] = Field(default_factory=dict)
    """Settings of drivers, by kind and name."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)

    @property
    def database_url(self) -> str:
        """The URL of the database as SQLAlchemy reads it."""
        return self.database.url or f"sqlite:///{self.state}/hosthold.db"

    @property
    def is_postgresql(self) -> bool:
        """Whether the platform's database is PostgreSQL."""
        return self.database_url.startswith("postgresql")

    @property
    def queue_kind(self) -> Literal["sqlite", "postgresql", "redis"]:
        """Which store the doorbells use."""
        if self.queue.kind == "auto":
            return "postgresql" if self.is_postgresql else "sqlite"
        return self.queue.kind

    @property
    def public_url(self) -> str:
        """The address of the panel, without a slash at its end."""
        return (self.web.public_url or f"http://{self.web.host}:{self.web.port}").rstrip("/")

    @property
    def node_isolation(self) -> Isolation:
        """How this machine's node keeps sites apart."""
        if self.node.isolation == "auto":
            return Isolation.unix_user if os.geteuid() == 0 else Isolation.none
        return self.node.isolation


def load_settings(file: Path | None = None) -> Settings:
    """Read the settings from `file`, else `HOSTHOLD_CONFIG`, else `/etc/hosthold/hosthold.toml` if it is there.

    Raises `Misconfigured` naming the file and each key that cannot be accepted.
    """
    chosen = file or (Path(os.environ["HOSTHOLD_CONFIG"]) if "HOSTHOLD_CONFIG" in os.environ else None)
    if chosen is not None and not chosen.is_file():
        raise Misconfigured(f"There is no settings file {chosen}.", hint="Run `hosthold init` to make one.")
    path = chosen or DEFAULT_FILE

    class Configured(Settings):
        model_config = SettingsConfigDict(toml_file=path)

    try:
        return Configured()
    except tomllib.TOMLDecodeError as error:
        raise Misconfigured(f"{path} is not valid TOML: {error}.", hint="Correct that line.") from None
    except ValidationError as error:
        lines = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
        raise Misconfigured(
            f"{path}, or a HOSTHOLD_ variable, has settings that cannot be used: {lines}.",
            hint="Correct or remove these keys.",
        ) from None
