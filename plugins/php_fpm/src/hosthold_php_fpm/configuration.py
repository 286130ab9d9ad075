"""The text of a site's php-fpm.conf. Renders; opens nothing.

php-fpm reads its configuration one byte per system call, so the text holds no comment.
"""

from __future__ import annotations

from hosthold_sdk import AbsolutePath, Node, NotSupported, Site

from .settings import PhpSettings, mebibytes

PING_PATH = "/.well-known/hosthold-ping"


def listen_address(site: Site) -> str:
    """The name by which php-fpm knows the socket that it inherits; `FPM_SOCKETS` maps it to a descriptor.

    It is not where the socket lies: php-fpm removes the path that it is told here when it stops, and the socket must
    outlive it. Nothing can be removed from a folder that does not exist.
    """
    return f"/nonexistent/{site.name}.sock"


def home_folders(site: Site, node: Node) -> tuple[AbsolutePath, AbsolutePath]:
    """Where PHP puts temporary files, and sessions."""
    home = node.layout.home(site.name)
    return home.child("tmp"), home.child("sessions")


def error_log(site: Site, node: Node) -> AbsolutePath:
    """Where errors of PHP and of php-fpm go."""
    return node.layout.logs(site.name).child("php-error.log")


def render_configuration(site: Site, node: Node, settings: PhpSettings) -> str:
    """One master with one pool, for one site.

    What protects the machine or a neighbour is an admin value, which neither `.user.ini` nor `ini_set` can change.
    Raises `NotSupported` for a setting above the limits of the package, naming the limit.
    """
    home = node.layout.home(site.name)
    if ":" in home:
        raise NotSupported(
            f"PHP separates the folders of open_basedir by colons, so {home} cannot be one; nothing was changed",
            hint="move the state of the node to a path without a colon",
        )
    limits = site.limits
    memory = _size(settings.memory_limit, "memory_limit", limits.memory_mb, "memory_mb")
    upload = _size(settings.upload_max_filesize, "upload_max_filesize", limits.upload_mb, "upload_mb")
    post = _size(settings.post_max_size, "post_max_size", limits.upload_mb, "upload_mb")
    seconds = settings.max_execution_time or limits.execution_seconds
    if seconds > limits.execution_seconds:
        raise _above_limit("max_execution_time", str(seconds), "execution_seconds", str(limits.execution_seconds))
    temporary, sessions = home_folders(site, node)
    log = error_log(site, node)
    return f"""\
[global]
daemonize = no
error_log = "{log}"
log_level = warning
process_control_timeout = 10s
[site]
listen = "{listen_address(site)}"
pm = ondemand
pm.max_children = {limits.processes}
pm.process_idle_timeout = 10s
pm.max_requests = 1000
request_terminate_timeout = {limits.execution_seconds + _GRACE_SECONDS}s
request_terminate_timeout_track_finished = yes
ping.path = {PING_PATH}
security.limit_extensions = .php
clear_env = yes
env[PATH] = /usr/local/bin:/usr/bin:/bin
env[HOME] = "{home}"
env[TMPDIR] = "{temporary}"
php_admin_value[open_basedir] = "{home}"
php_admin_value[sys_temp_dir] = "{temporary}"
php_admin_value[upload_tmp_dir] = "{temporary}"
php_admin_value[error_log] = "{log}"
php_admin_flag[log_errors] = on
php_admin_flag[expose_php] = off
php_admin_flag[allow_url_include] = off
php_admin_flag[enable_dl] = off
php_admin_value[ffi.enable] = false
php_admin_flag[opcache.validate_permission] = on
php_admin_flag[opcache.validate_root] = on
php_admin_value[opcache.restrict_api] = /nonexistent
php_admin_value[memory_limit] = {memory}
php_admin_value[upload_max_filesize] = {upload}
php_admin_value[post_max_size] = {post}
php_admin_value[max_input_vars] = {settings.max_input_vars}
php_value[max_execution_time] = {seconds}
php_flag[display_errors] = {"on" if settings.display_errors else "off"}
php_value[date.timezone] = "{settings.date_timezone}"
php_value[session.save_path] = "{sessions}"
php_value[session.gc_probability] = 1
"""


_GRACE_SECONDS = 5
"""How long PHP has to end a request by itself, with an error in the log, before php-fpm kills its process."""


def _size(chosen: str | None, setting: str, limit_mb: int, limit: str) -> str:
    if chosen is None:
        return f"{limit_mb}M"
    if mebibytes(chosen) > limit_mb:
        raise _above_limit(setting, chosen, limit, f"{limit_mb}M")
    return chosen


def _above_limit(setting: str, chosen: str, limit: str, allowed: str) -> NotSupported:
    return NotSupported(
        f"{setting} is {chosen}, and the package allows {allowed} ({limit}); nothing was changed",
        hint=f"set {setting} to {allowed} or less, or choose a larger package",
    )
