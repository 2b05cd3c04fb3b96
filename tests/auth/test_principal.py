"""The check that goes with every statement of a signed-in user."""

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from auth.principal import Principal
from db import Cursor
from tests.support.actor import Actor


@pytest.fixture
def principal(ada: Actor) -> Principal:
    now = datetime.now(timezone.utc)
    return Principal(ada.id, ada.session_id, now, now + timedelta(seconds=1))


def ids(app: Flask, principal: Principal, **parameters: Any) -> list[int]:
    """Return the ids in `principal`, as a statement of the principal sees them."""

    def query(cur: Cursor) -> list[int]:
        principal.execute(cur, "SELECT id FROM principal", **parameters)
        return [user_id for (user_id,) in cur.fetchall()]

    user_ids: list[int] = app.extensions["auth"].database.read(query)
    return user_ids


def test_statement_sees_the_user_of_the_session(app: Flask, principal: Principal) -> None:
    assert ids(app, principal) == [principal.user_id]


def test_statement_sees_nobody_once_the_session_has_ended(
    app: Flask, principal: Principal, ada: Actor
) -> None:
    ada.log_out()

    assert ids(app, principal) == []


def test_no_parameter_replaces_the_identity(app: Flask, client: FlaskClient, principal: Principal) -> None:
    bob = Actor(client, "bob").register()

    seen = ids(app, principal, user_id=bob.id, session_id=None)

    assert seen == [principal.user_id]
