"""The HTTP server: one process, or several that share one listening socket."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Callable
from types import FrameType

import structlog
import uvicorn

from hosthold.garbage import search_seldom
from hosthold.settings import WebSettings
from hosthold.web.application import Application, ASGIApp

STOP_SECONDS = 10
"""How long requests that are being answered may take when the server is told to stop."""

log = structlog.get_logger()


class _Server(uvicorn.Server):
    """A uvicorn server that ends event streams when it stops; they would hold it up until its patience is over."""

    def __init__(self, config: uvicorn.Config, application: Application) -> None:
        super().__init__(config)
        self._application = application

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin, with all that was made at start out of the sight of searches for garbage, which pause all requests."""
        await super().startup(sockets)
        search_seldom()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._application.platform.feed.close()
        await super().shutdown(sockets)


def serve(settings: WebSettings, make_application: Callable[[], Application]) -> None:
    """Serve until told to stop by SIGTERM or SIGINT. With several processes each makes an application of its own."""
    listener = _listen(settings)
    log.info("web listens", address=settings.host, port=listener.getsockname()[1], processes=settings.processes)
    try:
        if settings.processes == 1:
            _run(make_application(), listener, settings)
        else:
            _supervise(settings.processes, lambda: _run(make_application(), listener, settings))
    finally:
        listener.close()


def _listen(settings: WebSettings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((settings.host, settings.port))
    listener.listen(2048)
    return listener


def configuration(application: ASGIApp, settings: WebSettings) -> uvicorn.Config:
    """How uvicorn serves: without a log of requests, and believing what proxies say of clients only where it is set."""
    return uvicorn.Config(
        application, access_log=False, log_config=None, server_header=False, ws="none",
        proxy_headers=bool(settings.trusted_proxies), forwarded_allow_ips=list(map(str, settings.trusted_proxies)),
        lifespan="on", timeout_graceful_shutdown=STOP_SECONDS, timeout_keep_alive=30,
    )  # fmt: skip


def _run(application: Application, listener: socket.socket, settings: WebSettings) -> None:
    instance = _Server(configuration(application, settings), application)
    for number in (signal.SIGTERM, signal.SIGINT):  # uvicorn raises a caught signal again at its end, to this handler
        signal.signal(number, instance.handle_exit)
    try:
        instance.run(sockets=[listener])
    finally:
        application.platform.close()


def _supervise(count: int, run: Callable[[], None]) -> None:
    """Keep `count` processes running; one that dies is replaced. They are forked before anything is opened."""
    children: set[int] = set()
    is_stopping = False

    def stop(_number: int, _frame: FrameType | None) -> None:
        nonlocal is_stopping
        is_stopping = True
        for child in children:
            os.kill(child, signal.SIGTERM)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    while children or not is_stopping:
        while len(children) < count and not is_stopping:
            children.add(_fork(run))
        child, status = os.wait()
        children.discard(child)
        if not is_stopping:
            log.error("web process ended", pid=child, status=os.waitstatus_to_exitcode(status))


def _fork(run: Callable[[], None]) -> int:
    child = os.fork()
    if child:
        return child
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    try:
        run()
    except BaseException:  # whatever it was, the copy of the parent's stack must not go on
        log.exception("web process failed")
        os._exit(1)
    sys.stdout.flush()
    os._exit(0)
