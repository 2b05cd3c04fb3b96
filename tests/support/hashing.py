"""Password hashers at a low cost, and stored hashes."""

from typing import Any

import pytest
from flask import Flask
from flask_bcrypt import Bcrypt

from auth.passwords import PasswordHasher
from tests.support import PASSWORD

DAMAGED = [
    pytest.param("", id="empty"),
    pytest.param("x", id="one character"),
    pytest.param(PASSWORD, id="plain text"),
    pytest.param("5f4dcc3b5aa765d61d8327deb882cf99", id="MD5"),
    pytest.param("$2b$04$tooshort", id="cut off"),
    pytest.param("\u00e9" * 60, id="not ASCII"),
    pytest.param("$2b$04$" + "!" * 53, id="no base64 in the salt"),
    pytest.param("$2b$06$" + "!" * 53, id="no base64 in the salt, current cost"),
    pytest.param("$9x$06$" + "." * 53, id="unknown scheme"),
    pytest.param("$2b$03$" + "." * 53, id="cost too low for bcrypt"),
    pytest.param("$2b$99$" + "." * 53, id="cost too high for bcrypt"),
    pytest.param("$2b$xx$" + "." * 53, id="cost that is no number"),
    pytest.param("$2b$04$" + "." * 21 + "A" + "." * 31, id="salt of too many bits"),
    pytest.param("bcrypt_sha256$", id="prefix alone"),
    pytest.param("{SHA512-CRYPT}$2b$04$" + "." * 53, id="unknown prefix"),
    pytest.param("$argon2id$v=19$m=65536,t=3,p=4$c2FsdHNhbHQ$" + "a" * 17, id="Argon2"),
]


def bcrypt_of(rounds: int) -> Any:
    app = Flask(__name__)
    app.config["BCRYPT_LOG_ROUNDS"] = rounds
    return Bcrypt(app)


def hasher_of(rounds: int = 4, running: int = 1, waiting: int = 16) -> PasswordHasher:
    return PasswordHasher(bcrypt_of(rounds), rounds=rounds, running=running, waiting=waiting)


def hash_of(password: str, rounds: int) -> str:
    return hasher_of(rounds).hash(password)
