<?php
// Takes as much as it gets of processes, processor or memory, and ends by itself after some seconds.
require __DIR__ . '/given.php';

$end = microtime(true) + min($given['lasts'], 20);
$first = posix_getpid();
$made = $refused = 0;
$held = [];
if ($given['what'] === 'processes') {
    while (microtime(true) < $end) {
        $child = pcntl_fork();
        if ($child === 0) {
            usleep((int) max(($end - microtime(true)) * 1e6, 0));
            exit;
        }
        $child > 0 ? ++$made : ++$refused;
        usleep($child > 0 ? 0 : 1000);
    }
} else {
    ini_set('memory_limit', -1);
    while ($made < 7 && ($child = pcntl_fork()) > 0) {
        ++$made;
    }
}
while (microtime(true) < $end) {
    if ($given['what'] === 'memory') {
        $held[] = str_repeat(random_bytes(1024), 1024);
    }
    hash('sha256', str_repeat('x', 10000));
}
if (posix_getpid() === $first) {
    while (pcntl_wait($status) > 0);
    answer(['made' => $made, 'refused' => $refused]);
}
