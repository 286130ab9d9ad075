"""Where users and groups are looked for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hosthold.node import nss
from hosthold.node.nss import asked

MOUNTS = """
import subprocess, sys
for there in ("/etc/nsswitch.conf", "/var/lib/extrausers"):
    here = f"{sys.argv[1]}/nsswitch.conf" if there.endswith(".conf") else sys.argv[1]
    subprocess.run(["/usr/bin/mount", "--bind", here, there], check=True)
"""
ASKS = """
import pwd, sys
from pathlib import Path
from hosthold.node.nss import ask_few_sources
ask_few_sources(Path(sys.argv[2]))
pwd.getpwnam("root")
try:
    pwd.getpwnam("in-the-files")
except KeyError:
    sys.exit("not found")
"""


@pytest.mark.parametrize(
    ("line", "sources"),
    [
        (" files systemd", "files"),
        ("files extrausers sss", "files sss"),
        ("files [!NOTFOUND=return] systemd [SUCCESS=merge] ldap", "files [!NOTFOUND=return] ldap"),
        ("extrausers", "files"),
        ("", "files"),
    ],
)
def test_sources_that_are_not_asked_go_with_their_actions(line: str, sources: str) -> None:
    assert asked(line, {"extrausers", "systemd"}) == sources


@pytest.mark.root
def test_files_that_the_node_reads_itself_are_not_read_line_by_line_and_those_of_others_are(tmp_path: Path) -> None:
    (tmp_path / "nsswitch.conf").write_text("passwd: files extrausers\ngroup: files extrausers\n")
    (tmp_path / "passwd").write_text("in-the-files:x:299999:299999::/:/usr/sbin/nologin\n")
    for accounts, said in (("/var/lib/extrausers", "not found\n"), ("/srv/accounts", "")):
        command = ("/usr/bin/unshare", "--mount", sys.executable, "-c", MOUNTS + ASKS, str(tmp_path), accounts)
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.stderr == said


def test_records_of_users_are_asked_for_where_there_are_any(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nss, "RECORDS", (tmp_path / "none", tmp_path))
    assert nss.not_asked(Path("/srv/accounts")) == {"systemd"}
    (tmp_path / "ann.user").write_text("{}")
    assert nss.not_asked(Path("/srv/accounts")) == set()
    assert nss.not_asked(nss.EXTRAUSERS) == {"extrausers"}
