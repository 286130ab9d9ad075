"""Declaring sites: names, quotas, who may see and change what."""

from __future__ import annotations

import threading
import time
from typing import Any

import idna
import pytest
from hosthold.errors import Conflict, InvalidInput, NotFound, PreconditionFailed, Rejected
from hosthold.nodes.models import NodeRow
from hosthold.nodes.service import register
from hosthold.settings import NameSettings, Settings, WebSettings
from hosthold.sites import listing, service
from hosthold.sites.models import DomainNameRow
from hosthold.sites.names import DomainTaken, reservation
from hosthold.sites.schema import SiteChange, SiteDraft, SiteView
from hosthold.types.actor import Actor
from hosthold.types.node import Node
from hosthold.types.text import Domain
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from conftest import RecordingBell
from core.tests.sites.conftest import World


def declare(world: World, actor: Actor, domain: str, **more: Any) -> SiteView:
    with world.database.write() as uow:
        return SiteView.of(service.declare(uow, actor, SiteDraft.model_validate({"domain": domain, **more})))


def test_a_declared_site_is_pending_and_the_worker_is_rung(world: World, bell: RecordingBell) -> None:
    site = declare(world, world.alice, "alice.test", aliases=["www.alice.test"])
    assert (site.phase, site.generation, site.runtime.version) == ("pending", 1, "8.2")
    assert ("site", site.id) in bell.rung
    with world.database.read() as uow:
        assert SiteView.of(service.get(uow, world.alice, site.id)) == site


def test_unix_numbers_differ_and_are_never_given_out_again(world: World) -> None:
    first = declare(world, world.alice, "one.test")
    with world.database.write() as uow:
        row = service.get(uow, world.alice, first.id)
        first_uid = row.uid
        for name in row.domains:
            uow.session.delete(uow.session.get_one(DomainNameRow, name))
        uow.session.flush()
        uow.session.delete(row)
    second = declare(world, world.alice, "one.test")
    with world.database.read() as uow:
        assert service.get(uow, world.alice, second.id).uid == first_uid + 1


@pytest.mark.parametrize("bad", ["taken.test", "www.taken.test", "TAKEN.test.", "sub.taken.test", "x.y.taken.test"])
def test_s60_names_of_others_and_names_below_them_are_refused(world: World, bad: str) -> None:
    declare(world, world.alice, "taken.test", aliases=["www.taken.test"])
    with pytest.raises(DomainTaken) as caught:
        declare(world, world.bob, bad)
    assert caught.value.errors[0].pointer == "/domain"


def test_s60_a_name_above_a_name_of_another_account_is_refused(world: World) -> None:
    declare(world, world.alice, "deep.below.test")
    with pytest.raises(Conflict):
        declare(world, world.bob, "below.test")
    with pytest.raises(Conflict):
        declare(world, world.bob, "free.test", aliases=["below.test"])


def test_s60_an_account_may_have_names_below_its_own(world: World) -> None:
    declare(world, world.alice, "alice.test")
    assert declare(world, world.alice, "shop.alice.test").domain == "shop.alice.test"


def test_s60_of_two_that_take_a_name_at_once_one_gets_it(world: World) -> None:
    results: list[str] = []

    def take(actor: Actor) -> None:
        try:
            declare(world, actor, "race.test")
            results.append("taken")
        except Conflict:
            results.append("refused")

    threads = [threading.Thread(target=take, args=(actor,)) for actor in (world.alice, world.bob) * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == ["refused", "refused", "refused", "taken"]


@pytest.mark.parametrize(
    "bad", ["co.uk", "github.io", "foo.internal", "a.onion", "x.local", "wpad.alice.com", "localhost.", "example.com"]
)
def test_s61_reserved_names_and_public_suffixes_are_refused(world: World, bad: str) -> None:
    with pytest.raises((InvalidInput, ValidationError)):
        declare(world, world.alice, bad)


@pytest.mark.parametrize("bad", ["panel.hosting.net", "evil.panel.hosting.net", "own.hosting.org", "a.own.hosting.org"])
def test_s61_the_platforms_own_names_are_refused(settings: Settings, bad: str) -> None:
    own = settings.model_copy(
        update={
            "web": WebSettings(public_url="https://Panel.hosting.net:8443"),
            "names": NameSettings(reserved=("own.hosting.org",)),
        }
    )
    assert "belongs to the platform" in (reservation(Domain(bad), own) or "")
    assert reservation(Domain("hosting.net"), own) is None


@pytest.mark.parametrize(
    "bad",
    [
        "127.0.0.1",
        "１２７.0.0.1",
        "a..b",
        "*.a.com",
        "_x.com",
        "a.com:80",
        "a b.com",
        "x" * 64 + ".com",
        "a." * 130 + "com",
    ],
)
def test_s59_what_is_no_domain_is_refused_at_the_border(bad: str) -> None:
    with pytest.raises(ValidationError):
        SiteDraft.model_validate({"domain": bad})


@pytest.mark.parametrize("typed", ["http://alice.com", "my_shop.com", "alice..com", "-a.com", "bücher_.de.x_"])
def test_what_is_wrong_with_a_domain_is_said_in_plain_words(typed: str) -> None:
    with pytest.raises(ValidationError, match="parts are 1 to 63 letters, digits and inner hyphens"):
        SiteDraft.model_validate({"domain": typed})


@pytest.mark.parametrize("twin", ["ALICE.com", "alice.com.", "alice。com", "ａlice.com"])
def test_s59_twins_of_a_name_are_one_name(twin: str) -> None:
    assert SiteDraft.model_validate({"domain": twin}).domain == "alice.com"


@given(st.from_regex(r"([a-z0-9-]{1,5}\.|xn--[a-z0-9]{1,5}\.|[a-z]{60,66}\.){1,5}[a-z0-9-]{1,4}", fullmatch=True))
def test_s59_a_name_is_taken_as_it_is_only_if_idna_changes_nothing_of_it(name: str) -> None:
    try:
        expected = idna.encode(name, uts46=True, std3_rules=True).decode()
    except idna.IDNAError:
        expected = ""
    if not expected or expected.rpartition(".")[2].isdigit():
        with pytest.raises(ValueError, match=r".+"):
            Domain(name)
    else:
        assert Domain(name) == expected


def test_the_package_limits_how_many_sites_there_are(world: World) -> None:
    for number in range(3):
        declare(world, world.alice, f"n{number}.test")
    with pytest.raises(Rejected, match="room for 3 sites"):
        declare(world, world.alice, "n3.test")


def test_a_version_that_the_node_lacks_is_refused_with_those_it_has(world: World) -> None:
    with pytest.raises(InvalidInput) as caught:
        declare(world, world.alice, "old.test", runtime={"driver": "php", "version": "5.6"})
    assert caught.value.errors[0].pointer == "/runtime/version"
    assert "8.2" in caught.value.hint


def test_s25_a_setting_outside_the_allow_list_is_refused(world: World) -> None:
    with pytest.raises(InvalidInput) as caught:
        declare(
            world, world.alice, "ini.test", runtime={"driver": "php", "settings": {"auto_prepend_file": "/etc/passwd"}}
        )
    assert caught.value.errors[0].pointer == "/runtime/settings/auto_prepend_file"


def test_s29_a_foreign_site_looks_as_if_it_did_not_exist(world: World) -> None:
    site = declare(world, world.alice, "alice.test")
    with world.database.write() as uow:
        for act in (service.get, service.suspend, service.resume, service.retry):
            with pytest.raises(NotFound, match=r"no such site\."):
                act(uow, world.bob, site.id)
        with pytest.raises(NotFound):
            service.delete(uow, world.bob, site.id, None)
        assert service.get(uow, world.provider, site.id).id == site.id


def test_an_edit_of_an_old_reading_is_refused(world: World) -> None:
    site = declare(world, world.alice, "alice.test")
    with world.database.write() as uow:
        service.change(uow, world.alice, site.id, SiteChange.model_validate({"document_root": "web"}), 1)
    with pytest.raises(PreconditionFailed), world.database.write() as uow:
        service.change(uow, world.alice, site.id, SiteChange.model_validate({"document_root": "other"}), 1)


def test_of_two_changes_at_once_the_second_sees_the_first(world: World) -> None:
    site = declare(world, world.alice, "alice.test")
    is_changed = threading.Event()

    def suspend_slowly() -> None:
        with world.database.write() as uow:
            service.suspend(uow, world.alice, site.id)
            is_changed.set()
            time.sleep(0.2)

    first = threading.Thread(target=suspend_slowly)
    first.start()
    assert is_changed.wait(10)
    wanted = SiteChange.model_validate({"document_root": "web"})
    with pytest.raises(PreconditionFailed), world.database.write() as uow:
        service.change(uow, world.alice, site.id, wanted, 1)
    first.join()
    with world.database.write() as uow:
        row = service.change(uow, world.alice, site.id, wanted, 2)
        assert (row.generation, row.is_suspended, row.document_root) == (3, True, "web")


def test_a_change_frees_the_names_it_drops_and_takes_the_new_ones(world: World) -> None:
    site = declare(world, world.alice, "alice.test", aliases=["www.alice.test"])
    with world.database.write() as uow:
        row = service.change(
            uow, world.alice, site.id, SiteChange.model_validate({"aliases": ["shop.alice.test"]}), None
        )
        assert (row.generation, row.phase, row.domains) == (2, "pending", ["alice.test", "shop.alice.test"])
    with pytest.raises(Conflict):
        declare(world, world.alice, "shop.alice.test")
    assert declare(world, world.alice, "www.alice.test").phase == "pending"


def test_a_name_that_is_given_up_can_be_taken_in_the_same_transaction(world: World) -> None:
    site = declare(world, world.alice, "alice.test", aliases=["www.alice.test"])
    with world.database.write() as uow:
        service.change(uow, world.alice, site.id, SiteChange.model_validate({"aliases": []}), None)
        row = service.declare(uow, world.alice, SiteDraft.model_validate({"domain": "www.alice.test"}))
        assert row.domains == ["www.alice.test"]


def test_a_change_that_changes_nothing_leaves_the_generation(world: World) -> None:
    site = declare(world, world.alice, "alice.test")
    with world.database.write() as uow:
        assert (
            service.change(
                uow, world.alice, site.id, SiteChange.model_validate({"document_root": "public"}), None
            ).generation
            == 1
        )
        assert service.resume(uow, world.alice, site.id).generation == 1


def test_a_site_that_is_being_deleted_cannot_be_changed_and_keeps_its_name(world: World) -> None:
    site = declare(world, world.alice, "alice.test")
    with world.database.write() as uow:
        assert service.delete(uow, world.alice, site.id, None).phase == "deleting"
        assert service.delete(uow, world.alice, site.id, None).generation == 2
    with pytest.raises(NotFound), world.database.write() as uow:
        service.suspend(uow, world.alice, site.id)
    with pytest.raises(Conflict):
        declare(world, world.alice, "alice.test")


def test_pages_follow_each_other_without_gaps_or_repeats(world: World) -> None:
    made = {
        declare(world, actor, f"{name}{number}.test").id
        for name, actor in (("a", world.alice), ("b", world.bob))
        for number in range(3)
    }
    seen: list[str] = []
    cursor = None
    while True:
        with world.database.read() as uow:
            rows, cursor = listing.page(uow, world.provider, 4, cursor)
            seen += [row.id for row in rows]
        if cursor is None:
            break
    assert len(seen) == 6
    assert set(seen) == made
    with world.database.read() as uow:
        assert len(listing.page(uow, world.alice, 50, None)[0]) == 3


def test_a_site_goes_to_the_node_with_the_fewest_sites_that_has_its_runtime(world: World, node: Node) -> None:
    first = declare(world, world.alice, "first.test")
    with world.database.write() as uow:
        for name, facts in (("emptier", {"php": ["8.2"]}), ("other", {"python": ["3.11"]})):
            register(uow, node.model_copy(update={"name": name}), uid_first=200_000).facts = facts
    second = declare(world, world.alice, "second.test")
    with world.database.read() as uow:
        names = [
            uow.session.get_one(NodeRow, service.get(uow, world.alice, site.id).node_id).name
            for site in (first, second)
        ]
    assert names == ["local", "emptier"]
