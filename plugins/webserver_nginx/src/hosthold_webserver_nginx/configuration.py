"""The text of nginx.conf: one catch-all block that finds every site by its host name. Renders; opens nothing."""

from __future__ import annotations

import re
from string import Template

from hosthold_sdk import AbsolutePath, Isolation, Misconfigured, Node

from .settings import NginxSettings

PING_PATH = "/.well-known/hosthold-ping"
"""Passed to the runtime of the named host; only the machine itself may ask."""

ROUTE_PATH = "/.well-known/hosthold-route"
"""Answered by nginx alone for every name that it can serve; wakes nobody, and tells no more than any other request."""

_SUSPENDED = "SUSPENDED."

_LONGEST_SOCKET_PATH = 107
"""`sun_path` has 108 bytes, the last of which is a zero (unix(7)); nginx refuses longer paths."""

LONGEST_HOST = _LONGEST_SOCKET_PATH - len("/upstream")
"""The longest domain that nginx can serve: workers connect to `<domain>/upstream`, relative to the folder of hosts."""


class _ConfigurationTemplate(Template):
    """nginx's own variables begin with a dollar sign, so ours are written `%{name}`."""

    delimiter = "%"


# To check the owners of links nginx opens what it looks for, which fails for a script that only its owner may read.
# So links are not checked where nginx itself sends nothing: it looks for the index of a folder, or hands a script to
# PHP, which opens it as the site's own user.
#
# PHP is told real paths: OPcache finds a script by the path that it is told, so by way of a link it would go on running
# the old script after the link has changed, and applications compare DOCUMENT_ROOT with __DIR__, which is always real.
_TEMPLATE = _ConfigurationTemplate("""\
daemon off;
%{privileges}worker_processes auto;
working_directory %{hosts};
pid %{pid};
error_log %{folder}/logs/error.log warn;

events {
    worker_connections %{worker_connections};
}

http {
    include %{mime_types};
    default_type application/octet-stream;
    types_hash_max_size 4096;
    server_names_hash_max_size 131072;
    server_names_hash_bucket_size 256;

    client_body_temp_path %{folder}/temp/client_body;
    proxy_temp_path %{folder}/temp/proxy;
    fastcgi_temp_path %{folder}/temp/fastcgi;
    uwsgi_temp_path %{folder}/temp/uwsgi;
    scgi_temp_path %{folder}/temp/scgi;

    server_tokens off;
    absolute_redirect off;
    sendfile on;
    tcp_nopush on;
    reset_timedout_connection on;
    client_max_body_size %{max_upload_mb}m;
    client_header_timeout 15s;
    client_body_timeout 30s;
    send_timeout 30s;
    keepalive_timeout 65s;
    large_client_header_buffers 4 16k;

    gzip on;
    gzip_vary on;
    gzip_min_length 1024;
    gzip_proxied any;
    gzip_types text/plain text/css text/xml text/javascript application/javascript application/json application/xml
        application/rss+xml application/atom+xml application/wasm image/svg+xml font/ttf font/otf;

    map "$host $http_host" $host_port {
        default "";
        "~*^(\\S+) \\1\\.?(?<port>:[0-9]{1,5})$" $port;
    }

    fastcgi_param QUERY_STRING $query_string;
    fastcgi_param REQUEST_METHOD $request_method;
    fastcgi_param CONTENT_TYPE $content_type;
    fastcgi_param CONTENT_LENGTH $content_length;
    fastcgi_param SCRIPT_NAME $fastcgi_script_name;
    fastcgi_param SCRIPT_FILENAME $realpath_root$fastcgi_script_name;
    fastcgi_param REQUEST_URI $request_uri;
    fastcgi_param DOCUMENT_URI $document_uri;
    fastcgi_param DOCUMENT_ROOT $realpath_root;
    fastcgi_param SERVER_PROTOCOL $server_protocol;
    fastcgi_param REQUEST_SCHEME $scheme;
    fastcgi_param HTTPS $https if_not_empty;
    fastcgi_param GATEWAY_INTERFACE CGI/1.1;
    fastcgi_param SERVER_SOFTWARE nginx;
    fastcgi_param REMOTE_ADDR $remote_addr;
    fastcgi_param REMOTE_PORT $remote_port;
    fastcgi_param SERVER_ADDR $server_addr;
    fastcgi_param SERVER_PORT $server_port;
    fastcgi_param SERVER_NAME $host;
    fastcgi_param REDIRECT_STATUS 200;
    fastcgi_param HTTP_HOST $host$host_port;
    fastcgi_param HTTP_PROXY "" if_not_empty;
    fastcgi_buffer_size 32k;
    fastcgi_buffers 16 16k;
    fastcgi_busy_buffers_size 64k;
    fastcgi_read_timeout 3660s;

    open_log_file_cache max=1024 inactive=10s valid=5s min_uses=2;
    map $status $is_logged {
        default 1;
        400 0;
        444 0;
    }
    access_log %{hosts}/$host/logs/access.log combined if=$is_logged;

    server {
        listen %{listen} default_server;
        server_name _;
        root %{hosts}/$host/root;
        disable_symlinks if_not_owner from=%{hosts}/$host;
        index index.php index.html index.htm;

        location / {
            try_files $uri $uri/ /index.php$is_args$args;
        }

        location ^~ /.well-known/acme-challenge/ {
            alias %{challenges}/$host/;
            disable_symlinks on from=%{challenges};
            types { }
            default_type text/plain;
            log_not_found off;
            access_log off;
        }

        location = %{ping} {
            disable_symlinks off;
            if (-e %{suspended}$host) {
                return 503;
            }
            if (!-d %{hosts}/$host/logs) {
                return 444;
            }
            error_page 503 /.hosthold/suspended.html;
%{allowed}            deny all;
            access_log off;
            fastcgi_param REQUEST_METHOD GET;
            fastcgi_param SCRIPT_NAME %{ping};
            fastcgi_param SCRIPT_FILENAME %{ping};
            fastcgi_pass unix:$host/upstream;
        }

        location = %{route} {
            disable_symlinks off;
            access_log off;
            error_page 503 /.hosthold/suspended.html;
            if (-e %{suspended}$host) {
                return 503;
            }
            if (!-d %{hosts}/$host/root) {
                return 444;
            }
            return 204;
        }

        location ^~ /.hosthold/ {
            internal;
            alias %{folder}/pages/;
            disable_symlinks off;
            error_page 404 = @missing;
            add_header Cache-Control no-store always;
        }

        location = /.hosthold/suspended.html {
            internal;
            alias %{folder}/pages/suspended.html;
            disable_symlinks off;
            error_page 404 = @missing;
            add_header Cache-Control no-store always;
            add_header Retry-After 3600 always;
            access_log off;
        }

        location ~ /\\.(?!well-known/) {
            root %{folder}/pages;
            disable_symlinks off;
            try_files $uri @missing;
        }

        location ~ /$ {
            disable_symlinks off;
            try_files $uri/ /index.php$is_args$args;
        }

        location ~* \\.(?:php[3-8]?|phtml|phar)$ {
            disable_symlinks off;
            try_files $uri @missing;
            fastcgi_pass unix:$host/upstream;
        }

        location @missing {
            disable_symlinks off;
            if (-e %{suspended}$host) {
                return 503;
            }
            if (!-d %{hosts}/$host/logs) {
                return 444;
            }
            error_page 404 /.hosthold/missing.html;
            error_page 503 /.hosthold/suspended.html;
            return 404;
        }
    }
}
""")


def folder(node: Node) -> AbsolutePath:
    """What belongs to nginx itself, and to no site."""
    return node.layout.state.child("nginx")


def suspended(node: Node, domain: str) -> AbsolutePath:
    """The link of a suspended domain. nginx puts host names into lower case, so nobody can ask for this name."""
    return node.layout.hosts.child(_SUSPENDED + domain)


def render_configuration(node: Node, settings: NginxSettings) -> str:
    """nginx.conf for a node. Every site is found through the folder of hosts, so no site is named in it.

    Raises `Misconfigured` if the web server's user has a name that cannot be one.
    """
    own_addresses = dict.fromkeys(("127.0.0.1", "::1", node.listen.address.strip("[]")))
    return _TEMPLATE.substitute(
        privileges=_privileges(node, settings),
        hosts=node.layout.hosts,
        suspended=node.layout.hosts.child(_SUSPENDED),
        challenges=node.layout.challenges,
        pid=node.layout.run.child("nginx.pid"),
        folder=folder(node),
        mime_types=settings.mime_types,
        worker_connections=settings.worker_connections,
        max_upload_mb=settings.max_upload_mb,
        listen=f"{node.listen.address}:{node.listen.port}",
        ping=PING_PATH,
        route=ROUTE_PATH,
        allowed="".join(f"            allow {address};\n" for address in own_addresses),
    )


def _privileges(node: Node, settings: NginxSettings) -> str:
    """Only root can become somebody else, and only root may raise its own limit of open files."""
    if node.isolation is Isolation.none or node.root.uid != 0:
        return ""
    if not re.fullmatch(r"[a-z_][a-z0-9_-]{0,30}", node.web_user):
        raise Misconfigured(
            f"{node.web_user!r} cannot be the user of the web server; nothing was written",
            hint="name an existing system user, such as www-data",
        )
    return f"user {node.web_user};\nworker_rlimit_nofile {settings.worker_connections * 4};\n"
