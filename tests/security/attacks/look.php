<?php
// Reads, lists, includes and writes whatever it is given, in every way that PHP has.
require __DIR__ . '/given.php';

function included(string $path): string
{
    ob_start();
    $value = include $path;
    return ob_get_clean() . (is_string($value) ? $value : '');
}

$ways = [
    'read' => fn($path) => file_get_contents($path),
    'include' => fn($path) => included($path),
    'filter' => fn($path) => file_get_contents("php://filter/convert.base64-decode|convert.base64-encode/resource=$path"),
    'shell' => fn($path) => shell_exec('cat ' . escapeshellarg($path) . ' 2>/dev/null'),
    'list' => fn($path) => scandir($path) ? implode(' ', scandir($path)) : '',
    'list by shell' => fn($path) => shell_exec('ls -A ' . escapeshellarg("$path/") . ' 2>/dev/null'),
    'glob' => fn($path) => implode(' ', glob("$path/*") ?: []),
    'through a link' => function ($path) {
        $link = __DIR__ . '/link-' . md5($path);
        @unlink($link);
        symlink($path, $link);
        shell_exec('ln -sf ' . escapeshellarg($path) . ' ' . escapeshellarg($link));
        return file_get_contents($link);
    },
    'hard link' => function ($path) {
        $link = __DIR__ . '/hard-' . md5($path);
        shell_exec('ln ' . escapeshellarg($path) . ' ' . escapeshellarg($link) . ' 2>/dev/null');
        return file_exists($link) ? file_get_contents($link) . ' linked' : '';
    },
    'append' => fn($path) => is_file($path) && file_put_contents($path, '', FILE_APPEND) !== false ? 'wrote' : '',
    'make' => fn($path) => is_dir($path) && touch("$path/of-a") ? 'made' : '',
    'write by shell' => fn($path) => shell_exec('test -w ' . escapeshellarg($path) . ' && echo writable'),
    'change mode' => fn($path) => chmod($path, 0777) ? 'changed' : '',
    'rename' => fn($path) => rename($path, __DIR__ . '/taken') ? 'taken' : '',
];
$found = [];
foreach ($given['paths'] as $path) {
    foreach ($given['ways'] ?? array_keys($ways) as $way) {
        try {
            $said = trim((string) $ways[$way]($path));
        } catch (Throwable $error) {
            $said = '';
        }
        if ($said !== '') {
            $found[$path][$way] = $said;
        }
    }
}
answer($found);
