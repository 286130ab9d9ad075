"""What nginx does with a request for a site: the same text in the block of all standard sites and in a site's own.

Every path leads through the name that was asked for, so nothing in it names a site.
"""

from __future__ import annotations

from string import Template

from hosthold_sdk import AbsolutePath, Node

PING_PATH = "/.well-known/hosthold-ping"
"""Passed to the runtime of the named host; only the machine itself may ask."""

ROUTE_PATH = "/.well-known/hosthold-route"
"""Answered by nginx alone for every name that it can serve; wakes nobody, and tells no more than any other request."""

CHALLENGE_PATH = "/.well-known/acme-challenge"

_SUSPENDED = "SUSPENDED."


class ConfigurationTemplate(Template):
    """nginx's own variables begin with a dollar sign, so ours are written `%{name}`."""

    delimiter = "%"


# To check the owners of links nginx opens what it looks for, which fails for a script that only its owner may read.
# So links are not checked where nginx itself sends nothing: it looks for the index of a folder, or hands a script to
# PHP, which opens it as the site's own user.
#
# What the platform itself answers asks nobody for a password and keeps no address away.
_LOCATIONS = ConfigurationTemplate("""\
        root %{hosts}/$host/root;
        disable_symlinks if_not_owner from=%{hosts}/$host;
        index index.php index.html index.htm;

%{everything}
        location ^~ %{challenge}/ {
            alias %{challenges}/$host/;
            disable_symlinks on from=%{challenges};
            auth_basic off;
            allow all;
            types { }
            default_type text/plain;
            log_not_found off;
            access_log off;
        }

        location = %{ping} {
            disable_symlinks off;
            auth_basic off;
            access_log off;
            if (-e %{suspended}$host) {
                return 503;
            }
            if (!-d %{hosts}/$host) {
                return 444;
            }
            error_page 503 /.hosthold/suspended.html;
%{allowed}            deny all;
            fastcgi_param REQUEST_METHOD GET;
            fastcgi_param SCRIPT_NAME %{ping};
            fastcgi_param SCRIPT_FILENAME %{ping};
            fastcgi_pass unix:$host/upstream;
        }

        location = %{route} {
            disable_symlinks off;
            auth_basic off;
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
%{headers}        }

        location = /.hosthold/suspended.html {
            internal;
            alias %{folder}/pages/suspended.html;
            disable_symlinks off;
            error_page 404 = @missing;
            add_header Cache-Control no-store always;
            add_header Retry-After 3600 always;
            access_log off;
        }

%{shared}        location @missing {
            disable_symlinks off;
            if (-e %{suspended}$host) {
                return 503;
            }
            if (!-d %{hosts}/$host) {
                return 444;
            }
            error_page 404 /.hosthold/missing.html;
            error_page 503 /.hosthold/suspended.html;
            return 404;
        }
""")

STATIC = "try_files $uri $uri/ /index.php$is_args$args;\n"

HIDDEN = """\
root %{folder}/pages;
disable_symlinks off;
try_files $uri @missing;
"""
"""Hidden files are looked for where none are, so the answer is the same whether they exist."""

SCRIPT = """\
disable_symlinks off;
expires off;
try_files $uri @missing;
fastcgi_pass unix:$host/upstream;
"""

FOLDER = """\
disable_symlinks off;
try_files $uri/ /index.php$is_args$args;
"""

SCRIPT_NAME = r"\.(?:php[3-8]?|phtml|phar)$"
HIDDEN_NAME = r"/\.(?!well-known/)"

_SHARED = (("~ " + HIDDEN_NAME, HIDDEN), ("~ /$", FOLDER), ("~* " + SCRIPT_NAME, SCRIPT))


def folder(node: Node) -> AbsolutePath:
    """What belongs to nginx itself, and to no site."""
    return node.layout.state.child("nginx")


def suspended(node: Node, domain: str) -> AbsolutePath:
    """The link of a suspended domain. nginx puts host names into lower case, so nobody can ask for this name."""
    return node.layout.hosts.child(_SUSPENDED + domain)


def location(match: str, body: str, indent: int = 8) -> str:
    """One location with these lines in it."""
    outer = " " * indent
    return f"{outer}location {match} {{\n{indented(body, indent + 4)}{outer}}}\n"


def indented(lines: str, indent: int) -> str:
    """The lines, moved to the right."""
    return "".join(f"{' ' * indent}{line}\n" if line else "\n" for line in lines.splitlines())


def shared(node: Node, indent: int = 8) -> str:
    """Hidden files, folders and scripts, which go by what a path looks like, wherever in the site it is."""
    return "\n".join(location(match, filled(body, node), indent) for match, body in _SHARED)


def filled(body: str, node: Node) -> str:
    """The lines with the node's folders in them."""
    return ConfigurationTemplate(body).substitute(folder=folder(node))


def render_locations(node: Node, headers: str = "", everything: str = "") -> str:
    """What is the same for every site.

    `headers` are lines that every answer needs; `everything` answers all requests in place of files and scripts.
    """
    own_addresses = dict.fromkeys(("127.0.0.1", "::1", node.listen.address.strip("[]")))
    return _LOCATIONS.substitute(
        hosts=node.layout.hosts,
        suspended=node.layout.hosts.child(_SUSPENDED),
        challenges=node.layout.challenges,
        folder=folder(node),
        challenge=CHALLENGE_PATH,
        ping=PING_PATH,
        route=ROUTE_PATH,
        allowed="".join(f"            allow {address};\n" for address in own_addresses),
        headers=indented(headers, 12),
        everything=location("/", everything or STATIC),
        shared="" if everything else shared(node) + "\n",
    )
