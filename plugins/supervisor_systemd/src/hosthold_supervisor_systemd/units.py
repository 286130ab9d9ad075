"""The text of unit files. Renders; opens nothing.

Two templates serve all services of a node. What differs between services is in drop-ins that systemd reads when it
loads a unit, and in a file that it reads whenever it starts the program: the command, which may change while the unit
stays loaded, so that no change of a site ever needs a `daemon-reload`. Paths have neither spaces nor quotes nor percent
signs (`AbsolutePath`).
"""

from __future__ import annotations

from typing import NamedTuple

from hosthold_sdk import Node, Service, ServiceLimits

TARGET = "hosthold-services.target"
SERVICES = ("hosthold@*.service", "hosthold-next@*.service")
SOCKETS = ("hosthold@*.socket",)
PATTERNS = (*SERVICES, *SOCKETS)
COMMAND = "HOSTHOLD_COMMAND"
_ENVIRONMENT = (("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"), ("LANG", "C.UTF-8"))


class Units(NamedTuple):
    """The names of a service's units."""

    socket: str
    service: str
    successor: str
    """Runs beside `service` while one replaces the other; either may be the one that stays."""
    slice: str

    @classmethod
    def of(cls, name: str) -> Units:
        """A hyphen in the name of a slice would put it below another one, and under its limits."""
        escaped = name.replace("-", r"\x2d").replace("@", r"\x40")
        return cls(
            f"hosthold@{name}.socket",
            f"hosthold@{name}.service",
            f"hosthold-next@{name}.service",
            f"hosthold-{escaped}.slice",
        )


def name_in(unit: str) -> str:
    """The name of the service that a unit belongs to."""
    return unit.partition("@")[2].rpartition(".")[0]


class Texts(NamedTuple):
    """What is written for one service; an empty text is no file."""

    socket: str
    service: str
    slice: str
    command: str


_TARGET = """\
[Unit]
Description=Services of the sites on this machine

[Install]
WantedBy=multi-user.target
"""

_SOCKET = """\
[Unit]
Description=Socket of %i

[Socket]
Backlog=511
RemoveOnStop=yes
"""

_SERVICE = """\
[Unit]
Description=%i
After=network.target
RequiresMountsFor={state}
StartLimitIntervalSec=5
StartLimitBurst=5

[Service]
Type=exec
EnvironmentFile={folder}/%i
ExecStart=/usr/bin/env -i -- ${command}
{sockets}KillMode=mixed
TimeoutStopSec={stop}
SuccessExitStatus=SIGTERM SIGQUIT SIGINT
OOMPolicy=continue
StandardInput=null
LogRateLimitIntervalSec=30
LogRateLimitBurst=500
NoNewPrivileges=yes
CapabilityBoundingSet=
ProtectSystem=strict
ReadWritePaths={state} {run}
ProtectHome={home}
PrivateTmp=yes
PrivateDevices=yes
PrivateIPC=yes
DevicePolicy=closed
ProtectProc=invisible
ProcSubset=pid
ProtectClock=yes
ProtectHostname=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
RemoveIPC=yes
KeyringMode=private
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
SystemCallErrorNumber=EPERM
"""
# A program that fails gets so many starts by visitors, then its socket gives up; the node lets it listen again. One
# that never sleeps is started again for ever.
# MemoryDenyWriteExecute would take the compilers of PCRE and OPcache from PHP. A mask of 0077 would hide from the web
# server what PHP writes for it.

_ROOT = """\
CapabilityBoundingSet=CAP_CHOWN CAP_DAC_OVERRIDE CAP_FOWNER CAP_KILL CAP_NET_BIND_SERVICE CAP_SETGID CAP_SETUID
CapabilityBoundingSet=CAP_SYS_RESOURCE
SystemCallFilter=@chown @setuid @resources
MemoryDenyWriteExecute=yes
"""
"""What a server of the machine's own needs to become somebody else and to bind low ports."""


def templates(node: Node, stop: int) -> dict[str, str]:
    """The unit files that all services of a node share, by name."""
    state = node.layout.state
    is_at_home = state.startswith(("/home/", "/root/", "/run/user/"))

    def service(sockets: str) -> str:
        return _SERVICE.format(
            state=state,
            run=node.layout.run,
            folder=folder(node),
            command=COMMAND,
            sockets=sockets,
            stop=stop,
            home="no" if is_at_home else "yes",
        )

    return {
        TARGET: _TARGET,
        "hosthold@.socket": _SOCKET,
        "hosthold@.service": service(""),
        "hosthold-next@.service": service("Sockets=hosthold@%i.socket\n"),
    }


def folder(node: Node) -> str:
    """Where the commands of services lie; root's alone."""
    return node.layout.state.child("services")


def render(service: Service) -> Texts:
    """What systemd is told of one service."""
    is_socket, owner = service.socket is not None, service.owner
    socket = ""
    if service.socket is not None:
        listen = service.socket
        socket = (
            f"[Socket]\nListenStream={listen.path}\nSocketUser={listen.owner.uid}\n"
            f"SocketGroup={listen.owner.gid}\nSocketMode={listen.mode:04o}\n"
        )
    sleeps = is_socket and service.idle_seconds is not None
    unit = Units.of(service.name)
    lines = (
        *(() if sleeps else ("[Unit]", "StartLimitIntervalSec=0")),
        "[Service]",
        f"User={owner.uid}",
        f"Group={owner.gid}",
        f"Slice={'hosthold.slice' if service.limits is None else unit.slice}",
        f"KillSignal=SIG{service.stop}",
        f"Restart={'no' if sleeps else 'always'}",
        *(() if sleeps else ("RestartSec=1",)),
        *(() if service.log is None else (f"StandardOutput=append:{service.log}", "StandardError=inherit")),
    )
    return Texts(
        socket=socket,
        service="\n".join(lines) + "\n" + (_ROOT if owner.uid == 0 else ""),
        slice="" if service.limits is None else _slice(service.name, service.limits),
        command=_command(service),
    )


def limits(of: ServiceLimits) -> dict[str, tuple[str, int]]:
    """A slice's properties as they are told over D-Bus: type and value by name."""
    return {
        "CPUQuotaPerSecUSec": ("t", of.cpu_percent * 10_000),
        "MemoryMax": ("t", of.memory_mb * 2**20),
        "MemorySwapMax": ("t", 0),
        "TasksMax": ("t", of.tasks),
        "IOWeight": ("t", of.io_weight),
    }


def _slice(name: str, of: ServiceLimits) -> str:
    return (
        f"[Unit]\nDescription=Limits of {name}\n\n[Slice]\nCPUQuota={of.cpu_percent}%\nMemoryMax={of.memory_mb}M\n"
        f"MemorySwapMax=0\nTasksMax={of.tasks}\nIOWeight={of.io_weight}\n"
    )


def _command(service: Service) -> str:
    """The definition as a comment, by which it is known again, and the command as one variable.

    systemd takes one level of quotes off when it reads the file, and another when it splits the variable into words.
    """
    environment = (f"{name}={value}" for name, value in (*_ENVIRONMENT, *service.environment))
    words = " ".join(_word(word) for word in (*environment, *service.command))
    escaped = words.replace("\\", r"\\").replace('"', r"\"").replace("$", r"\$").replace("`", r"\`")
    return f'# {service.model_dump_json()}\n{COMMAND}="{escaped}"\n'


def definition(command: str) -> Service | None:
    """The service that a command file was written for; nothing of a file that was not written by us, or not whole."""
    first, _, rest = command.partition("\n")
    if not first.startswith("# {") or not rest.endswith('"\n'):
        return None
    try:
        return Service.model_validate_json(first[2:])
    except ValueError:
        return None


def _word(word: str) -> str:
    return '"' + word.replace("\\", r"\\").replace('"', r"\"") + '"'
