<?php
// Connects to everything that it is given: Unix sockets of each kind, and TCP ports of this machine.
require __DIR__ . '/given.php';

$reached = [];
foreach ($given['sockets'] as $path) {
    foreach (['unix', 'udg'] as $transport) {
        if ($socket = stream_socket_client("$transport://$path", $code, $why, 2)) {
            $reached[$path] = $transport;
        }
    }
    if (!isset($reached[$path]) && function_exists('socket_create')) {
        $socket = socket_create(AF_UNIX, SOCK_SEQPACKET, 0);
        if (socket_connect($socket, $path)) {
            $reached[$path] = 'seqpacket';
        }
    }
}
foreach ($given['ports'] as $port) {
    foreach (['127.0.0.1', '[::1]'] as $address) {
        if ($socket = stream_socket_client("tcp://$address:$port", $code, $why, 2)) {
            $reached[$port] = $address;
        }
    }
}
answer($reached);
