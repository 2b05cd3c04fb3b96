"""GET /api/auth/features: what a frontend is told to draw."""

import pytest
from flask.testing import FlaskClient

from tests.support.actor import ClientOf
from tests.support.mails import mail_settings

FEATURES = "/api/auth/features"
PLAIN = {
    "email_verification": False,
    "password_reset": False,
    "two_factor": True,
    "avatars": False,
    "oauth": [],
    "password_min_length": 8,
}


@pytest.mark.parametrize(
    ("changes", "offered"),
    [
        pytest.param({}, {}, id="defaults"),
        pytest.param(
            {"mail": mail_settings()}, {"email_verification": True, "password_reset": True}, id="mail"
        ),
        pytest.param({"two_factor": None}, {"two_factor": False}, id="no second factor"),
        pytest.param({"password_min_length": 15}, {"password_min_length": 15}, id="length"),
    ],
)
def test_features_are_those_of_the_settings(
    client_of: ClientOf, changes: dict[str, object], offered: dict[str, object]
) -> None:
    answer = client_of(**changes).get(FEATURES)

    assert (answer.status_code, answer.get_json()) == (200, PLAIN | offered)
    assert answer.headers["Cache-Control"] == "no-store"


def test_features_need_no_database(client_without_database: FlaskClient) -> None:
    assert client_without_database.get(FEATURES).get_json() == PLAIN
