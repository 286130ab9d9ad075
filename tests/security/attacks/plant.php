<?php
// Puts links, hard links, FIFOs, sockets and devices where it is told to, as far as it may.
require __DIR__ . '/given.php';

$made = [];
foreach ($given['links'] ?? [] as $path => $target) {
    @mkdir(dirname($path), 0755, true);
    $made[$path] = symlink($target, $path);
}
foreach ($given['hard_links'] ?? [] as $path => $target) {
    @mkdir(dirname($path), 0755, true);
    $made[$path] = link($target, $path);
}
foreach ($given['fifos'] ?? [] as $path) {
    $made[$path] = posix_mkfifo($path, 0666);
}
foreach ($given['sockets'] ?? [] as $path) {
    $made[$path] = (bool) stream_socket_server("unix://$path");
}
foreach ($given['devices'] ?? [] as $path) {
    $made[$path] = posix_mknod($path, POSIX_S_IFCHR | 0666, 1, 5);
}
answer($made);
