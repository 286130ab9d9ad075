"""Sharing out the web server's logs, and reading a site's."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hosthold.node import logs
from hosthold.node.log_pages import MOST_BYTES, read_page
from hosthold.node.logs import Configuration, Splitter, error_host
from hosthold.types.node import Node
from hosthold.types.resource import LogName, LogRequest
from hosthold.types.text import UnixName


class Place:
    """A node's folders with some sites, and the logs of its web server."""

    def __init__(self, node: Node) -> None:
        self.layout = node.layout
        own = Path(node.layout.state) / "web"
        own.mkdir()
        self.access, self.error = own / "access.log", own / "error.log"
        for folder in (node.layout.sites, node.layout.hosts):
            Path(folder).mkdir()
        self.configuration = Configuration(
            sites=node.layout.sites, hosts=node.layout.hosts, access=str(self.access), error=str(self.error),
            position=f"{node.layout.state}/position", max_bytes=2000, max_days=14, max_files=3,
        )  # fmt: skip

    def site(self, name: str, *domains: str, prefix: str = "") -> Path:
        folder = Path(self.layout.logs(UnixName(name)))
        folder.mkdir(parents=True)
        folder.chmod(0o751)
        for domain in domains:
            Path(self.layout.hosts, prefix + domain).symlink_to(f"{self.layout.sites}/{name}/serve")
        return folder

    def asked(self, *lines: str) -> None:
        with self.access.open("a") as file:
            file.write("".join(f"{line}\n" for line in lines))

    def splitter(self) -> Splitter:
        return Splitter(self.configuration)


@pytest.fixture
def place(node: Node) -> Place:
    return Place(node)


def test_each_line_goes_to_its_site_without_the_name(place: Place) -> None:
    one, two = place.site("s1", "a.test", "www.a.test"), place.site("s2", "b.test", prefix="SUSPENDED.")
    place.asked("a.test 1.2.3.4 - one", "b.test 1.2.3.4 - two", "www.a.test 1.2.3.4 - three", "nobody.test x y")
    place.splitter().share_out()

    assert (one / "access.log").read_text() == "1.2.3.4 - one\n1.2.3.4 - three\n"
    assert (two / "access.log").read_text() == "1.2.3.4 - two\n"
    status = (one / "access.log").stat()
    assert (status.st_uid, status.st_gid, status.st_mode & 0o777) == (os.geteuid(), one.stat().st_gid, 0o640)


_FIELDS = {
    name: keys.split(".")
    for name, keys in {
        "host": "request.host", "address": "request.ip", "user": "user", "time": "ts", "method": "request.method",
        "target": "request.uri", "protocol": "request.proto", "status": "status", "size": "size",
        "referer": "request.headers.Referer", "agent": "request.headers.User-Agent", "level": "level", "message": "msg",
    }.items()
}  # fmt: skip


def _entry(host: str, **changes: object) -> str:
    request = {"host": host, "ip": "1.2.3.4", "method": "GET", "uri": "/", "proto": "HTTP/1.1"}
    return json.dumps({"ts": 86_400.5, "status": 200, "size": 7, "user": "", "request": request} | changes)


def test_lines_of_json_become_the_lines_that_sites_read(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    one = place.site("s1", "a.test")
    hostile = {
        "host": "a.test",
        "uri": '/"\\\n\u00e9\ud800 x',
        "headers": {"User-Agent": ["an agent", "x"], "Referer": []},
    }
    place.asked(
        _entry("A.test.:80"), _entry("nobody.test"), "{", "[1]", '"a.test"',
        json.dumps({"request": {"host": ["a.test"]}}),
        _entry("a.test", request=hostile, ts="now", user="me"),
    )  # fmt: skip
    with place.error.open("a") as file:
        file.write(_entry("a.test", level="error", msg="dial: refused") + "\n" + '{"msg": "begins"}\n')
    Splitter(replace(place.configuration, fields=_FIELDS)).share_out()

    assert (one / "access.log").read_text() == (
        '1.2.3.4 - - [02/Jan/1970:00:00:00 +0000] "GET / HTTP/1.1" 200 7 "-" "-"\n'
        '- - - [01/Jan/1970:00:00:00 +0000] "- - -" - - "-" "-"\n'
        '- - me [01/Jan/1970:00:00:00 +0000] "- /\\x22\\x5C\\x0A\\xC3\\xA9\\xED\\xA0\\x80 x -" 200 7 "-" "an agent"\n'
    )
    assert (one / "error.log").read_text() == (
        '1970/01/02 00:00:00 [error] dial: refused, client: 1.2.3.4, request: "GET / HTTP/1.1", host: "a.test"\n'
    )


def test_a_line_that_is_not_whole_yet_waits(place: Place) -> None:
    one = place.site("s1", "a.test")
    splitter = place.splitter()
    with place.access.open("a") as file:
        file.write("a.test one\na.test tw")
        file.flush()
        splitter.share_out()
        assert (one / "access.log").read_text() == "one\n"
        file.write("o\n")
    splitter.share_out()
    assert (one / "access.log").read_text() == "one\ntwo\n"


def test_another_program_goes_on_where_the_last_one_was(place: Place) -> None:
    one = place.site("s1", "a.test")
    place.asked("a.test one")
    place.splitter().share_out()
    place.asked("a.test two")
    place.splitter().share_out()
    assert (one / "access.log").read_text() == "one\ntwo\n"


def test_a_log_that_was_cut_or_replaced_is_read_from_its_beginning(place: Place) -> None:
    one = place.site("s1", "a.test")
    splitter = place.splitter()
    place.asked("a.test one of some length")
    splitter.share_out()
    place.access.write_text("a.test two\n")
    splitter.share_out()
    place.access.rename(place.access.with_name("old"))
    place.asked("a.test three, which is in a file of its own")
    splitter.share_out()
    assert (one / "access.log").read_text().splitlines()[1:] == ["two", "three, which is in a file of its own"]


@pytest.mark.parametrize(
    "host", ["../s1", "..", ".", "a.test/../b", "/etc", "-", "", "A.TEST", "a..test", "a.test\0", "x" * 300, "a test"]
)
def test_s14_a_name_that_is_none_reaches_no_file(place: Place, host: str) -> None:
    place.site("s1", "a.test")
    before = sorted(str(path) for path in Path(place.layout.state).rglob("*"))
    place.asked(f"{host} hostile")
    place.splitter().share_out()
    after = sorted(str(path) for path in Path(place.layout.state).rglob("*"))
    assert set(after) - set(before) == {str(place.access), place.configuration.position}


def test_s14_nothing_is_written_where_a_tenant_may_write(place: Place) -> None:
    one = place.site("s1", "a.test")
    one.chmod(0o773)
    place.asked("a.test one")
    place.splitter().share_out()
    assert list(one.iterdir()) == []

    one.chmod(0o751)
    (one / "access.log").symlink_to("/etc/hostname")
    place.asked("a.test two")
    with pytest.raises(OSError, match="Too many levels"):
        place.splitter().share_out()


@pytest.mark.parametrize(
    ("line", "host"),
    [
        (b'x [error] 1#1: *5 failed, client: 1.2.3.4, server: _, request: "GET / HTTP/1.1", host: "a.test"', b"a.test"),
        (b'x, request: "GET / HTTP/1.1", host: "A.test.:8080", referrer: "http://b.test/"', b"a.test"),
        (b'x, request: "GET /", host: "b.test" HTTP/1.1", host: "a.test"', None),
        (b'x, request: "GET / HTTP/1.1", host: "a.test", referrer: "x", host: "b.test"', None),
        (b"2026/11/23 [notice] 1#1: signal process started", None),
    ],
)
def test_a_line_about_an_error_is_nobodys_if_it_could_be_two_peoples(line: bytes, host: bytes | None) -> None:
    found = error_host(line)
    assert (found and found[0]) == host


def test_a_large_log_is_put_away_and_the_oldest_are_removed(place: Place) -> None:
    one = place.site("s1", "a.test")
    splitter = place.splitter()
    for number in range(60):
        place.asked(*(f"a.test line {number} {'x' * 80}" for _ in range(5)))
        splitter.share_out()
    kept = sorted(one.glob("access-*.log.gz"))
    assert len(kept) == 3
    assert (one / "access.log").stat().st_size <= 2000 + 500
    assert f"line {59} " in (one / "access.log").read_text()
    packed = gzip.decompress(kept[-1].read_bytes()).decode()
    following = (one / "access.log").read_text().splitlines()[0].split()[1]
    assert int(packed.splitlines()[-1].split()[1]) in (int(following), int(following) - 1)
    assert kept[0].stat().st_mode & 0o777 == 0o640


def test_a_log_of_yesterday_is_put_away_before_the_first_line_of_today(place: Place) -> None:
    one = place.site("s1", "a.test")
    (one / "access.log").write_text("yesterday\n")
    yesterday = time.time() - 86_400
    os.utime(one / "access.log", (yesterday, yesterday))
    place.asked("a.test today")
    place.splitter().share_out()
    assert (one / "access.log").read_text() == "today\n"
    (kept,) = one.glob("access-*.log.gz")
    assert gzip.decompress(kept.read_bytes()) == b"yesterday\n"


def test_what_programs_write_themselves_is_cut_in_its_place(place: Place) -> None:
    one = place.site("s1", "a.test")
    with (one / "php-error.log").open("a") as writer:
        writer.write("x" * 3000 + "\n")
        writer.flush()
        place.splitter().sweep()
        assert (one / "php-error.log").stat().st_size == 0
        writer.write("after\n")
    assert (one / "php-error.log").read_text() == "after\n"
    assert len([*one.glob("php-error-*.log.gz")]) == 1


def test_what_was_read_takes_no_space_any_more(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "HOLE", 1 << 16)
    one = place.site("s1", "a.test")
    place.asked(*(f"a.test {number} {'x' * 100}" for number in range(20_000)))
    held = place.access.stat().st_blocks
    splitter = place.splitter()
    while splitter.share_out():
        pass
    assert place.access.stat().st_blocks < held // 10
    place.asked("a.test last")
    splitter.share_out()
    assert _all_lines(one)[-1] == "last"


def test_r36_of_a_flood_the_oldest_lines_are_dropped(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "BACKLOG", 1 << 21)
    one = place.site("s1", "a.test")
    place.asked(*(f"a.test {number} {'x' * 1000}" for number in range(5000)))
    splitter = Splitter(Configuration(**{**place.configuration.__dict__, "max_bytes": 1 << 30}))
    while splitter.share_out():
        pass
    lines = (one / "access.log").read_text().splitlines()
    assert 100 < len(lines) < 2500
    assert lines[-1].split()[0] == "4999"
    numbers = [int(line.split()[0]) for line in lines]
    assert numbers == list(range(numbers[0], 5000))


def test_few_descriptors_are_open_for_many_sites(place: Place) -> None:
    for number in range(600):
        place.site(f"s{number}", f"h{number}.test")
    before = len([*Path("/proc/self/fd").iterdir()])
    place.asked(*(f"h{number % 600}.test line" for number in range(1200)))
    place.splitter().share_out()
    assert len([*Path("/proc/self/fd").iterdir()]) - before <= 257
    assert all(
        Path(place.layout.logs(UnixName(f"s{n}")), "access.log").read_text() == "line\nline\n" for n in range(600)
    )


def test_the_program_ends_with_its_input_and_goes_on_after_a_kill(place: Place) -> None:
    one = place.site("s1", "a.test")
    command = (sys.executable, "-I", "-S", logs.__file__, json.dumps(place.configuration.__dict__))
    wanted = 0
    for number in range(4):
        with subprocess.Popen(command, stdin=subprocess.PIPE) as program:
            place.asked(*(f"a.test line {number}.{line}" for line in range(50)))
            wanted += 50
            deadline = time.monotonic() + 20
            while len(_all_lines(one)) < wanted and time.monotonic() < deadline:
                time.sleep(0.01)
            if number % 2:
                program.kill()
            assert program.stdin is not None
            program.stdin.close()
            assert program.wait(10) == (-9 if number % 2 else 0)
    lines = _all_lines(one)
    assert len(set(lines)) == 200
    assert len(lines) <= 200 + 100  # a portion may come twice after a kill, and nothing else


def _all_lines(folder: Path) -> list[str]:
    text = "".join(gzip.decompress(path.read_bytes()).decode() for path in sorted(folder.glob("access-*.gz")))
    current = folder / "access.log"
    return (text + (current.read_text() if current.exists() else "")).splitlines()


def test_reading_gives_the_end_and_then_what_is_new(place: Place, node: Node) -> None:
    log = place.site("s1") / "access.log"
    log.write_text("".join(f"line {number}\n" for number in range(500)) + "half")
    page = read_page(node.layout, UnixName("s1"), LogRequest(log=LogName.access, lines=3))
    assert page.lines == ("line 497", "line 498", "line 499")
    with log.open("a") as file:
        file.write(" done\nnew\n")
    page = read_page(node.layout, UnixName("s1"), LogRequest(log=LogName.access, after=page.cursor))
    assert page.lines == ("half done", "new")
    assert read_page(node.layout, UnixName("s1"), LogRequest(log=LogName.access, after=page.cursor)).lines == ()
    log.write_text("cut\n")
    assert read_page(node.layout, UnixName("s1"), LogRequest(log=LogName.access, after=page.cursor)).lines == ("cut",)


def test_reading_finds_what_is_asked_for_far_back_and_is_bounded(place: Place, node: Node) -> None:
    log = place.site("s1") / "php-error.log"
    log.write_bytes(b"PHP Fatal once\n" + b"noise \xff\n" * 200_000)
    found = read_page(node.layout, UnixName("s1"), LogRequest(log=LogName.php, contains="fatal"))
    assert found.lines == ("PHP Fatal once",)
    log.write_text("x" * 9000 + "\n" + ("y" * 9000 + "\n") * 100)
    page = read_page(node.layout, UnixName("s1"), LogRequest(log=LogName.php, lines=1000))
    assert sum(len(line) for line in page.lines) <= MOST_BYTES
    assert page.lines[-1] == "y" * 9000


def test_a_log_that_is_not_there_is_empty_and_a_link_is_none(place: Place, node: Node) -> None:
    wanted = LogRequest(log=LogName.error)
    assert read_page(node.layout, UnixName("s9"), wanted).lines == ()
    folder = place.site("s1")
    assert read_page(node.layout, UnixName("s1"), wanted).lines == ()
    (folder / "error.log").symlink_to("/etc/passwd")
    with pytest.raises(OSError, match="Too many levels"):
        read_page(node.layout, UnixName("s1"), wanted)
