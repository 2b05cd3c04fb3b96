"""The keys of budgets: no two things share one, and none repeats what a client typed."""

import re

import pytest

from auth.throttling import keys
from auth.throttling.device_cookie import Device
from tests.support import SECRET_KEY


def unknown(identifier: str, key: str = SECRET_KEY) -> str:
    return keys.unknown_account(identifier, key=key)


def test_every_budget_has_a_key_of_its_own() -> None:
    account = keys.account(7)

    all_keys = [
        keys.address("1.2.3.4"),
        keys.registrations("1.2.3.4"),
        keys.strangers(account),
        keys.known_addresses(account),
        keys.device(Device(7, "ab")),
        keys.device(Device(7, "cd")),
        keys.session(7, 1),
        keys.session(7, 2),
        keys.session(7, None),
        keys.second_factor(7),
        keys.second_factor(70),
        keys.strangers(unknown("ada")),
        keys.strangers(unknown("7")),
        keys.strangers(unknown("bob")),
    ]

    assert len(set(all_keys)) == len(all_keys)


@pytest.mark.parametrize("other_id", [70, 77, 17])
def test_keys_of_an_account_begin_as_those_of_no_other(other_id: int) -> None:
    account = keys.account(7)

    all_keys = [keys.strangers(account), keys.known_addresses(account), keys.device(Device(7, "ab"))]
    all_keys += [keys.session(7, 70), keys.session(7, None)]

    assert all(key.startswith(account) for key in all_keys)
    assert not [key for key in all_keys if key.startswith(keys.account(other_id))]
    assert not keys.account(other_id).startswith(account)


def test_keys_of_a_second_factor_are_none_of_the_account() -> None:
    assert not keys.second_factor(7).startswith(keys.account(7))
    assert not keys.second_factor(70).startswith(keys.second_factor(7))


@pytest.mark.parametrize("identifier", [" ada", "ada\n", "ADA", "\u00a0Ada\t"])
def test_spellings_of_an_unknown_identifier_are_one_account(identifier: str) -> None:
    assert unknown(identifier) == unknown("ada")


@pytest.mark.parametrize(
    ("identifier", "other"),
    [
        pytest.param("ada", "bob", id="names"),
        pytest.param("a da", "ada", id="blank within"),
        # The lookup folds ASCII alone: a budget that they shared would tell that neither exists.
        pytest.param("\u00c9ve", "\u00e9ve", id="letter case beyond ASCII"),
        pytest.param("\u212aim", "kim", id="Kelvin sign"),
        pytest.param("\ud800", "\ud801", id="lone surrogates"),
        pytest.param("ada\0", "ada", id="NUL"),
    ],
)
def test_unknown_identifiers_that_differ_are_accounts_of_their_own(identifier: str, other: str) -> None:
    assert unknown(identifier) != unknown(other)


@pytest.mark.parametrize("identifier", ["", "ada", "hunter2", "x" * 60_000, "\udcff\0'\""])
def test_unknown_identifier_appears_as_a_keyed_hash_alone(identifier: str) -> None:
    assert re.fullmatch(r"account [0-9a-f]{32} ", unknown(identifier))
    assert unknown(identifier) != unknown(identifier, key="another")
