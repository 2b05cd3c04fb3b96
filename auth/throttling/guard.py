"""Charges the budgets of an attempt, and refuses the attempt (429) when one of them is used up.

An attempt is charged before anything is hashed, so that many attempts at once cannot pass where one may. An
attempt that succeeds, and an attempt that could not be made, is given back, unless PostgreSQL fails or the
pool stays full.
"""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Concatenate, ParamSpec

from auth.client import Client
from auth.errors import ApiError
from auth.mail import notices
from auth.principal import Principal
from auth.throttling import attempts, counters, keys
from auth.throttling.attempts import Attempt
from auth.throttling.counters import Balance, Charged
from auth.users import Credential
from config import Settings
from db import Cursor, Database, DatabaseUnavailable, PoolFull
from runtime import clock
from runtime.log_limit import LogLimit

REFUSAL_SECONDS = 0.02  # from the arrival of the request to its refusal; a look-up takes a few milliseconds
WRITE_PAUSES = (0.0, 0.05, 0.1, 0.2, 0.4, 0.8)  # seconds before each try
LOCK_RETRY_SECONDS = 3600  # what a client is told of a lock, which no time ends

P = ParamSpec("P")

log = logging.getLogger("auth")


class Throttle:
    """The limits of one app. Without RATE_LIMITS only those of second factors hold; others cost no statement.

    wake_sender: has a notice sent at once. The methods raise ApiError `rate_limited` or `too_many_attempts`.
    """

    def __init__(self, settings: Settings, database: Database, wake_sender: Callable[[], None]) -> None:
        self._settings = settings
        self._database = database
        self._wake_sender = wake_sender
        self._refusals = LogLimit()

    def login(
        self, identifier: str, credential: Credential | None, client: Client
    ) -> AbstractContextManager[None]:
        """Charge a login. The block raises ApiError for a wrong password.

        credential: None if no user has the identifier.
        """
        return self._charged(
            client,
            lambda: attempts.login(identifier, credential, client, settings=self._settings, now=time.time()),
        )

    def reauthentication(self, principal: Principal, client: Client) -> AbstractContextManager[None]:
        """Charge a password that comes with an access token. The block raises ApiError for a wrong one."""
        return self._charged(
            client,
            lambda: attempts.reauthentication(
                principal.user_id, principal.session_id, client, settings=self._settings, now=time.time()
            ),
        )

    def second_factor(self, user_id: int, client: Client) -> AbstractContextManager[None]:
        """Charge a code of a second factor. The block raises ApiError for a wrong one.

        RFC 4226 section 7.3: without a limit six digits can be guessed, so that this one always holds.
        """
        return self._charged(
            client,
            lambda: attempts.second_factor(user_id, client, settings=self._settings, now=time.time()),
            is_optional=False,
        )

    def registration(self, client: Client) -> AbstractContextManager[None]:
        """Charge a registration. The block hashes the password."""
        return self._charged(client, lambda: attempts.registration(client, settings=self._settings))

    def unknown_token(self, client: Client) -> None:
        """Charge a secret that turned out to be nobody's."""
        with self._charged(client, lambda: attempts.unknown_token(client, settings=self._settings)):
            pass

    def mail_request(self, client: Client) -> None:
        """Charge a request that may send a mail. Mail is on."""
        mail = self._settings.mail
        assert mail is not None
        with self._charged(client, lambda: attempts.mail_request(client, mail.limit_mail_requests)):
            pass

    def forget(self, user_id: int) -> None:
        """Forget the attempts on the account of a user who is gone."""
        with self._best_effort():
            if self._settings.rate_limits:
                self._database.write(counters.forget, keys.account(user_id))
            if self._settings.two_factor:
                self._database.write(counters.forget, keys.second_factor(user_id))

    @contextmanager
    def _charged(
        self, client: Client, attempt_of: Callable[[], Attempt], *, is_optional: bool = True
    ) -> Iterator[None]:
        is_off = is_optional and not self._settings.rate_limits
        if is_off or not (attempt := attempt_of()).charges:
            yield
            return
        charged = self._charge(attempt, client)
        try:
            yield
        except ApiError:  # the attempt has failed
            self._report_locks(attempt, charged, client)
            raise
        except BaseException:  # nothing was tested, for example because every hash slot is in use
            with self._best_effort():
                self._database.write(counters.settle, refunds=charged, fill=(), unlock=())
            raise
        if attempt.is_given_back:
            with self._best_effort():
                self._give_back(attempt, charged)

    def _charge(self, attempt: Attempt, client: Client) -> list[Charged]:
        """Charge all budgets of an attempt, or none and raise ApiError."""
        charged = self._database.write(counters.charge, attempt.charges)
        if charged:
            return charged
        refusal = self._refusal(attempt, self._database.write(counters.refused, attempt.charges))
        # Timing attack: the look-up takes longer for an account that exists.
        time.sleep(max(0.0, client.arrived_at + REFUSAL_SECONDS - time.monotonic()))
        raise refusal

    def _refusal(self, attempt: Attempt, balances: list[Balance]) -> ApiError:
        charge, wait = max(
            ((balance.charge, _retry_after(balance)) for balance in balances),
            key=lambda refused: refused[1],
            default=(attempt.charges[0], 0),
        )
        if wait == 0:  # race: since the charge was refused, the budget has recovered
            charge, wait = attempt.charges[0], 1
        is_due = self._refusals.is_due(charge.key, now=time.monotonic())
        cause = f"throttled key={charge.key!r} account={attempt.user_id} wait={wait}"
        return ApiError(charge.code, retry_after=wait, log_message=cause if is_due else "")

    def _report_locks(self, attempt: Attempt, charged: list[Charged], client: Client) -> None:
        """Log each lock that a failure has begun. The owner gets a mail if the lock is one for strangers."""
        for each in charged:
            if each.begins_lock():
                log.warning("account_locked account=%s key=%r", attempt.user_id, each.charge.key)
                if attempt.is_by_stranger and self._settings.mail:
                    self._queue_notice(attempt.user_id, client)

    def _queue_notice(self, user_id: int | None, client: Client) -> None:
        details = notices.details(client, clock.now())
        try:
            self._write_patiently(notices.queue_lock, user_id, details)
            self._wake_sender()
        except DatabaseUnavailable as exc:  # the answer is that of every other failure
            log.warning("notice_not_queued account=%s: %s", user_id, exc)

    def _give_back(self, attempt: Attempt, charged: list[Charged]) -> None:
        """Give the charges of a success back."""
        refunds = [each for each in charged if each.charge.key != attempt.budget]
        fill = [attempt.budget] if attempt.budget else []
        self._write_patiently(counters.settle, refunds=refunds, fill=fill, unlock=attempt.unlock)

    def _write_patiently(
        self, query: Callable[Concatenate[Cursor, P], None], *args: P.args, **kwargs: P.kwargs
    ) -> None:
        """Run `query` as soon as the pool has room. Raises PoolFull if the pool stays full.

        A storm may fill the pool. A success that is not given back would count as a failure, and a lock comes
        once. Few threads pause: each has needed a hash slot before.
        """
        for pause in WRITE_PAUSES:
            time.sleep(pause)
            with suppress(PoolFull):
                self._database.write(query, *args, **kwargs)
                return
        raise PoolFull("the pool stayed full")

    @contextmanager
    def _best_effort(self) -> Iterator[None]:
        """Log a failure and go on: what was proved stays proved."""
        try:
            yield
        except DatabaseUnavailable as exc:
            log.warning("limits_not_updated: %s", exc)


def _retry_after(balance: Balance) -> int:
    return LOCK_RETRY_SECONDS if balance.is_locked else balance.seconds_to_wait()
