"""Sessions and profiles when everything happens at once, against gunicorn with two workers."""

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import jwt
import psycopg2
import pytest
import requests

from tests.support import PASSWORD, SECRET_KEY, service
from tests.support.database import MakeDatabase, run_sql

REGISTER, LOGIN, REFRESH = "/api/auth/register", "/api/auth/login", "/api/auth/refresh"
ME, ME_PASSWORD = "/api/auth/me", "/api/auth/me/password"
LOGOUT, SESSIONS = "/api/auth/logout", "/api/auth/sessions"
NEW = "battery staple"
TABS = 20

Call = Callable[[], requests.Response]


@pytest.fixture(scope="module")
def url(make_database: MakeDatabase) -> str:
    return make_database()


@pytest.fixture(scope="module")
def running(url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[service.Service]:
    log = tmp_path_factory.mktemp("service") / "log"
    with service.running(log, DB_URL=url, SECRET_KEY=SECRET_KEY, BCRYPT_ROUNDS="4") as started:
        wait_for_workers(started)
        yield started
    assert '"exception"' not in log.read_text()


def wait_for_workers(running: service.Service) -> None:
    deadline = time.monotonic() + 10
    while len(running.workers()) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.05)


class User:
    """A user of the service, every call on a connection of its own."""

    def __init__(self, running: service.Service, url: str, name: str) -> None:
        self._running, self.url = running, url
        self.name, self.email = name, f"{name}@example.com"
        body = {"username": name, "email": self.email, "password": PASSWORD}
        answer = self.send("POST", REGISTER, body)
        assert answer.status_code == 201, answer.text
        self.pair: dict[str, Any] = answer.json()
        self.id: int = self.pair["userId"]

    def send(self, method: str, path: str, body: object = None, token: str = "") -> requests.Response:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        address = f"{self._running.url}{path}"
        return requests.request(method, address, json=body, headers=headers, timeout=30)

    def log_in(self, password: str = PASSWORD) -> requests.Response:
        return self.send("POST", LOGIN, {"username": self.name, "password": password})

    def opened(self) -> dict[str, Any]:
        """Return the pair of a new session."""
        answer = self.log_in()
        assert answer.status_code == 200, answer.text
        pair: dict[str, Any] = answer.json()
        return pair

    def refresh(self, pair: dict[str, Any]) -> requests.Response:
        return self.send("POST", REFRESH, {"refresh_token": pair["refresh_token"]})

    def me(self, pair: dict[str, Any]) -> requests.Response:
        return self.send("GET", ME, token=pair["token"])

    def log_out(self, pair: dict[str, Any]) -> requests.Response:
        return self.send("POST", LOGOUT, token=pair["token"])

    def revoke_others(self, pair: dict[str, Any]) -> requests.Response:
        return self.send("DELETE", SESSIONS, token=pair["token"])

    def patch(self, pair: dict[str, Any], **fields: object) -> requests.Response:
        return self.send("PATCH", ME, {"current_password": PASSWORD} | fields, pair["token"])

    def put_password(self, pair: dict[str, Any], new: str = NEW) -> requests.Response:
        body = {"current_password": PASSWORD, "new_password": new}
        return self.send("PUT", ME_PASSWORD, body, pair["token"])

    def delete(self, pair: dict[str, Any]) -> requests.Response:
        return self.send("DELETE", ME, {"password": PASSWORD}, pair["token"])

    def session_count(self) -> int:
        return int(run_sql(self.url, "SELECT count(*) FROM auth_sessions WHERE user_id = %s", self.id)[0][0])


@pytest.fixture
def register(running: service.Service, url: str) -> Iterator[Callable[[str], User]]:
    """Register users, on a database that the test leaves empty."""
    yield lambda name: User(running, url, name)
    run_sql(url, "DELETE FROM users")


@pytest.fixture
def ada(register: Callable[[str], User]) -> User:
    return register("ada")


def at_once(*calls: Call) -> list[requests.Response]:
    """Make every call in a thread of its own, all at the same moment."""
    barrier = threading.Barrier(len(calls))

    def run(call: Call) -> requests.Response:
        barrier.wait(10)
        return call()

    with ThreadPoolExecutor(len(calls)) as threads:
        return list(threads.map(run, calls))


def statuses(answers: list[requests.Response]) -> Counter[int]:
    return Counter(answer.status_code for answer in answers)


def assert_over(user: User, pair: dict[str, Any]) -> None:
    refused = user.me(pair)
    assert (refused.status_code, refused.json()["code"]) == (401, "token_invalid")
    assert user.refresh(pair).status_code == 401


def test_twenty_refreshes_of_one_token_at_once_all_go_on(ada: User) -> None:
    pairs = [ada.pair] * TABS
    for _ in range(5):
        answers = at_once(*[partial(ada.refresh, pair) for pair in pairs])

        assert statuses(answers) == {200: TABS}
        pairs = [answer.json() for answer in answers]
        assert len({pair["refresh_token"] for pair in pairs}) == 1
        assert statuses([ada.me(pair) for pair in pairs]) == {200: TABS}

    assert statuses([ada.refresh(pair) for pair in pairs]) == {200: TABS}
    assert ada.session_count() == 1


def test_refresh_against_logout_leaves_nothing_that_works(ada: User) -> None:
    for _ in range(15):
        pair = ada.opened()

        *refreshes, logout = at_once(*[partial(ada.refresh, pair)] * 4, partial(ada.log_out, pair))

        assert logout.status_code == 204
        assert statuses(refreshes).keys() <= {200, 401}
        for left in [pair, *(answer.json() for answer in refreshes if answer.status_code == 200)]:
            assert_over(ada, left)
        assert ada.session_count() == 1


def test_two_patches_for_one_name_are_one_success_and_one_conflict(
    ada: User, register: Callable[[str], User]
) -> None:
    bob = register("bob")
    for n in range(15):
        wanted = f"wanted{n}"

        answers = at_once(
            partial(ada.patch, ada.pair, username=wanted),
            partial(bob.patch, bob.pair, username=wanted.upper()),
        )

        assert statuses(answers) == {200: 1, 409: 1}
        [conflict] = [answer for answer in answers if answer.status_code == 409]
        assert conflict.json()["code"] == "username_taken"
        named = run_sql(ada.url, "SELECT id FROM users WHERE lower(username) = %s", wanted)
        assert named == [(ada.id if answers[0].status_code == 200 else bob.id,)]


def test_two_patches_for_one_email_are_one_success_and_one_conflict(
    ada: User, register: Callable[[str], User]
) -> None:
    bob = register("bob")
    for n in range(5):
        wanted = f"wanted{n}@example.com"

        answers = at_once(*[partial(user.patch, user.pair, email=wanted) for user in (ada, bob)])

        assert statuses(answers) == {200: 1, 409: 1}
        assert run_sql(ada.url, "SELECT count(*) FROM users WHERE email = %s", wanted) == [(1,)]


def test_patches_of_different_fields_at_once_are_both_kept(ada: User) -> None:
    for n in range(10):
        answers = at_once(
            partial(ada.patch, ada.pair, first_name=f"A{n}"),
            partial(ada.patch, ada.pair, last_name=f"B{n}"),
            partial(ada.patch, ada.pair, email=f"c{n}@example.com"),
        )

        assert statuses(answers) == {200: 3}
        row = run_sql(ada.url, "SELECT first_name, last_name, email FROM users")
        assert row == [(f"A{n}", f"B{n}", f"c{n}@example.com")]


def test_password_change_against_login_leaves_no_session_of_the_old_password(
    register: Callable[[str], User],
) -> None:
    for n in range(10):
        user = register(f"user{n}")
        user.opened()

        *logins, change = at_once(*[user.log_in] * 6, partial(user.put_password, user.pair))

        assert change.status_code == 200
        assert statuses(logins).keys() <= {200, 401}
        for login in logins:
            if login.status_code == 200:
                assert_over(user, login.json())
        assert user.me(change.json()).status_code == 200
        assert user.refresh(change.json()).status_code == 200
        assert user.session_count() == 1
        assert user.log_in().status_code == 401


def test_password_change_against_refresh_leaves_only_the_new_pair(register: Callable[[str], User]) -> None:
    for n in range(10):
        user = register(f"user{n}")
        other = user.opened()

        *refreshes, change = at_once(
            *[partial(user.refresh, other)] * 3,
            *[partial(user.refresh, user.pair)] * 3,
            partial(user.put_password, user.pair),
        )

        assert change.status_code == 200
        assert statuses(refreshes).keys() <= {200, 401}
        for left in refreshes[:3]:
            if left.status_code == 200:
                assert_over(user, left.json())
        for left in refreshes[3:]:
            if left.status_code == 200:
                assert user.refresh(left.json()).status_code == 401
        assert user.refresh(change.json()).status_code == 200
        assert user.session_count() == 1


def test_two_password_changes_at_once_are_one_success(register: Callable[[str], User]) -> None:
    for n in range(10):
        user = register(f"user{n}")
        other = user.opened()

        changes = at_once(
            partial(user.put_password, user.pair, NEW),
            partial(user.put_password, other, NEW + "2"),
        )

        assert changes[0].status_code + changes[1].status_code in (200 + 403, 200 + 401)
        first_won = changes[0].status_code == 200
        winner = changes[0] if first_won else changes[1]
        assert user.me(winner.json()).status_code == 200
        assert user.log_in(NEW if first_won else NEW + "2").status_code == 200
        assert user.log_in(NEW + "2" if first_won else NEW).status_code == 401


def wait_until_blocked(url: str, count: int) -> None:
    """Return once so many statements wait for a lock."""
    blocked = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        " AND wait_event_type = 'Lock'"
    )
    deadline = time.monotonic() + 2
    while run_sql(url, blocked) != [(count,)]:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_password_change_against_ending_the_other_sessions_is_no_deadlock(ada: User) -> None:
    """Both are held up at the same session, so that they meet there."""
    other, third = ada.opened(), ada.opened()
    sid = jwt.decode(third["token"], SECRET_KEY, algorithms=["HS256"])["sid"]
    holder = psycopg2.connect(ada.url)

    with ThreadPoolExecutor(2) as threads, closing(holder):
        with holder.cursor() as cur:
            cur.execute("SELECT id FROM auth_sessions WHERE id = %s FOR UPDATE", (sid,))
        change = threads.submit(ada.put_password, ada.pair)
        wait_until_blocked(ada.url, 1)
        ending = threads.submit(ada.revoke_others, other)
        wait_until_blocked(ada.url, 2)
        holder.commit()

    assert change.result().status_code in (200, 401)
    assert ending.result().status_code in (204, 401)


def test_ending_the_other_sessions_from_every_session_leaves_one_at_most(ada: User) -> None:
    pairs = [ada.opened() for _ in range(8)]

    endings = at_once(*[partial(ada.revoke_others, pair) for pair in pairs])

    assert statuses(endings).keys() <= {204, 401}
    assert statuses(endings)[204] >= 1
    assert ada.session_count() <= 1


def test_delete_against_everything_leaves_no_row_and_no_token(register: Callable[[str], User]) -> None:
    for n in range(8):
        user = register(f"user{n}")
        mine, doomed, other, third = [user.opened() for _ in range(4)]

        deletion, *answers = at_once(
            partial(user.delete, mine),
            partial(user.me, other),
            partial(user.refresh, other),
            partial(user.refresh, mine),
            user.log_in,
            user.log_in,
            partial(user.patch, third, first_name="A"),
            partial(user.patch, third, username=f"renamed{n}"),
            partial(user.log_out, doomed),
            partial(user.send, "GET", SESSIONS, token=third["token"]),
            partial(user.send, "DELETE", f"{SESSIONS}/1", token=third["token"]),
            partial(user.delete, user.pair),
        )

        assert deletion.status_code in (204, 401)
        assert statuses([deletion, *answers]).keys() <= {200, 204, 401, 404}
        assert run_sql(user.url, "SELECT id FROM users") == []
        assert run_sql(user.url, "SELECT id FROM auth_sessions") == []
        issued = [answer.json() for answer in answers if "refresh_token" in answer.text]
        for pair in [user.pair, mine, doomed, other, third, *issued]:
            assert_over(user, pair)


def test_delete_against_a_password_change_ends_as_one_or_the_other(
    register: Callable[[str], User],
) -> None:
    for n in range(10):
        user = register(f"user{n}")
        other = user.opened()

        deletion, change = at_once(partial(user.delete, other), partial(user.put_password, user.pair))

        assert deletion.status_code in (204, 401, 403)
        assert change.status_code in (200, 401, 403)
        rows = run_sql(user.url, "SELECT id FROM users WHERE id = %s", user.id)
        assert rows == ([] if deletion.status_code == 204 else [(user.id,)])
        assert (deletion.status_code == 204) != (change.status_code == 200)


def test_replay_of_an_old_refresh_token_ends_it_for_thief_and_owner(ada: User) -> None:
    stolen = ada.pair
    owners = ada.refresh(ada.refresh(stolen).json()).json()
    other = ada.opened()

    replay = ada.refresh(stolen)

    assert (replay.status_code, replay.json()["code"]) == (401, "refresh_reused")
    assert_over(ada, stolen)
    assert_over(ada, owners)
    assert ada.me(other).status_code == 200


def test_replays_at_once_end_the_session_once(ada: User) -> None:
    stolen = ada.pair
    newest = ada.refresh(ada.refresh(stolen).json()).json()

    answers = at_once(*[partial(ada.refresh, stolen)] * 8, partial(ada.refresh, newest))

    assert statuses(answers[:8]) == {401: 8}
    assert {answer.json()["code"] for answer in answers[:8]} <= {"refresh_reused", "refresh_invalid"}
    assert_over(ada, newest)
    if answers[8].status_code == 200:
        assert_over(ada, answers[8].json())
    assert ada.session_count() == 0


def test_login_of_many_at_once_opens_a_session_each(ada: User) -> None:
    answers = at_once(*[ada.log_in] * TABS)

    assert statuses(answers) == {200: TABS}
    claims = [jwt.decode(answer.json()["token"], SECRET_KEY, algorithms=["HS256"]) for answer in answers]
    assert len({claim["sid"] for claim in claims}) == TABS
    assert ada.session_count() == TABS + 1


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    """Stop a worker, so that the other one answers."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize("how", ["logout", "end others", "password", "replay", "delete"])
def test_session_that_one_worker_ends_is_refused_by_the_other(
    ada: User, running: service.Service, how: str
) -> None:
    one, another = running.workers()
    doomed, other = ada.opened(), ada.opened()
    end: dict[str, Call] = {
        "logout": partial(ada.log_out, doomed),
        "end others": partial(ada.revoke_others, other),
        "password": partial(ada.put_password, other),
        "replay": partial(ada.refresh, doomed),
        "delete": partial(ada.delete, other),
    }
    if how == "replay":
        ada.refresh(ada.refresh(doomed).json())
    for pid in (one, another):
        with frozen(pid):
            assert ada.me(doomed).status_code == 200

    with frozen(another):
        assert end[how]().status_code < 500
        assert_over(ada, doomed)
    with frozen(one):
        assert_over(ada, doomed)


def test_session_that_is_over_is_refused_on_every_connection(ada: User) -> None:
    doomed = ada.opened()
    assert statuses(at_once(*[partial(ada.me, doomed)] * 30)) == {200: 30}

    ada.log_out(doomed)

    assert statuses(at_once(*[partial(ada.me, doomed)] * 30)) == {401: 30}
    assert statuses([ada.me(doomed) for _ in range(30)]) == {401: 30}


def test_purge_beside_everything_is_never_an_error(
    register: Callable[[str], User], make_database: MakeDatabase, tmp_path: Path
) -> None:
    database = make_database()
    over = (
        "INSERT INTO auth_sessions (user_id, handle_hash, token_hash, created_at, last_used_at, valid_until,"
        " expires_at, ip, user_agent) SELECT id, sha256(('h' || n)::bytea), ''::bytea, now(), now(),"
        " now() - interval '1 s', now(), '', 'over' FROM users, generate_series(1, 3000) AS n"
    )

    with service.running(
        tmp_path / "log", DB_URL=database, SECRET_KEY=SECRET_KEY, BCRYPT_ROUNDS="4"
    ) as started:
        wait_for_workers(started)
        user = User(started, database, "ada")
        run_sql(database, over)

        def log_in_and_out() -> requests.Response:
            for _ in range(25):
                pair = user.opened()
                assert user.refresh(pair).status_code == 200
                assert user.log_out(pair).status_code == 204
            return user.me(user.pair)

        answers = at_once(*[log_in_and_out] * 8)

    assert statuses(answers) == {200: 8}
    left = run_sql(database, "SELECT count(*) FROM auth_sessions WHERE user_agent = 'over'")[0][0]
    assert left <= 3000 - 2 * 500  # 200 logins, in two workers: at least two purges
    assert '"ERROR"' not in (tmp_path / "log").read_text()
