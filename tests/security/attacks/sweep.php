<?php
// Of a list of paths, those that can be read, listed, or written.
require __DIR__ . '/given.php';

$found = ['readable' => [], 'listable' => [], 'writable' => []];
foreach ($given['paths'] as $path) {
    if (is_dir($path)) {
        if (scandir($path) !== false) {
            $found['listable'][] = $path;
        }
        if (touch("$path/.written-by-a")) {
            unlink("$path/.written-by-a");
            $found['writable'][] = $path;
        }
        continue;
    }
    foreach (['r' => 'readable', 'r+' => 'writable', 'a' => 'writable'] as $mode => $name) {
        if ($file = fopen($path, $mode . 'n')) {
            fclose($file);
            $found[$name][] = $path;
        }
    }
}
answer($found);
