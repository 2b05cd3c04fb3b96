"""POST /api/auth/2fa/setup: a secret for an authenticator app, which is not in force yet."""

from typing import Any

import pytest
from flask.testing import FlaskClient

from auth.errors import ApiError
from auth.two_factor import factors
from runtime.two_factor_settings import TwoFactorSettings
from tests.support.access_tokens import without_session
from tests.support.actor import (
    TOKEN_INVALID,
    TOKEN_MISSING,
    VALIDATION_FAILED,
    WRONG_PASSWORD,
    Actor,
    ClientOf,
    refusal,
)
from tests.support.database import Sql
from tests.support.second_factors import (
    DISABLE,
    ENABLE,
    RENEW,
    SECOND_STEP,
    SETUP,
    App,
    enable,
    enrol,
    set_up,
)
from tests.support.throttling import codes

CODE_INVALID = (400, "code_invalid", None)
COUNT = "SELECT count(*) FROM auth_second_factors"
FEATURES = "/api/auth/features"


def test_setup_answers_the_secret_in_three_forms(ada: Actor) -> None:
    answer = set_up(ada)

    body = answer.get_json()
    assert answer.status_code == 200
    assert body.keys() == {"secret", "otpauth_url", "qr_svg", "expires_in"}
    assert len(App.scanning(body).secret) == 20
    assert body["otpauth_url"].startswith(f"otpauth://totp/Streamly:ada?secret={body['secret']}&")
    assert body["qr_svg"].startswith("<svg ")
    assert body["expires_in"] == 600
    assert answer.headers["Cache-Control"] == "no-store"


def test_setup_puts_nothing_in_force(ada: Actor) -> None:
    set_up(ada)

    assert ada.me().get_json()["two_factor"] is False
    assert ada.try_log_in().status_code == 200
    assert ada.change_profile(username="countess", current_password=ada.password).status_code == 200


def test_setup_expires_after_what_it_says(ada: Actor, sql: Sql) -> None:
    seconds = set_up(ada).get_json()["expires_in"]

    [(stored,)] = sql("SELECT EXTRACT(EPOCH FROM setup_expires_at - now())::FLOAT FROM auth_second_factors")
    assert seconds - 5 < stored < seconds + 1


def test_second_setup_makes_the_first_void(ada: Actor, sql: Sql) -> None:
    first, second = (App.scanning(set_up(ada).get_json()) for _ in range(2))

    refused, enabled = enable(ada, first.code()), enable(ada, second.code())

    assert first.secret != second.secret
    assert refusal(refused) == CODE_INVALID
    assert enabled.status_code == 200
    assert sql(COUNT) == [(1,)]


def test_second_setup_lasts_as_long_as_a_first(ada: Actor, sql: Sql) -> None:
    set_up(ada)
    sql("UPDATE auth_second_factors SET setup_expires_at = now() - interval '1 s'")

    app = App.scanning(set_up(ada).get_json())

    assert enable(ada, app.code()).status_code == 200


def test_setup_while_a_second_factor_is_on_is_409_and_changes_nothing(ada: Actor, sql: Sql) -> None:
    enrol(ada)
    row = sql("SELECT auth_second_factors::TEXT FROM auth_second_factors")

    answer = set_up(ada)

    assert refusal(answer) == (409, "two_factor_on", None)
    assert sql("SELECT auth_second_factors::TEXT FROM auth_second_factors") == row


def test_setups_of_two_users_are_apart(ada: Actor, client: FlaskClient, sql: Sql) -> None:
    bob = Actor(client, "bob").register()
    apps = [App.scanning(set_up(user).get_json()) for user in (ada, bob)]

    assert refusal(enable(bob, apps[0].code())) == CODE_INVALID
    assert enable(bob, apps[1].code()).status_code == 200
    assert ada.me().get_json()["two_factor"] is False
    assert bob.me().get_json()["two_factor"] is True


def test_setup_with_a_wrong_password_is_403_and_stores_nothing(ada: Actor, sql: Sql) -> None:
    answers = [set_up(ada, password=WRONG_PASSWORD) for _ in range(11)]

    assert refusal(answers[0]) == (403, "wrong_password", None)
    assert codes(answers) == ["wrong_password"] * 10 + ["too_many_attempts"]
    assert sql(COUNT) == [(0,)]


@pytest.mark.parametrize("password", ["", None, 7, "\0"])
def test_setup_without_a_password_is_400(ada: Actor, password: object) -> None:
    answer = set_up(ada, password=password)

    assert refusal(answer) == VALIDATION_FAILED
    assert answer.get_json()["fields"].keys() == {"password"}


def test_setup_with_a_token_without_session_succeeds(ada: Actor) -> None:
    answer = ada.send("POST", SETUP, {"password": ada.password}, token=without_session(ada.id))

    assert answer.status_code == 200


def test_setup_whose_session_is_revoked_between_two_statements_is_401(
    ada: Actor, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = factors.set_up

    def revoke_and_store(*args: Any, **kwargs: Any) -> bool:
        sql("DELETE FROM auth_sessions")
        return store(*args, **kwargs)

    monkeypatch.setattr(factors, "set_up", revoke_and_store)

    answer = set_up(ada)

    assert refusal(answer) == TOKEN_INVALID
    assert sql(COUNT) == [(0,)]


@pytest.mark.parametrize("path", [SETUP, ENABLE, DISABLE, RENEW])
def test_call_needs_a_live_session(ada: Actor, path: str) -> None:
    phone = ada.elsewhere()
    ada.revoke_session(phone.session_id)
    body = {"password": ada.password, "code": "123456"}

    assert refusal(ada.send("POST", path, body, token="")) == TOKEN_MISSING
    assert refusal(phone.send("POST", path, body)) == TOKEN_INVALID


@pytest.mark.parametrize("path", [SETUP, ENABLE, DISABLE, RENEW])
def test_call_takes_a_json_object_alone(ada: Actor, path: str) -> None:
    headers = {"Authorization": f"Bearer {ada.token}"}
    client: Any = ada.client

    answers = [
        client.post(path, headers=headers, data="{", content_type="application/json"),
        client.post(path, headers=headers, data="password=x"),
        client.post(path, headers=headers, data="x" * 65537, content_type="application/json"),
    ]

    assert codes(answers) == ["invalid_json", "unsupported_media_type", "body_too_large"]


def test_features_tell_whether_there_is_a_second_factor(client: FlaskClient, client_of: ClientOf) -> None:
    answers = [each.get(FEATURES) for each in (client, client_of(two_factor=None))]

    assert [answer.get_json()["two_factor"] for answer in answers] == [True, False]


@pytest.mark.parametrize("with_token", [True, False], ids=["token", "no token"])
@pytest.mark.parametrize("path", [SETUP, ENABLE, DISABLE, RENEW, SECOND_STEP])
def test_call_is_404_while_the_feature_is_off(
    ada: Actor, client_of: ClientOf, path: str, with_token: bool
) -> None:
    user = ada.through(client_of(two_factor=None))
    body = {"password": ada.password, "code": "123456", "ticket": "x"}

    answer = user.send("POST", path, body, token=ada.token if with_token else "")

    assert refusal(answer) == (404, "feature_off", None)


def test_switch_of_the_operator_ends_the_second_step(ada: Actor, client_of: ClientOf) -> None:
    enrol(ada)

    assert ada.try_log_in().status_code == 401
    assert ada.through(client_of(two_factor=None)).try_log_in().status_code == 200


def test_user_object_says_that_there_is_a_second_factor_also_while_the_feature_is_off(
    ada: Actor, client_of: ClientOf
) -> None:
    enrol(ada)

    assert ada.through(client_of(two_factor=None)).me().get_json()["two_factor"] is True


def test_issuer_is_that_of_the_settings(ada: Actor, client_of: ClientOf) -> None:
    user = ada.through(client_of(two_factor=TwoFactorSettings(totp_issuer="Café 7")))

    uri = set_up(user).get_json()["otpauth_url"]

    assert uri.startswith("otpauth://totp/Caf%C3%A9%207:ada?")
    assert "&issuer=Caf%C3%A9%207&" in uri


def test_each_setup_has_a_secret_and_a_nonce_of_its_own(ada: Actor, sql: Sql) -> None:
    secrets, stored = set(), set()
    for _ in range(3):
        secrets.add(set_up(ada).get_json()["secret"])
        [(nonce,)] = sql("SELECT encode(substr(secret, 1, 12), 'hex') FROM auth_second_factors")
        stored.add(nonce)

    assert (len(secrets), len(stored)) == (3, 3)


def test_failure_to_draw_the_qr_code_leaves_an_earlier_setup(
    ada: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = App.scanning(set_up(ada).get_json())

    def fail(_uri: str) -> str:
        raise ApiError("internal_error")

    monkeypatch.setattr("auth.two_factor.key_uri.qr_svg", fail)

    assert set_up(ada).status_code == 500
    assert enable(ada, app.code()).status_code == 200
