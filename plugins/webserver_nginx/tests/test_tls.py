"""Certificates: found by the name that is asked for, read anew with each handshake, and nothing else ever read."""

from __future__ import annotations

import http.client
import os
import socket
import ssl
import subprocess
from pathlib import Path

import pytest
from hosthold_sdk import WebOptions

from .conftest import Machine

NOBODY = (
    "nobody.test",
    "../certificates/a.example",
    "../../x/a.example",
    "a.example/",
    "A.EXAMPLE",
    "a..example",
    "$host",
    "x",
)


def _certificate(folder: Path, name: str) -> Path:
    """A new pair for the name in a folder of its own, as the platform lays it out."""
    folder.mkdir(parents=True)
    command = (
        *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
        *("-days", "2", "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}"),
        *("-keyout", str(folder / "key.pem"), "-out", str(folder / "chain.pem")),
    )
    subprocess.run(command, check=True, capture_output=True)
    os.chown(folder / "key.pem", 0, 33)
    (folder / "key.pem").chmod(0o640)
    return folder


def _install(machine: Machine, name: str, folder: Path) -> None:
    link = Path(machine.node.layout.certificates) / name
    temporary = link.with_name(f"new.{name}")
    temporary.symlink_to(folder)
    temporary.rename(link)


def _served(machine: Machine, name: str, context: ssl.SSLContext | None = None) -> bytes | None:
    """The certificate that the server shows for this name; none if it refuses."""
    context = context or ssl._create_unverified_context()
    assert machine.node.listen.tls_port is not None
    with socket.create_connection(("127.0.0.1", machine.node.listen.tls_port), 10) as plain:
        try:
            with context.wrap_socket(plain, server_hostname=name) as secured:
                return secured.getpeercert(binary_form=True)
        except (ssl.SSLError, ConnectionError):
            return None


def _pem(folder: Path) -> bytes:
    return ssl.PEM_cert_to_DER_cert((folder / "chain.pem").read_text())


def _page(machine: Machine, certificate: Path, host: str, path: str) -> tuple[int, str]:
    context = ssl.create_default_context(cafile=str(certificate / "chain.pem"))
    assert machine.node.listen.tls_port is not None
    with (
        socket.create_connection(("127.0.0.1", machine.node.listen.tls_port), 10) as plain,
        context.wrap_socket(plain, server_hostname=host) as secured,
    ):
        secured.sendall(f"GET {path} HTTP/1.0\r\nHost: {host}\r\n\r\n".encode())
        answer = http.client.HTTPResponse(secured)
        answer.begin()
        return answer.status, answer.read().decode()


def test_a_certificate_is_served_from_its_next_handshake_on_without_a_reload(machine: Machine, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    place = machine.folder / "pairs"
    site = machine.serve(machine.site(1, "a.example"))
    machine.write(site, "index.php", "<?php echo $_SERVER['HTTPS'], ':', $_SERVER['REQUEST_SCHEME'];")
    assert _served(machine, "a.example") is None
    before = Path(f"/proc/{machine.processes['nginx'].pid}/task/{machine.processes['nginx'].pid}/children").read_text()

    for version in ("1", "2"):
        pair = _certificate(place / version, "a.example")
        _install(machine, "a.example", pair)
        assert _served(machine, "a.example") == _pem(pair)
        assert _page(machine, pair, "a.example", "/") == (200, "on:https")

    after = Path(f"/proc/{machine.processes['nginx'].pid}/task/{machine.processes['nginx'].pid}/children").read_text()
    assert before == after
    (Path(machine.node.layout.certificates) / "a.example").unlink()
    assert _served(machine, "a.example") is None


def test_sessions_are_resumed(machine: Machine) -> None:
    _install(machine, "r.example", _certificate(machine.folder / "pairs" / "r", "r.example"))
    context = ssl._create_unverified_context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    assert machine.node.listen.tls_port is not None
    session, reused = None, []
    for _ in range(2):
        with (
            socket.create_connection(("127.0.0.1", machine.node.listen.tls_port), 10) as plain,
            context.wrap_socket(plain, server_hostname="r.example", session=session) as secured,
        ):
            session = secured.session
            reused.append(secured.session_reused)
    assert reused == [False, True]


@pytest.mark.parametrize("name", NOBODY)
def test_s19_a_name_reaches_no_file_but_its_own_certificate(machine: Machine, name: str) -> None:
    for folder in (machine.folder / "x" / "a.example", Path(machine.node.layout.state) / "x"):
        if not folder.exists():
            _certificate(folder, "bait.example")
    link = Path(machine.node.layout.certificates) / "a.example"
    if not link.exists():
        _install(machine, "a.example", _certificate(machine.folder / "pairs" / "bait", "a.example"))
    assert machine.node.listen.tls_port is not None
    command = ("openssl", "s_client", "-connect", f"127.0.0.1:{machine.node.listen.tls_port}", "-servername", name)
    said = subprocess.run(command, input=b"", capture_output=True, timeout=20, check=False)
    assert b"BEGIN CERTIFICATE" not in said.stdout, name
    control = subprocess.run((*command[:-1], "a.example"), input=b"", capture_output=True, timeout=20, check=False)
    assert b"BEGIN CERTIFICATE" in control.stdout


def test_a_handshake_without_a_name_is_refused(machine: Machine) -> None:
    assert machine.node.listen.tls_port is not None
    command = ("openssl", "s_client", "-connect", f"127.0.0.1:{machine.node.listen.tls_port}", "-noservername")
    said = subprocess.run(command, input=b"", capture_output=True, timeout=20, check=False)
    assert b"BEGIN CERTIFICATE" not in said.stdout


def test_a_block_of_its_own_serves_the_same_certificates(machine: Machine) -> None:
    web = WebOptions.model_validate({"headers": ({"name": "X-A", "value": "b"},)})
    site = machine.serve(machine.site(2, "own.example", web=web))
    machine.write(site, "page.html", "page")
    pair = _certificate(machine.folder / "pairs" / "own", "own.example")
    _install(machine, "own.example", pair)

    assert _page(machine, pair, "own.example", "/page.html") == (200, "page")


def test_only_nginx_and_root_can_read_the_keys(machine: Machine) -> None:
    status = Path(machine.node.layout.certificates).stat()
    assert (status.st_uid, status.st_gid, status.st_mode & 0o777) == (0, 33, 0o710)
