"""The demo: the whole platform in one folder, with an administrator, a customer, a package and a first site."""

from __future__ import annotations

import argparse
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from hosthold.cli.local_node import free_uid
from hosthold.settings import NodeSettings, load_settings

HOSTHOLD = [sys.executable, "-m", "hosthold.cli"]
ADMINISTRATOR = "admin@demo.example.net"
FIRST_SITE = "welcome.localhost"
SECOND_SITE = "second.localhost"
PATIENCE_SECONDS = 60.0

T = TypeVar("T")


class Demo:
    """A platform in a state folder, its processes, and the ways to talk to it."""

    def __init__(self, state: Path, port: int) -> None:
        self.state = state
        self.port = port
        self.site_port = port + 1
        self.config = state / "hosthold.toml"
        self.environment = {**os.environ, "HOSTHOLD_CONFIG": str(self.config)}
        self.token = ""
        self.platform: subprocess.Popen[bytes] | None = None

    @property
    def panel(self) -> str:
        """The address of the panel."""
        return f"http://localhost:{self.port}"

    def command(self, *arguments: str) -> str:
        """Run a command of Hosthold; its output."""
        done = subprocess.run([*HOSTHOLD, *arguments], env=self.environment, capture_output=True, text=True, timeout=60)
        if done.returncode != 0:
            raise SystemExit(f"hosthold {' '.join(arguments)} failed:\n{done.stderr or done.stdout}")
        return done.stdout.strip()

    def prepare(self) -> None:
        """Write the settings on the first run, and set the platform up."""
        self.state.mkdir(parents=True, exist_ok=True)
        if not self.config.exists():
            node = NodeSettings()
            self.config.write_text(
                "# Loopback only, ports that need no privilege, names that browsers take to this machine.\n"
                f'state = "{self.state}/platform"\n\n'
                f'[web]\nport = {self.port}\npublic_url = "{self.panel}"\n\n'
                '[names]\nlocal_suffixes = ["localhost"]\n\n'
                f"[node]\nuid_first = {free_uid(node.accounts_directory, node.uid_first)}\n"
                f'listen = {{ address = "127.0.0.1", port = {self.site_port} }}\n'
            )
        settings = load_settings(self.config)
        self.port, self.site_port = settings.web.port, settings.node.listen.port
        self.command("init", "--admin", ADMINISTRATOR, "--name", "Demo hosting")

    def start(self, log: Any) -> None:
        """Start web, worker and node."""
        for port in (self.port, self.site_port):
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind(("127.0.0.1", port))
                except OSError:
                    raise SystemExit(
                        f"Port {port} is taken. Choose another: scripts/demo --port N uses N and N + 1."
                    ) from None
        self.platform = subprocess.Popen(
            [*HOSTHOLD, "up"], env=self.environment, stdout=log, stderr=log, start_new_session=True
        )

    def stop(self) -> None:
        """Stop everything that was started."""
        if self.platform is not None:
            self.platform.send_signal(signal.SIGTERM)
            self.platform.wait(60)

    def until(self, what: str, look: Callable[[], T | None]) -> T:
        """Look until there is something to see."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            if self.platform is not None and self.platform.poll() is not None:
                raise SystemExit("The platform ended by itself; its log says why.")
            seen = look()
            if seen is not None:
                return seen
            time.sleep(0.01)
        raise SystemExit(f"Waited {PATIENCE_SECONDS:.0f} seconds for {what}, in vain. The log may say why.")

    def call(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """A request to the public API: its status, and its JSON."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}", method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"},
        )  # fmt: skip
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read() or b"null")
        except OSError:
            return 0, None

    def visit(self, host: str) -> tuple[int, str]:
        """A visit to a site, through nginx: status and page; status 0 if the name is not served."""
        connection = http.client.HTTPConnection("127.0.0.1", self.site_port, timeout=10)
        try:
            connection.request("GET", "/", headers={"Host": host})
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        except (OSError, http.client.HTTPException):
            return 0, ""
        finally:
            connection.close()

    def fill(self) -> str:
        """Make the customer, the package and the first site, unless they are there; the customer's identifier."""
        self.token = json.loads(self.command("token", "create", "--name", "demo", "--days", "30", "--json"))["secret"]
        self.until("the panel", lambda: self.call("GET", "/health/ready")[0] == 200 or None)
        self.until("the node", lambda: any(node["phase"] == "ready" for node in self.items("/api/v1/nodes")) or None)
        customers = [account for account in self.items("/api/v1/accounts") if account["kind"] == "customer"]
        if customers:
            return str(customers[0]["id"])
        _, package = self.created("/api/v1/packages", {"name": "Starter", "max_sites": 100})
        _, customer = self.created("/api/v1/accounts", {"name": "Example customer", "package_id": package["id"]})
        self.created("/api/v1/sites", {"domain": FIRST_SITE, "account_id": customer["id"]})
        return str(customer["id"])

    def items(self, path: str) -> list[Any]:
        """The items of the first page of a list."""
        status, page = self.call("GET", path)
        return page["items"] if status == 200 else []

    def created(self, path: str, body: Any) -> tuple[int, Any]:
        """Make something; ends the demo with the problem if it cannot be made."""
        status, answer = self.call("POST", path, body)
        if status not in (201, 202):
            raise SystemExit(f"POST {path} answered {status}: {json.dumps(answer)}")
        return status, answer

    def is_served(self, host: str) -> str | None:
        """The page of a site, once it answers."""
        status, page = self.visit(host)
        return page if status == 200 else None


def check(demo: Demo, customer: str) -> dict[str, Any]:
    """Make a second site, fetch it, delete it, and see that nothing of it is left; the times that this took."""
    begun = time.perf_counter()
    _, site = demo.created("/api/v1/sites", {"domain": SECOND_SITE, "account_id": customer})
    accepted = time.perf_counter()
    demo.until("the second site", lambda: demo.is_served(SECOND_SITE))
    served = time.perf_counter()
    demo.until("its phase", lambda: demo.call("GET", f"/api/v1/sites/{site['id']}")[1]["phase"] == "ready" or None)
    status, _ = demo.call("DELETE", f"/api/v1/sites/{site['id']}")
    deleted = time.perf_counter()
    demo.until("its deletion", lambda: demo.call("GET", f"/api/v1/sites/{site['id']}")[0] == 404 or None)
    gone = time.perf_counter()
    left = leftovers(demo, site["name"])
    if demo.visit(SECOND_SITE)[0] != 0:
        left.append("it is still served")
    if demo.visit(FIRST_SITE)[0] != 200:
        left.append("the first site is not served any more")
    return {
        "ok": status == 202 and not left,
        "left": left,
        "isolation": demo.items("/api/v1/nodes")[0]["isolation"],
        "accepted_ms": round((accepted - begun) * 1000, 1),
        "served_ms": round((served - begun) * 1000, 1),
        "deleted_ms": round((gone - deleted) * 1000, 1),
    }


def leftovers(demo: Demo, name: str) -> list[str]:
    """Whatever still bears the name of a site or of its domain: files, links, processes, accounts."""
    found = [
        str(path) for path in (demo.state / "platform").rglob("*") if name in path.name or SECOND_SITE in path.name
    ]
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if f"sites/{name}/".encode() in (folder / "cmdline").read_bytes():
                found.append(f"process {folder.name}")
        except OSError:
            continue
    accounts = Path("/var/lib/extrausers/passwd")
    if accounts.is_file() and any(line.startswith(f"{name}:") for line in accounts.read_text().splitlines()):
        found.append(f"account {name}")
    return found


def main() -> int:
    """Bring the platform up; stay until Ctrl-C, or check it and stop."""
    parser = argparse.ArgumentParser(
        prog="scripts/demo", description="Run the whole platform on this machine, with a first site."
    )
    parser.add_argument(
        "--state", type=Path, default=Path(".state/demo"), help="where everything is kept (default: .state/demo)"
    )
    parser.add_argument(
        "--port", type=int, default=8600, help="the panel's port; sites use the next one (default: 8600)"
    )
    parser.add_argument("--check", action="store_true", help="try everything on a second site, print one JSON line")
    options = parser.parse_args()
    demo = Demo(options.state.absolute(), options.port)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    demo.prepare()
    log_file = demo.state / "platform.log"
    with log_file.open("ab") if options.check else os.fdopen(os.dup(2), "wb") as log:
        demo.start(log)
        try:
            customer = demo.fill()
            demo.until("the first site", lambda: demo.is_served(FIRST_SITE))
            if options.check:
                result = check(demo, customer)
                print(json.dumps(result), flush=True)
                return 0 if result["ok"] else 1
            welcome(demo)
            signal.pause()
        except KeyboardInterrupt:
            pass
        finally:
            demo.stop()
    return 0


def welcome(demo: Demo) -> None:
    """Say where everything is."""
    link = demo.command("token", "sign-in-link", ADMINISTRATOR)
    separate = demo.items("/api/v1/nodes")[0]["isolation"] == "unix_user"
    warning = (
        ""
        if separate
        else (
            '\n  !! Sites are NOT kept apart: isolation = "none", because this does not run as root.\n'
            "  !! Everything runs as you. Fine for trying things out, never for strangers' sites.\n"
        )
    )
    print(
        f"\n  The panel      {demo.panel}\n"
        f"  Sign in once   {link}\n"
        f"  The first site http://{FIRST_SITE}:{demo.site_port}/\n"
        f"  The API        {demo.panel}/api/docs\n"
        f"  A token        {demo.token}\n"
        f"  The state      {demo.state}\n{warning}\n"
        "  Ctrl-C stops everything that was started.\n",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
