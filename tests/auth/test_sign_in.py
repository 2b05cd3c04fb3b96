"""The door behind every proof of identity: sessions and tokens, their limit, and a proof that is outdated."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timezone
from threading import Event

import pytest
from flask import Flask
from flask.testing import FlaskClient

from auth import sign_in, users
from auth.client import Client
from auth.errors import ApiError
from auth.services import Auth
from auth.sign_in import MAX_REVOKED, MAX_SESSIONS
from auth.tokens.pair import TokenPair
from auth.users import Credential, User
from config import Settings
from db import Cursor, transaction
from runtime import clock
from tests.support.actor import Actor
from tests.support.database import Sql
from tests.support.mails import mail_settings
from tests.support.races import wait_until_blocked
from tests.support.second_factors import enrol

ADA = Credential(User(1, "ada", "ada@example.com", None, None, None), "hash")
AGENTS = "SELECT user_agent FROM auth_sessions ORDER BY id"


def add_sessions(sql: Sql, count: int, *, agent: str, seconds_left: int = 3600) -> None:
    """Add sessions of every user, each a little younger than the one before."""
    sql(
        "INSERT INTO auth_sessions (user_id, handle_hash, token_hash, created_at, last_used_at, valid_until,"
        " expires_at, ip, user_agent) SELECT users.id, sha256((%s || users.id || '-' || n)::bytea), '',"
        " now() + n * interval '1 us', now(), now() + %s * interval '1 s', now() + interval '1 day', '', %s"
        " FROM users, generate_series(1, %s) AS n",
        agent,
        seconds_left,
        agent,
        count,
    )


def open_session(cur: Cursor, auth: Auth, user: User, *, password_hash: str) -> TokenPair | None:
    return sign_in.open_session(
        cur,
        user,
        password_hash=password_hash,
        client=Client("", "test"),
        settings=auth.settings,
        now=datetime.now(timezone.utc),
    )


def test_sign_in_beyond_the_limit_revokes_the_oldest_session(ada: Actor, sql: Sql) -> None:
    add_sessions(sql, MAX_SESSIONS - 1, agent="script")

    newest = ada.elsewhere()

    assert ada.me().status_code == 401
    assert newest.me().status_code == 200
    assert sql("SELECT count(*) FROM auth_sessions") == [(MAX_SESSIONS,)]
    assert sql("SELECT count(*) FROM auth_sessions WHERE user_agent = 'script'") == [(MAX_SESSIONS - 1,)]


def test_sign_in_beside_a_host_whose_clock_is_ahead_keeps_its_own_session(ada: Actor, sql: Sql) -> None:
    add_sessions(sql, MAX_SESSIONS, agent="script")
    sql("UPDATE auth_sessions SET created_at = now() + interval '2 s'")

    newest = ada.elsewhere()

    assert newest.me().status_code == 200
    assert sql("SELECT count(*) FROM auth_sessions") == [(MAX_SESSIONS,)]


def test_sign_in_at_the_limit_revokes_nothing(ada: Actor, sql: Sql) -> None:
    add_sessions(sql, MAX_SESSIONS - 2, agent="script")

    ada.elsewhere()

    assert ada.me().status_code == 200


def test_limit_counts_no_session_that_is_over(ada: Actor, sql: Sql) -> None:
    add_sessions(sql, MAX_SESSIONS, agent="over", seconds_left=-1)

    ada.elsewhere()

    assert ada.me().status_code == 200


def test_limit_counts_no_session_of_another_user(ada: Actor, client: FlaskClient, sql: Sql) -> None:
    add_sessions(sql, MAX_SESSIONS - 1, agent="script")

    bob = Actor(client, "bob").register()

    assert bob.me().status_code == 200
    assert ada.me().status_code == 200


def test_sign_in_far_beyond_the_limit_revokes_a_part_at_a_time(ada: Actor, sql: Sql) -> None:
    add_sessions(sql, MAX_SESSIONS + MAX_REVOKED, agent="script")

    counts = []
    for _ in range(2):
        ada.elsewhere()
        counts += sql("SELECT count(*) FROM auth_sessions")

    assert counts == [(MAX_SESSIONS + 2,), (MAX_SESSIONS,)]


def test_limit_is_exact_for_two_sign_ins_at_the_same_time(
    ada: Actor, app: Flask, settings: Settings, sql: Sql
) -> None:
    add_sessions(sql, MAX_SESSIONS - 1, agent="script")
    auth: Auth = app.extensions["auth"]
    credential = auth.database.read(users.find_by_login, "ada", now=clock.now())
    assert credential
    opened, go_on = Event(), Event()

    def sign_in_slowly(cur: Cursor) -> None:
        with transaction(cur):
            assert open_session(cur, auth, credential.user, password_hash=credential.password_hash)
            opened.set()
            go_on.wait(5)

    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(auth.database.write, sign_in_slowly)
        assert opened.wait(5)
        second = threads.submit(lambda: ada.elsewhere())
        wait_until_blocked(settings.db_url, 1)
        go_on.set()
        first.result()
        second.result()

    assert sql("SELECT count(*) FROM auth_sessions") == [(MAX_SESSIONS,)]
    assert sql("SELECT count(*) FROM auth_sessions WHERE user_agent = 'script'") == [(MAX_SESSIONS - 2,)]


def test_session_of_a_transaction_that_fails_is_not_opened(ada: Actor, app: Flask, sql: Sql) -> None:
    auth: Auth = app.extensions["auth"]
    credential = auth.database.read(users.find_by_login, "ada", now=clock.now())
    assert credential
    before = sql(AGENTS)

    def open_session_and_fail(cur: Cursor) -> None:
        with transaction(cur):
            assert open_session(cur, auth, credential.user, password_hash=credential.password_hash)
            raise ApiError("internal_error")

    with pytest.raises(ApiError):
        auth.database.write(open_session_and_fail)

    assert sql(AGENTS) == before


def test_session_is_not_opened_for_a_hash_that_was_replaced(ada: Actor, app: Flask, sql: Sql) -> None:
    auth: Auth = app.extensions["auth"]
    credential = auth.database.read(users.find_by_login, "ada", now=clock.now())
    assert credential
    before = sql(AGENTS)
    sql("UPDATE users SET password = 'another'")

    tokens = auth.database.write(open_session, auth, credential.user, password_hash=credential.password_hash)

    assert tokens is None
    assert sql(AGENTS) == before


def credential_of(auth: Auth, name: str = "ada") -> Credential:
    credential = auth.database.read(users.find_by_login, name, now=clock.now())
    assert credential
    return credential


def test_admit_opens_a_session_for_a_user_without_a_second_factor(ada: Actor, app: Flask) -> None:
    auth: Auth = app.extensions["auth"]
    credential = credential_of(auth)

    tokens = sign_in.admit(auth, credential, Client("", "test"))

    assert tokens
    assert ada.me(tokens.token).status_code == 200


def test_admit_gives_a_ticket_to_a_user_with_a_second_factor(ada: Actor, app: Flask, sql: Sql) -> None:
    enrol(ada)
    auth: Auth = app.extensions["auth"]
    credential = credential_of(auth)
    before = sql(AGENTS)

    with pytest.raises(ApiError) as refused:
        sign_in.admit(auth, credential, Client("", "test"))

    assert (refused.value.code, refused.value.status) == ("second_factor_required", 401)
    assert refused.value.body().keys() == {"error", "code", "ticket", "expires_in"}
    assert sql("SELECT user_id FROM auth_tickets") == [(ada.id,)]
    assert sql(AGENTS) == before


@pytest.mark.parametrize("has_factor", [True, False])
def test_admit_returns_none_for_a_hash_that_was_replaced(
    ada: Actor, app: Flask, sql: Sql, has_factor: bool
) -> None:
    if has_factor:
        enrol(ada)
    auth: Auth = app.extensions["auth"]
    credential = credential_of(auth)
    before = sql(AGENTS)
    sql("UPDATE users SET password = 'another'")

    tokens = sign_in.admit(auth, credential, Client("", "test"))

    assert tokens is None
    assert sql("SELECT count(*) FROM auth_tickets") == [(0,)]
    assert sql(AGENTS) == before


def test_admit_asks_for_the_verified_email_before_the_second_factor(ada: Actor, app: Flask, sql: Sql) -> None:
    enrol(ada)
    auth: Auth = app.extensions["auth"]
    strict = replace(auth, settings=replace(auth.settings, mail=mail_settings(require_verified_email=True)))

    with pytest.raises(ApiError) as refused:
        sign_in.admit(strict, credential_of(auth), Client("", "test"))

    assert refused.value.code == "email_not_verified"
    assert sql("SELECT count(*) FROM auth_tickets") == [(0,)]


def test_act_on_proof_proves_again_if_the_hash_was_replaced() -> None:
    hashes, acted = iter(["old", "new"]), []

    def prove() -> Credential:
        return Credential(ADA.user, next(hashes))

    def act(credential: Credential) -> str | None:
        acted.append(credential.password_hash)
        return "done" if credential.password_hash == "new" else None

    credential, result = sign_in.act_on_proof(prove, act, refusal="invalid_credentials")

    assert (credential.password_hash, result, acted) == ("new", "done", ["old", "new"])


@pytest.mark.parametrize("refusal", ["invalid_credentials", "wrong_password"])
def test_act_on_proof_gives_up_after_the_second_proof(refusal: str) -> None:
    proofs = []

    def prove() -> Credential:
        proofs.append(ADA)
        return ADA

    with pytest.raises(ApiError) as refused:
        sign_in.act_on_proof(prove, lambda _: None, refusal=refusal)

    assert (refused.value.code, len(proofs)) == (refusal, 2)
    assert refused.value.log_message == "password_changed user_id=1"


def test_act_on_proof_without_a_proof_does_nothing() -> None:
    def prove() -> Credential:
        raise ApiError("wrong_password")

    acted: list[Credential] = []
    with pytest.raises(ApiError):
        sign_in.act_on_proof(prove, acted.append, refusal="wrong_password")

    assert acted == []
