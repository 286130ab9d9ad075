<?php
// Looks for a neighbour in what PHP keeps in memory, in processes, shared memory, sessions and temporary folders.
require __DIR__ . '/given.php';

$found = ['user' => posix_getuid(), 'groups' => posix_getgroups()];
foreach (PHP_SAPI === 'cli' ? [] : ['opcache_get_status', 'opcache_get_configuration', 'opcache_reset'] as $function) {
    if (function_exists($function) && ($said = $function())) {
        $found[$function] = $said;
    }
}
foreach ($given['scripts'] ?? [] as $script) {
    if (function_exists('opcache_is_script_cached') && (opcache_is_script_cached($script) || opcache_invalidate($script, true))) {
        $found['opcache'][] = $script;
    }
}
foreach ($given['pids'] as $pid) {
    foreach (['environ', 'maps', 'mem', 'stack', 'auxv', 'cwd', 'root', 'fd', 'map_files', 'fdinfo', 'io'] as $name) {
        $path = "/proc/$pid/$name";
        $said = file_get_contents($path) ?: (scandir($path) ? 'listed' : '') ?: readlink($path);
        $said = $said ?: trim(shell_exec("(cat $path || readlink $path || ls $path/) 2>/dev/null") ?? '');
        if ($said) {
            $found['proc'][$path] = substr($said, 0, 200);
        }
    }
    if (posix_kill($pid, 0)) {
        $found['signal'][] = $pid;
    }
}
foreach ($given['keys'] ?? [] as $key) {
    if ($segment = shmop_open($key, 'a', 0, 0)) {
        $found['shared memory'][] = shmop_read($segment, 0, shmop_size($segment));
    }
}
session_start();
$_SESSION['of'] = $given['name'] ?? '';
$found['places'] = [sys_get_temp_dir(), session_save_path(), ini_get('upload_tmp_dir'), tempnam('', 'x')];
answer($found);
