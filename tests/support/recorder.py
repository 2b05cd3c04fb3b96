"""A service whose PostgreSQL logs every statement that it receives."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from app import create_app
from config import Settings
from tests.support import SECRET_KEY
from tests.support.actor import Actor

LIVENESS_CHECK = "SELECT"  # of a connection that was idle for a second, which depends on the machine


class RecordedService:
    """A service with one user, on a database whose server writes its statements to `log`."""

    def __init__(self, url: str, log: Path, **settings: Any) -> None:
        self.url, self._log = url, log
        self.app = create_app(Settings(db_url=url, secret_key=SECRET_KEY, bcrypt_rounds=4, **settings))
        self.ada = Actor(self.app.test_client()).register()

    def statements(self, call: Callable[[], object]) -> list[str]:
        """Return the statements that reach PostgreSQL from the service during `call`, which must succeed.

        Settings and a lock that travel before a write in the same message are left out.
        """
        statements, status = self._record(call)
        assert status < 400
        return statements

    def statements_of_a_refusal(self, call: Callable[[], object]) -> list[str]:
        """Do the same for a call that must be refused."""
        statements, status = self._record(call)
        assert 400 <= status < 500
        return statements

    def _record(self, call: Callable[[], object]) -> tuple[list[str], int]:
        offset = len(self._log.read_text())
        answer = call()
        lines = self._log.read_text()[offset:]
        messages = re.findall(r"(?m)^user-service LOG: {2}statement: (.*(?:\n\t.*)*)", lines)
        statements = [
            re.sub(
                r"\A(\s*(SELECT set_config\(|SET LOCAL |SELECT FROM users WHERE id = )[^;]*;)+", "", message
            )
            for message in messages
        ]
        texts = [statement.replace("\n\t", "\n").strip() for statement in statements]
        texts = [text for text in texts if text != LIVENESS_CHECK]
        return texts, getattr(answer, "status_code", 200)

    def close(self) -> None:
        self.app.extensions["auth"].database.close()
