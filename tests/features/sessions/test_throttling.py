"""Refresh tokens that nobody has are charged to the address; a good one is never refused."""

import pytest
from flask import Flask
from flask.testing import FlaskClient

from runtime.settings import Rate
from tests.support.actor import REFRESH, Actor, ClientOf
from tests.support.database import Sql
from tests.support.throttling import client_at, codes, guess, keys

UNKNOWN = "A" * 64


@pytest.fixture
def client(client_of: ClientOf) -> FlaskClient:
    return client_at(client_of(limit_address_failures=Rate(2, "2h")).application)


def refresh(client: FlaskClient, token: str) -> str:
    return codes([client.post(REFRESH, json={"refresh_token": token})])[0]


@pytest.mark.parametrize(
    "token", [pytest.param(UNKNOWN, id="unknown"), pytest.param("nonsense", id="no token")]
)
def test_unknown_refresh_token_is_charged_to_the_address(client: FlaskClient, token: str) -> None:
    answers = [refresh(client, token) for _ in range(3)]
    elsewhere = refresh(client_at(client.application, "192.0.2.9"), token)

    assert answers == ["refresh_invalid", "refresh_invalid", "rate_limited"]
    assert elsewhere == "refresh_invalid"


def test_failed_logins_and_unknown_refresh_tokens_share_the_budget_of_an_address(client: FlaskClient) -> None:
    answers = [refresh(client, UNKNOWN), *codes(guess(client, username="nobody")), refresh(client, UNKNOWN)]

    assert answers == ["refresh_invalid", "invalid_credentials", "rate_limited"]


def test_good_refresh_token_is_never_refused_nor_charged(client: FlaskClient, ada: Actor, sql: Sql) -> None:
    for _ in range(5):
        refresh(client, UNKNOWN)
    before = sql("SELECT * FROM auth_throttle ORDER BY key")

    ada = ada.through(client)
    for _ in range(5):
        ada.refresh()

    assert sql("SELECT * FROM auth_throttle ORDER BY key") == before


def test_token_that_was_just_replaced_is_never_refused_nor_charged(
    client: FlaskClient, ada: Actor, sql: Sql
) -> None:
    ada, before = ada.through(client), keys(sql)
    replaced = ada.refresh_token
    ada.refresh()

    assert [refresh(client, replaced) for _ in range(5)] == [""] * 5
    assert keys(sql) == before


def test_malformed_refresh_is_free(client: FlaskClient, sql: Sql) -> None:
    assert [refresh(client, "") for _ in range(5)] == ["validation_failed"] * 5
    assert keys(sql) == []


def test_unknown_refresh_token_without_an_address_is_not_limited(app: Flask, client: FlaskClient) -> None:
    nowhere = client_at(client.application, "")

    assert [refresh(nowhere, UNKNOWN) for _ in range(5)] == ["refresh_invalid"] * 5


def test_switched_off_limits_refuse_no_refresh_token(client_of: ClientOf, sql: Sql) -> None:
    client = client_at(client_of(rate_limits=False, limit_address_failures=Rate(1, "1h")).application)

    assert [refresh(client, UNKNOWN) for _ in range(5)] == ["refresh_invalid"] * 5
    assert keys(sql) == []
