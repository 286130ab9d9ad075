"""What a node with many sites costs and gives: memory, requests of one site, many new sites at once, certificates."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
import time
from contextlib import nullcontext
from pathlib import Path

from hosthold.db.unit_of_work import Database

from benchmarks.limit import LeastSite
from benchmarks.load import load
from benchmarks.platform import Platform
from benchmarks.report import median, say

AT_ONCE = 1000
_PAGE = "<!doctype html><title>Page</title>" + "x" * 990


def fill(platform: Platform, customer: str, names: list[str]) -> float:
    """Bring up sites with these names, and give how many came online a second, the last one's page included."""
    begun = time.monotonic()
    made: list[str] = []
    for start in range(0, len(names), AT_ONCE):
        sites = [{"domain": name, "account_id": customer} for name in names[start : start + AT_ONCE]]
        made += [site["id"] for site in platform.post("/sites:batch", {"sites": sites})["items"]]
    if names:
        with platform.database() as (database, _):
            platform.until("the sites", lambda: ready(database, min(made)) >= len(names) or None, 0.1)
        platform.until("its page", lambda: page(platform.site_port, names[-1]) or None)
    took = time.monotonic() - begun
    say(f"{len(names)} sites made in {took:.1f} s")
    return len(names) / took


def least_bulk(platform: Platform, numbers: range) -> float:
    """How many sites a second can be made with nothing but what lies on disk and a bound socket, flushed at the end."""
    sites = [LeastSite(platform, number) for number in numbers]
    begun = time.monotonic()
    for site in sites:
        site.lay_down()
    os.sync()
    took = time.monotonic() - begun
    for site in sites:
        site.take_down()
    return len(sites) / took


def ready(database: Database, first: str) -> int:
    """How many sites are online of those from this one on; ends the benchmark if one has failed."""
    query = "SELECT phase, count(*) FROM site WHERE id >= ? GROUP BY phase"
    with database.read() as uow:
        rows = uow.connection.exec_driver_sql(query, (first,)).fetchall()
    counts = {str(phase): int(count) for phase, count in rows}
    if counts.get("failed"):
        raise SystemExit(f"{counts['failed']} sites failed")
    return counts.get("ready", 0)


def page(port: int, host: str, path: str = "/") -> bool:
    """Whether a page of the site is answered with 200."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        return connection.recv(64).startswith(b"HTTP/1.1 200")


def memory_mb(platform: Platform) -> float:
    """What all processes of the node hold: its own, the web server's, those that keep sockets and share out logs."""
    state = str(platform.settings.state)
    total = 0
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if state.encode() in (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes():
                    rollup = (entry / "smaps_rollup").read_text()
                else:
                    continue
            except OSError:
                continue
            total += next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
    node = platform.process("node")
    rollup = Path(f"/proc/{node}/smaps_rollup").read_text()
    total += next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
    return total / 1024


def beside_the_platform(platform: Platform, site: dict[str, str], seconds: int, rounds: int) -> tuple[float, float]:
    """Requests a second for a small file of one site, and their ratio to those while web, worker and node stand still.

    Both are asked in turn, for the machine changes more from minute to minute than the platform can take from it.
    """
    found, ratios = [], []
    for number in range(rounds):
        rates = {}
        for stands_still in (True, False) if number % 2 else (False, True):
            with platform.standing_still() if stands_still else nullcontext():
                rates[stands_still] = requests_per_second(platform, site, seconds)
        found.append(rates[False])
        ratios.append(rates[False] / rates[True])
    return median(found), median(ratios)


def requests_per_second(platform: Platform, site: dict[str, str], seconds: int) -> float:
    """Requests for a small file of one site."""
    name = site["name"]
    folder = platform.node_state / "sites" / name / "home" / "public"
    (folder / "bench.html").write_text(_PAGE)
    status = folder.stat()
    os.chown(folder / "bench.html", status.st_uid, status.st_gid)
    address = f"http://127.0.0.1:{platform.site_port}/bench.html"
    return round(load(address, {"Host": site["domain"]}, 16, seconds).requests_per_second)


def shared_to_own_block(
    platform: Platform, customer: str, standard: dict[str, str], seconds: int, rounds: int
) -> float:
    """Requests a second of a standard site, to those of a site that has a server block of its own, in turn."""
    blocked = platform.post("/sites", {"domain": "blocked.localhost", "account_id": customer})
    status, answer = platform.call("PUT", f"/sites/{blocked['id']}/web", {"redirects": [{"path": "/a", "to": "/b"}]})
    if status != 202:
        raise SystemExit(f"the options of a site were answered with {status}: {answer}")
    platform.until("its block", lambda: (platform.node_state / "blocks" / f"{blocked['name']}.conf").exists() or None)
    platform.until("the block's site", lambda: platform.get(f"/sites/{blocked['id']}")["phase"] == "ready" or None)
    time.sleep(1.0)  # former workers of the web server, which the reload replaces, close their connections meanwhile
    ratios = []
    for number in range(rounds):
        pair = [standard, blocked] if number % 2 else [blocked, standard]
        found = {site["id"]: requests_per_second(platform, site, seconds) for site in pair}
        ratios.append(found[standard["id"]] / found[blocked["id"]])
    return median(ratios)


def certificate_served_ms(platform: Platform, name: str, runs: int) -> float:
    """From the link to new files to the handshake that shows them; the median."""
    place = platform.folder / "pairs"
    took = []
    context = ssl._create_unverified_context()
    for number in range(runs):
        folder = place / str(number)
        folder.mkdir(parents=True)
        for above in (place, folder):
            above.chmod(0o755)
        key, chain = folder / "key.pem", folder / "chain.pem"
        subprocess.run(
            [
                *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
                *("-days", "2", "-subj", f"/CN={name}", "-keyout", str(key), "-out", str(chain)),
            ],
            check=True,
            capture_output=True,
        )
        key.chmod(0o644)
        wanted = ssl.PEM_cert_to_DER_cert(chain.read_text())
        link = platform.node_state / "certificates" / name
        temporary = link.with_name("new.bench")
        begun = time.perf_counter()
        temporary.symlink_to(folder)
        temporary.rename(link)
        while _shown(platform.tls_port, name, context) != wanted:
            if time.perf_counter() - begun > 30:
                raise SystemExit("the certificate was not served within 30 s")
        took.append(time.perf_counter() - begun)
    return median(took) * 1000


def _shown(port: int, name: str, context: ssl.SSLContext) -> bytes | None:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as plain:
        try:
            with context.wrap_socket(plain, server_hostname=name) as secured:
                return secured.getpeercert(binary_form=True)
        except (ssl.SSLError, ConnectionError):
            return None
