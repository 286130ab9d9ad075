"""What a site's PHP can make nginx do: nothing beyond what every visitor may ask of that same site."""

from __future__ import annotations

from pathlib import Path

import pytest

from .conftest import Machine


@pytest.mark.parametrize(
    "target",
    [
        "/.hosthold/../nginx.conf",
        "/.hosthold/..%2fnginx.conf",
        "/.hosthold/%2e%2e/nginx.conf",
        "//etc/passwd",
        "/../../../../etc/passwd",
        "/etc/passwd",
        "/neighbour/secret.txt",
        "/neighbour/",
        "/passwd",
        "/.env",
        "/.well-known/acme-challenge/../../nginx.conf",
        "@nowhere",
    ],
)
def test_s19_x_accel_redirect_reaches_nothing_outside_of_the_site(machine: Machine, target: str) -> None:
    a, b = machine.serve(machine.site(1, "a.example")), machine.serve(machine.site(2, "b.example"))
    machine.write(b, "secret.txt", "canary-of-b")
    machine.write(a, ".env", "canary-hidden")
    machine.link(a, machine.public(a, "neighbour"), machine.public(b))
    machine.link(a, machine.public(a, "passwd"), "/etc/passwd")
    machine.write(a, "send.php", f"<?php header('X-Accel-Redirect: {target}'); header('X-Sendfile: /etc/passwd');")
    machine.write(a, "index.php", "<?php echo 'front of a';")
    answer = machine.get("a.example", "/send.php")
    for canary in ("canary", "root:", "worker_processes"):
        assert canary not in answer.text, answer


def test_admin_values_hold_against_the_sites_own_settings(machine: Machine) -> None:
    site = machine.serve(machine.site(1, "a.example"))
    names = ("open_basedir", "memory_limit", "error_log", "opcache.validate_permission", "allow_url_include")
    machine.write(site, ".user.ini", "\n".join(f"{name} = /" for name in names) + "\nuser_ini.cache_ttl = 0\n")
    code = "".join(f"echo json_encode([ini_get('{name}'), @ini_set('{name}', '1')]), ' ';" for name in names)
    said = machine.php_says(site, code)
    assert said.count(",false]") == len(names), said
    home = str(Path(machine.node.layout.home(site.name))).replace("/", "\\/")
    assert said.startswith(f'["{home}",false]')
    assert '["\\/"' not in said
