"""A password that was proven, and what is stored on the strength of it."""

from collections.abc import Callable
from typing import TypeVar

from auth.errors import ApiError
from auth.users import Credential

T = TypeVar("T")


def store_proven(
    credential: Credential,
    store: Callable[[Credential], T | None],
    *,
    prove_again: Callable[[], Credential],
    refusal: str,
) -> tuple[Credential, T]:
    """Store what a proven password allows; return the credential that it was stored for, and the result.

    store: returns None when the hash has been replaced since it was verified, perhaps by a login that made
    it stronger. Then prove_again looks once more: it returns the credential of now, or raises ApiError.
    Raises ApiError `refusal` when that hash has been replaced as well.
    """
    stored = store(credential)
    if stored is None:
        credential = prove_again()
        stored = store(credential)
    if stored is None:
        raise ApiError(refusal, log_message=f"password_changed user_id={credential.user.id}")
    return credential, stored
