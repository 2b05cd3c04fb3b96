"""Changes and deletions of one user at once, against gunicorn with two workers."""

from functools import partial

import pytest

from tests.support.actor import NEW_PASSWORD, SESSIONS, Actor
from tests.support.database import run_sql
from tests.support.races import NewUser, SessionCount, at_once, statuses

pytestmark = pytest.mark.slow


def change(user: Actor, **fields: object) -> partial[object]:
    return partial(user.change_profile, current_password=user.password, **fields)


def test_two_patches_for_one_name_are_one_success_and_one_conflict(
    ada: Actor, new_user: NewUser, url: str
) -> None:
    bob = new_user("bob")
    for n in range(15):
        wanted = f"wanted{n}"

        answers = at_once(change(ada, username=wanted), change(bob, username=wanted.upper()))

        assert statuses(answers) == {200: 1, 409: 1}
        [conflict] = [answer for answer in answers if answer.status_code == 409]
        assert conflict.get_json()["code"] == "username_taken"
        owners = run_sql(url, "SELECT id FROM users WHERE lower(username) = %s", wanted)
        assert owners == [(ada.id if answers[0].status_code == 200 else bob.id,)]


def test_two_patches_for_one_email_are_one_success_and_one_conflict(
    ada: Actor, new_user: NewUser, url: str
) -> None:
    bob = new_user("bob")
    for n in range(5):
        wanted = f"wanted{n}@example.com"

        answers = at_once(*[change(user, email=wanted) for user in (ada, bob)])

        assert statuses(answers) == {200: 1, 409: 1}
        assert run_sql(url, "SELECT count(*) FROM users WHERE email = %s", wanted) == [(1,)]


def test_patches_of_different_fields_at_once_are_all_kept(ada: Actor, url: str) -> None:
    for n in range(10):
        answers = at_once(
            change(ada, first_name=f"A{n}"),
            change(ada, last_name=f"B{n}"),
            change(ada, email=f"c{n}@example.com"),
        )

        assert statuses(answers) == {200: 3}
        row = run_sql(url, "SELECT first_name, last_name, email FROM users")
        assert row == [(f"A{n}", f"B{n}", f"c{n}@example.com")]


def test_password_change_against_login_leaves_no_session_of_the_old_password(
    new_user: NewUser, session_count: SessionCount
) -> None:
    for n in range(10):
        user = new_user(f"user{n}")
        user.elsewhere()

        *logins, password_change = at_once(*[user.try_log_in] * 6, user.change_password)

        assert password_change.status_code == 200
        assert statuses(logins).keys() <= {200, 401}
        logged_in = [login.get_json() for login in logins if login.status_code == 200]
        assert all(user.holding(pair).is_over() for pair in logged_in)
        changed_user = user.holding(password_change.get_json())
        assert changed_user.is_live()
        assert changed_user.try_refresh().status_code == 200
        assert session_count(user) == 1
        assert user.try_log_in().status_code == 401


def test_password_change_against_refresh_leaves_only_the_new_pair(
    new_user: NewUser, session_count: SessionCount
) -> None:
    for n in range(10):
        user = new_user(f"user{n}")
        phone = user.elsewhere()

        *refreshes, password_change = at_once(
            *[phone.try_refresh] * 3, *[user.try_refresh] * 3, user.change_password
        )

        assert password_change.status_code == 200
        assert statuses(refreshes).keys() <= {200, 401}
        refreshed = [user.holding(answer.get_json()) for answer in refreshes if answer.status_code == 200]
        assert all(holder.is_over() for holder in [user, phone, *refreshed])
        changed_user = user.holding(password_change.get_json())
        assert changed_user.is_live()
        assert changed_user.try_refresh().status_code == 200
        assert session_count(user) == 1


@pytest.mark.parametrize("of_one_session", [True, False])
def test_two_password_changes_at_once_are_one_success(
    new_user: NewUser, session_count: SessionCount, *, of_one_session: bool
) -> None:
    other_password = NEW_PASSWORD + "2"
    for n in range(10):
        user = new_user(f"user{n}")
        phone = user if of_one_session else user.elsewhere()

        first, second = at_once(
            partial(user.change_password, NEW_PASSWORD), partial(phone.change_password, other_password)
        )

        assert first.status_code + second.status_code in (200 + 403, 200 + 401)
        winner, password, lost_password = (
            (first, NEW_PASSWORD, other_password)
            if first.status_code == 200
            else (second, other_password, NEW_PASSWORD)
        )
        assert user.is_over()
        assert phone.is_over()
        assert user.holding(winner.get_json()).is_live()
        assert session_count(user) == 1
        assert user.try_log_in(password=password).status_code == 200
        assert user.try_log_in(password=lost_password).status_code == 401


def test_deletion_against_every_other_call_leaves_no_row_and_no_token(new_user: NewUser, url: str) -> None:
    for n in range(8):
        user = new_user(f"user{n}")
        mine, doomed, other, third = [user.elsewhere() for _ in range(4)]

        deletion, *answers = at_once(
            mine.delete,
            other.me,
            other.try_refresh,
            mine.try_refresh,
            user.try_log_in,
            user.try_log_in,
            change(third, first_name="A"),
            change(third, username=f"renamed{n}"),
            doomed.log_out,
            third.sessions,
            partial(third.send, "DELETE", f"{SESSIONS}/1"),
            user.delete,
        )

        assert deletion.status_code in (204, 401)
        assert statuses([deletion, *answers]).keys() <= {200, 204, 401, 404}
        assert run_sql(url, "SELECT id FROM users") == []
        assert run_sql(url, "SELECT id FROM auth_sessions") == []
        issued = [answer.get_json() for answer in answers if "refresh_token" in answer.text]
        devices = [user, mine, doomed, other, third, *(user.holding(pair) for pair in issued)]
        assert all(device.is_over() for device in devices)


def test_deletion_against_a_password_change_is_one_success(new_user: NewUser, url: str) -> None:
    for n in range(10):
        user = new_user(f"user{n}")
        phone = user.elsewhere()

        deletion, password_change = at_once(phone.delete, user.change_password)

        assert deletion.status_code in (204, 401, 403)
        assert password_change.status_code in (200, 401, 403)
        assert (deletion.status_code == 204) != (password_change.status_code == 200)
        rows = run_sql(url, "SELECT id FROM users WHERE id = %s", user.id)
        assert rows == ([] if deletion.status_code == 204 else [(user.id,)])
