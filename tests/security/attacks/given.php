<?php
// What every attack begins with: the JSON that it was given, and how it answers.
// Each runs in PHP-FPM as a page, and in the PHP of the command line, where no php-fpm.conf and no open_basedir is.

error_reporting(0);
$given = json_decode(file_get_contents(PHP_SAPI === 'cli' ? 'php://stdin' : 'php://input') ?: '{}', true);

function answer(array $found): never
{
    header('Content-Type: application/json');
    echo json_encode($found, JSON_INVALID_UTF8_SUBSTITUTE | JSON_FORCE_OBJECT);
    exit;
}
