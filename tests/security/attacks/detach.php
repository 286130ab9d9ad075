<?php
// Starts another attack as a program that outlives its page, in a session of its own.
file_put_contents($given = tempnam(sys_get_temp_dir(), 'given'), file_get_contents('php://input'));
$program = '/usr/bin/php' . PHP_MAJOR_VERSION . '.' . PHP_MINOR_VERSION;
$script = escapeshellarg(__DIR__ . '/' . basename($_GET['attack']) . '.php');
exec("setsid $program $script <$given >$given.out 2>/dev/null &");
header('Content-Type: application/json');
echo json_encode(['answer' => "$given.out"]);
