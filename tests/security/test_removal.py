"""A site is deleted whose owner does not want to go."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from tests.conftest import until
from tests.security.conftest import Company

PLACES = ("/tmp", "/var/tmp", "/dev/shm", "/run/lock", "/var/lib/php/sessions", "/var/mail", "/var/spool/cron")


def _left(uid: int) -> list[str]:
    """Whatever on the machine's shared folders belongs to the user, and its shared memory, queues and semaphores."""
    folders = [place for place in PLACES if Path(place).is_dir()]
    found = subprocess.run(
        ("/usr/bin/find", *folders, "-xdev", "-uid", str(uid)), capture_output=True, text=True, check=False
    ).stdout.splitlines()
    for kind in ("shm", "msg", "sem"):
        lines = Path(f"/proc/sysvipc/{kind}").read_text().splitlines()
        column = lines[0].split().index("uid")
        found += [f"{kind} {line}" for line in lines[1:] if line.split()[column] == str(uid)]
    return found


def test_s65_a_deleted_site_leaves_nothing_of_its_user_on_the_machine(company: Company) -> None:
    leaving = company.tenant("leaving.test")
    key = 0x10000000 + leaving.uid
    said = leaving.attack("linger", as_program=True, places=PLACES, name=f"of-{leaving.uid}", key=key)
    assert "NoNewPrivs:\t1" in said["rights"], "so crontab, at and other programs with more rights give it none"
    assert "CapPrm:\t0000000000000000" in said["rights"]
    leaving.ask("/attack/detach.php?attack=linger", json.dumps({"places": [], "name": "x", "key": key + 1}).encode())
    until("processes", lambda: len(leaving.processes()) > 2 or None)
    left = _left(leaving.uid)
    assert {f"/tmp/of-{leaving.uid}/in", f"/dev/shm/of-{leaving.uid}.link"} <= set(left)
    assert not any(line.startswith(("/var/mail", "/var/spool")) for line in left)

    company.delete(leaving)

    assert leaving.processes() == []
    assert _left(leaving.uid) == []
    assert Path("/etc/passwd").exists()
    state = company.platform.folder / "state"
    found = subprocess.run(
        ("/usr/bin/find", str(state), "-uid", str(leaving.uid)), capture_output=True, text=True, check=True
    )
    assert found.stdout == ""
    passwd = company.platform.accounts_directory / "passwd"
    assert f":{leaving.uid}:" not in passwd.read_text()
    again = company.tenant("leaving.test")
    assert again.uid > leaving.uid, "the number is never given out again"
    company.delete(again)
