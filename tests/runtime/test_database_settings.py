"""The service works under every setting that an administrator may give the database."""

from contextlib import closing

import pytest
from psycopg2.extensions import parse_dsn

from db import Cursor, Database
from tests.support.actor import Actor
from tests.support.apps import app_on
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

    def show(cur: Cursor) -> str:
        cur.execute(f"SHOW {setting.split()[0]}")
        return str(cur.fetchone()[0])  # type: ignore[index]

    with closing(Database(url)) as database:
        assert database.read(show) == ours


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
    app = app_on(url)
    first_name = "O'Brien \\ J\u00fcrgen"

    user = Actor(app.test_client()).register(first_name=first_name)
    refreshed = [user.try_refresh() for _ in range(2)]  # twice, as when the first answer is lost
    me, listed = user.me(), user.sessions()
    app.extensions["auth"].database.close()

    assert [answer.status_code for answer in refreshed] == [200, 200]
    assert (me.status_code, me.get_json()) == (200, user.pair["user"])
    assert me.get_json()["first_name"] == first_name
    assert listed.status_code == 200
