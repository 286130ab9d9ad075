"""What the PHP driver finds, accepts, refuses and renders, checked by php-fpm itself where it can."""

from __future__ import annotations

import os
import subprocess
from datetime import date
from pathlib import Path

import pytest
from hosthold_php_fpm.driver import PhpFpmRuntime
from hosthold_php_fpm.settings import PhpFpmSettings, PhpSettings
from hosthold_sdk import (
    AbsolutePath,
    Domain,
    File,
    Isolation,
    Limits,
    Listen,
    Node,
    NodeLayout,
    NotInstalled,
    NotSupported,
    Owner,
    RelativePath,
    Runtime,
    Service,
    Site,
    UnixName,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

DRIVER = PhpFpmRuntime(PhpFpmSettings())


def _node(folder: Path) -> Node:
    return Node(
        name="n1",
        layout=NodeLayout(state=AbsolutePath(str(folder)), run=AbsolutePath(str(folder / "run"))),
        listen=Listen(),
        isolation=Isolation.unix_user,
        root=Owner(uid=0, gid=0),
        web=Owner(uid=33, gid=33),
        web_user="www-data",
    )


def _site(chosen: dict[str, str | int | bool], limits: Limits | None = None) -> Site:
    return Site(
        id="0" * 32,
        account_id="0" * 32,
        name=UnixName("s1"),
        uid=64001,
        domains=(Domain("example.com"),),
        runtime=Runtime(driver="php", version=DRIVER.versions()[0], settings=chosen),
        document_root=RelativePath("public"),
        limits=limits or Limits(),
    )


def _configuration(site: Site, node: Node) -> str:
    return next(
        resource.content
        for resource in DRIVER.render(site, node).resources
        if isinstance(resource, File) and resource.path.endswith("/php-fpm.conf")
    )


ACCEPTED = st.fixed_dictionaries(
    {},
    optional={
        "memory_limit": st.integers(1, 256).map("{}M".format),
        "upload_max_filesize": st.integers(1, 64).map("{}M".format),
        "post_max_size": st.integers(1, 64).map("{}M".format),
        "max_execution_time": st.integers(1, 30),
        "max_input_vars": st.integers(100, 100_000),
        "display_errors": st.booleans(),
        "date.timezone": st.sampled_from(["UTC", "Europe/Berlin", "America/Argentina/Ushuaia", "Etc/GMT+12"]),
    },
)


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ACCEPTED)
def test_php_fpm_accepts_whatever_the_driver_renders(tmp_path: Path, chosen: dict[str, str | int | bool]) -> None:
    node = _node(tmp_path)
    text = _configuration(_site(chosen), node)
    log = Path(node.layout.logs(UnixName("s1")))
    log.mkdir(parents=True, exist_ok=True)
    file = tmp_path / "php-fpm.conf"
    file.write_text(text.replace("[site]\n", "[site]\nuser = www-data\ngroup = www-data\n"))

    tested = subprocess.run(
        [f"/usr/sbin/php-fpm{DRIVER.versions()[0]}", "-t", "-y", str(file)],
        env={},
        capture_output=True,
        timeout=20,
        check=False,
    )

    assert tested.returncode == 0, tested.stderr


@given(ACCEPTED)
def test_s24_the_number_of_lines_never_depends_on_a_setting(chosen: dict[str, str | int | bool]) -> None:
    node = _node(Path("/state"))

    text = _configuration(_site(chosen), node)

    assert [line.partition("=")[0] for line in text.splitlines()] == [
        line.partition("=")[0] for line in _configuration(_site({}), node).splitlines()
    ]
    assert not any(line.startswith((";", "#")) for line in text.splitlines())


@pytest.mark.parametrize(
    "name",
    [
        "open_basedir",
        "disable_functions",
        "extension",
        "zend_extension",
        "auto_prepend_file",
        "sendmail_path",
        "error_log",
        "opcache.restrict_api",
        "user_ini.filename",
        "include_path",
        "user",
        "listen",
        "date_timezone",
    ],
)
def test_s25_settings_that_are_not_listed_are_refused(name: str) -> None:
    with pytest.raises(ValidationError):
        PhpSettings.model_validate({name: "x"})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(
            ("memory_limit", value)
            for value in ("-1", "0M", "64", "64m", "64M ", "64M\n", "64K", "1e3M", 64, True, "６4M")
        ),
        *(("max_execution_time", value) for value in (0, -1, 3601, "10", 1.5, True)),
        *(("max_input_vars", value) for value in (99, 100_001, "1000")),
        *(("display_errors", value) for value in (1, "on", "yes")),
        *(("date.timezone", value) for value in ("Nowhere", "../etc/passwd", "UTC\n[x]", 'UTC"', "", "/etc", "utc; x")),
    ],
)
def test_s24_s25_values_out_of_bounds_or_form_are_refused(name: str, value: object) -> None:
    with pytest.raises(ValidationError):
        PhpSettings.model_validate({name: value})
    if isinstance(value, str | int | bool):
        with pytest.raises(NotSupported):
            DRIVER.render(_site({name: value}), _node(Path("/state")))


def test_a_node_path_that_php_would_split_is_refused() -> None:
    with pytest.raises(NotSupported):
        DRIVER.render(_site({}), _node(Path("/state:etc")))


def test_a_suspended_site_has_no_service() -> None:
    site = _site({}).model_copy(update={"is_suspended": True})

    assert not [one for one in DRIVER.render(site, _node(Path("/state"))).resources if isinstance(one, Service)]


def test_versions_and_executables_are_those_on_the_machine(tmp_path: Path) -> None:
    for name, mode in (("php-fpm8.2", 0o755), ("php-fpm8.10", 0o755), ("php-fpm7.4", 0o644), ("php-fpm8.2.bak", 0o755)):
        (tmp_path / name).touch()
        (tmp_path / name).chmod(mode)
    driver = PhpFpmRuntime(PhpFpmSettings(directory=AbsolutePath(str(tmp_path))))

    assert driver.versions() == ("8.10", "8.2")
    assert driver.executables() == {str(tmp_path / "php-fpm8.2"), str(tmp_path / "php-fpm8.10")}
    driver.check()
    with pytest.raises(NotInstalled) as raised:
        PhpFpmRuntime(PhpFpmSettings(directory=AbsolutePath(str(tmp_path / "none")))).check()
    assert raised.value.hint.startswith("apt-get install")


def test_a_version_may_lie_anywhere_if_the_settings_say_where(tmp_path: Path) -> None:
    other = tmp_path / "opt" / "php81" / "php-fpm"
    other.parent.mkdir(parents=True)
    for program in (other, tmp_path / "php-fpm8.2"):
        program.touch(0o755)
    settings = {"directory": str(tmp_path), "programs": {"8.1": str(other), "8.0": str(tmp_path / "missing")}}
    driver = PhpFpmRuntime(PhpFpmSettings.model_validate(settings))

    assert driver.versions() == ("8.2", "8.1")
    assert driver.executables() == {str(other), str(tmp_path / "php-fpm8.2")}
    site = _site({}).model_copy(update={"runtime": Runtime(driver="php", version="8.1")})
    (service,) = [one for one in driver.render(site, _node(Path("/state"))).resources if isinstance(one, Service)]
    assert service.command[0] == str(other)


def test_settings_say_when_a_version_ends_for_those_who_know_better() -> None:
    assert DRIVER.ends["7.4"] == date(2022, 11, 28)
    longer = PhpFpmRuntime(PhpFpmSettings.model_validate({"ends": {"7.4": "2032-01-01", "9.0": "2040-01-01"}})).ends
    assert (longer["7.4"], longer["9.0"], longer["8.4"]) == (date(2032, 1, 1), date(2040, 1, 1), DRIVER.ends["8.4"])


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be refused to run as root")
def test_s24_php_fpm_would_refuse_a_configuration_without_a_user_as_root(tmp_path: Path) -> None:
    """The text names no user, so a master that is started as root by mistake ends instead of serving."""
    node = _node(tmp_path)
    Path(node.layout.logs(UnixName("s1"))).mkdir(parents=True)
    file = tmp_path / "php-fpm.conf"
    file.write_text(_configuration(_site({}), node))

    tested = subprocess.run(
        [f"/usr/sbin/php-fpm{DRIVER.versions()[0]}", "-t", "-y", str(file)],
        env={},
        capture_output=True,
        timeout=20,
        check=False,
    )

    assert tested.returncode != 0
