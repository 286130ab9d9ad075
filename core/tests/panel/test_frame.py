"""What all pages share: static files, templates, plugins' pages, and what is shown when something goes wrong."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from hosthold.panel.assets import Assets
from hosthold.panel.render import STATIC, make_environment
from hosthold.types.extension import PageContent, PageRequest
from jinja2 import TemplateNotFound, UndefinedError

from core.tests.panel.company import Company, Visitor


@pytest.fixture(scope="module")
def assets() -> Assets:
    """The panel's own static files."""
    return Assets({"": STATIC})


def test_a_plugin_cannot_shadow_a_template_of_the_core(assets: Assets, tmp_path: Path) -> None:
    for name in ("layout.html", "plugin_page.html", "sites/list.html"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("SHADOW")
    (tmp_path / "own.html").write_text(
        "{% extends 'bare.html' %}{% block content %}{% include 'part.html' %}{% endblock %}"
    )
    (tmp_path / "part.html").write_text("part of the plugin")
    environment = make_environment(assets, {"guest": tmp_path})
    for name in ("layout.html", "plugin_page.html", "sites/list.html"):
        assert "SHADOW" not in environment.loader.get_source(environment, name)[0]  # type: ignore[union-attr]
    shown = environment.get_template("x/guest/own.html").render(theme="", flash="")
    assert "part of the plugin" in shown
    assert "<!doctype html>" in shown


def test_a_plugin_does_not_see_the_templates_of_another(assets: Assets, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    (tmp_path / "one" / "secret.html").write_text("secret")
    (tmp_path / "two" / "page.html").write_text("{% include '../one/secret.html' %}")
    environment = make_environment(assets, {"one": tmp_path / "one", "two": tmp_path / "two"})
    with pytest.raises(TemplateNotFound):
        environment.get_template("x/two/page.html").render()


def test_a_value_that_is_missing_is_an_error_and_not_an_empty_space(assets: Assets, tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text("{{ misspelt }}")
    with pytest.raises(UndefinedError):
        make_environment(assets, {"guest": tmp_path}).get_template("x/guest/page.html").render()


def test_static_files_are_cached_for_good_and_sent_compressed(company: Company) -> None:
    visitor = Visitor(company.app)
    links = [attributes["href"] for tag, attributes in visitor.see("/sign-in").elements if tag == "link"]
    (stylesheet,) = (link for link in links if link.endswith("tabler.min.css"))
    answer = visitor.request("GET", stylesheet, headers={"Accept-Encoding": "gzip"})
    assert answer.status_code == 200
    assert "immutable" in answer.headers["cache-control"]
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.headers["content-type"].startswith("text/css")
    plain = visitor.request("GET", stylesheet, headers={"Accept-Encoding": "identity"})
    assert plain.content == answer.content == (STATIC / "vendor/tabler.min.css").read_bytes()
    assert len(gzip.compress(plain.content)) < len(plain.content) / 4


@pytest.mark.parametrize("name", ["panel.css", "../room.py", "%2e%2e/room.py", "vendor/../../room.py"])
def test_s09_only_static_files_have_addresses(company: Company, name: str) -> None:
    assert Visitor(company.app).request("GET", f"/static/{'0' * 16}/{name}").status_code == 404


def test_what_does_not_exist_is_told_in_the_layout(company: Company) -> None:
    inside, outside = company.visitor().see("/nowhere"), Visitor(company.app).see("/nowhere")
    assert inside.status == outside.status == 404
    assert "/sites" in inside.links()
    assert "/sites" not in outside.links()


def test_a_method_that_a_page_does_not_know_is_told_with_those_it_does(company: Company) -> None:
    visitor = company.visitor()
    answer = visitor.request("DELETE", "/sites/new", headers={"Origin": "http://127.0.0.1:8600"})
    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET, HEAD, POST"


def test_a_plugin_that_breaks_its_page_breaks_nothing_else(company: Company, monkeypatch: pytest.MonkeyPatch) -> None:
    def explode(_request: PageRequest) -> PageContent:
        raise ZeroDivisionError("secret of the plugin")

    ((_, declared),) = company.platform.registry.declarations("register_pages")
    monkeypatch.setattr(type(declared), "handler", explode)
    page = company.visitor().see("/x/hello_plugin/hello")
    assert page.status == 500
    assert "secret of the plugin" not in page.response.text
    assert "/sites" in page.links()


def test_a_plugin_page_needs_its_permission(company: Company) -> None:
    assert company.visitor().see("/x/hello_plugin/hello").status == 200
    billing = company.visitor("billing")
    assert billing.see("/x/hello_plugin/hello").status == 404
    assert "/x/hello_plugin/hello" not in billing.see("/sites").links()


def test_a_customer_is_added_through_the_form(company: Company) -> None:
    visitor = company.visitor()
    refused = visitor.fill("/accounts/new", name="  ")
    assert refused.status == 422
    assert "Please fill this in." in refused.text
    assert visitor.fill("/accounts/new", name="Café Morgenstern").status == 303
    page = visitor.see("/accounts")
    assert "Café Morgenstern" in page.text
    assert "The customer was added." in page.text
    assert "The customer was added." not in visitor.see("/accounts").text


def test_a_package_is_made_through_the_form(company: Company) -> None:
    visitor = company.visitor()
    refused = visitor.fill("/packages/new", name="Large", memory_mb="much")
    assert refused.status == 422
    assert "valid integer" in refused.text
    assert refused.fields["memory_mb"] == "much"
    assert visitor.fill("/packages/new", name="Starter").status == 409
    assert visitor.fill("/packages/new", name="Large", max_sites="3", memory_mb="512").status == 303
    page = visitor.see("/packages")
    assert "512 MiB" in page.text
    assert "The package was made." in page.text
    customer = company.visitor("owner", company.customer_id)
    assert "/packages/new" not in customer.see("/packages").links()
    assert customer.see("/packages/new").status == 403


def test_s70_a_form_with_too_many_fields_is_refused(company: Company) -> None:
    fields = {f"field{number}": "x" for number in range(60)}
    assert Visitor(company.app).send("/sign-in", fields).status == 422
    assert company.visitor().send("/sites/new", fields).status == 422
