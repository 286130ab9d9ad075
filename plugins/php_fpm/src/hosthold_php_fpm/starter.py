"""The page that a new site shows until its owner puts something of their own there."""

from __future__ import annotations

STARTER_PAGE = """\
<?php if (strtok($_SERVER['REQUEST_URI'], '?') !== '/') http_response_code(404); ?>
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>It works</title>
<style>
:root { color-scheme: light dark; }
body { margin: 0; min-height: 100vh; display: grid; place-items: center; background: Canvas; color: CanvasText;
  font: 1.05rem/1.6 system-ui, sans-serif; }
main { max-width: 36rem; padding: 2rem; }
h1 { font-size: 1.8rem; line-height: 1.25; margin: 0 0 .75rem; }
code { font-family: ui-monospace, monospace; overflow-wrap: anywhere; }
dl { display: grid; grid-template-columns: auto 1fr; gap: .25rem 1.25rem; margin: 1.5rem 0; padding: 1rem 1.25rem;
  border: 1px solid color-mix(in srgb, CanvasText 20%, transparent); border-radius: .5rem; }
dt { opacity: .7; }
dd { margin: 0; }
</style>
</head>
<body>
<main>
<h1><?= htmlspecialchars($_SERVER['HTTP_HOST']) ?> is online</h1>
<p>This is the first page of your new site. To make it yours, replace the file below, or put your
application into its folder. You need not tell anybody: the next visitor sees it.</p>
<dl>
<dt>File</dt><dd><code><?= htmlspecialchars(__FILE__) ?></code></dd>
<dt>PHP</dt><dd><?= PHP_VERSION ?></dd>
<dt>Runs as</dt><dd>user <?= posix_geteuid() ?>, which is this site's own</dd>
</dl>
<p>Errors of your code go to <code><?= htmlspecialchars(ini_get('error_log')) ?></code>.</p>
</main>
</body>
</html>
"""
