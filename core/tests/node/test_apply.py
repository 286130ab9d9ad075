"""A node makes the machine as declared, in one step or not at all."""

from __future__ import annotations

import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from hosthold.types.node import Isolation
from hosthold.types.resource import Account, Directory, File, Link, OrderAction, Probe, Repair, Service

from core.tests.node.numbers import FIRST


def _with(resources: list[Any], key: str, **changes: Any) -> list[Any]:
    return [item.model_copy(update=changes) if item.key.endswith(key) else item for item in resources]


def _conf(world: Any, number: int) -> Path:
    return Path(world.layout.site(f"s{number}")) / "service.conf"


def test_a_site_is_made_and_the_next_plan_is_empty(world: Any) -> None:
    outcome = world.apply(world.site(1))
    assert outcome.condition is None
    assert {change.action for change in outcome.changes} == {"create"}
    assert world.supervisor.services.keys() == {"run-s1"}
    home = Path(world.layout.home("s1"))
    assert (home / "public/index.php").read_text() == "<?php echo 1;"
    assert (home / "public/index.php").stat().st_uid == world.owner(1).uid
    assert home.stat().st_mode & 0o7777 == 0o2750
    assert Path(world.layout.hosts, "s1.example.com").readlink() == Path(world.layout.site("s1"))
    if world.isolation is Isolation.unix_user:
        assert (world.accounts / "passwd").read_text() == f"s1:x:{FIRST + 1}:{FIRST + 1}::{home}:/usr/sbin/nologin\n"
        assert (world.accounts / "shadow").stat().st_mode & 0o007 == 0
    again = world.handle(world.site(1), action=OrderAction.plan)
    assert again.outcomes[0].changes == ()
    assert world.apply(world.site(1)).changes == ()


def test_a_plan_shows_the_diff_and_changes_nothing(world: Any) -> None:
    world.apply(world.site(1))
    before = world.files()
    resources = _with(world.site_resources(1), "service.conf", content="name = s1\nlimit = 2\n")
    reply = world.handle(world.desired(f"site:{1:032x}", *resources), action=OrderAction.plan)
    (change,) = reply.outcomes[0].changes
    assert (change.action, change.is_drift) == ("update", False)
    assert "+limit = 2" in change.diff
    assert world.files() == before


def test_a_changed_file_is_replaced_and_its_service_told_once(world: Any) -> None:
    world.apply(world.site(1))
    world.supervisor.calls.clear()
    resources = _with(world.site_resources(1), "service.conf", content="changed\n")
    assert world.apply(world.desired(f"site:{1:032x}", *resources)).condition is None
    assert _conf(world, 1).read_text() == "changed\n"
    assert world.supervisor.calls == [("reload", "run-s1")]


def test_r38_a_removed_site_leaves_nothing_and_goes_from_the_outside_in(world: Any) -> None:
    empty = world.files()
    world.apply(world.site(1))
    Path(world.layout.home("s1"), "public", "upload.bin").write_bytes(b"x")
    world.supervisor.calls.clear()
    outcome = world.apply(world.no_site(1))
    assert outcome.condition is None
    assert world.files() == empty
    assert world.supervisor.calls == [("stop", "run-s1")]
    if world.isolation is Isolation.unix_user:
        assert (world.accounts / "passwd").read_text() == ""
    assert world.apply(world.no_site(1)).changes == ()


def test_what_is_lost_is_made_again_without_asking(world: Any) -> None:
    world.apply(world.site(1))
    before = world.files()
    _conf(world, 1).unlink()
    Path(world.layout.hosts, "s1.example.com").unlink()
    world.supervisor.services.clear()
    outcome = world.apply(world.site(1))
    assert outcome.condition is None
    assert {change.key.rpartition("/")[2] for change in outcome.changes} == {
        "service.conf",
        "s1.example.com",
        "service:run-s1",
    }
    assert world.files() == before


def test_r37_an_edit_by_hand_is_reported_with_its_diff_and_left_alone(world: Any) -> None:
    world.apply(world.site(1))
    _conf(world, 1).write_text("edited by hand\n")
    outcome = world.apply(world.site(1))
    assert outcome.condition is not None
    assert (outcome.condition.reason, outcome.condition.is_permanent) == ("Drifted", True)
    (change,) = outcome.changes
    assert change.is_drift
    assert "-edited by hand" in change.diff
    assert _conf(world, 1).read_text() == "edited by hand\n"
    assert world.apply(world.site(1, repair=Repair.all)).condition is None
    assert _conf(world, 1).read_text() == "name = s1\n"


def test_r37_a_changed_mode_is_drift(world: Any) -> None:
    world.apply(world.site(1))
    _conf(world, 1).chmod(0o666)
    outcome = world.apply(world.site(1))
    assert outcome.condition is not None
    assert outcome.condition.reason == "Drifted"


def test_r37_a_tenant_cannot_refuse_changes_by_the_mode_of_its_home(user_world: Any) -> None:
    world = user_world
    world.apply(world.site(1))
    home = Path(world.layout.home("s1"))
    home.chmod(0o777)
    suspended = world.desired(f"site:{1:032x}", *world.site_resources(1, service=False))
    assert world.apply(suspended).condition is None
    assert home.stat().st_mode & 0o7777 == 0o2750
    assert world.supervisor.services == {}
    os.chown(home, 0, 0)  # this only the machine's administrator can do
    condition = world.apply(suspended.model_copy(update={"fence": 99})).condition
    assert condition is not None
    assert condition.reason == "Drifted"


def test_edits_do_not_keep_a_site_from_being_removed(world: Any) -> None:
    world.apply(world.site(1))
    _conf(world, 1).write_text("edited by hand\n")
    assert world.apply(world.no_site(1)).condition is None
    assert not _conf(world, 1).exists()


def test_what_a_customer_does_in_the_home_is_never_compared(world: Any) -> None:
    world.apply(world.site(1))
    public = Path(world.layout.home("s1"), "public")
    (public / "index.php").unlink()
    public.chmod(0o700)
    assert world.apply(world.site(1)).changes == ()
    assert not (public / "index.php").exists()


def test_a_folder_of_the_home_that_is_no_longer_declared_keeps_the_customers_files(world: Any) -> None:
    world.apply(world.site(1))
    resources = [item for item in world.site_resources(1) if "/public" not in item.key]
    assert world.apply(world.desired(f"site:{1:032x}", *resources)).condition is None
    assert Path(world.layout.home("s1"), "public", "index.php").exists()


@pytest.mark.parametrize("kind", ["file", "directory", "link"])
def test_r39_what_is_not_ours_is_refused_with_an_explanation(world: Any, kind: str) -> None:
    path = Path(world.layout.hosts, "s1.example.com")
    match kind:
        case "file":
            path.write_text("mine")
        case "directory":
            path.mkdir()
        case "link":
            path.symlink_to("/etc")
    before = world.files()
    outcome = world.apply(world.site(1))
    assert outcome.condition is not None
    assert (outcome.condition.reason, outcome.condition.is_permanent) == ("PathTaken", True)
    assert str(path) in outcome.condition.message
    assert world.files() == before


def test_a_service_that_does_not_start_undoes_everything(world: Any) -> None:
    before = world.files()
    world.supervisor.refused.add("run-s1")
    outcome = world.apply(world.site(1))
    assert outcome.condition is not None
    assert outcome.condition.reason == "ServiceFailed"
    assert "it cannot start" in outcome.condition.message
    assert world.files() == before
    assert world.supervisor.services == {}
    world.supervisor.refused.clear()
    assert world.apply(world.site(1)).condition is None


def test_a_failed_change_leaves_the_former_state(world: Any) -> None:
    world.apply(world.site(1))
    before, services = world.files(), dict(world.supervisor.services)
    resources = _with(world.site_resources(1), "service.conf", content="changed\n", mode=0o600)
    resources = _with(resources, "s1.example.com", target=world.layout.site("s1").child("logs"))
    resources = [item for item in resources if item.key != f"path:{world.layout.logs('s1')}"]
    failing = Service(name="extra-s1", command=("/bin/sleep", "1"), owner=world.owner(1))
    world.supervisor.refused.add("extra-s1")
    outcome = world.apply(world.desired(f"site:{1:032x}", *resources, failing))
    assert outcome.condition is not None
    assert world.files() == before
    assert world.supervisor.services == services


def test_one_bad_site_fails_alone_and_the_others_are_applied(world: Any) -> None:
    world.supervisor.refused.add("run-s3")
    reply = world.handle(*(world.site(number) for number in range(1, 6)))
    failed = [outcome.subject for outcome in reply.outcomes if outcome.condition is not None]
    assert failed == [f"site:{3:032x}"]
    assert sorted(world.supervisor.services) == ["run-s1", "run-s2", "run-s4", "run-s5"]
    assert not _conf(world, 3).exists()
    assert all(_conf(world, number).exists() for number in (1, 2, 4, 5))


def test_r08_a_file_that_the_server_refuses_is_found_by_halving_the_batch(world: Any, tmp_path: Path) -> None:
    """The check says no without naming a site, as a server's own test may."""
    test = tmp_path / "check"
    test.write_text(
        "#!/usr/bin/python3\nimport glob, sys\n"
        f"bad = [p for p in glob.glob({str(world.layout.sites)!r} + '/*/service.conf') if 'BAD' in open(p).read()]\n"
        "sys.exit('2026/01/01 10:00:00 [emerg] 7#7: unknown directive BAD' if bad else 0)\n"
    )
    test.chmod(0o755)
    server = Service(name="server", command=("/bin/sleep", "1000"), owner=world.root, reload="HUP")
    world.own[server.key] = server
    world.checks["server"] = (str(test),)
    assert world.apply(world.node_subject()).condition is None
    world.supervisor.calls.clear()
    desired = []
    for number in range(1, 8):
        resources = _with(
            world.site_resources(number, service=False),
            "service.conf",
            notifies="server",
            content="BAD" if number == 5 else "good",
        )
        desired.append(world.desired(f"site:{number:032x}", *resources))
    reply = world.handle(*desired)
    (failed,) = [outcome for outcome in reply.outcomes if outcome.condition is not None]
    assert failed.subject == f"site:{5:032x}"
    assert failed.condition is not None
    assert failed.condition.reason == "CheckFailed"
    assert failed.condition.message.endswith("unknown directive BAD")
    assert [_conf(world, number).exists() for number in range(1, 8)] == [True] * 4 + [False] + [True] * 2
    assert len([call for call in world.supervisor.calls if call == ("reload", "server")]) <= 4


def test_a_site_that_does_not_answer_is_undone(world: Any) -> None:
    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.headers["Host"] == "s2.example.com" else 502)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        world.agent.stop()
        world.port = server.server_port
        world.__post_init__()
        world.fence = 100
        world.agent.start()
        probes = [Probe(host=f"s{number}.example.com", path="/", status=(200,)) for number in (1, 2)]
        reply = world.handle(world.site(1, probes=(probes[0],)), world.site(2, probes=(probes[1],)))
    finally:
        server.shutdown()
        server.server_close()
    condition = reply.outcomes[0].condition
    assert condition is not None
    assert condition.reason == "ProbeFailed"
    assert "502" in condition.message
    assert reply.outcomes[1].condition is None
    assert not _conf(world, 1).exists()
    assert _conf(world, 2).exists()


def test_s65_the_number_of_a_removed_account_is_never_given_out_again(user_world: Any) -> None:
    world = user_world
    world.apply(world.site(1))
    arguments = ["setpriv", f"--reuid={FIRST + 1}", f"--regid={FIRST + 1}", "--clear-groups", "/bin/sleep", "1000"]
    child = os.posix_spawn("/usr/bin/setpriv", arguments, {})
    world.apply(world.no_site(1))
    assert os.waitpid(child, os.WNOHANG)[0] == child, "it has ended"
    outcome = world.apply(world.site(1))
    assert outcome.condition is not None
    assert (outcome.condition.reason, outcome.condition.is_permanent) == ("UidRetired", True)


def test_lines_of_others_in_the_account_files_stay(user_world: Any) -> None:
    world = user_world
    world.apply(world.site(1))
    with (world.accounts / "passwd").open("a") as file:
        file.write("other:x:60123:60123::/home/other:/bin/sh\ntorn")
    world.apply(world.site(2))
    world.apply(world.no_site(1))
    lines = (world.accounts / "passwd").read_text().splitlines()
    assert [line.split(":")[0] for line in lines] == ["other", "torn", "s2"]


def test_an_edited_account_line_is_drift(user_world: Any) -> None:
    world = user_world
    world.apply(world.site(1))
    passwd = world.accounts / "passwd"
    passwd.write_text(passwd.read_text().replace("/usr/sbin/nologin", "/bin/bash"))
    outcome = world.apply(world.site(1))
    assert outcome.condition is not None
    assert outcome.condition.reason == "Drifted"
    assert world.apply(world.site(1, repair=Repair.all)).condition is None
    assert "nologin" in passwd.read_text()


def test_r31_what_a_reboot_takes_is_brought_back_before_services_start(world: Any) -> None:
    Path(world.layout.sockets).rmdir()
    world.restart_agent()
    assert Path(world.layout.sockets).is_dir()


def test_restart_replaces_the_processes_of_the_subject_only(world: Any) -> None:
    world.apply(world.site(1))
    world.apply(world.site(2))
    world.supervisor.calls.clear()
    reply = world.handle(world.no_site(1), action=OrderAction.restart)
    assert reply.outcomes[0].condition is None
    assert world.supervisor.calls == [("restart", "run-s1")]


def test_inspect_reports_runtimes_and_free_space(world: Any) -> None:
    facts = world.handle(action=OrderAction.inspect).facts
    assert facts["php"] == ("8.2",)
    assert int(facts["disk_free_bytes"][0]) > 0


def test_the_database_is_readable_by_the_node_alone(world: Any) -> None:
    for path in Path(world.layout.state).glob("node.db*"):
        assert path.stat().st_mode & 0o077 == 0


def test_the_vocabulary_of_the_test_site_is_the_whole_one(user_world: Any) -> None:
    kinds = {type(item) for item in user_world.site_resources(1)}
    assert kinds == {Account, Directory, File, Link, Service}
