"""Each thing that the doctor finds is made to happen, and its cure is looked for."""

from __future__ import annotations

import os
import resource
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hosthold.auth.models import ApiTokenRow
from hosthold.cli.checks import clock, kernel, permissions, sockets, storage, versions
from hosthold.cli.checks.finding import Finding
from hosthold.cli.doctor import _is_chosen
from hosthold.db.engine import make_engine
from hosthold.node import quota
from hosthold.node.limits import Enforcer
from hosthold.node.process import bind_listener
from hosthold.node.state import Owned, State
from hosthold.plugins.record import PluginRecord, PluginState
from hosthold.settings import NodeSettings, QueueSettings, Settings
from hosthold.types.node import Isolation, Listen, Node, NodeLayout, Owner
from hosthold.types.resource import Service, UnixSocket
from hosthold.types.text import AbsolutePath
from sqlalchemy import insert

ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: mounts, other users")


def bad(findings: Iterator[Finding], part: str = "") -> list[Finding]:
    return [finding for finding in findings if not finding.is_well and finding.part.startswith(part)]


def only(findings: list[Finding]) -> Finding:
    assert len(findings) == 1, findings
    assert findings[0].message
    assert findings[0].cure
    return findings[0]


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    """The kernel's settings as they should be, to be changed."""
    for name, value in {
        **{f"fs/{guard}": 1 for guard in kernel.GUARDS},
        "fs/file-max": 10_000_000,
        "kernel/pid_max": 4_194_304,
        "kernel/threads-max": 200_000,
        "net/core/somaxconn": 4096,
    }.items():
        file = tmp_path / "sys" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{value}\n")
    return tmp_path


def test_kernel_settings_that_are_well_say_nothing(settings: Settings, proc: Path) -> None:
    assert bad(kernel.look(settings, 100, 12_800, proc=proc)) == []


@pytest.mark.parametrize(
    ("name", "value", "sites", "cure"),
    [
        ("fs/protected_symlinks", 0, 1, "sysctl -w fs.protected_symlinks=1, "),
        ("fs/protected_fifos", 0, 1, "sysctl -w fs.protected_fifos=1, "),
        ("fs/file-max", 1000, 1, "sysctl -w fs.file-max="),
        ("kernel/pid_max", 32768, 300, "sysctl -w kernel.pid_max=4194304"),
        ("net/core/somaxconn", 128, 1, "sysctl -w net.core.somaxconn=4096"),
    ],
)
def test_a_kernel_setting_that_is_not_well_is_named_with_its_cure(
    settings: Settings, proc: Path, name: str, value: int, sites: int, cure: str
) -> None:
    (proc / "sys" / name).write_text(str(value))
    assert only(bad(kernel.look(settings, sites, 128 * sites, proc=proc))).cure.startswith(cure)


def test_too_few_open_files_for_the_sites_are_named(settings: Settings, proc: Path) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY:
        pytest.skip("no limit here")
    found = only(bad(kernel.look(settings, hard, 1, proc=proc), "open files"))
    assert "LimitNOFILE=" in found.cure


@ROOT
def test_sites_that_share_memory_are_told(settings: Settings, proc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "_ALONE", ("/bin/false",))
    assert "CAP_SYS_ADMIN" in only(bad(kernel.look(settings, 1, 128, proc=proc), "shared memory")).cure


def test_the_real_kernel_is_understood_and_no_group_is_left(settings: Settings) -> None:
    parts = {finding.part for finding in kernel.look(settings, 1, 128)}
    assert parts == {"kernel", "open files", "processes", "waiting connections", "limits of sites", "shared memory"}
    groups = Enforcer(f"doctor {os.getpid()}")
    names = {folder.name for folder in groups._groups.values()}
    groups.close()
    assert [found for name in names for found in Path("/sys/fs/cgroup").rglob(name)] == []


@pytest.fixture
def mounted(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A file system in memory with the options of the test, as the platform's state folder."""
    place = tmp_path / "state"
    place.mkdir()
    command = ("/bin/mount", "-t", "tmpfs", "-o", request.param, "tmpfs", str(place))
    if subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("needs the right to mount")
    quota._kinds.clear()
    yield place
    subprocess.run(("/bin/umount", str(place)), check=True)


@ROOT
@pytest.mark.parametrize(
    ("mounted", "message", "cure"),
    [
        ("size=8m", "Only 8 MiB are free", "Free some space"),
        ("size=1g,nr_inodes=50", "more files can be made", "du -x --inodes"),
        ("size=1g,ro", "can only be read", "mount -o remount,rw"),
        ("size=1g,nosymfollow", "mounted with nosymfollow", "mount -o remount,symfollow"),
    ],
    indirect=["mounted"],
)
def test_a_file_system_that_cannot_be_used_is_named(mounted: Path, message: str, cure: str) -> None:
    found = only(bad(storage.look(Settings(state=AbsolutePath(str(mounted)))), "disk state"))
    assert message in found.message
    assert cure in found.cure


@ROOT
def test_a_folder_that_is_not_shown_to_who_asks_stops_nothing() -> None:
    with tempfile.TemporaryDirectory() as place:  # pytest's own folders are in one that is not shown either
        Path(place).chmod(0o755)
        hidden = Path(place, "hidden")
        (hidden / "run").mkdir(parents=True)
        hidden.chmod(0o700)
        settings = Settings(state=AbsolutePath(place), node=NodeSettings(state=AbsolutePath(str(hidden))))
        os.seteuid(65_534)
        try:
            told = {one.part: one.message for one in storage.look(settings)}
        finally:
            os.seteuid(0)
    assert "root alone" in told["disk sites"]
    assert "root alone" in told["disk run"]
    assert "GiB free" in told["disk state"]


def test_a_file_system_of_another_machine_is_refused_for_sqlite(tmp_path: Path) -> None:
    mount = quota.Mount("nfs4", frozenset({"rw"}), "/srv")
    assert "SQLite" in only(list(storage._mounted("disk state", tmp_path, mount, has_sqlite=True))).message
    assert list(storage._mounted("disk run", tmp_path, mount, has_sqlite=False)) == []


def test_quotas_are_told(tmp_path: Path) -> None:
    (tmp_path / "node").mkdir()
    quota._kinds.clear()
    told = {one.part: one.message for one in storage.look(Settings(state=AbsolutePath(str(tmp_path))))}
    assert "only measured" in told["disk sites"] or "kept below" in told["disk sites"]


def private(folder: Path) -> Settings:
    for name in ("keys", "queue", "node"):
        (folder / name).mkdir(mode=0o700)
    for file in ("hosthold.db", "keys/worker.key", "queue/worker.db", "node/node.db"):
        (folder / file).touch(0o600)
    return Settings(state=AbsolutePath(str(folder)))


@pytest.mark.parametrize(
    ("path", "mode", "cure"),
    [
        ("hosthold.db", 0o644, "chmod 600 "),
        ("keys/worker.key", 0o640, "chmod 600 "),
        ("node/node.db", 0o604, "chmod 600 "),
        ("queue", 0o750, "chmod 700 "),
        ("keys", 0o701, "chmod 700 "),
        ("", 0o777, "chmod o-w "),
        ("node", 0o757, "chmod o-w "),
    ],
)
def test_s67_what_others_may_read_or_write_is_named(tmp_path: Path, path: str, mode: int, cure: str) -> None:
    folder = tmp_path / "state"
    folder.mkdir(mode=0o711)
    settings = private(folder)
    assert bad(permissions.look(settings, None)) == []
    (folder / path).chmod(mode)
    found = bad(permissions.look(settings, None))
    assert {one.cure for one in found} == {f"{cure}{(folder / path)}"}


def test_s67_a_way_that_everybody_may_change_and_an_open_home_are_named(tmp_path: Path) -> None:
    above, folder = tmp_path / "above", tmp_path / "above" / "state"
    folder.mkdir(parents=True)
    settings = private(folder)
    home = folder / "node" / "sites" / "s1" / "home"
    home.mkdir(parents=True)
    home.chmod(0o755)
    above.chmod(0o777)
    cures = {one.cure for one in bad(permissions.look(settings, None))}
    assert cures == {f"chmod o-w {above}", f"chmod 710 {home}"}
    above.chmod(0o1777)
    home.chmod(0o710)
    assert bad(permissions.look(settings, None)) == []


def test_s67_a_settings_file_with_a_password_is_not_for_everybody(tmp_path: Path) -> None:
    file = tmp_path / "hosthold.toml"
    file.touch(0o644)
    (tmp_path / "state").mkdir(mode=0o711)
    with_password = private(tmp_path / "state").model_copy(
        update={"queue": QueueSettings(kind="redis", url="redis://:secret@localhost/0")}
    )
    found = only(bad(permissions.look(with_password, file)))
    assert found.cure == f"chmod o-rwx {file}"
    assert "secret" not in found.message


@ROOT
def test_s14_a_state_folder_of_somebody_elses_above_roots_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    folder.mkdir(mode=0o711)
    settings = private(folder)
    os.chown(folder, 64_001, 64_001)
    assert "node.state" in only(bad(permissions.look(settings, None))).cure


@pytest.fixture
def node(tmp_path: Path) -> Node:
    """A node with one site, whose socket is not bound."""
    layout = NodeLayout(state=AbsolutePath(f"{tmp_path}/n"), run=AbsolutePath(f"{tmp_path}/n/run"))
    Path(layout.sockets).mkdir(parents=True)
    me = Owner(uid=os.geteuid(), gid=os.getegid())
    state = State(f"{layout.state}/node.db")
    address = UnixSocket(path=layout.sockets.child("s1.sock"), owner=me, mode=0o600)
    service = Service(name="php-s1", command=("/bin/true",), owner=me, socket=address)
    with state.transaction():
        state.own("site:1", {service.key: Owned(service, "")})
    state.close()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return Node(name="n1", layout=layout, listen=Listen(port=port), isolation=Isolation.none, root=me, web=me,
                web_user="x")  # fmt: skip


def test_sockets_that_nobody_holds_or_that_belong_to_nobody_are_named(settings: Settings, node: Node) -> None:
    assert "php-s1" in only(bad(sockets.look(settings, node), "sockets")).message
    owner = Owner(uid=os.geteuid(), gid=os.getegid())
    path = f"{node.layout.sockets}/s1.sock"
    with bind_listener(path, owner, 0o600) as listener:
        assert bad(sockets.look(settings, node), "sockets") == []
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.accept()
        bind_listener(f"{node.layout.sockets}/s2.sock", owner, 0o600).close()
        assert only(bad(sockets.look(settings, node), "sockets")).cure == f"rm {node.layout.sockets}/s2.sock"
        Path(f"{node.layout.sockets}/s2.sock").unlink()
    assert "s1" in only(bad(sockets.look(settings, node), "sockets")).message, "the file is left, and nobody holds it"
    bind_listener(f"{node.layout.run}/keeper.sock", owner, 0o600, socket.SOCK_SEQPACKET).close()
    assert any("keeper" in one.message for one in bad(sockets.look(settings, node), "sockets"))


def test_another_server_at_the_visitors_port_is_named(settings: Settings, node: Node) -> None:
    assert "Nothing listens" in only(bad(sockets.look(settings, node), "visitors")).message
    with socket.create_server(("127.0.0.1", node.listen.port)) as server:

        def answer(text: bytes) -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(text)

        for text, is_ours in ((b"HTTP/1.1 200 OK\r\n\r\n", False), (b"", True)):
            thread = threading.Thread(target=answer, args=(text,))
            thread.start()
            found = bad(sockets.look(settings, node), "visitors")
            thread.join()
            assert (found == []) is is_ours
            if found:
                assert "ss -ltnp" in only(found).cure


def test_a_token_from_the_future_and_a_clock_that_agrees_are_told(database_settings: Settings) -> None:
    engine = make_engine(database_settings.database_url)
    try:
        assert [one for one in bad(clock.look(engine)) if "keeps" not in one.message] == []
        assert not any(not one.is_well for one in versions.of_database(engine))
        at = int(time.time() * 1000) + 3_600_000
        row = {"id": "1" * 32, "secret_hash": "x", "prefix": "x", "name": "x", "account_id": "2" * 32,
               "permissions": [], "created_at": at}  # fmt: skip
        with engine.connect() as connection:
            if engine.dialect.name == "sqlite":
                connection.exec_driver_sql("PRAGMA foreign_keys=off")
                connection.commit()
            else:
                connection.exec_driver_sql("SET session_replication_role = replica")
            connection.execute(insert(ApiTokenRow).values(row))
            connection.commit()
        assert any("yet to come" in one.message for one in bad(clock.look(engine)))
    finally:
        engine.dispose()


def test_a_redis_that_every_program_reaches_is_named(tmp_path: Path) -> None:
    executable = shutil.which("redis-server")
    if executable is None:
        pytest.skip("redis-server is not installed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    path = tmp_path / "redis.sock"
    assert "does not answer" in only([versions._redis(f"redis://127.0.0.1:{port}/0")]).message
    options = (
        "--bind",
        "127.0.0.1",
        "--port",
        str(port),
        "--unixsocket",
        str(path),
        "--save",
        "",
        "--dir",
        str(tmp_path),
    )
    with subprocess.Popen((executable, *options), stdout=subprocess.DEVNULL) as server:
        try:
            while not path.exists():
                assert server.poll() is None
                time.sleep(0.01)
            assert "requirepass" in only([versions._redis(f"redis://127.0.0.1:{port}/0")]).cure
            assert versions._redis(f"unix://{path}").is_well
        finally:
            server.terminate()


def test_the_doctor_asks_nothing_of_a_supervisor_that_is_not_chosen(settings: Settings) -> None:
    def record(name: str) -> PluginRecord:
        return PluginRecord(name, "driver:supervisor", "hosthold", "0.1", "", PluginState.unhealthy)

    assert settings.node == NodeSettings()
    assert _is_chosen(settings, record("process"))
    assert not _is_chosen(settings, record("systemd"))
