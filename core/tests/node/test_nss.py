"""Where users and groups are looked for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hosthold.node.nss import asked

MOUNTS = """
import subprocess, sys
for there in ("/etc/nsswitch.conf", "/var/lib/extrausers"):
    here = f"{sys.argv[1]}/nsswitch.conf" if there.endswith(".conf") else sys.argv[1]
    subprocess.run(["/usr/bin/mount", "--bind", here, there], check=True)
"""
ASKS = """
import pwd, sys
from hosthold.node.nss import ask_few_sources
ask_few_sources()
pwd.getpwnam("root")
try:
    pwd.getpwnam("node-reads-it-itself")
except KeyError:
    sys.exit(0)
sys.exit("the module was asked")
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
    assert asked(line) == sources


@pytest.mark.root
def test_accounts_that_the_node_reads_itself_are_not_looked_for_line_by_line(tmp_path: Path) -> None:
    (tmp_path / "nsswitch.conf").write_text("passwd: files extrausers\ngroup: files extrausers\n")
    (tmp_path / "passwd").write_text("node-reads-it-itself:x:299999:299999::/:/usr/sbin/nologin\n")
    control = "import pwd; pwd.getpwnam('node-reads-it-itself')"
    for code in (control, ASKS):
        command = ("/usr/bin/unshare", "--mount", sys.executable, "-c", MOUNTS + code, str(tmp_path))
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
