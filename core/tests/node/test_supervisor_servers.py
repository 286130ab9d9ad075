"""The process supervisor runs the servers that it is there for: nginx and PHP-FPM."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from hosthold.errors import Unavailable
from hosthold.node.program import ProcessSettings
from hosthold.node.supervisor import ProcessSupervisor
from hosthold.types.node import Node
from hosthold.types.resource import Service, UnixSocket

from core.tests.node.numbers import FIRST


@pytest.fixture
def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _nginx(node: Node, port: int) -> Service:
    conf = Path(node.layout.state, "nginx.conf")
    state = node.layout.state
    temporary = "".join(
        f"{kind}_temp_path {state}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    conf.write_text(
        f"daemon off; worker_processes 1; pid {state}/nginx.pid; error_log {state}/error.log; events {{}}\n"
        f"http {{ access_log off; {temporary} server {{ listen 127.0.0.1:{port}; return 200 hello; }} }}\n"
    )
    return Service(
        name="nginx", command=("/usr/sbin/nginx", "-c", str(conf)), owner=node.root, reload="HUP", stop="QUIT"
    )


def test_nginx_has_its_port_when_start_returns(node: Node, supervisor: ProcessSupervisor, free_port: int) -> None:
    supervisor.start(_nginx(node, free_port))
    socket.create_connection(("127.0.0.1", free_port)).close()
    supervisor.reload("nginx")
    supervisor.stop("nginx")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", free_port))


def test_a_taken_port_is_told_in_nginx_own_words(node: Node, free_port: int) -> None:
    supervisor = ProcessSupervisor(ProcessSettings())
    supervisor.attach(node, ())
    try:
        with socket.create_server(("127.0.0.1", free_port)), pytest.raises(Unavailable, match="Address already in use"):
            supervisor.start(_nginx(node, free_port))
        assert supervisor.known(["nginx"]) == {}
    finally:
        supervisor.end()


def test_php_fpm_serves_on_the_socket_that_it_was_handed(node: Node, supervisor: ProcessSupervisor) -> None:
    conf = Path(node.layout.state, "fpm.conf")
    conf.write_text(
        f"[global]\ndaemonize = no\nerror_log = {node.layout.state}/fpm.log\n"
        "[s]\nlisten = /nonexistent/s.sock\npm = ondemand\npm.max_children = 1\nping.path = /ping\n"
    )
    os.chown(node.layout.state, node.owner_of(FIRST + 53).uid, -1)
    service = Service(
        name="php",
        command=("/usr/sbin/php-fpm8.2", "-F", "-y", str(conf)),
        environment=(("FPM_SOCKETS", "/nonexistent/s.sock=3"),),
        owner=node.owner_of(FIRST + 53),
        socket=UnixSocket(path=node.layout.sockets.child("s.sock"), owner=node.root, mode=0o600),
        stop="QUIT",
    )
    supervisor.start(service)
    assert _ping(service) == "pong"
    supervisor.restart("php")
    assert _ping(service) == "pong"
    supervisor.stop("php")
    assert [*Path(node.layout.sockets).iterdir()] == []


def _ping(service: Service) -> str:
    """One FastCGI request (specification 1.0, section 3) for php-fpm's own ping page."""

    def record(kind: int, body: bytes) -> bytes:
        return bytes((1, kind, 0, 1)) + len(body).to_bytes(2, "big") + b"\0\0" + body

    pairs = {"SCRIPT_NAME": "/ping", "SCRIPT_FILENAME": "/ping", "REQUEST_METHOD": "GET"}
    parameters = b"".join(bytes((len(k), len(v))) + k.encode() + v.encode() for k, v in pairs.items())
    assert service.socket is not None
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(5)
        client.connect(service.socket.path)
        begin = record(1, b"\0\1\0\0\0\0\0\0")
        client.sendall(begin + record(4, parameters) + record(4, b"") + record(5, b""))
        answer = client.makefile("rb").read()
    return "pong" if b"pong" in answer else answer.decode("utf-8", "replace")
