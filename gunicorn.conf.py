"""How the service is served in production: `gunicorn` in this folder reads this file by itself."""

import gc
import importlib
import logging
import math
import os
import sys
import tempfile
import time
from pathlib import Path

from gunicorn.arbiter import Arbiter
from gunicorn.config import Config
from gunicorn.glogging import Logger


def forget_previous_release() -> None:
    """Remove our modules from sys.modules, so that the imports below read the files of this release.

    At SIGHUP gunicorn reads this file again, in the process that has imported the previous release.
    """
    folder = Path(__file__).parent
    for name, module in list(sys.modules.items()):
        source = Path(getattr(module, "__file__", None) or "/")
        is_ours = source.is_relative_to(folder) and "site-packages" not in source.parts  # .venv may lie here
        if is_ours and name not in (__name__, "__main__"):
            del sys.modules[name]
    importlib.invalidate_caches()


forget_previous_release()

import db  # noqa: E402
from config import ConfigError, Settings, read_environment  # noqa: E402
from runtime import (  # noqa: E402
    addresses,
    background,
    capacity,
    common_passwords,
    handover,
    logs,
    open_files,
    shared_slots,
)
from runtime.worker import BufferingWorker  # noqa: E402

try:
    environ = read_environment()
    settings = Settings.from_env(environ)
    if settings.password_blocklist:
        common_passwords.load()  # before the fork, so that the workers share one copy
except ConfigError as exc:
    sys.exit(str(exc))  # a worker that fails here would be started again and again
if handover.is_trial():
    os.environ["DB_URL"] = handover.NO_DATABASE_URL

wsgi_app = "app:create_app()"
bind = addresses.to_listen_on(settings.port)

# Threads wait, for PostgreSQL or for a hash slot; bcrypt releases the GIL. With gunicorn's sync workers
# /health would wait behind every login.
worker_class = BufferingWorker
workers = settings.gunicorn_workers
# Hashes and statements may hold this many threads. The spare threads serve requests that need neither.
waiting_threads = settings.hash_slots + settings.hash_queue + settings.db_pool_size + db.MAX_POOL_WAITERS
SPARE_THREADS = 16
threads = settings.gunicorn_threads or waiting_threads + SPARE_THREADS

# A slow client holds a connection, which is an open file, but no thread. Systems usually allow 1024 files.
# PostgreSQL, the log and imported modules need some of them.
MAX_CONNECTIONS = 2000
MIN_CONNECTIONS = 16
other_files = 64 + settings.db_pool_size
file_limit = open_files.raise_limit(MAX_CONNECTIONS + other_files)
worker_connections = max(MIN_CONNECTIONS, min(MAX_CONNECTIONS, file_limit - other_files))

timeout = 30
graceful_timeout = 20
# Of it, for the threads that answer no request: a mail that goes out is finished. The requests come first.
STOP_SECONDS = 8.0
RESERVE_SECONDS = 1.0  # for the last lines of the log
# A worker that is older serves: one that cannot load the application ends after RELOAD_PAUSE_SECONDS.
LOADED_SECONDS = 30.0
keepalive = settings.keepalive_seconds
control_socket_disable = True
# Attack: a client on a loopback address, which gunicorn trusts by default, sets SCRIPT_NAME or the scheme
# with a header. Only gunicorn's own workers (`--worker-class`) read such headers; BufferingWorker does not.
# TRUSTED_PROXIES alone decides what a proxy may tell.
forwarder_headers = ""
secure_scheme_headers: dict[str, str] = {}
try:  # a worker touches its heartbeat file: in memory, because a slow disk would delay the worker
    worker_tmp_dir = "/dev/shm" if os.access("/dev/shm", os.W_OK) else tempfile.gettempdir()
except FileNotFoundError:
    sys.exit(
        "The service cannot start: there is no folder for temporary files; mount one at /dev/shm or /tmp."
    )

# The workers share the hash slots: a login may reach any of them, and the cores are the same for all.
slot_file = shared_slots.create(worker_tmp_dir)


class JsonLogger(Logger):
    """Writes gunicorn's own lines in our format.

    gunicorn's setting `logconfig_dict` would do so too, but gunicorn would then also prepare an access line
    for each request.
    """

    def setup(self, cfg: Config) -> None:
        super().setup(cfg)
        logs.configure(settings.log_level)


logger_class = JsonLogger
log = logging.getLogger("gunicorn.error")


def on_starting(server: Arbiter) -> None:
    """Refuse a start that cannot work, and prepare for SIGHUP; gunicorn calls this once."""
    if server.cfg.is_ssl:
        sys.exit("The service cannot start: it speaks plain HTTP only; put a proxy with TLS before it.")
    sockets_are_inherited = {"GUNICORN_FD", "LISTEN_FDS"} & set(os.environ)
    if not sockets_are_inherited:
        addresses.require_free(server.address)
    server.handle_hup = handover.guarded(server.handle_hup)  # type: ignore[method-assign]
    log_capacity(server.cfg)


def on_reload(server: Arbiter) -> None:
    """Leave nothing of the previous release in the first process; gunicorn calls this at SIGHUP."""
    server.log = JsonLogger(server.cfg)  # the arbiter's own is of the previous release's class
    gc.collect()  # frees the modules of older releases, and the files that they hold open
    log_capacity(server.cfg)


def log_capacity(cfg: Config) -> None:
    """Log the sizes that the service runs with, and where they come from."""
    sizes = {
        "GUNICORN_WORKERS": cfg.workers,
        "GUNICORN_THREADS": cfg.threads,
        "HASH_SLOTS": settings.hash_slots,
        "DB_POOL_SIZE": settings.db_pool_size,
    }
    listed = " ".join(f"{name}={size}{' (set)' * (name in environ)}" for name, size in sizes.items())
    connections = cfg.workers * (settings.db_pool_size + 1)
    log.info("capacity: %s, at most %d connections; %s", listed, connections, capacity.limits())
    if cfg.threads <= waiting_threads:
        log.warning("GUNICORN_THREADS should be above %d, or a storm may stop /health", waiting_threads)
    if settings.debug:
        log.warning("FLASK_DEBUG only means LOG_LEVEL=DEBUG here: no debugger under gunicorn")


def pre_fork(server: Arbiter, worker: BufferingWorker) -> None:
    """Tell a new worker whether older ones serve; gunicorn calls this in the first process."""
    worker.made_at = time.monotonic()
    # At SIGHUP there are still workers of the previous release, which may not have the attribute.
    others = [getattr(other, "made_at", -math.inf) for other in server.WORKERS.values()]
    worker.others_serve = any(made_at < worker.made_at - LOADED_SECONDS for made_at in others)


def post_worker_init(worker: BufferingWorker) -> None:
    """Start the threads of a worker that answer no request; gunicorn calls this once in each worker."""
    background.start_one(logs.start_writer)
    background.start_all(worker.wsgi)


def worker_exit(_server: Arbiter, worker: BufferingWorker) -> None:
    """Stop those threads; gunicorn calls this when a worker ends, in the worker and in the first process."""
    killed_at = getattr(worker, "killed_at", math.inf)  # gunicorn's own workers do not tell
    seconds_left = killed_at - time.monotonic() - RESERVE_SECONDS
    background.stop_all(getattr(worker, "wsgi", None), seconds=min(STOP_SECONDS, max(0.0, seconds_left)))
    logs.end_writer()
