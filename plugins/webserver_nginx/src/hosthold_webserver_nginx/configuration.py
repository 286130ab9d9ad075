"""The text of nginx.conf: one catch-all block that finds every site by its host name. Renders; opens nothing."""

from __future__ import annotations

import re

from hosthold_sdk import AbsolutePath, Isolation, Misconfigured, Node

from .blocks import listen_lines
from .locations import ConfigurationTemplate, folder, render_locations
from .settings import NginxSettings

_LONGEST_SOCKET_PATH = 107
"""`sun_path` has 108 bytes, the last of which is a zero (unix(7)); nginx refuses longer paths."""

LONGEST_HOST = _LONGEST_SOCKET_PATH - len("/upstream")
"""The longest domain that nginx can serve: workers connect to `<domain>/upstream`, relative to the folder of hosts."""


# PHP is told real paths: OPcache finds a script by the path that it is told, so by way of a link it would go on running
# the old script after the link has changed, and applications compare DOCUMENT_ROOT with __DIR__, which is always real.
#
# A name that somebody asks for by TLS becomes part of a path only if it looks like a host name. There is one log for
# all sites, each line beginning with the name that was asked for, so a site costs no descriptor.
_TEMPLATE = ConfigurationTemplate("""\
daemon off;
%{privileges}worker_processes auto;
working_directory %{hosts};
pid %{pid};
error_log %{error_log} warn;

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

    map $http_upgrade $connection_upgrade {
        default upgrade;
        "" "";
    }

    map $status $is_logged {
        default 1;
        400 0;
        444 0;
    }
    log_format hosthold '$host $remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent '
        '"$http_referer" "$http_user_agent"';
    access_log %{access_log} hosthold buffer=64k flush=1s if=$is_logged;

%{tls}    server {
%{listen}        server_name _;
%{locations}    }

    include %{blocks}/*.conf;
}
""")


_TLS = ConfigurationTemplate("""\
    map $ssl_server_name $certificate {
        default unknown;
        "~^(?<known>[a-z0-9-]+(\\.[a-z0-9-]+)+)$" $known;
    }
    ssl_certificate %{certificates}/$certificate/chain.pem;
    ssl_certificate_key %{certificates}/$certificate/key.pem;
    ssl_protocols TLSv1.2 TLSv1.3;
    ssl_prefer_server_ciphers off;
    ssl_session_cache shared:hosthold:10m;
    ssl_session_timeout 1d;

""")


def render_configuration(node: Node, settings: NginxSettings) -> str:
    """nginx.conf for a node. Every site is found through the folder of hosts, so no site is named in it.

    Raises `Misconfigured` if the web server's user has a name that cannot be one.
    """
    access_log, error_log = logs(node)
    return _TEMPLATE.substitute(
        privileges=_privileges(node, settings),
        hosts=node.layout.hosts,
        pid=node.layout.run.child("nginx.pid"),
        folder=folder(node),
        mime_types=settings.mime_types,
        worker_connections=settings.worker_connections,
        max_upload_mb=settings.max_upload_mb,
        access_log=access_log,
        error_log=error_log,
        tls="" if node.listen.tls_port is None else _TLS.substitute(certificates=node.layout.certificates),
        listen=listen_lines(node, " default_server"),
        locations=render_locations(node),
        blocks=node.layout.blocks,
    )


def logs(node: Node) -> tuple[AbsolutePath, AbsolutePath]:
    """The logs of requests and of errors, for all sites together."""
    return folder(node).child("logs", "access.log"), folder(node).child("logs", "error.log")


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
