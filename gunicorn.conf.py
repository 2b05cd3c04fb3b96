"""How the service is served in production: `gunicorn` in this folder reads this file by itself."""

import gc
import importlib
import logging
import os
import resource
import sys
import tempfile
from pathlib import Path
from typing import IO

from gunicorn.arbiter import Arbiter
from gunicorn.config import Config
from gunicorn.glogging import Logger


def forget_release_before() -> None:
    """Forget our modules: at SIGHUP gunicorn reads this file again, in a process that has the old ones."""
    folder = Path(__file__).parent
    for name, module in list(sys.modules.items()):
        source = Path(getattr(module, "__file__", None) or "/")
        is_ours = source.is_relative_to(folder) and "site-packages" not in source.parts  # of .venv
        if is_ours and name not in (__name__, "__main__"):
            del sys.modules[name]
    importlib.invalidate_caches()


forget_release_before()

import db  # noqa: E402
from config import HASH_SLOT_DESCRIPTOR, ConfigError, Settings, read_environment  # noqa: E402
from runtime import addresses, capacity, handover, logs  # noqa: E402
from runtime.worker import BufferingWorker  # noqa: E402

try:
    environ = read_environment()
    settings = Settings.from_env(environ)
except ConfigError as exc:
    sys.exit(str(exc))  # here rather than in a worker, which would be started again and again

wsgi_app = "app:create_app()"
bind = addresses.to_listen_on(settings.port)

# Threads wait, for PostgreSQL or for a hash slot; bcrypt releases the GIL. Sync workers would leave
# /health behind every login.
worker_class = BufferingWorker
workers = settings.gunicorn_workers
# Hashes and statements may hold as many threads as this; some are left for those that need neither.
threads_that_wait = settings.hash_slots + settings.hash_queue + settings.db_pool_size + db.WAITING
threads = settings.gunicorn_threads or threads_that_wait + 16

# A slow client costs a connection, and no thread; the usual limit is 1024 files. Some are left for
# PostgreSQL, the log and what a module opens.
most_connections = 2000
files_for_others = 64 + settings.db_pool_size
soft_limit, hard_limit = resource.getrlimit(resource.RLIMIT_NOFILE)
wanted_limit = most_connections + files_for_others
if soft_limit < wanted_limit:
    soft_limit = wanted_limit if hard_limit == resource.RLIM_INFINITY else min(wanted_limit, hard_limit)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft_limit, hard_limit))
worker_connections = max(16, min(most_connections, soft_limit - files_for_others))

timeout = 30
graceful_timeout = 20
keepalive = settings.keepalive_seconds
control_socket_disable = True
# A heartbeat must not wait for a disk.
try:
    worker_tmp_dir = "/dev/shm" if os.access("/dev/shm", os.W_OK) else tempfile.gettempdir()
except FileNotFoundError:
    sys.exit(
        "The service cannot start: there is no folder for temporary files; mount one at /dev/shm or /tmp."
    )


class JsonLogger(Logger):
    """gunicorn's own lines, in our format. With `logconfig_dict` it would prepare an access line as well."""

    def setup(self, cfg: Config) -> None:
        super().setup(cfg)
        logs.configure(settings.log_level)


logger_class = JsonLogger
log = logging.getLogger("gunicorn.error")


def make_slot_file() -> IO[bytes]:
    """Return a file that nobody can remove, and that is gone with the last worker; in memory if possible."""
    try:
        return os.fdopen(os.memfd_create("hash-slots"), "wb")
    except (AttributeError, OSError):  # not Linux, or forbidden
        return tempfile.TemporaryFile(dir=worker_tmp_dir)


# The workers share the hash slots, whichever of them the connections come to.
slot_file = make_slot_file()
os.environ[HASH_SLOT_DESCRIPTOR] = str(slot_file.fileno())


def on_starting(server: Arbiter) -> None:
    if server.cfg.is_ssl:
        sys.exit("The service cannot start: it speaks plain HTTP only; put a proxy with TLS before it.")
    if not {"GUNICORN_FD", "LISTEN_FDS"} & set(os.environ):  # else the sockets were opened for us
        addresses.require_free(server.address)
    handover.guard(server)
    tell_capacity(server.cfg)


def on_reload(server: Arbiter) -> None:
    server.log = JsonLogger(server.cfg)  # the arbiter has one of the class as it was before
    gc.collect()  # the modules of the release before the last one, and the files that they hold open
    tell_capacity(server.cfg)


def tell_capacity(cfg: Config) -> None:
    sizes = {
        "GUNICORN_WORKERS": cfg.workers,
        "GUNICORN_THREADS": cfg.threads,
        "HASH_SLOTS": settings.hash_slots,
        "DB_POOL_SIZE": settings.db_pool_size,
    }
    chosen = " ".join(f"{name}={size}{' (set)' * (name in environ)}" for name, size in sizes.items())
    connections = cfg.workers * (settings.db_pool_size + 1)
    log.info("capacity: %s, at most %d connections; %s", chosen, connections, capacity.limits())
    if cfg.threads <= threads_that_wait:
        log.warning("GUNICORN_THREADS should be above %d, or a storm may stop /health", threads_that_wait)
    if settings.debug:
        log.warning("FLASK_DEBUG only means LOG_LEVEL=DEBUG here: no debugger under gunicorn")


def post_worker_init(_worker: BufferingWorker) -> None:
    logs.start_writer()


def worker_exit(_server: Arbiter, _worker: BufferingWorker) -> None:
    logs.end_writer()
