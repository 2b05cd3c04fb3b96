"""Mail servers that a test programs, with a certificate that the service trusts."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.support import mail_server
from tests.support.mail_server import MailServer


@pytest.fixture(autouse=True)
def trusted_authority(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(mail_server.AUTHORITY))


@pytest.fixture
def serve() -> Iterator[Callable[..., MailServer]]:
    """Start a server; the options are those of mail_server.running()."""
    with ExitStack() as stack:
        yield lambda **options: stack.enter_context(mail_server.running(**options))


@pytest.fixture
def server(serve: Callable[..., MailServer]) -> MailServer:
    """A server without TLS and login."""
    return serve()
