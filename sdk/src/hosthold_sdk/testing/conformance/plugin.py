"""What every plugin must do, as tests: subclass `PluginConformance`, and name the plugin."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import jinja2
import pytest
from hosthold.plugins.discovery import PluginSettingsSource, discover
from hosthold.plugins.manager import LoadedPlugin, PluginRegistry
from hosthold.plugins.record import PluginState
from pydantic import ValidationError

from hosthold_sdk import (
    Condition,
    DriverCall,
    DriverError,
    Event,
    HostholdError,
    PageContent,
    PageRequest,
    Rejected,
    Site,
)
from hosthold_sdk.testing.conformance.driver import secrets_of
from hosthold_sdk.testing.effects import effects
from hosthold_sdk.testing.installed import entry_points_with, package_folder
from hosthold_sdk.testing.samples import sample_actor, sample_node, sample_site

T = TypeVar("T")


class PluginConformance:
    """The rules that hold for all plugins, whatever they do. The plugin must be installed, editable or not."""

    plugin_name: ClassVar[str]
    """The name of its entry point in the group `hosthold.plugins`."""
    settings: ClassVar[Mapping[str, Any]] = {}

    @pytest.fixture
    def registry(self) -> PluginRegistry:
        """A platform's registry with this distribution's plugins and drivers alone."""
        source = PluginSettingsSource(plugins={self.plugin_name: self.settings})
        return discover(source, lambda: entry_points_with(self.plugin_name))

    @pytest.fixture
    def plugin(self, registry: PluginRegistry) -> LoadedPlugin:
        """The plugin as the platform holds it."""
        record = registry.record(self.plugin_name)
        assert record.state is PluginState.ready, f"{record.message} {record.hint}\n{record.traceback}"
        return registry.loaded(self.plugin_name)

    def test_it_is_ready_and_so_are_its_drivers_if_their_programs_are_here(self, registry: PluginRegistry) -> None:
        for record in registry.records:
            assert record.state in (PluginState.ready, PluginState.not_installed), f"{record.message} {record.hint}"
            assert record.state is PluginState.ready or record.hint
        assert registry.record(self.plugin_name).state is PluginState.ready

    def test_it_says_which_versions_of_the_sdk_it_works_with(self, registry: PluginRegistry) -> None:
        """With both ends: `hosthold-sdk>=1.2,<2`. The platform reads it before it imports anything."""
        requirement = registry.record(self.plugin_name).sdk_requirement
        assert ">" in requirement, "name the oldest hosthold-sdk that it works with"
        assert "<" in requirement, "name the first major version of hosthold-sdk that it may not work with"

    def test_it_imports_the_sdk_and_nothing_else_of_hosthold(self) -> None:
        """What is not in `hosthold_sdk` changes without notice."""
        folder = package_folder(self.plugin_name)
        own = folder.name
        found = {
            (module, str(source.relative_to(folder)))
            for source in folder.rglob("*.py")
            for module in _imported(source)
            if module.split(".")[0].startswith("hosthold") and module.split(".")[0] not in ("hosthold_sdk", own)
        }
        assert found == set()

    def test_it_is_typed(self) -> None:
        """An empty file `py.typed` beside the code lets type checkers use its annotations (PEP 561)."""
        assert (package_folder(self.plugin_name) / "py.typed").is_file()

    def test_settings_survive_a_round_trip_and_an_unknown_one_is_refused(self, plugin: LoadedPlugin) -> None:
        model = plugin.plugin.settings_model
        parsed = model.model_validate(dict(self.settings))
        assert model.model_validate(parsed.model_dump(by_alias=True)) == parsed
        with pytest.raises(ValidationError):
            model.model_validate({**self.settings, "no_such_setting": "1"})

    def test_no_secret_is_shown(self, plugin: LoadedPlugin) -> None:
        """Declare secrets as `SecretStr`, and ask for their value only where they are used."""
        shown = repr(vars(plugin.plugin)) + repr(plugin.declarations) + str(plugin.plugin.settings)
        assert [secret for secret in secrets_of(plugin.plugin.settings) if secret in shown] == []

    def test_declarations_are_pure(self, registry: PluginRegistry, plugin: LoadedPlugin) -> None:
        """They are collected once, when the platform starts, in each of its processes."""
        for hook in plugin.declarations:
            once, seen = self._call(registry, hook)
            again, _ = self._call(registry, hook)
            assert seen == [], f"{hook} touched something"
            assert [_identity(each) for each in once] == [_identity(each) for each in again]

    def test_every_template_can_be_read(self) -> None:
        """A mistake in a template shows when its page is opened: find it now."""
        environment = jinja2.Environment(autoescape=True, extensions=["jinja2.ext.i18n"])
        for template in (package_folder(self.plugin_name) / "templates").rglob("*"):
            if template.is_file():
                environment.parse(template.read_text(), filename=str(template))

    def test_every_page_has_something_to_show(self, plugin: LoadedPlugin) -> None:
        for page in plugin.declarations.get("register_pages", ()):
            content = page.handler(PageRequest(actor=sample_actor("Ada", page.permission), query={}))
            assert isinstance(content, PageContent), f"{page.path} returns {content!r}"
            assert (package_folder(self.plugin_name) / "templates" / content.template).is_file()

    def test_a_veto_says_what_to_do(self, registry: PluginRegistry, plugin: LoadedPlugin) -> None:
        """`check_site` is quick, touches nothing outside, and refuses with a reason and a hint, if it refuses."""
        if "check_site" in plugin.implementations:
            with effects() as seen:
                try:
                    registry.call_plugin(self.plugin_name, "check_site", site=self.site(), actor=sample_actor("Ada"))
                except Rejected as error:
                    hints = [error.hint]
                else:
                    hints = ["nothing was refused"]
            assert all(hints), "a refusal without a hint"
            assert [effect for effect in seen if effect.kind in ("process", "network")] == []

    def test_contributions_are_pure(self, registry: PluginRegistry, plugin: LoadedPlugin) -> None:
        """The same site and node give the same resources, or the site never comes to rest."""
        if "contribute_site" in plugin.implementations:
            given = {"site": self.site(), "node": sample_node()}
            once, seen = self._call(registry, "contribute_site", **given)
            assert seen == [], "contribute_site touched something"
            assert list(once) == list(self._call(registry, "contribute_site", **given)[0])
            assert len({resource.key for resource in once}) == len(list(once)), "two resources with one key"

    def test_an_event_may_be_told_twice(self, registry: PluginRegistry, plugin: LoadedPlugin) -> None:
        """Delivery is at least once: `event.id` is the same in every delivery."""
        values = {"site": self.site(), "condition": Condition(reason="Broken", message="It broke.", hint="Mend it.")}
        event = Event(id="0" * 31 + "9", at=datetime(2030, 1, 1, tzinfo=UTC))
        for hook in plugin.implementations:
            if hook.startswith("on_"):
                for _ in range(2):
                    _, seen = self._call(registry, hook, event=event, **values)
                    assert [effect.description for effect in seen if not effect.has_timeout] == []

    def test_a_wrapper_gives_back_what_the_call_gave(self, registry: PluginRegistry, plugin: LoadedPlugin) -> None:
        """`call_driver` yields once, returns the result as it is, and lets an error pass."""
        if "call_driver" in plugin.implementations:
            call = DriverCall("webserver", "sample", "render_site", "site:1")
            wrapped: Callable[..., Any] = registry.hooks.hook.call_driver.call_extra
            result = object()
            assert wrapped([lambda: result], {"call": call}) is result

            def fails() -> object:
                raise DriverError("It broke.", hint="Mend it.")

            with pytest.raises(DriverError, match="It broke"):
                wrapped([fails], {"call": call})

    def test_health_checks_say_what_to_do(self, plugin: LoadedPlugin) -> None:
        """A check passes, or raises one of the SDK's errors with a hint; and it does not wait for ever."""
        for check in plugin.declarations.get("register_health_checks", ()):
            hint = "healthy"
            with effects() as seen:
                try:
                    check.check()
                except HostholdError as error:
                    hint = error.hint
            assert hint, f"the health check {check.name} fails without a hint"
            assert [effect.description for effect in seen if not effect.has_timeout] == []

    def site(self) -> Site:
        """The site that hooks are asked about."""
        return sample_site("example.com", "www.example.com")

    def _call(self, registry: PluginRegistry, hook: str, **values: Any) -> tuple[Any, list[Any]]:
        with effects() as seen:
            return registry.call_plugin(self.plugin_name, hook, **values), seen


def _identity(declaration: Any) -> tuple[type, Any]:
    """A declaration without its functions, which may be made anew each time."""
    values = {name: getattr(declaration, name) for name in declaration.__slots__}
    return type(declaration), {name: value for name, value in values.items() if not callable(value)}


def _imported(source: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(source.read_text(), str(source))):
        match node:
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=str(module), level=0):
                yield module
