"""The pages of sites: what they show to whom, and what their forms do."""

from __future__ import annotations

import pytest
from hosthold.nodes.models import NodeRow
from hosthold.sites.models import SiteRow
from hosthold.work.models import OperationRow

from core.tests.panel.company import Company


def test_the_empty_list_teaches_and_offers_one_thing_to_do(company: Company) -> None:
    page = company.visitor().see("/sites")
    assert "Put your first site online" in page.text
    assert "/sites/new" in page.links()


def test_a_site_is_declared_through_the_form(company: Company) -> None:
    visitor = company.visitor()
    form = {
        "account_id": company.customer_id,
        "domain": "Lindqvist.SE.",
        "aliases": "www.lindqvist.se\nfoto.lindqvist.se",
    }
    created = visitor.fill("/sites/new", **form, runtime="php 8.2", php__memory_limit="64M", php__display_errors="true")
    assert created.status == 303, created.text
    shown = visitor.see(created.response.headers["location"])
    for expected in (
        "lindqvist.se",
        "foto.lindqvist.se",
        "PHP 8.2",
        "64M",
        "Petra Lindqvist",
        "The site was declared.",
    ):
        assert expected in shown.text
    with company.platform.database.read() as uow:
        row = uow.session.query(SiteRow).one()
    assert row.runtime_settings == {"memory_limit": "64M", "display_errors": True}


def test_a_refused_form_keeps_what_was_typed_and_names_each_field(company: Company) -> None:
    typed = {
        "account_id": company.customer_id, "domain": "not a domain", "aliases": "fine.example.se\nbad_name",
        "document_root": "../up", "runtime": "php 8.2", "php__max_input_vars": "many", "php__memory_limit": "lots",
    }  # fmt: skip
    page = company.visitor().fill("/sites/new", **typed)
    assert page.status == 422
    for name, value in typed.items():
        assert page.fields[name.replace("__", ".")] == value
    wrong = {attributes["id"] for _, attributes in page.elements if attributes.get("aria-invalid") == "true"}
    assert wrong >= {"domain", "aliases", "document_root"}
    described = {attributes["id"] for _, attributes in page.elements if attributes.get("id", "").endswith("-error")}
    assert described == {f"{name}-error" for name in wrong}
    assert any(tag == "div" and attributes.get("role") == "alert" for tag, attributes in page.elements)


def test_errors_of_runtime_settings_stand_beside_their_fields_in_an_open_part(company: Company) -> None:
    form = {
        "account_id": company.customer_id,
        "domain": "lindqvist.se",
        "runtime": "php 8.2",
        "php__memory_limit": "lots",
    }
    page = company.visitor().fill("/sites/new", **form)
    assert ("input", "true") in [
        (tag, attributes.get("aria-invalid"))
        for tag, attributes in page.elements
        if attributes.get("id") == "php.memory_limit"
    ]
    assert any(
        tag == "details" and "open" in attributes and "more" in attributes["class"] for tag, attributes in page.elements
    )


def test_a_name_that_is_taken_is_told_at_the_field(company: Company) -> None:
    company.site("lindqvist.se", company.rival_id)
    page = company.visitor().fill(
        "/sites/new", account_id=company.customer_id, domain="lindqvist.se", runtime="php 8.2"
    )
    assert page.status in (409, 422)
    assert page.fields["domain"] == "lindqvist.se"
    assert "lindqvist.se" in page.text


def test_a_change_upon_a_change_is_explained_and_loses_nothing(company: Company) -> None:
    row, visitor = company.site("lindqvist.se"), company.visitor()
    stale = visitor.see(f"/sites/{row.id}/edit").fields
    assert visitor.fill(f"/sites/{row.id}/edit", aliases="www.lindqvist.se").status == 303
    page = visitor.send(f"/sites/{row.id}/edit", {**stale, "document_root": "web"})
    assert page.status == 412
    assert page.fields["document_root"] == "web"
    assert "What you typed is still here" in page.text
    assert visitor.send(f"/sites/{row.id}/edit", {**page.fields, "aliases": "www.lindqvist.se"}).status == 303
    assert "web" in visitor.see(f"/sites/{row.id}").text


def test_suspending_and_resuming_ask_first(company: Company) -> None:
    row, visitor = company.site("lindqvist.se"), company.visitor()
    assert "Suspend the site?" in visitor.see(f"/sites/{row.id}/suspend").text
    assert visitor.fill(f"/sites/{row.id}/suspend").status == 303
    links = visitor.see(f"/sites/{row.id}").links()
    assert f"/sites/{row.id}/resume" in links
    assert f"/sites/{row.id}/suspend" not in links
    assert visitor.fill(f"/sites/{row.id}/resume").status == 303


def test_deleting_wants_the_domain_typed(company: Company) -> None:
    row, visitor = company.site("lindqvist.se"), company.visitor()
    refused = visitor.fill(f"/sites/{row.id}/delete", confirmation="lindqvist.de")
    assert refused.status == 422
    assert "Please type lindqvist.se." in refused.text
    assert visitor.fill(f"/sites/{row.id}/delete", confirmation=" Lindqvist.se ").status == 303
    page = visitor.see(f"/sites/{row.id}")
    assert "Deleting" in page.text
    assert f"/sites/{row.id}/delete" not in page.links()


def test_the_live_part_leads_to_the_list_once_the_site_is_gone(company: Company) -> None:
    answer = company.visitor().request("GET", f"/sites/{'0' * 32}/live")
    assert answer.headers["hx-redirect"] == "/sites"


@pytest.mark.parametrize(
    ("phase", "refreshes"), [("pending", True), ("applying", True), ("ready", False), ("failed", False)]
)
def test_without_javascript_the_page_reloads_until_the_site_is_settled(
    company: Company, phase: str, refreshes: bool
) -> None:
    row = company.site("lindqvist.se")
    company.edit(row, lambda stored: setattr(stored, "phase", phase))
    page = company.visitor().see(f"/sites/{row.id}")
    assert any(attributes.get("http-equiv") == "refresh" for _, attributes in page.elements) is refreshes


def test_a_failed_site_tells_reason_message_and_hint_and_can_be_tried_again(company: Company) -> None:
    row, visitor = company.site("lindqvist.se"), company.visitor()
    condition = {
        "reason": "PortTaken",
        "message": "Port 80 is taken.",
        "hint": "Stop the other server.",
        "is_permanent": True,
    }

    def fail(stored: SiteRow) -> None:
        stored.phase, stored.conditions = "failed", [condition]

    company.edit(row, fail)
    page = visitor.see(f"/sites/{row.id}")
    for expected in ("PortTaken", "Port 80 is taken.", "Stop the other server.", "Try again"):
        assert expected in page.text
    assert visitor.fill(f"/sites/{row.id}", f"/sites/{row.id}/retry").status == 303
    assert "Waiting" in visitor.see(f"/sites/{row.id}").text


def test_a_plan_is_asked_for_and_shown_as_a_difference(company: Company) -> None:
    row, visitor = company.site("lindqvist.se"), company.visitor()
    path = visitor.fill(f"/sites/{row.id}", f"/sites/{row.id}/plan").response.headers["location"]
    assert "Asking the node" in visitor.see(path).text
    diff = "--- old\n+++ new\n@@ -1 +1 @@\n-memory 64M\n+memory <b>128M</b>\n same"
    change = {"action": "update", "key": "path:/srv/x", "summary": "Rewrite x", "diff": diff, "is_drift": True}
    with company.platform.database.write() as uow:
        asked = uow.session.get_one(OperationRow, path.rsplit("/", 1)[1])
        asked.state, asked.result = "done", {"site_id": row.id, "generation": 1, "changes": [change], "condition": None}
    page = visitor.see(path)
    for expected in ("Rewrite x", "removed: ", "memory <b>128M</b>", "Edited by hand"):
        assert expected in page.text
    other = company.site("weber.de")
    assert visitor.see(f"/sites/{other.id}/plan/{path.rsplit('/', 1)[1]}").status == 404


def test_s64_a_name_of_another_script_is_shown_in_both_forms(company: Company) -> None:
    row, visitor = company.site("аpple.com"), company.visitor()  # the first letter is Cyrillic
    for path in ("/sites", f"/sites/{row.id}"):
        text = visitor.see(path).text
        assert "xn--pple-43d.com" in text
        assert "аpple.com" in text
    assert "other alphabets" in visitor.see(f"/sites/{row.id}").text


def test_the_list_shows_25_sites_a_page(company: Company) -> None:
    for number in range(26):
        company.site(f"site-{number}.de")
    visitor = company.visitor()
    first = visitor.see("/sites")
    (following,) = {link for link in first.links() if link.startswith("/sites?cursor=")}
    assert "site-1.de" in first.text
    assert "site-0.de" not in first.text
    last = visitor.see(following)
    assert "site-0.de" in last.text
    assert "site-1.de" not in last.text


def test_s29_a_foreign_site_looks_like_one_that_does_not_exist(company: Company) -> None:
    row, visitor = company.site("lindqvist.se", company.rival_id), company.visitor("owner", company.customer_id)
    unknown = "0" * 32
    for path in ("", "/edit", "/delete", "/suspend"):
        foreign, missing = visitor.see(f"/sites/{row.id}{path}"), visitor.see(f"/sites/{unknown}{path}")
        assert foreign.status == missing.status == 404
        assert foreign.text == missing.text
    token = visitor.see("/sites").fields
    assert visitor.send(f"/sites/{row.id}/delete", {**token, "confirmation": "lindqvist.se"}).status == 404
    assert "lindqvist.se" not in visitor.see("/sites").text


def test_who_may_only_read_sees_no_buttons_and_is_refused(company: Company) -> None:
    row, visitor = company.site("lindqvist.se"), company.visitor("read-only")
    assert "/sites/new" not in visitor.see("/sites").links()
    page = visitor.see(f"/sites/{row.id}")
    offered = {link.rsplit("/", 1)[1] for link in page.links() if link.startswith(f"/sites/{row.id}/")}
    assert offered == {"plan", "logs"}
    for path in ("/sites/new", f"/sites/{row.id}/edit", f"/sites/{row.id}/delete", f"/sites/{row.id}/suspend"):
        assert visitor.see(path).status == 403
        assert visitor.send(path, page.fields).status == 403


def test_a_customer_sees_only_the_rooms_of_customers(company: Company) -> None:
    visitor = company.visitor("owner", company.customer_id)
    links = visitor.see("/sites").links()
    assert {"/sites", "/accounts", "/packages"} <= links
    assert not {"/nodes", "/plugins"} & links
    assert visitor.see("/nodes").status == visitor.see("/plugins").status == 403


def test_an_end_of_life_is_said_where_one_chooses_and_on_the_sites_page(company: Company) -> None:
    with company.platform.database.write() as uow:
        uow.session.query(NodeRow).one().facts = {"php": ["8.4", "7.4"]}
    row, visitor = company.site("lindqvist.se"), company.visitor()
    assert "PHP 7.4 (end of life since 28 Nov 2022)" in visitor.see("/sites/new").text
    assert "End of life since 28 Nov 2022" in visitor.see("/nodes").text
    assert "out of support" not in visitor.see(f"/sites/{row.id}").text

    def age(stored: SiteRow) -> None:
        stored.runtime_version = "7.4"

    company.edit(row, age)
    assert "PHP 7.4 has been out of support since 28 Nov 2022" in visitor.see(f"/sites/{row.id}").text
