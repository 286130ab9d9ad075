"""What the fake runtime accepts, refuses and renders; that its program answers is seen by all that use it."""

from __future__ import annotations

import pytest
from hosthold_sdk import Limits, NotSupported, Owner, Runtime, Service
from hosthold_sdk.testing import sample_node, sample_site
from hosthold_sdk.testing.fakes import FakeRuntime
from hosthold_sdk.testing.fakes.runtime import FakeRuntimeSettings

DRIVER = FakeRuntime(FakeRuntimeSettings())
NODE = sample_node()
SITE = sample_site("example.com").model_copy(
    update={"runtime": Runtime(driver="fake", version="1"), "limits": Limits(memory_mb=128, tasks=17)}
)


def test_a_site_gets_one_program_as_its_own_user_with_the_limits_of_its_package() -> None:
    (service,) = [one for one in DRIVER.render(SITE, NODE).resources if isinstance(one, Service)]
    assert service.owner == Owner(uid=SITE.uid, gid=SITE.uid)
    assert service.socket is not None
    assert (service.socket.owner, service.socket.mode) == (NODE.web, 0o600)
    assert service.limits is not None
    assert (service.limits.tasks, service.command[-1]) == (17, "128")
    assert service.command[0] in DRIVER.executables()


def test_a_suspended_site_has_no_program() -> None:
    rendered = DRIVER.render(SITE.model_copy(update={"is_suspended": True}), NODE)
    assert not [one for one in rendered.resources if isinstance(one, Service)]


@pytest.mark.parametrize(
    "runtime",
    [
        Runtime(driver="fake", version="2"),
        Runtime(driver="fake", version="1", settings={"memory_mb": 129}),
        Runtime(driver="fake", version="1", settings={"memory_mb": "64"}),
        Runtime(driver="fake", version="1", settings={"no_such_setting": 1}),
    ],
)
def test_what_it_does_not_have_or_the_package_forbids_is_refused(runtime: Runtime) -> None:
    with pytest.raises(NotSupported) as raised:
        DRIVER.render(SITE.model_copy(update={"runtime": runtime}), NODE)
    assert raised.value.hint
