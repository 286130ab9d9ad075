"""Values that want to be more than values: through the API, and in what a tenant may set from its own files."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.security.conftest import Company

SETTINGS = (
    ("open_basedir", "/"),
    ("disable_functions", ""),
    ("extension", "x.so"),
    ("zend_extension", "x.so"),
    ("auto_prepend_file", "/etc/passwd"),
    ("sendmail_path", "/bin/sh"),
    ("error_log", "/etc/cron.d/x"),
    ("opcache.restrict_api", ""),
    ("opcache.preload", "x.php"),
    ("user_ini.filename", "x"),
    ("include_path", "/"),
    ("memory_limit", "64M\nphp_admin_value[open_basedir] = /"),
    ("memory_limit", "64M\n[root]"),
    ("memory_limit", "-1"),
    ("memory_limit", "9999999999M"),
    ("date.timezone", 'UTC"\nuser = root\n;'),
    ("date.timezone", "../../etc/passwd"),
    ("display_errors", "on\nlisten = /tmp/x"),
    ("max_input_vars", "1000\npm.max_children = 0"),
    ("max_execution_time", 0),
    ("pm.max_children", 0),
    ("user", "root"),
    ("listen", "/tmp/x"),
    ("chroot", "/"),
    ("process.priority", -19),
)
WEB: tuple[dict[str, Any], ...] = (
    {"redirects": [{"path": "/a; } server { root /; ", "to": "/"}]},
    {"redirects": [{"path": "/a", "to": '/b"; include /etc/passwd; #'}]},
    {"redirects": [{"path": "/a", "to": "/$document_root"}]},
    {"redirects": [{"path": "/a", "to": "javascript:alert(1)"}]},
    {"headers": [{"name": "X-A", "value": 'b"; access_log /tmp/x; #'}]},
    {"headers": [{"name": "X-A", "value": "$realpath_root"}]},
    {"headers": [{"name": "X-A\r\nSet-Cookie", "value": "b"}]},
    {"headers": [{"name": "X-A b; alias /", "value": "b"}]},
    {"rules": [{"path": "/a", "access": "listed", "addresses": ["all; } }"]}]},
    {"rules": [{"path": "/../..", "access": "nobody"}]},
    {"basic_auth": [{"path": "/", "realm": 'x"; load_module x.so; "', "users": [{"name": "a", "password": "b" * 12}]}]},
    {"basic_auth": [{"path": "/", "users": [{"name": "root:x\nb", "password": "b" * 12}]}]},
    {"proxies": [{"path": "/a", "socket": "../../../run/keeper.sock"}]},
    {"proxies": [{"path": "/a", "socket": "/run/redis.sock"}]},
    {"proxies": [{"path": "/a", "socket": "http://127.0.0.1:6379"}]},
    {"snippet": "lua_code_cache on;"},
    {"include": "/etc/nginx/*.conf"},
)
SITES: tuple[dict[str, Any], ...] = (
    {"domain": "a.test;}"}, {"domain": "$host.test"}, {"domain": "a.test\nb.test"}, {"domain": "../a.test"},
    {"domain": "_"}, {"domain": "*.test"}, {"domain": "~^(.*)$.test"},
    {"domain": "ok.test", "aliases": ["b.test default_server"]},
    {"domain": "ok.test", "document_root": "../../etc"}, {"domain": "ok.test", "document_root": "/etc"},
    {"domain": "ok.test", "document_root": "public; root /"}, {"domain": "ok.test", "document_root": "tmp/$host"},
    {"domain": "ok.test", "runtime": {"version": "8.2 -d x"}}, {"domain": "ok.test", "runtime": {"driver": "../x"}},
    {"domain": "ok.test", "uid": 0}, {"domain": "ok.test", "name": "root"},
)  # fmt: skip


def _configurations(company: Company) -> dict[str, str]:
    """What the node has written for servers to read."""
    node = company.platform.state
    files = [node / "nginx" / "nginx.conf", *(node / "blocks").iterdir(), *(node / "sites").glob("*/php-fpm.conf")]
    return {str(file): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def _set(company: Company, version: str, name: str, value: object) -> httpx.Response:
    changes = {"runtime": {"settings": {name: value}}}
    return company.platform.api("PATCH", f"/sites/{company.a.site['id']}", changes, **{"If-Match": version})


def test_s21_s22_s24_s25_no_value_becomes_configuration(company: Company) -> None:
    platform, site = company.platform, company.a.site["id"]
    before, version = _configurations(company), platform.api("GET", f"/sites/{site}").headers["ETag"]
    refused = {
        **{f"PHP {name} = {value}": _set(company, version, name, value) for name, value in SETTINGS},
        **{f"web {web}": platform.api("PUT", f"/sites/{site}/web", web, **{"If-Match": version}) for web in WEB},
        **{f"site {draft}": platform.api("POST", "/sites", {"account_id": platform.customer} | draft)
           for draft in SITES},
    }  # fmt: skip
    assert {what: answer.status_code for what, answer in refused.items() if answer.status_code != 422} == {}
    assert platform.api("GET", f"/sites/{site}").headers["ETag"] == version
    assert _configurations(company) == before
    allowed = _set(company, version, "memory_limit", "96M")
    assert allowed.status_code == 202
    platform.settled(site)
    assert _configurations(company) != before, "a value that is one does become configuration"


LOOSE = {
    "open_basedir": "/", "sys_temp_dir": "/tmp", "upload_tmp_dir": "/tmp", "error_log": "/tmp/x",
    "allow_url_include": "1", "enable_dl": "1", "opcache.restrict_api": "", "opcache.validate_permission": "0",
    "memory_limit": "9999M", "upload_max_filesize": "9999M", "post_max_size": "9999M", "max_input_vars": "999999",
    "ffi.enable": "1",
}  # fmt: skip
LINES = "\n".join(f'{name} = "{value}"' for name, value in LOOSE.items())
SHOW = f"""<?php
foreach ({list(LOOSE)} as $name) {{
    $is[$name] = ini_get($name);
}}
echo json_encode(['admin' => $is, 'precision' => ini_get('precision')]);
"""
SETS = "".join(f"@ini_set({json.dumps(name)}, {json.dumps(value)});\n" for name, value in LOOSE.items())


@pytest.mark.parametrize(
    ("way", "files", "headers", "precision"),
    [
        ("page", {"show.php": SHOW.replace("<?php", f"<?php {SETS} ini_set('precision', 5);")}, {}, "5"),
        ("user-ini", {".user.ini": f"{LINES}\nprecision = 5\n", "show.php": SHOW}, {}, "5"),
        ("environment", {"show.php": SHOW.replace("<?php", f"<?php putenv('PHP_ADMIN_VALUE={LINES}');")}, {}, "14"),
        (
            "headers",
            {"show.php": SHOW},
            dict.fromkeys(("PHP_VALUE", "PHP-ADMIN-VALUE"), LINES.replace("\n", " ")),
            "14",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) and len(value) > 2 else "",
)
def test_s25_a_tenants_own_files_and_requests_loosen_nothing(
    company: Company, way: str, files: dict[str, str], headers: dict[str, Any], precision: str
) -> None:
    a = company.a
    a.put("plain/show.php", SHOW)
    before = json.loads(a.ask("/plain/show.php")[1])
    assert before["admin"]["open_basedir"] == str(a.home)
    for name, content in files.items():
        a.put(f"{way}/{name}", content)

    after = json.loads(a.ask(f"/{way}/show.php", **headers)[1])

    assert after == {"admin": before["admin"], "precision": precision}, "what is free to set is set"


def test_s24_php_fpm_runs_as_the_site_and_nobody_else(company: Company) -> None:
    for tenant in (company.a, company.b):
        tenant.ask("/")
        mine = [pid for pid in tenant.processes() if b"php-fpm" in Path(f"/proc/{pid}/cmdline").read_bytes()]
        assert len(mine) >= 2
        for pid in mine:
            lines = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
            assert set(lines["Uid"].split() + lines["Gid"].split()) == {str(tenant.uid)}
            assert (lines["CapEff"], lines["NoNewPrivs"], lines["Groups"].strip()) == ("0" * 16, "1", "")
        status = Path(tenant.socket).stat()
        assert (status.st_mode & 0o777, status.st_uid not in (0, tenant.uid)) == (0o600, True)
