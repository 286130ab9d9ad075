<?php
// Leaves things everywhere that a user of the machine can, and goes on running.
require __DIR__ . '/given.php';

foreach ($given['places'] as $place) {
    $name = "$place/" . $given['name'];
    @mkdir("$name/in/it", 0700, true);
    touch("$name/in/it/file");
    touch("$name.file");
    symlink('/etc/passwd', "$name.link");
    chmod("$name/in", 0);
}
shmop_open($given['key'], 'c', 0600, 99);
msg_get_queue($given['key'], 0600);
sem_get($given['key'], 1, 0600, false);
if (pcntl_fork() === 0) {
    posix_setsid();
    foreach ([SIGTERM, SIGHUP, SIGINT, SIGQUIT] as $signal) {
        pcntl_signal($signal, SIG_IGN);
    }
    fclose(STDOUT);
    for ($left = 0; $left < 60; ++$left) {
        sleep(1);
    }
    exit;
}
answer(['rights' => trim(shell_exec('grep -E "^(NoNewPrivs|CapPrm|CapBnd|Groups)" /proc/self/status'))]);
