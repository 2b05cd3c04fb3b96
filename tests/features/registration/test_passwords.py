"""POST /api/auth/register: how the password is stored, and that all of it counts at the login."""

import unicodedata

import pytest
from flask.testing import FlaskClient

from tests.support import PASSWORD
from tests.support.actor import Actor
from tests.support.database import Sql
from tests.support.registrations import try_register

NFC = unicodedata.normalize("NFC", "sch\u00f6ne Gr\u00fc\u00dfe")
NFD = unicodedata.normalize("NFD", NFC)


def test_register_stores_a_bcrypt_hash_of_the_configured_cost(client: FlaskClient, sql: Sql) -> None:
    try_register(client)

    stored = sql("SELECT password FROM users")[0][0]
    assert stored.startswith("$2b$04$")
    assert len(stored) == 60


def test_register_salts_every_hash(client: FlaskClient, sql: Sql) -> None:
    try_register(client)
    try_register(client, username="bob", email="bob@example.com")

    assert sql("SELECT count(DISTINCT password) FROM users") == [(2,)]


def test_register_shows_neither_the_password_nor_its_hash(client: FlaskClient, sql: Sql) -> None:
    answer = try_register(client)

    assert PASSWORD not in answer.text
    assert sql("SELECT password FROM users")[0][0] not in answer.text


@pytest.mark.parametrize(
    ("registered", "typed"),
    [
        pytest.param(NFC, NFD, id="NFC then NFD"),
        pytest.param(NFD, NFC, id="NFD then NFC"),
        pytest.param(NFD * 9, NFC * 9, id="longer than bcrypt reads"),
    ],
)
def test_register_takes_both_forms_of_a_password_for_one(
    client: FlaskClient, registered: str, typed: str
) -> None:
    try_register(client, password=registered)

    assert Actor(client).try_log_in(password=typed).status_code == 200


@pytest.mark.parametrize(
    "password",
    [
        pytest.param(" padded  ", id="space around"),
        pytest.param("x" * 72, id="72 bytes"),
        pytest.param("x" * 73, id="73 bytes"),
        pytest.param("x" * 256, id="256 bytes"),
        pytest.param("\u00e9" * 36, id="72 bytes in 36 characters"),
        pytest.param("\u00e9" * 37, id="74 bytes in 37 characters"),
        pytest.param("\U0001f512" * 256, id="1024 bytes"),
    ],
)
def test_register_cuts_nothing_off_the_password(client: FlaskClient, password: str) -> None:
    try_register(client, password=password)

    others = [
        password[:-1],
        password + "x",
        password[:-1] + "y",
        password.strip() + "\t",
        password[:72] + "z",
    ]
    statuses = [Actor(client).try_log_in(password=typed).status_code for typed in [password, *others]]
    assert statuses == [200] + [401] * len(others)


def test_register_with_sql_as_its_password_can_log_in(client: FlaskClient) -> None:
    try_register(client, password="' OR '1'='1")

    assert Actor(client).try_log_in(password="' OR '1'='1").status_code == 200
