"""The door holds everything that hooks and drivers speak of, and says its version."""

from __future__ import annotations

import inspect
from types import ModuleType

import hosthold_sdk
import pytest
from hosthold.drivers import CLASSES, base, runtime, supervisor, webserver
from hosthold.hookspecs import MODULES
from hosthold.types import call, event, extension, manifest, package
from hosthold_sdk.testing import sample_actor, sample_site


def classes_of(module: ModuleType) -> set[type]:
    return {thing for thing in vars(module).values() if inspect.isclass(thing) and thing.__module__ == module.__name__}


@pytest.mark.parametrize(
    "module",
    [base, runtime, supervisor, webserver, call, event, extension, manifest, package],
    ids=lambda m: m.__name__,
)
def test_every_class_of_the_contract_passes_through_the_door(module: ModuleType) -> None:
    assert classes_of(module) <= {getattr(hosthold_sdk, name) for name in hosthold_sdk.__all__}


@pytest.mark.parametrize("module", [*MODULES, *(inspect.getmodule(driver) for driver in CLASSES)])
def test_every_type_that_a_signature_names_passes_through_the_door(module: ModuleType) -> None:
    named = {
        name for name, thing in vars(module).items() if getattr(thing, "__module__", "").startswith("hosthold.types")
    }
    assert named <= set(hosthold_sdk.__all__)


def test_version_of_the_door_is_major_and_minor() -> None:
    assert hosthold_sdk.API_VERSION == "0.1"


def test_samples_belong_together() -> None:
    site, actor = sample_site("example.com"), sample_actor("Ada", "site:read")
    assert site.account_id == actor.account_id
    assert actor.may("site:read")
    assert not actor.may("site:delete")
