"""A user with a session proves the password once more, and the second factor, before what matters changes."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from auth import users
from auth.client import Client
from auth.errors import ApiError
from auth.fields import BodyReader
from auth.principal import Principal
from auth.services import Auth
from auth.sign_in import act_on_proof
from auth.two_factor import factors
from auth.two_factor.verification import CODE_REQUIRED, ProvedCode, TypedCode
from auth.users import Credential, User
from db import Cursor

T = TypeVar("T")


@dataclass(frozen=True)
class Confirmation:
    """The password and perhaps a code, which prove who asks."""

    password: str = field(repr=False)
    typed: TypedCode

    @classmethod
    def from_body(cls, body: dict[str, Any], read_code: Callable[[BodyReader], TypedCode]) -> "Confirmation":
        """Return what `body` has. read_code: a method of TypedCode. Raises ApiError `validation_failed`."""
        reader = BodyReader(body)
        password, typed = reader.required_text("password"), read_code(reader)
        reader.raise_for_errors()
        return cls(password, typed)


@dataclass(frozen=True)
class Proof:
    """The proved password of a user, and the proved code.

    code: None if no second factor was in force. code_status: of the refusal of a code. asks_for_codes:
    whether the service does, also if this user has no second factor.
    """

    credential: Credential
    code: ProvedCode | None
    code_status: int
    asks_for_codes: bool

    @property
    def user(self) -> User:
        return self.credential.user

    @property
    def password_hash(self) -> str:
        return self.credential.password_hash

    def use_up(self, cur: Cursor) -> None:
        """Use the code up. Call it in a transaction that has locked the user's row.

        Without a code make sure that no second factor was enabled while the password was hashed (TOCTOU).
        Raises ApiError `code_invalid`, which undoes the transaction.
        """
        if self.code:
            self.code.use_up(cur)
        elif self.asks_for_codes and factors.find(cur, self.user.id):
            raise _code_missing(self.code_status)


def reauthenticate(
    auth: Auth,
    principal: Principal,
    password: str,
    act: Callable[[Proof], T | None],
    *,
    client: Client,
    typed: TypedCode,
    code_status: int = 403,
) -> T:
    """Return the result of `act`, once the password and the code are proved to be those of the user.

    act: as for `act_on_proof`; it uses the code up. typed: the code that came with the password. code_status:
    of the refusal of a code. Raises ApiError as `prove_password` does, and `code_invalid`, never with 401,
    because a frontend that refreshes its token on every 401 would do so for ever.
    """

    def prove() -> Proof:
        credential = prove_password(auth, principal, password, client)
        code = _prove_code(auth, credential.user, typed, client, code_status)
        return Proof(credential, code, code_status, asks_for_codes=auth.second_factor is not None)

    _, result = act_on_proof(prove, act, refusal="wrong_password")
    return result


def prove_password(auth: Auth, principal: Principal, password: str, client: Client) -> Credential:
    """Return the credential of the principal's user, once `password` is proved to be that of the user.

    Raises ApiError `token_invalid` if the principal's session has ended, `wrong_password`, and what
    Throttle.reauthentication raises.
    """
    credential = auth.database.read(users.find_credential, principal)
    if credential is None:
        raise principal.session_ended()
    with auth.throttle.reauthentication(principal, client):
        if not auth.passwords.verify(password, credential.password_hash):
            raise ApiError("wrong_password", log_message=f"wrong_password user_id={credential.user.id}")
    return credential


def _prove_code(auth: Auth, user: User, typed: TypedCode, client: Client, status: int) -> ProvedCode | None:
    """Return the proved code. Returns None if no second factor is in force."""
    if auth.second_factor is None or not user.two_factor:
        return None
    if not typed:
        raise _code_missing(status)
    factor = auth.database.read(factors.find, user.id)
    return auth.second_factor.prove(factor, typed, client, status=status) if factor else None


def _code_missing(status: int) -> ApiError:
    return ApiError("code_invalid", status=status, fields={"code": CODE_REQUIRED})
