"""Signing in and out, and what protects it."""

from __future__ import annotations

import pytest
from hosthold.auth import service as auth
from hosthold.auth.identity import secret_hash

from core.tests.panel.company import Company, Visitor

PASSWORD = "correct horse battery staple"


@pytest.fixture
def petra(company: Company) -> str:
    """The identifier of a user with a password."""
    with company.platform.database.write() as uow:
        user = auth.create_user(uow, "petra@example.com", PASSWORD)
        auth.grant_role(uow, user.id, company.customer_id, "owner")
        return user.id


@pytest.mark.usefixtures("petra")
def test_a_visitor_who_is_not_signed_in_is_sent_to_the_form_and_back(company: Company) -> None:
    visitor = Visitor(company.app)
    turned_away = visitor.request("GET", "/sites/new")
    assert turned_away.headers["location"] == "/sign-in?next=/sites/new"
    welcomed = visitor.fill(turned_away.headers["location"], "/sign-in", email="Petra@Example.com ", password=PASSWORD)
    assert welcomed.response.headers["location"] == "/sites/new"
    assert visitor.see("/sites/new").status == 200


@pytest.mark.usefixtures("petra")
def test_a_wrong_password_is_refused_and_only_the_address_is_kept(company: Company) -> None:
    page = Visitor(company.app).fill("/sign-in", email="petra@example.com", password="wrong password")
    assert page.status == 401
    assert page.fields["email"] == "petra@example.com"
    assert page.fields["password"] == ""
    assert "do not belong together" in page.text


@pytest.mark.parametrize("target", ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:alert(1)"])
@pytest.mark.usefixtures("petra")
def test_nobody_is_sent_to_another_host_after_signing_in(company: Company, target: str) -> None:
    form = {"email": "petra@example.com", "password": PASSWORD, "next": target}
    assert Visitor(company.app).send("/sign-in", form).response.headers["location"] == "/"


def test_looking_at_a_sign_in_link_does_not_use_it_up(company: Company, petra: str) -> None:
    with company.platform.database.write() as uow:
        link = f"/sign-in/link/{auth.create_sign_in_link(uow, petra)}"
    visitor = Visitor(company.app)
    assert "Continue" in visitor.see(link).text
    assert "Continue" in visitor.see(link).text
    assert visitor.send(link, {}).response.headers["location"] == "/"
    assert visitor.see("/sites").status == 200
    again = Visitor(company.app).send(link, {})
    assert again.status == 401
    assert "used already" in again.text


@pytest.mark.usefixtures("petra")
def test_s38_signing_in_gives_a_new_session_and_ends_the_old_one(company: Company) -> None:
    visitor, name = company.visitor("admin"), company.platform.authenticator.cookie_name
    old = visitor.cookies[name]
    form = {"email": "petra@example.com", "password": PASSWORD}
    answer = visitor.send("/sign-in", form).response
    assert visitor.cookies[name] != old
    cookie = next(line for line in answer.headers.get_list("set-cookie") if line.startswith(name))
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    company.platform.authenticator.forget(secret_hash(old))
    assert Visitor(company.app, {name: old}).request("GET", "/sites").status_code == 303


def test_s38_signing_out_ends_the_session_on_the_server(company: Company) -> None:
    visitor, name = company.visitor(), company.platform.authenticator.cookie_name
    old = visitor.cookies[name]
    left = visitor.fill("/sites", "/sign-out")
    assert left.response.headers["location"] == "/sign-in"
    assert name not in visitor.cookies
    assert Visitor(company.app, {name: old}).request("GET", "/sites").status_code == 303
    assert "You are signed out." in visitor.see("/sign-in").text


def test_s40_a_form_without_our_token_or_from_elsewhere_is_refused(company: Company) -> None:
    visitor = company.visitor()
    own = visitor.see("/accounts/new").fields
    form = {**own, "name": "New Customer", "package_id": company.package_id}
    assert visitor.send("/accounts/new", {**form, "csrf_token": "guessed"}).status == 403
    assert (
        visitor.send("/accounts/new", {key: value for key, value in form.items() if key != "csrf_token"}).status == 403
    )
    for origin in ("https://evil.example", "null", "http://127.0.0.1:8601"):
        assert visitor.request("POST", "/accounts/new", data=form, headers={"Origin": origin}).status_code == 403
    assert "New Customer" not in visitor.see("/accounts").text
    assert visitor.send("/accounts/new", form).status == 303
    assert "New Customer" in visitor.see("/accounts").text


@pytest.mark.usefixtures("petra")
def test_s40_a_foreign_page_cannot_sign_anybody_in(company: Company) -> None:
    form = {"email": "petra@example.com", "password": PASSWORD}
    answer = Visitor(company.app).request("POST", "/sign-in", data=form, headers={"Origin": "https://evil.example"})
    assert answer.status_code == 403


def test_the_chosen_appearance_is_kept_without_javascript(company: Company) -> None:
    visitor = company.visitor()
    assert "data-bs-theme" not in visitor.see("/sites").elements[0][1]
    assert visitor.fill("/packages", "/theme", theme="dark").response.headers["location"] == "/packages"
    assert ("html", {"lang": "en", "data-bs-theme": "dark"}) in visitor.see("/sites").elements
    visitor.fill("/packages", "/theme", theme='"><script>')
    assert "data-bs-theme" not in visitor.see("/sites").elements[0][1]
