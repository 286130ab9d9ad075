"""The two pages that nginx shows in place of a site's own: self-contained, readable on a phone, in light and dark."""

from __future__ import annotations

from string import Template

_PAGE = Template("""\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>$title</title>
<style>
:root { color-scheme: light dark; }
body { margin: 0; min-height: 100vh; display: grid; place-items: center; background: Canvas; color: CanvasText;
  font: 1.05rem/1.6 system-ui, sans-serif; }
main { max-width: 32rem; padding: 2rem; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 .75rem; }
p { margin: 0; opacity: .8; }
</style>
</head>
<body>
<main>
<h1>$title</h1>
<p>$text</p>
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
