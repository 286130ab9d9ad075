"""The two pages that Caddy shows in place of a site's own: self-contained, readable on a phone, in light and dark.

No brace is in them: Caddy would take what is between two for the name of a value.
"""

from __future__ import annotations

from string import Template

_PAGE = Template("""\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="robots" content="noindex">
<title>$title</title>
<body style="margin:0;min-height:100vh;display:grid;place-items:center;font:1.05rem/1.6 system-ui,sans-serif">
<main style="max-width:32rem;padding:2rem">
<h1 style="font-size:1.6rem;line-height:1.25;margin:0 0 .75rem">$title</h1>
<p style="margin:0;opacity:.8">$text</p>
</main>
</body>
</html>
""")

SUSPENDED_PAGE = _PAGE.substitute(
    title="This site is paused",
    text="It is not available now. If it is yours, sign in to your hosting account to see why and to resume it.",
)
MISSING_PAGE = _PAGE.substitute(
    title="There is no such page",
    text="The address may be mistyped, or the page may have moved. The start page is a good place to go on.",
)
