"""Which budgets an attempt is charged to: who is a stranger to an account, and who is known.

A device is known to an account by its cookie, by its access token, or by the address of one of the account's
live sessions. All strangers share one budget of an account, and cannot use up the budget of a known device.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from auth.client import Client
from auth.throttling import device_cookie, keys
from auth.throttling.counters import Charge
from auth.throttling.device_cookie import Device
from auth.users import Credential
from config import Settings
from runtime import addresses
from runtime.settings import Rate

# Failures of one account over codes and recovery codes of all calls. RFC 4226 section 7.3 asks for a limit.
SECOND_FACTOR_FAILURES = (Rate(5, "5m"), Rate(50, "1d"))


@dataclass(frozen=True)
class Attempt:
    """What an attempt is charged to.

    user_id: of the account, None if there is no such user. budget: the key of the account's budget, which a
    success fills; "" if a success fills none. unlock: the keys whose lock a success ends.
    is_given_back: whether a success gives the charges back. is_by_stranger: whether the budget is that of the
    strangers of an account.
    """

    charges: Sequence[Charge]
    user_id: int | None = None
    budget: str = ""
    unlock: Sequence[str] = ()
    is_given_back: bool = True
    is_by_stranger: bool = False


def login(
    identifier: str, credential: Credential | None, client: Client, *, settings: Settings, now: float
) -> Attempt:
    """Return what a login is charged to.

    credential: None if no user has the identifier. now: seconds since the epoch.
    """
    if credential is None:
        account = keys.unknown_account(identifier, key=settings.secret_key)
        return _by_stranger(account, None, client, settings)
    user_id = credential.user.id
    account = keys.account(user_id)
    if device := _device(user_id, client, settings=settings, now=now):
        # Without the client's address: somebody behind the same address could use up its budget.
        return _by_known(keys.device(device), user_id, [], settings)
    if _is_at_known_address(credential, client):
        return _by_known(keys.known_addresses(account), user_id, _of_address(client, settings), settings)
    return _by_stranger(account, user_id, client, settings)


def reauthentication(
    user_id: int, session_id: int | None, client: Client, *, settings: Settings, now: float
) -> Attempt:
    """Return what a password that comes with an access token is charged to.

    Attack: whoever stole an access token guesses the password with it. The session has a budget of its own,
    because strangers could use up a shared one.
    """
    if device := _device(user_id, client, settings=settings, now=now):
        return _by_known(keys.device(device), user_id, [], settings)
    budget = keys.session(user_id, session_id)
    return _by_known(budget, user_id, _of_address(client, settings), settings)


def second_factor(user_id: int, client: Client, *, settings: Settings, now: float) -> Attempt:
    """Return what a code of a second factor is charged to, also if RATE_LIMITS is off.

    Attack: whoever has the password guesses the six digits. So all devices share the budgets, and a success
    gives back its own charge alone. now: seconds since the epoch.
    """
    prefix = keys.second_factor(user_id)
    charges = [Charge(f"{prefix}{rate}", rate, "too_many_attempts") for rate in SECOND_FACTOR_FAILURES]
    # A device with a cookie goes without its address, for the same reason as at a login.
    if settings.rate_limits and not _device(user_id, client, settings=settings, now=now):
        charges += _of_address(client, settings)
    return Attempt(charges, user_id)


def unknown_token(client: Client, *, settings: Settings) -> Attempt:
    """Return what a secret that belongs to nobody is charged to."""
    return Attempt(_of_address(client, settings), is_given_back=False)


def registration(client: Client, *, settings: Settings) -> Attempt:
    """Return what a registration is charged to, whether it succeeds or not."""
    network = client.network()
    charges = (
        [Charge(keys.registrations(network), settings.limit_registrations, "rate_limited")] if network else []
    )
    return Attempt(charges, is_given_back=False)


def mail_request(client: Client, rate: Rate) -> Attempt:
    """Return what a request is charged to that may send a mail, whether it does or not."""
    network = client.network()
    charges = [Charge(keys.mail_requests(network), rate, "rate_limited")] if network else []
    return Attempt(charges, is_given_back=False)


def is_known(credential: Credential, client: Client, *, settings: Settings, now: float) -> bool:
    """Return whether a login comes from a known device: by its cookie, or by its address.

    credential: of find_by_login. now: seconds since the epoch.
    """
    device = _device(credential.user.id, client, settings=settings, now=now)
    return device is not None or _is_at_known_address(credential, client)


def _device(user_id: int, client: Client, *, settings: Settings, now: float) -> Device | None:
    """Return the device of a user that the client's cookie names. Returns None without a valid cookie."""
    return device_cookie.check(client.device_cookie, user_id=user_id, key=settings.secret_key, now=now)


def _is_at_known_address(credential: Credential, client: Client) -> bool:
    network = client.network()
    return bool(network) and network in map(addresses.network, credential.session_ips)


def _by_stranger(account: str, user_id: int | None, client: Client, settings: Settings) -> Attempt:
    budget = keys.strangers(account)
    charge = Charge(budget, settings.limit_account_failures, "too_many_attempts", settings.lockout_failures)
    return Attempt([charge, *_of_address(client, settings)], user_id, budget, is_by_stranger=True)


def _by_known(budget: str, user_id: int, others: list[Charge], settings: Settings) -> Attempt:
    account = keys.account(user_id)
    charge = Charge(budget, settings.limit_device_failures, "too_many_attempts", settings.lockout_failures)
    shared = [keys.strangers(account), keys.known_addresses(account)]
    return Attempt([charge, *others], user_id, budget, [key for key in shared if key != budget])


def _of_address(client: Client, settings: Settings) -> list[Charge]:
    """Return the charge to the client's address. Returns [] if the address is unknown."""
    network = client.network()
    return [Charge(keys.address(network), settings.limit_address_failures, "rate_limited")] if network else []
