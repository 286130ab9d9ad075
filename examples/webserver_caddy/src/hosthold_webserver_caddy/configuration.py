"""The text of the Caddyfile: one block that finds every site by its host name. Renders; opens nothing."""

from __future__ import annotations

import string
from string import Template

from hosthold_sdk import AbsolutePath, Node

from .pages import MISSING_PAGE, SUSPENDED_PAGE
from .settings import CaddySettings

PING_PATH = "/.well-known/hosthold-ping"
"""Passed to the runtime of the named host; only the machine itself may ask."""

ROUTE_PATH = "/.well-known/hosthold-route"
"""Answered by Caddy alone for every name that it can serve; wakes nobody, and tells no more than any other request."""

CHALLENGE_PATH = "/.well-known/acme-challenge"

_SUSPENDED, _UPSTREAM = "SUSPENDED.", "UPSTREAM."

LONGEST_SOCKET_PATH = 107
"""`sun_path` has 108 bytes, the last of which is a zero (unix(7))."""

LONGEST_HOST = LONGEST_SOCKET_PATH - len(_UPSTREAM)
"""The longest domain that can be served: Caddy connects to `UPSTREAM.<domain>`, relative to the folder of hosts."""


class ConfigurationTemplate(Template):
    """Regular expressions hold dollar signs, so what is filled in is written `%{name}`."""

    delimiter = "%"


# A host name becomes part of paths, so nothing else than one gets further than `@unusable`. Hosts are compared with
# links on disk, so they are put into lower case before, which Caddy can do only letter by letter.
#
# What the platform itself answers asks nobody for a password and keeps no address away, so the blocks come after it.
# Blocks only add to what follows: they redirect, refuse, pass on, or remember.
#
# What is not set is compared as the text `<nil>`, which no expression for a value of ours may match.
#
# `split` names what no path holds: the script is the whole path, which exists. PHP is told real paths.
_TEMPLATE = ConfigurationTemplate("""\
{
	admin unix/%{admin}
	auto_https off
	storage file_system %{data}
	grace_period 10s
	log default {
		level WARN
		exclude http
	}
	log errors {
		output file %{error_log} {
			roll_disabled
		}
		format json
		include http.log.error http.handlers
		level WARN
	}
	servers {
		protocols h1
		max_header_size 65536
		timeouts {
			read_header 15s
			idle 65s
		}
	}
}

:%{port} {
	bind %{address}
	log {
		output file %{access_log} {
			roll_disabled
		}
		format filter {
			wrap json
			fields {
				resp_headers delete
			}
		}
	}
	route {
		header -Server
		request_header -Proxy
		request_header -*_*
		@strange header_regexp Host `[A-Z]|[.](:[0-9]*)?$`
		route @strange {
			request_header Host `[.](:[0-9]*)?$` $1
%{lower}		}
		@unusable not vars_regexp {http.request.host} `^[a-z0-9-]+([.][a-z0-9-]+)*$`
		handle @unusable {
			skip_log
			abort
		}

		@challenge path_regexp `^%{challenge}/`
		handle @challenge {
			skip_log
			@token path_regexp token `^%{challenge}/([A-Za-z0-9_-]+)$`
			handle @token {
				root * %{challenges}/{http.request.host}
				rewrite * /{http.regexp.token.1}
				header Content-Type text/plain
				file_server
			}
			error 404
		}

		@unserved not file {
			root %{hosts}
			try_files /%{upstream}{http.request.host}
		}
		handle @unserved {
			skip_log
			@suspended file {
				root %{hosts}
				try_files /%{suspended}{http.request.host}/
			}
			handle @suspended {
				header Cache-Control no-store
				header Retry-After 3600
				header Content-Type "text/html; charset=utf-8"
				respond `%{suspended_page}` 503
			}
			abort
		}
		root * %{hosts}/{http.request.host}

		@route path_regexp `^%{route}$`
		handle @route {
			skip_log
			@rootless not file /
			abort @rootless
			respond 204
		}
		@ping path_regexp `^%{ping}$`
		handle @ping {
			skip_log
			@stranger not remote_ip %{own_addresses}
			error @stranger 403
			reverse_proxy unix/%{upstream}{http.request.host} {
				transport fastcgi {
					split `
`
					env REQUEST_METHOD GET
					env CONTENT_LENGTH ""
					env SCRIPT_NAME %{ping_path}
					env SCRIPT_FILENAME %{ping_path}
				}
			}
		}

		@unwanted method CONNECT TRACE
		error @unwanted 405
		request_body {
			max_size %{max_upload_mb}MiB
		}
		encode gzip
		import %{blocks}/*.caddy

		@hidden path_regexp `%{hidden}`
		error @hidden 404
		@slashless {
			not path_regexp `/$`
			file {
				try_files {http.request.uri.path}/
			}
			vars_regexp uri {http.request.uri} `^/+([^?]*)(.*)$`
		}
		redir @slashless /{http.regexp.uri.1}/{http.regexp.uri.2} 301
		@index {
			path_regexp `/$`
			file {
				try_files {http.request.uri.path}/index.php
			}
		}
		rewrite @index {http.matchers.file.relative}
		@absent {
			not path_regexp `%{script}`
			not file {
				try_files {http.request.uri.path} {http.request.uri.path}/
			}
			file {
				try_files /index.php
			}
		}
		rewrite @absent /index.php
		@script path_regexp `%{script}`
		handle @script {
			@missing not file {
				try_files {http.request.uri.path}
			}
			error @missing 404
			reverse_proxy unix/%{upstream}{http.request.host} {
				transport fastcgi {
					split `
`
					resolve_root_symlink
					env DOCUMENT_URI {http.request.uri.path}
					env SERVER_SOFTWARE Caddy
					dial_timeout 10s
					read_timeout 3660s
					write_timeout 60s
				}
				header_down -Status
			}
		}
		@nothing not file {
			try_files {http.request.uri.path} {http.request.uri.path}/
		}
		error @nothing 404
		@kept {
			vars_regexp kept `^(max-age|no-cache)`
			file {
				try_files {http.request.uri.path} {http.request.uri.path}/index.html {http.request.uri.path}/index.htm
			}
		}
		header @kept +Cache-Control {http.vars.kept}
		file_server {
			index index.html index.htm
		}
	}
	handle_errors {
		header -Server
		header +Cache-Control no-store
		@missing expression {http.error.status_code} == 404
		header @missing Content-Type "text/html; charset=utf-8"
		respond @missing `%{missing_page}` 404
		respond "{http.error.status_code} {http.error.status_text}"
	}
}
""")


SCRIPT_NAME = "(?i)[.](php[3-8]?|phtml|phar)$"


def _hidden() -> str:
    """A part of a path that begins with a dot, except `.well-known`. Go's expressions cannot look ahead."""
    allowed = "well-known/"
    others = "|".join(f"{allowed[:place]}([^{letter}]|$)" for place, letter in enumerate(allowed))
    return f"/[.]({others})"


def render_configuration(node: Node, settings: CaddySettings) -> str:
    """The Caddyfile for a node. Every site is found through the folder of hosts, so no site is named in it."""
    access_log, error_log = logs(node)
    own_addresses = dict.fromkeys(("127.0.0.1", "::1", node.listen.address.strip("[]")))
    return _TEMPLATE.substitute(
        admin=own_run(node).child("admin.sock"),
        data=own_run(node).child("data"),
        port=node.listen.port,
        address=node.listen.address,
        access_log=access_log,
        error_log=error_log,
        lower="".join(f"\t\t\trequest_header Host {upper} {upper.lower()}\n" for upper in string.ascii_uppercase),
        hosts=node.layout.hosts,
        blocks=node.layout.blocks,
        challenges=node.layout.challenges,
        challenge=expression(CHALLENGE_PATH),
        route=expression(ROUTE_PATH),
        ping=expression(PING_PATH),
        ping_path=PING_PATH,
        upstream=_UPSTREAM,
        suspended=_SUSPENDED,
        own_addresses=" ".join(own_addresses),
        max_upload_mb=settings.max_upload_mb,
        hidden=_hidden(),
        script=SCRIPT_NAME,
        suspended_page=SUSPENDED_PAGE,
        missing_page=MISSING_PAGE,
    )


def expression(path: str) -> str:
    """A regular expression for exactly this text, of the characters that the path of a request may have here."""
    return "".join(f"[{one}]" if one in ".+" else one for one in path)


def logs(node: Node) -> tuple[AbsolutePath, AbsolutePath]:
    """The logs of requests and of errors, for all sites together."""
    return folder(node).child("logs", "access.log"), folder(node).child("logs", "error.log")


def folder(node: Node) -> AbsolutePath:
    """What belongs to Caddy itself, and to no site."""
    return node.layout.state.child("caddy")


def own_run(node: Node) -> AbsolutePath:
    """What Caddy writes itself while it runs: its control socket, and notes that it keeps for itself."""
    return node.layout.run.child("caddy")


def suspended(node: Node, domain: str) -> AbsolutePath:
    """The link of a suspended domain. Host names have no capitals, so nobody can ask for this name."""
    return node.layout.hosts.child(_SUSPENDED + domain)


def upstream_link(node: Node, domain: str) -> AbsolutePath:
    """The link from a domain to the socket of the site's runtime."""
    return node.layout.hosts.child(_UPSTREAM + domain)
