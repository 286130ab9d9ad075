<?php
// Runs another attack as a program of the site's user, outside of everything that PHP-FPM forbids.
$program = '/usr/bin/php' . PHP_MAJOR_VERSION . '.' . PHP_MINOR_VERSION;
$command = [$program, __DIR__ . '/' . basename($_GET['attack']) . '.php'];
$process = proc_open($command, [1 => ['pipe', 'w'], 2 => ['pipe', 'w'], 0 => ['pipe', 'r']], $pipes, __DIR__);
fwrite($pipes[0], file_get_contents('php://input'));
fclose($pipes[0]);
header('Content-Type: application/json');
echo stream_get_contents($pipes[1]) ?: json_encode(['failed' => stream_get_contents($pipes[2])]);
