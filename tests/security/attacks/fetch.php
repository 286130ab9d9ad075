<?php
// Asks a web address, as a program of this machine does.
require __DIR__ . '/given.php';

$context = stream_context_create(['http' => ['ignore_errors' => true, 'header' => $given['headers'] ?? '', 'timeout' => 5]]);
answer(['page' => file_get_contents($given['url'], false, $context), 'headers' => $http_response_header ?? []]);
