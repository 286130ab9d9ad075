"""The pages of what was changed by hand: what they show to whom, and what their forms ask for."""

from __future__ import annotations

from typing import Any

from hosthold.drift import service
from hosthold.sites.models import SiteRow
from hosthold.types.resource import Change, Outcome
from hosthold.types.site import Condition
from hosthold.work.models import OperationRow

from core.tests.panel.company import Company

DRIFTED = Condition(reason="Drifted", message="edited", hint="look", is_permanent=True)


def change(name: str = "php-fpm.conf", **more: Any) -> Change:
    diff = f"--- {name}\n+++ {name}\n@@ -1 +1 @@\n-by <b>hand</b>\n+declared"
    return Change(
        action="update", key=f"path:/srv/{name}", summary="", diff=diff, is_drift=True, digest="d" * 64, **more
    )


def drifted(company: Company, row: SiteRow, *changes: Change) -> str:
    """Note that a site drifted, as the loop does; the address of its page."""
    subject = f"site:{row.id}"
    with company.platform.database.write() as uow:
        outcome = Outcome(subject=subject, changes=changes, condition=DRIFTED)
        service.note_applied(uow, subject, row.domains[0], row.account_path, outcome)
    with company.platform.database.read() as uow:
        noted = service.of_subject(uow, subject)
    assert noted is not None
    return f"/drift/{noted.id}"


def asked(company: Company) -> list[tuple[str, str]]:
    with company.platform.database.read() as uow:
        return [(row.kind, row.subject) for row in uow.session.query(OperationRow).order_by(OperationRow.id)]


def test_the_empty_list_says_what_would_be_there(company: Company) -> None:
    assert "Nothing was changed by hand" in company.visitor().see("/drift").text


def test_an_edit_is_counted_listed_and_shown_with_its_difference(company: Company) -> None:
    row, visitor = company.site("lindqvist.se"), company.visitor()
    path = drifted(company, row, change())
    page = visitor.see("/drift")
    assert "1 to decide" in page.text.replace("\n", "")
    assert path in page.links()
    shown = visitor.see(path)
    for expected in ("lindqvist.se", "by <b>hand</b>", "declared", "Adopt", "Repair"):
        assert expected in shown.text
    assert "Changed by hand" in visitor.see(f"/sites/{row.id}").text


def test_both_decisions_ask_first_and_become_operations(company: Company) -> None:
    row, visitor = company.site("lindqvist.se"), company.visitor()
    path = drifted(company, row, change())
    assert visitor.fill(f"{path}/adopt").status == 303
    assert "The node is at it" in visitor.see(path).text
    assert visitor.fill(f"{path}/repair").status == 303
    assert asked(company) == [("adopt", f"site:{row.id}"), ("repair_site", f"site:{row.id}")]


def test_what_was_not_looked_at_is_not_adopted(company: Company) -> None:
    row, visitor = company.site("lindqvist.se"), company.visitor()
    path = drifted(company, row, change())
    page = visitor.fill(f"{path}/adopt", seen="0" * 32)
    assert page.status == 412
    assert "has changed since you looked" in page.text
    assert asked(company) == []


def test_what_cannot_be_adopted_says_why_and_offers_only_the_repair(company: Company) -> None:
    row, visitor = company.site("lindqvist.se"), company.visitor()
    path = drifted(company, row, change(refusal="Its mode was changed."))
    shown = visitor.see(path)
    assert "It cannot be adopted. Its mode was changed." in shown.text
    assert f"{path}/repair" in shown.links()
    assert f"{path}/adopt" not in shown.links()
    assert "None of this can be adopted" in visitor.fill(f"{path}/adopt").text


def test_the_list_is_narrowed_by_state_and_name(company: Company) -> None:
    visitor = company.visitor()
    for number in range(26):
        drifted(company, company.site(f"site-{number}.de"), change())
    kept = company.site("kept.se")
    with company.platform.database.write() as uow:
        outcome = Outcome(subject=f"site:{kept.id}", kept=(change(),))
        service.note_applied(uow, f"site:{kept.id}", "kept.se", kept.account_path, outcome)
    assert "kept.se" in visitor.see("/drift?state=kept").text
    first = visitor.see("/drift?state=found")
    assert "kept.se" not in first.text
    (following,) = {link for link in first.links() if "cursor=" in link}
    last = visitor.see(following)
    assert "site-0.de" in last.text
    assert "site-9.de" in visitor.see("/drift?name=site-9").text
    assert "site-8.de" not in visitor.see("/drift?name=site-9").text
    assert "There is nothing of this kind" in visitor.see("/drift?name=nowhere").text


def test_s29_customers_see_neither_the_list_nor_its_number(company: Company) -> None:
    row = company.site("lindqvist.se")
    path = drifted(company, row, change())
    visitor = company.visitor("owner", company.customer_id)
    for forbidden in ("/drift", path, f"{path}/adopt"):
        assert visitor.see(forbidden).status == 403
    page = visitor.see(f"/sites/{row.id}")
    assert "Changed by hand" in page.text
    assert path not in page.links()
    assert "to decide" not in page.text


def test_support_may_look_and_not_decide(company: Company) -> None:
    path = drifted(company, company.site("lindqvist.se"), change())
    visitor = company.visitor("support")
    assert f"{path}/adopt" not in visitor.see(path).links()
    assert visitor.see(f"{path}/adopt").status == 403


def test_what_is_as_declared_again_leads_back_to_the_list(company: Company) -> None:
    row, visitor = company.site("lindqvist.se"), company.visitor()
    path = drifted(company, row, change())
    with company.platform.database.write() as uow:
        subject = f"site:{row.id}"
        service.note_applied(uow, subject, row.domains[0], row.account_path, Outcome(subject=subject))
    gone = visitor.request("GET", path)
    assert (gone.status_code, gone.headers["location"]) == (303, "/drift")
    assert visitor.request("GET", path, headers={"HX-Request": "true"}).headers["hx-redirect"] == "/drift"
