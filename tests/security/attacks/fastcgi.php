<?php
// Speaks FastCGI to a socket of PHP-FPM, to have it run a script of the caller's choice as whoever it belongs to.
require __DIR__ . '/given.php';

function record(int $type, string $content): string
{
    return pack('CCnnCC', 1, $type, 1, strlen($content), 0, 0) . $content;
}

function pair(string $name, string $value): string
{
    return pack('NN', strlen($name) | 1 << 31, strlen($value) | 1 << 31) . $name . $value;
}

$socket = stream_socket_client('unix://' . $given['socket'], $code, $why, 3);
if (!$socket) {
    answer(['why' => $why]);
}
$parameters = ['REQUEST_METHOD' => 'GET', 'SCRIPT_FILENAME' => $given['script'], 'SCRIPT_NAME' => '/x.php'];
$parameters += ['PHP_ADMIN_VALUE' => $given['admin_value'] ?? '', 'PHP_VALUE' => $given['value'] ?? ''];
$said = implode('', array_map(pair(...), array_keys($parameters), $parameters));
fwrite($socket, record(1, pack('nCx5', 1, 0)) . record(4, $said) . record(4, '') . record(5, ''));
stream_set_timeout($socket, 5);
answer(['said' => stream_get_contents($socket)]);
