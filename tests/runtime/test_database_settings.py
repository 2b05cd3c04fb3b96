"""Settings that an administrator gave the database: the service works under all of them."""

from contextlib import closing

import pytest
from flask.testing import FlaskClient
from psycopg2.extensions import cursor, parse_dsn

from app import create_app
from config import Settings
from db import Database
from tests.support import PASSWORD, SECRET_KEY
from tests.support.database import MakeDatabase, run_sql


def set_by_an_administrator(url: str, setting: str) -> None:
    run_sql(url, f"ALTER DATABASE {parse_dsn(url)['dbname']} SET {setting}")


@pytest.mark.parametrize(
    ("setting", "ours"),
    [
        ("timezone = 'Asia/Tokyo'", "UTC"),
        ("client_encoding = 'LATIN1'", "UTF8"),
        ("datestyle = 'German, DMY'", "ISO, DMY"),
        ("default_transaction_isolation = 'serializable'", "read committed"),
        ("lock_timeout = '1ms'", "0"),
        ("statement_timeout = '1min'", "3s"),
        ("idle_in_transaction_session_timeout = '0'", "10s"),
    ],
)
def test_what_we_rely_on_beats_the_settings_of_the_database(
    make_database: MakeDatabase, setting: str, ours: str
) -> None:
    url = make_database()
    set_by_an_administrator(url, setting)

    def show(cur: cursor) -> str:
        cur.execute(f"SHOW {setting.split()[0]}")
        return str(cur.fetchone()[0])  # type: ignore[index]

    with closing(Database(url)) as database:
        assert database.read(show) == ours


def answer(client: FlaskClient, line: str, body: object = None, *, token: str = "") -> tuple[int, object]:
    method, path = line.split()
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    answered = client.open(f"/api/auth{path}", method=method, json=body, headers=headers)
    return answered.status_code, answered.get_json()


@pytest.mark.parametrize(
    "setting",
    [
        "intervalstyle = 'iso_8601'",
        "intervalstyle = 'postgres_verbose'",
        "intervalstyle = 'sql_standard'",
        "datestyle = 'German, DMY'",
        "bytea_output = 'escape'",
        "standard_conforming_strings = off",
        "extra_float_digits = -15",
        "default_transaction_isolation = 'serializable'",
        "lock_timeout = '1ms'",
    ],
)
def test_service_works_under_a_setting_of_the_database(make_database: MakeDatabase, setting: str) -> None:
    url = make_database()
    set_by_an_administrator(url, setting)
    app = create_app(Settings(db_url=url, secret_key=SECRET_KEY, bcrypt_rounds=4))
    client = app.test_client()
    names = {"first_name": "O'Brien \\ J\u00fcrgen"}
    form = {"username": "ada", "email": "ada@example.com", "password": PASSWORD} | names

    _, opened = answer(client, "POST /register", form)
    assert isinstance(opened, dict)
    shown = {"refresh_token": opened["refresh_token"]}
    refreshed = [answer(client, "POST /refresh", shown) for _ in range(2)]  # the first answer is lost
    me = answer(client, "GET /me", token=opened["token"])
    listed = answer(client, "GET /sessions", token=opened["token"])
    app.extensions["auth"].database.close()

    assert [status for status, _ in refreshed] == [200, 200]
    assert me == (200, opened["user"])
    assert opened["user"]["first_name"] == names["first_name"]
    assert listed[0] == 200
