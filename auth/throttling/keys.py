"""The keys of budgets: whose attempts count together. Pure.

`account 7 strangers` is the budget of everybody whom account 7 does not know. For an identifier that no user
has, a keyed hash stands in the place of 7, and costs the same. The identifier itself is stored nowhere: it
may be a password that was typed into the wrong field.
"""

import hashlib
import hmac

from auth.throttling.device_cookie import Device


def address(network: str) -> str:
    return f"address {network}"


def registrations(network: str) -> str:
    return f"registrations {network}"


def mail_requests(network: str) -> str:
    return f"mail {network}"


def mailbox(email: str, *, key: str) -> str:
    """Return the key of all mails to an address. A keyed hash: the address may belong to nobody here.

    Blanks around it and the case of ASCII letters do not count, as in users.find_by_email.
    """
    normal_form = email.strip().encode("utf-8", "surrogatepass").lower()
    digest = hmac.digest(key.encode(), b"mailbox" + normal_form, hashlib.sha256)
    return f"mailbox {digest.hex()[:32]}"


def account(user_id: int) -> str:
    """Return the beginning of every key of a user's account."""
    return f"account {user_id} "


def unknown_account(identifier: str, *, key: str) -> str:
    """Return what `account` does, for an identifier that no user has.

    Blanks around it and the case of ASCII letters do not count, as in users.find_by_login. Under another rule
    the spellings that share a budget would reveal which accounts exist (user enumeration).
    """
    normal_form = identifier.strip().encode("utf-8", "surrogatepass").lower()
    digest = hmac.digest(key.encode(), b"unknown account" + normal_form, hashlib.sha256)
    return f"account {digest.hex()[:32]} "


def strangers(account: str) -> str:
    return f"{account}strangers"


def known_addresses(account: str) -> str:
    """Return the key of all devices together that an account knows by their address alone."""
    return f"{account}addresses"


def device(device: Device) -> str:
    return f"{account(device.user_id)}device {device.id}"


def second_factor(user_id: int) -> str:
    """Return the beginning of the keys of a user's second factor.

    They are no keys of `account`: a right password or its reset gives nothing back.
    """
    return f"second factor {user_id} "


def session(user_id: int, session_id: int | None) -> str:
    """Return the key of the holder of an access token. session_id: None for a token without a session."""
    return f"{account(user_id)}session {session_id or 'none'}"
