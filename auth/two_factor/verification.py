"""Checks what a user types as the second factor, and uses it up."""

import hmac
import logging
import secrets
import time
from dataclasses import dataclass, field

from auth.client import Client
from auth.errors import ApiError
from auth.fields import BodyReader
from auth.mail import notices, outbox
from auth.throttling.guard import Throttle
from auth.two_factor import encryption, factors, recovery_codes, totp
from auth.two_factor.factors import Factor
from auth.two_factor.recovery_codes import RecoveryCode
from config import Settings
from db import Cursor
from runtime import clock
from runtime.log_limit import LogLimit
from runtime.two_factor_settings import TwoFactorSettings

CODE_REQUIRED = "A code of your authenticator app or a recovery code is required."
UNDECRYPTABLE = (
    "No code can be checked any more: please ask the operator of this service to reset your second factor."
)

log = logging.getLogger("auth")


@dataclass(frozen=True)
class TypedCode:
    """What a user typed: a code of the app or else a recovery code, "" for what was not sent."""

    code: str = field(default="", repr=False)
    recovery_code: str = field(default="", repr=False)

    @classmethod
    def from_reader(cls, reader: BodyReader) -> "TypedCode":
        """Return what a body has. If both were sent, the code of the app counts."""
        code, recovery_code = reader.text("code").strip(), reader.text("recovery_code").strip()
        return cls(code, "" if code else recovery_code)

    @classmethod
    def required_from_reader(cls, reader: BodyReader) -> "TypedCode":
        """Do the same, and add an error to `reader` if neither was sent."""
        typed = cls.from_reader(reader)
        if not typed:
            reader.add_error("code", CODE_REQUIRED)
        return typed

    @classmethod
    def required_of_the_app(cls, reader: BodyReader) -> "TypedCode":
        """Return the code of the app; a recovery code does not count. Adds an error if it was not sent."""
        typed = cls(reader.text("code").strip())
        if not typed:
            reader.add_error("code", "Code is required.")
        return typed

    def __bool__(self) -> bool:
        return bool(self.code or self.recovery_code)


@dataclass(frozen=True)
class ProvedCode:
    """A right code, which is used up in the transaction of what it allows.

    status: of the refusal if it was used meanwhile. step: of a code of the app, None for a recovery code.
    notice: the details of the mail that tells of a used recovery code; None for a code of the app, or if mail
    is off.
    """

    factor: Factor
    status: int
    step: int | None = None
    recovery_code: RecoveryCode | None = None
    recovery_hash: bytes = field(default=b"", repr=False)
    notice: dict[str, str] | None = None

    def use_up(self, cur: Cursor) -> None:
        """Use the code up. Call it in a transaction that has locked the user's row.

        Raises ApiError `code_invalid`, which undoes the transaction, if another request has used or replaced
        the code meanwhile.
        """
        if self.step is not None:
            is_used = factors.use_step(cur, self.factor, self.step)
        else:
            is_used = self._use_recovery_code(cur)
        if not is_used:
            cause = f"second_factor_replayed user_id={self.factor.user_id}"
            raise ApiError("code_invalid", status=self.status, log_message=cause)

    def _use_recovery_code(self, cur: Cursor) -> bool:
        assert self.recovery_code is not None
        user_id, index = self.factor.user_id, self.recovery_code.index
        left = factors.use_recovery_hash(cur, user_id, index=index, recovery_hash=self.recovery_hash)
        if left is not None and self.notice is not None:
            details = {**self.notice, "left": str(left)}
            outbox.queue_notice(cur, notices.RECOVERY_CODE_USED, user_id=user_id, details=details)
        return left is not None


class SecondFactor:
    """The second factor of one app. Settings.two_factor is not None."""

    def __init__(self, settings: Settings, throttle: Throttle) -> None:
        assert settings.two_factor is not None
        self.settings: TwoFactorSettings = settings.two_factor
        self._secret_key = settings.secret_key
        self._has_mail = settings.mail is not None
        self._throttle = throttle
        self._undecryptable = LogLimit()

    def prove(self, factor: Factor, typed: TypedCode, client: Client, *, status: int) -> ProvedCode:
        """Return the right code that was typed. Failures count for the account over all calls.

        Raises ApiError `code_invalid` with this status, and what Throttle.second_factor raises.
        """
        secret = self._decrypt(factor, status)  # a user whose code cannot be checked has not failed
        with self._throttle.second_factor(factor.user_id, client):
            proved = self._match(factor, secret, typed, client, status)
            if proved is None:
                cause = f"second_factor_failed user_id={factor.user_id}"
                raise ApiError("code_invalid", status=status, log_message=cause)
        return proved

    def encrypt(self, secret: bytes, *, user_id: int) -> bytes:
        """Return a secret as it is stored."""
        nonce = secrets.token_bytes(encryption.NONCE_BYTES)
        return encryption.encrypt(secret, user_id=user_id, secret_key=self._secret_key, nonce=nonce)

    def recovery_hash(self, code: RecoveryCode, *, user_id: int) -> bytes:
        """Return a recovery code as it is stored."""
        key = encryption.derived_key(self._secret_key, encryption.RECOVERY_CODES)
        return code.hash(user_id=user_id, key=key)

    def new_recovery_codes(self, *, user_id: int) -> tuple[list[str], list[bytes]]:
        """Return new recovery codes as the user sees them, and as they are stored."""
        codes = recovery_codes.new(secrets.choice)
        return [code.shown() for code in codes], [self.recovery_hash(code, user_id=user_id) for code in codes]

    def _match(
        self, factor: Factor, secret: bytes, typed: TypedCode, client: Client, status: int
    ) -> ProvedCode | None:
        now = clock.now()
        if typed.code:
            step = totp.matching_step(
                secret,
                typed.code,
                now=now.timestamp(),
                window=self.settings.totp_window,
                after=factor.last_step,
            )
            return None if step is None else ProvedCode(factor, status, step=step)
        code = recovery_codes.parse(typed.recovery_code)
        stored = factor.recovery_hashes[code.index : code.index + 1] if code else ()
        if code is None or not stored or stored[0] is None:
            return None
        recovery_hash = self.recovery_hash(code, user_id=factor.user_id)
        if not hmac.compare_digest(recovery_hash, stored[0]):
            return None
        notice = notices.details(client, now) if self._has_mail else None
        return ProvedCode(factor, status, recovery_code=code, recovery_hash=recovery_hash, notice=notice)

    def can_decrypt(self, factor: Factor) -> bool:
        """Return whether SECRET_KEY is still the one that the secret was encrypted with."""
        return self._decrypted(factor) is not None

    def _decrypt(self, factor: Factor, status: int) -> bytes:
        """Return the secret of a factor. Raises ApiError `code_invalid` if SECRET_KEY is another one now."""
        secret = self._decrypted(factor)
        if secret is not None:
            return secret
        if self._undecryptable.is_due(str(factor.user_id), now=time.monotonic()):
            log.error(
                "second_factor_undecryptable user_id=%s: SECRET_KEY is not the one that encrypted it;"
                " `flask --app app user reset-2fa NAME` removes it",
                factor.user_id,
            )
        cause = f"second_factor_failed user_id={factor.user_id}"
        raise ApiError("code_invalid", status=status, sentence=UNDECRYPTABLE, log_message=cause)

    def _decrypted(self, factor: Factor) -> bytes | None:
        try:
            return encryption.decrypt(
                factor.encrypted_secret, user_id=factor.user_id, secret_key=self._secret_key
            )
        except encryption.Undecryptable:
            return None
