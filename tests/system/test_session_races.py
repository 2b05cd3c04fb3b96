"""Sessions when everything happens at once, against gunicorn with two workers."""

from functools import partial
from typing import Any

import pytest

from tests.support import service
from tests.support.actor import REFRESH_REUSED, Actor, refusal
from tests.support.races import Call, SessionCount, at_once, frozen, statuses

pytestmark = pytest.mark.slow

TABS = 20


def holders(user: Actor, answers: list[Any]) -> list[Actor]:
    """Return who has the pairs of those answers that succeeded."""
    return [user.holding(answer.get_json()) for answer in answers if answer.status_code == 200]


def test_twenty_refreshes_of_one_token_at_once_all_continue(ada: Actor, session_count: SessionCount) -> None:
    tabs = [ada.holding(ada.pair) for _ in range(TABS)]
    for _ in range(5):
        answers = at_once(*[tab.try_refresh for tab in tabs])

        assert statuses(answers) == {200: TABS}
        tabs = holders(ada, answers)
        assert len({tab.refresh_token for tab in tabs}) == 1
        assert all(tab.is_live() for tab in tabs)

    assert statuses([tab.try_refresh() for tab in tabs]) == {200: TABS}
    assert session_count(ada) == 1


def test_refresh_against_logout_leaves_no_token_that_works(ada: Actor, session_count: SessionCount) -> None:
    for _ in range(15):
        phone = ada.elsewhere()

        *refreshes, logout = at_once(*[phone.try_refresh] * 4, phone.log_out)

        assert logout.status_code == 204
        assert statuses(refreshes).keys() <= {200, 401}
        assert all(holder.is_over() for holder in [phone, *holders(ada, refreshes)])
        assert session_count(ada) == 1


def test_replay_of_an_old_refresh_token_ends_the_session_for_thief_and_owner(ada: Actor) -> None:
    thief, phone = ada.holding(ada.pair), ada.elsewhere()
    ada.refresh().refresh()

    replay = thief.try_refresh()

    assert refusal(replay) == REFRESH_REUSED
    assert thief.is_over()
    assert ada.is_over()
    assert phone.is_live()


def test_replays_at_once_end_the_session_once(ada: Actor, session_count: SessionCount) -> None:
    thief = ada.holding(ada.pair)
    ada.refresh().refresh()

    *replays, refresh = at_once(*[thief.try_refresh] * 8, ada.try_refresh)

    assert statuses(replays) == {401: 8}
    assert {answer.get_json()["code"] for answer in replays} <= {"refresh_reused", "refresh_invalid"}
    assert all(holder.is_over() for holder in [ada, *holders(ada, [refresh])])
    assert session_count(ada) == 0


def test_twenty_logins_at_once_open_a_session_each(ada: Actor, session_count: SessionCount) -> None:
    answers = at_once(*[ada.try_log_in] * TABS)

    assert statuses(answers) == {200: TABS}
    assert len({holder.session_id for holder in holders(ada, answers)}) == TABS
    assert session_count(ada) == TABS + 1


def test_revocation_of_the_others_from_every_session_leaves_one_at_most(
    ada: Actor, session_count: SessionCount
) -> None:
    devices = [ada.elsewhere() for _ in range(8)]

    answers = at_once(*[device.revoke_other_sessions for device in devices])

    assert statuses(answers).keys() <= {204, 401}
    assert statuses(answers)[204] >= 1
    assert session_count(ada) <= 1


@pytest.mark.parametrize("how", ["logout", "revoke others", "password", "own password", "replay", "delete"])
def test_session_that_one_worker_ends_is_refused_by_the_other(
    ada: Actor, workers: service.Service, how: str
) -> None:
    one, another = workers.workers()
    doomed, phone = ada.elsewhere(), ada.elsewhere()
    end: dict[str, Call] = {
        "logout": doomed.log_out,
        "revoke others": phone.revoke_other_sessions,
        "password": phone.change_password,
        "own password": doomed.change_password,
        "replay": partial(doomed.try_refresh, doomed.refresh_token),
        "delete": phone.delete,
    }
    if how == "replay":
        doomed.holding(doomed.pair).refresh().refresh()
    for pid in (one, another):
        with frozen(pid):
            assert doomed.is_live()

    with frozen(another):
        assert end[how]().status_code < 500
        assert doomed.is_over()

    with frozen(one):
        assert doomed.is_over()


def test_ended_session_is_refused_on_every_connection(ada: Actor) -> None:
    phone = ada.elsewhere()
    assert statuses(at_once(*[phone.me] * 30)) == {200: 30}

    phone.log_out()

    assert statuses(at_once(*[phone.me] * 30)) == {401: 30}
    assert statuses([phone.me() for _ in range(30)]) == {401: 30}
