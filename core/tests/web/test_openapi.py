"""The description of the API is valid, and the API is what it describes."""

from __future__ import annotations

from datetime import timedelta
from html.parser import HTMLParser
from typing import Any

import pytest
import schemathesis
from hosthold.app import API
from hosthold.web.operation import Operation, operations_of
from hypothesis import HealthCheck, Phase, given, seed, settings
from openapi_spec_validator import validate
from schemathesis import GenerationMode, checks

from .conftest import World

OPERATIONS = operations_of(API)
BOUND = settings(
    max_examples=12, deadline=None, derandomize=True, database=None, phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)  # fmt: skip


def document(world: World) -> dict[str, Any]:
    return dict(world.call(None, "GET", "/api/openapi.json").json())


def test_the_description_is_valid_openapi_and_has_every_operation(world: World) -> None:
    described = document(world)
    validate(described)

    assert described["openapi"].startswith("3.1")
    assert {(path, method.upper()) for path, item in described["paths"].items() for method in item} == {
        (each.path, each.method) for each in OPERATIONS
    }
    for each in OPERATIONS:
        item = described["paths"][each.path][each.method.lower()]
        names = {parameter["name"] for parameter in item["parameters"]}
        assert item["summary"]
        assert item["security"] == [{"token": []}]
        assert ("Idempotency-Key" in names) is (each.method == "POST")
        is_edit = each.method in ("PATCH", "PUT", "DELETE") and each.path.startswith("/api/v1/sites/")
        assert ("If-Match" in names) is is_edit
        assert "application/problem+json" in item["responses"]["500"]["content"]


class Page(HTMLParser):
    """What a browser would fetch or run."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def test_the_readable_page_shows_every_operation_and_keeps_the_strict_policy(world: World) -> None:
    answer = world.call(None, "GET", "/api/docs")
    page = Page(answer.text)

    for each in OPERATIONS:
        assert f'id="{each.name}"' in answer.text
    assert answer.text.count("Authorization: Bearer $HOSTHOLD_TOKEN") == len(OPERATIONS)
    assert not [tag for tag, attributes in page.tags if tag in ("script", "style") or "style" in attributes]
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
    links = {attributes["href"] for _, attributes in page.tags if "href" in attributes}
    for link in links:
        assert link is not None
        if link.startswith("/"):
            assert world.call(None, "GET", link).status_code == 200
        else:
            assert f'id="{link[1:]}"' in answer.text


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
@pytest.mark.parametrize("each", [each for each in OPERATIONS if not each.streams], ids=lambda each: each.name)
def test_the_api_is_what_it_describes(
    world: World, each: Operation, mode: GenerationMode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Requests made from the description, good and bad: no server error, and every answer as described."""
    if world.platform.database.dialect == "postgresql" and each.name not in ("create_site", "create_package"):
        pytest.skip("what may differ is what is stored; one pass over all operations is enough")
    monkeypatch.setattr("hosthold.sites.api.PATIENCE", timedelta(0))
    schema = schemathesis.openapi.from_dict(document(world))
    schema.config.checks.negative_data_rejection.expected_statuses.append(
        "421"
    )  # a Host that is not ours is refused so
    token = world.tokens["root"]

    @BOUND
    @seed(1)
    @given(case=schema[each.path][each.method].as_strategy(generation_mode=mode))
    def fuzz(case: Any) -> None:
        response = case.call(
            app=world.app, base_url="http://127.0.0.1:8600", headers={"Authorization": f"Bearer {token}"}
        )
        case.validate_response(
            response,
            checks=[
                checks.not_a_server_error, checks.status_code_conformance, checks.content_type_conformance,
                checks.response_schema_conformance, checks.response_headers_conformance, checks.negative_data_rejection,
            ],
        )  # fmt: skip

    fuzz()
