"""Every failure that a client can see: the registry of codes, and ApiError, which names one of them."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Failure:
    """What one code means: an HTTP status and a sentence for a person.

    other_statuses: those that some calls answer instead.
    """

    status: int
    sentence: str
    other_statuses: tuple[int, ...] = ()

    def statuses(self) -> set[int]:
        """Return every status that the code comes with."""
        return {self.status, *self.other_statuses}


REGISTRY = {
    "bad_request": Failure(400, "The request could not be understood."),
    "invalid_json": Failure(400, "The request body must be a JSON object."),
    "validation_failed": Failure(400, "Some fields are not valid."),
    "link_invalid": Failure(400, "This link is not valid any more, please ask for a new one."),
    "code_invalid": Failure(400, "This code is not right, or it was used before.", (401, 403)),
    "invalid_credentials": Failure(401, "Invalid email/username or password"),
    "second_factor_required": Failure(401, "Please enter a code of your authenticator app."),
    "ticket_invalid": Failure(401, "This login has expired, please enter your password again."),
    "token_missing": Failure(401, "A bearer token is required."),
    "token_expired": Failure(401, "The token has expired, please log in again."),
    "token_invalid": Failure(401, "The token is not valid, please log in again."),
    "refresh_invalid": Failure(401, "The session is over, please log in again."),
    "refresh_reused": Failure(401, "The session was ended for your safety, please log in again."),
    "wrong_password": Failure(403, "The current password is not right."),
    "email_not_verified": Failure(
        403,
        "Please verify your email address first: open the link that we mailed to you. If it does not work,"
        " reset your password: that verifies the address, too.",
    ),
    "feature_off": Failure(404, "This service does not offer that."),
    "not_found": Failure(404, "There is nothing at this address."),
    "method_not_allowed": Failure(405, "This address does not support that method."),
    "username_taken": Failure(409, "This username is already taken."),
    "email_taken": Failure(409, "This email address is already registered."),
    "already_verified": Failure(409, "This email address is verified already."),
    "two_factor_on": Failure(409, "The second factor is on already."),
    "two_factor_off": Failure(409, "The second factor is off."),
    "setup_required": Failure(
        409, "Please begin anew: the setup of the second factor has expired or never began."
    ),
    "account_in_use": Failure(409, "The account cannot be deleted while other services still use it."),
    "body_too_large": Failure(413, "The request body is larger than 64 KiB."),
    "unsupported_media_type": Failure(415, "The request body must be sent as application/json."),
    "rate_limited": Failure(429, "Too many requests came from your address, please try again later."),
    "too_many_attempts": Failure(429, "Too many attempts for this account, please try again later."),
    "internal_error": Failure(500, "Something went wrong on our side."),
    "busy": Failure(503, "The service is busy, please try again in a moment."),
    "database_unavailable": Failure(503, "The service is unavailable, please try again in a moment."),
}


class ApiError(Exception):
    """A refusal of a request.

    code: a key of REGISTRY. status: replaces the registry's status if it is given. sentence: replaces the
    registry's sentence if it is given. fields: a sentence for each bad field; together they become the
    sentence. retry_after: seconds until another try may succeed. details: more keys of the body. log_message:
    for the operator, with ids and without secrets, at log_level.
    """

    def __init__(
        self,
        code: str,
        *,
        status: int | None = None,
        sentence: str = "",
        fields: dict[str, str] | None = None,
        retry_after: int | None = None,
        details: Mapping[str, object] | None = None,
        log_message: str = "",
        log_level: int = logging.WARNING,
    ) -> None:
        super().__init__(code)
        self.code = code
        self.status = status or REGISTRY[code].status
        self.details = details or {}
        self.sentence = sentence or " ".join((fields or {}).values()) or REGISTRY[code].sentence
        self.fields = fields
        self.retry_after = retry_after
        self.log_message = log_message
        self.log_level = log_level

    def body(self) -> dict[str, object]:
        """Return the error body: {"error", "code"}, with what else the error has."""
        body: dict[str, object] = {"error": self.sentence, "code": self.code, **self.details}
        if self.fields:
            body["fields"] = self.fields
        if self.retry_after is not None:
            body["retry_after"] = self.retry_after
        return body
