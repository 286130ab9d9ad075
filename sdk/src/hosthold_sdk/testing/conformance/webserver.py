"""What every web-server driver must do, as tests on a real node: an author's test class names the driver.

```python
class TestNginx(WebServerConformance):
    driver_class = NginxWebServer
```
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest
from hosthold.node.logs import JsonLines
from hosthold.node.probe import run_check
from hosthold.node.program import ProcessSettings
from hosthold.node.supervisor import ProcessSupervisor
from hosthold.types.resource import LogName, OrderAction

from hosthold_sdk import DriverError, Header, Isolation, Redirect, RelativePath, Site, UrlPath, WebOptions
from hosthold_sdk.testing.conformance.rendering import WebServerRendering
from hosthold_sdk.testing.effects import failing
from hosthold_sdk.testing.fakes.runtime import FakeRuntime, FakeRuntimeSettings
from hosthold_sdk.testing.machine import Answer, Machine, folder_for_all
from hosthold_sdk.testing.program import until

ISOLATIONS = [Isolation.unix_user, Isolation.none] if os.geteuid() == 0 else [Isolation.none]
NOBODYS = (
    "nobody.example", "site.example", "127.0.0.1", "[::1]", "localhost", "_", "*", "a.site", ".a.example",
    "SUSPENDED.a.example", "SUSPENDED.paused.example", ".paused.example", "x" * 200,
)  # fmt: skip
"""Names that no site has, though one may have a part of them."""
UNUSABLE = ("", ".", "..", "../a.example", "a.example/../a.example", "a.example/..", "a.example b", "/etc", "[::]")
"""What is no name at all."""
STATUSES = {
    "redirects": 308, "prefix redirects": 301, "headers": 200, "basic_auth": 401, "rules": 403, "proxies": 502
}  # fmt: skip
"""What the options of `EACH_OPTION` are answered with; of the proxied program there is no socket."""
REFUSED = (0, 400, 404, 421)
"""Closed without a word, or said that there is no such site (RFC 9110, sections 15.5.1, 15.5.5 and 15.5.20)."""
HEADERS = (
    Header(name="Content-Security-Policy", value="default-src 'self'; img-src * data:; report-uri /r?a=1&b=%20#c"),
    Header(name="X-Signs", value="!#%&'()*+,-./:;<=>?@[]^_`|~"),
    Header(name="x-lower", value="a  b"),
)


class WebServerConformance(WebServerRendering):
    """Rendering, and the behaviour of the server on a node. Below root each test runs with and without Unix users."""

    @pytest.fixture(scope="class", params=ISOLATIONS)
    @classmethod
    def running(cls, request: pytest.FixtureRequest) -> Iterator[Machine]:
        """A machine whose web server is up, for all tests of the class."""
        runtime, supervisor = FakeRuntime(FakeRuntimeSettings()), ProcessSupervisor(ProcessSettings())
        driver = cls().make()
        driver.check()
        with folder_for_all() as folder:
            machine = Machine(driver, runtime, supervisor, request.param, folder)
            try:
                machine.start()
                yield machine
            finally:
                machine.close()

    @pytest.fixture
    def machine(self, running: Machine) -> Iterator[Machine]:
        """The machine without a site; those that a test leaves are removed after it."""
        yield running
        running.remove(*running.sites.values())

    def test_the_servers_own_test_accepts_what_is_written(self, machine: Machine) -> None:
        """The check command guards every reload: it must pass for good configurations, of all options together."""
        machine.apply(
            *(machine.site(f"o{number}.example", web=web) for number, web in enumerate(self.supported().values()))
        )
        run_check("the server", self.make().check_command(machine.node))  # raises the server's own words

    def test_a_plan_changes_nothing(self, machine: Machine) -> None:
        """People look at a plan before they decide."""
        site, before, serving = machine.site("a.example"), machine.files(), processes(machine)
        assert machine.plan(site), "a new site has changes to show"
        assert machine.files() == before
        assert processes(machine) == serving
        assert machine.get("a.example").status in REFUSED

    def test_what_was_applied_needs_no_change(self, machine: Machine) -> None:
        """After an apply the plan is empty, also for an agent that starts afresh, and a second apply does nothing."""
        sites = [machine.site("a.example", "www.a.example"), machine.site("b.example", is_suspended=True)]
        sites += [machine.site(f"o{number}.example", web=web) for number, web in enumerate(self.supported().values())]
        for site in sites:  # one by one: of many, some would still be tried, and sent to sleep, when the agents change
            assert machine.apply(site)
        for moment in ("at once", "for a fresh agent"):
            assert machine.plan(*sites) == (), f"{moment}, what was just written differs from what is declared"
            assert machine.plan_node() == (), f"{moment}, the node itself differs from what is declared"
            machine.restart()
        before = machine.files()
        assert (machine.apply(*sites), machine.apply_node()) == ((), ()), "applying twice must be harmless"
        assert machine.files() == before
        assert machine.get("www.a.example").status == 200, "sites are served on while an agent follows another"

    def test_a_deleted_site_is_gone_at_once_and_leaves_nothing(self, machine: Machine) -> None:
        """Neither a page nor a path stays; deleting what is deleted is no error."""
        empty = machine.files()
        sites = [
            machine.site("a.example"),
            *(machine.site("o.example", web=web) for web in [*self.supported().values()][:1]),
        ]
        machine.apply(*sites)
        assert machine.get("a.example").status == 200
        assert machine.remove(*sites)
        assert [machine.get(site.domains[0]).status in REFUSED for site in sites] == [True] * len(sites)
        assert machine.files() == empty, "something of the deleted site was left, or something else went with it"
        assert machine.remove(*sites) == (), "there is nothing left to do"

    def test_others_survive_a_deletion(self, machine: Machine) -> None:
        """What bears no mark of ours is never touched; a neighbour never notices."""
        gone, stays = machine.site("gone.example"), machine.site("stays.example")
        machine.apply(gone, stays)
        layout = machine.node.layout
        foreign = [Path(folder, "of-somebody-else") for folder in (layout.hosts, layout.sites, layout.state)]
        for path in foreign:
            path.write_text("mine")
        try:
            machine.remove(gone)
            assert [path.read_text() for path in foreign] == ["mine"] * len(foreign)
            assert machine.get("stays.example").status == 200
            assert machine.plan(stays) == ()
        finally:
            for path in foreign:
                path.unlink()

    def test_a_standard_site_comes_and_goes_without_a_reload(self, machine: Machine) -> None:
        """The same processes serve before and after: nothing was restarted, no worker replaced."""
        before = processes(machine)
        site = machine.site("a.example")
        machine.apply(site)
        assert machine.get("a.example").status == 200
        machine.apply(site.model_copy(update={"is_suspended": True}))
        machine.remove(site)
        assert processes(machine) == before, "other processes listen now: the server was reloaded for a standard site"

    def test_each_site_answers_on_its_own_names_as_its_own_user(self, machine: Machine) -> None:
        """A name leads to one site, its files and its program, however the name is spelt."""
        sites = [machine.site("a.example", "www.a.example"), machine.site("b.example")]
        machine.apply(*sites)
        for site in sites:
            machine.write(site, "own.txt", f"of {site.name}")
            uid = machine.node.owner_of(site.uid).uid
            for domain in site.domains:
                for host in (domain, domain.upper(), f"{domain}.", f"{domain}:{machine.node.listen.port}"):
                    answer = machine.get(host, "/some/page?q=1")
                    assert answer.status == 200, f"{host} is not served: {answer}"
                    assert f'"uid": {uid},' in answer.text, f"{host} is answered by another site's program"
                    assert f'"DOCUMENT_ROOT": "{machine.public(site)}"' in answer.text
                    assert '"REQUEST_URI": "/some/page?q=1"' in answer.text
                    assert machine.get(host, "/own.txt").text == f"of {site.name}"

    @pytest.mark.parametrize("path", ["/", "/own.txt", "/index.php", "/.well-known/hosthold-ping"])
    def test_s61_a_name_without_a_site_reaches_none(self, machine: Machine, path: str) -> None:
        """Neither unknown nor crafted names are answered by somebody's site, the first one least of all."""
        site, paused = machine.site("a.example", "b.site.example"), machine.site("paused.example", is_suspended=True)
        machine.apply(site, paused)
        machine.write(site, "own.txt", "canary")
        for host in (*NOBODYS, *UNUSABLE, None):
            for method in ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "FOO"):
                answer = machine.get(host, path, method=method)
                assert answer.status in (*REFUSED, 405, 501), f"{method} {host!r} was answered: {answer}"
                assert "canary" not in answer.text
                assert '"uid"' not in answer.text, f"{host!r} reached a site's program"

    def test_a_suspended_site_says_so_and_comes_back(self, machine: Machine) -> None:
        """503 for whatever is asked (RFC 9110, section 15.6.4), and nothing of the site behind it."""
        site = machine.site("a.example", "www.a.example")
        machine.apply(site)
        machine.write(site, "own.txt", "canary")
        machine.apply(site.model_copy(update={"is_suspended": True}))
        for host in site.domains:
            for path in ("/", "/own.txt", "/index.php", "/missing", "/.env"):
                for method in ("GET", "POST"):
                    answer = machine.get(host, path, method=method)
                    assert answer.status == 503, f"{method} {host}{path} of a suspended site: {answer}"
                    assert "canary" not in answer.text
        machine.apply(site)
        assert (machine.get("a.example").status, machine.get("a.example", "/own.txt").text) == (200, "canary")

    def test_files_are_sent_and_what_is_none_goes_to_the_program(self, machine: Machine) -> None:
        """Source code, hidden files, and what lies behind another's link are sent to nobody."""
        site, other = machine.site("a.example"), machine.site("b.example")
        machine.apply(site, other)
        machine.write(site, "style.css", "body {}")
        answer = machine.get("a.example", "/style.css")
        assert (answer.text, answer.headers["Content-Type"].partition(";")[0]) == ("body {}", "text/css")
        assert "page" in machine.get("a.example", "/page").text
        for name in ("one.PHP", "two.phtml", ".env", ".htaccess"):
            machine.write(site, name, "canary")
            assert "canary" not in machine.get("a.example", f"/{name}").text, f"the source of {name} was sent"
        if machine.node.isolation is Isolation.unix_user:
            machine.write(other, "secret.txt", "canary")
            for name, target in (("file.txt", machine.public(other, "secret.txt")), ("folder", machine.public(other))):
                link = machine.public(site, name)
                link.symlink_to(target)
                os.chown(link, site.uid, site.uid, follow_symlinks=False)
            for path in ("/file.txt", "/folder/secret.txt"):
                assert "canary" not in machine.get("a.example", path).text, f"S-19: {path} led to a neighbour's file"

    def test_s63_challenges_are_answered_by_the_platform(self, machine: Machine) -> None:
        """For every name, also one whose site is not there yet; a customer cannot answer for a name."""
        site = machine.site("a.example")
        machine.apply(site)
        for host in ("a.example", "pending.example"):
            folder = Path(machine.node.layout.challenges.child(host))
            folder.mkdir(mode=0o755)
            (folder / "token").write_text("of the platform")
            answer = machine.get(host, "/.well-known/acme-challenge/token")
            assert answer.text == "of the platform", f"the challenge of {host}: {answer}"
            (folder / "token").unlink()
            folder.rmdir()
        assert '"uid"' not in machine.get("a.example", "/.well-known/acme-challenge/token").text

    def test_options_have_their_effect_and_leave_neighbours_alone(self, machine: Machine) -> None:
        """What was set is what visitors get; a site beside it is served as before."""
        domains = {kind: f"{kind.replace('_', '-').replace(' ', '-')}.example" for kind in self.supported()}
        sites = {kind: machine.site(domains[kind], web=web) for kind, web in self.supported().items()}
        plain = machine.site("plain.example")
        machine.apply(plain, *sites.values())
        paths = {"redirects": "/old", "prefix redirects": "/old/x", "rules": "/private", "proxies": "/app"}
        expected = {kind: status for kind, status in STATUSES.items() if kind in domains}

        def ask(kind: str) -> Answer:
            return machine.get(domains[kind], paths.get(kind, "/"))

        statuses = "an option does not have its effect, or not on the path that it names"
        eventually(lambda: {kind: ask(kind).status for kind in domains}, expected, statuses)
        for kind in domains:
            unset = machine.get("plain.example", paths.get(kind, "/"))
            assert unset.status == 200, f"a site without {kind} answers as ever"
            assert "X-Frame-Options" not in unset.headers
        said = {kind: ask(kind) for kind in domains}
        if "redirects" in said:
            assert said["redirects"].headers["Location"] == "https://example.org/new?x=1"
        if "headers" in said:
            assert said["headers"].headers["X-Frame-Options"] == "DENY"
        machine.apply(*(site.model_copy(update={"web": WebOptions()}) for site in sites.values()))
        statuses = "options that were taken back have their effect still"
        eventually(
            lambda: {machine.get(domains[kind], paths.get(kind, "/")).status for kind in domains}, {200}, statuses
        )

    @pytest.mark.parametrize(
        "changes",
        [
            {
                "domains": (
                    "xn--bcher-kva.example",
                    "1-2.example",
                    f"{'a' * 40}.{'b' * 40}.example",
                    "suspended.example",
                )
            },
            {"document_root": RelativePath("a@b:c+d~e,f=g/_h")},
            {"web": WebOptions(headers=HEADERS)},
            {"web": WebOptions(redirects=(Redirect(path=UrlPath("/a.php"), to="/~x+y@z,=?a=%2e%2e&b=1"),))},
        ],
        ids=["domains", "document root", "headers", "redirect"],
    )
    def test_s21_s22_strange_values_arrive_as_they_are(self, machine: Machine, changes: dict[str, object]) -> None:
        """Everything that the types accept is either served so, or refused with nothing changed."""
        site, beside = machine.site("strange.example").model_copy(update=changes), machine.site("beside.example")
        site, before = Site.model_validate(site.model_dump()), machine.files()
        try:
            machine.desired(site)
        except DriverError:
            assert machine.files() == before
            return
        machine.apply(site, beside)
        assert machine.plan(site, beside) == ()
        wanted = {one.name: one.value for one in site.web.headers}
        targets = [str(redirect.to) for redirect in site.web.redirects]

        def arrived() -> tuple[dict[str, str | None], list[str | None]]:
            got = machine.get(site.domains[0], "/page").headers
            headers = {name.lower(): value for name, value in got.items()}  # no name has a case (RFC 9110, section 5.1)
            answers = [machine.get(site.domains[0], redirect.path) for redirect in site.web.redirects]
            return {name: headers.get(name.lower()) for name in wanted}, [
                one.headers.get("Location") for one in answers
            ]

        eventually(arrived, (wanted, targets), "headers and targets of redirects arrive as they were set")
        for domain in site.domains:
            answer = machine.get(domain, "/page")
            assert f'"DOCUMENT_ROOT": "{machine.public(site)}"' in answer.text, f"{domain}: {answer}"
        assert "X-Signs" not in machine.get("beside.example", "/page").headers

    def test_requests_are_logged_with_the_name_first(self, machine: Machine) -> None:
        """One log for all sites: the name that was asked for, then the combined format; no visitor forges a line."""
        site = machine.site("logged.example")
        machine.apply(site)
        machine.get(
            "Logged.example", '/what?x=1"', headers={"User-Agent": 'a "quoted" b.example 127.0.0.1', "Referer": "x"}
        )
        machine.get("nobody.example", "/unheard")
        access, errors = map(Path, self.make().logs(machine.node))
        until(lambda: "/what" in access.read_text("latin-1"))
        assert errors.exists(), "the log of errors is there from the start"
        lines = access.read_text("latin-1").splitlines()
        (line,) = [line for line in lines if "/what" in line]
        if self.driver_class.log_fields is not None:
            read = JsonLines(self.driver_class.log_fields.model_dump()).request(line.encode("latin-1"))
            assert read is not None, f"not an object with a name where `log_fields` says: {line}"
            line = b" ".join(read).decode("latin-1")
        combined = r'logged\.example 127\.0\.0\.1 - - \[[^\]]+\] "GET /what\?x=1[^"]* HTTP/1\.1" 200 \d+ "x" "a [^"]*"'
        assert re.fullmatch(combined, line), f"not `HOST ` and the combined format: {line}"
        assert not [line for line in lines if "/unheard" in line and not line.startswith("nobody.example ")]
        if machine.node.root.uid == os.geteuid():
            until(lambda: any("/what" in line for line in machine.log(site, LogName.access)))

    @pytest.mark.parametrize("running", ISOLATIONS[:1], indirect=True)
    def test_a_failure_of_any_call_leaves_a_way_to_the_declared_state(self, machine: Machine) -> None:
        """For every k: the k-th change that an apply makes fails, as on a broken disk; the next apply converges.

        So does a deletion whose k-th change fails. A driver breaks this by resources that stand in their own way.
        """
        web = next(iter(self.supported().values()), WebOptions())
        undisturbed = machine.site("k.example", "www.k.example", web=web)
        empty = machine.files()
        machine.apply(undisturbed)
        wanted = shape(machine, undisturbed)
        machine.remove(undisturbed)
        for k in count(1):
            site = machine.site("k.example", "www.k.example", web=web)
            declared = machine.desired(site)
            with failing(k) as failure:
                reply = machine.order(OrderAction.apply, declared)
            if not failure.has_happened:
                machine.remove(site)
                break
            failed = reply.condition or reply.outcomes[0].condition
            if failed is not None:
                assert machine.files() == empty, f"change {k} failed, and not all was undone: {failed.message}"
            machine.apply(site)
            assert shape(machine, site) == wanted, f"another state than undisturbed, after change {k} failed: {failed}"
            with failing(k):
                machine.order(OrderAction.apply, machine.gone(site))
            machine.remove(site)
            assert machine.files() == empty, f"something is left of a deletion whose change {k} failed once"
        assert k > 10, "an apply makes more changes than that: none was disturbed"


def shape(machine: Machine, site: Site) -> dict[str, tuple[object, ...]]:
    """All files, as they would be if the site had any other name and number."""
    found: dict[str, tuple[object, ...]] = {}
    for path, (mode, uid, gid, body) in machine.files().items():
        owner = ["SITE" if number == site.uid else number for number in (uid, gid)]
        text = body.replace(site.name, "SITE").replace(str(site.uid), "UID")
        found[path.replace(site.name, "SITE")] = (mode, *owner, text)
    return found


def processes(machine: Machine) -> frozenset[int]:
    """Those that listen, once they stay the same: those that an earlier reload replaced may take their time to go."""
    found = machine.listening()
    while (later := _later(machine)) != found:
        found = later
    assert found, f"nobody listens on port {machine.node.listen.port}"
    return found


def _later(machine: Machine) -> frozenset[int]:
    time.sleep(0.1)
    return machine.listening()


def eventually(look: Callable[[], object], expected: object, why: str) -> None:
    """Until what is seen is what is expected, ten times in a row, for some seconds.

    While a server reloads, processes that know the change and those that do not may answer by turns.
    """
    deadline, in_a_row = time.monotonic() + 10, 0
    while in_a_row < 10:
        seen = look()
        in_a_row = in_a_row + 1 if seen == expected else 0
        if time.monotonic() > deadline:
            assert seen == expected, why
        time.sleep(0.01)
