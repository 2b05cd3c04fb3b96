"""Tables as earlier versions and other services made them, and what a database has of its columns."""

from tests.support import PASSWORD
from tests.support.database import run_sql

OLDER_TABLE = """
    CREATE TABLE users (
        id SERIAL PRIMARY KEY,
        username VARCHAR(50) UNIQUE NOT NULL,
        email VARCHAR(100) UNIQUE NOT NULL,
        password TEXT NOT NULL,
        first_name VARCHAR(100),
        last_name VARCHAR(100),
        created_at TIMESTAMPTZ DEFAULT CURRENT_TIMESTAMP
    )
"""
# The table of the platform's earlier service.
NARROW_TABLE = """
    CREATE TABLE users (
        id SERIAL PRIMARY KEY,
        username VARCHAR(50) UNIQUE NOT NULL,
        email VARCHAR(100) UNIQUE NOT NULL,
        password VARCHAR(255) NOT NULL,
        first_name VARCHAR(50),
        last_name VARCHAR(50),
        created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP
    )
"""
# Gives a database the table of sessions of an earlier version back, with the sessions that it has now.
CARRY_BACK = """
    CREATE TABLE sessions (
        id BIGSERIAL PRIMARY KEY,
        user_id INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
        handle_hash BYTEA UNIQUE NOT NULL,
        token_hash BYTEA NOT NULL,
        previous_hash BYTEA,
        salt BYTEA,
        rotated_at TIMESTAMPTZ,
        created_at TIMESTAMPTZ NOT NULL,
        last_used_at TIMESTAMPTZ NOT NULL,
        valid_until TIMESTAMPTZ NOT NULL,
        expires_at TIMESTAMPTZ NOT NULL,
        ip TEXT NOT NULL,
        user_agent TEXT NOT NULL
    );
    CREATE INDEX sessions_user_id_idx ON sessions (user_id);
    CREATE INDEX sessions_valid_until_idx ON sessions (valid_until);
    INSERT INTO sessions SELECT * FROM auth_sessions;
    SELECT setval('sessions_id_seq', (SELECT last_value FROM auth_sessions_id_seq));
    DROP TABLE auth_sessions
"""
# PASSWORD at cost 4, hashed by the bcrypt of an earlier version.
OLDER_HASH = "$2b$04$abcdefghijklmnopqrstuujydOTSfIH/d5oUHpsygqV5X9xJLQc6e"
INSERT = "INSERT INTO users (username, email, password) VALUES (%s, %s, %s)"
# A user whose values are as long as the specification allows.
LONG = {
    "username": "ada",
    "email": f"{'a' * 60}@{'b' * 60}.example.com",
    "password": PASSWORD,
    "first_name": "A" * 100,
    "last_name": "L" * 100,
}
SPECIFIED_WIDTHS = {"username": 50, "email": 255, "password": None, "first_name": 100, "last_name": 100}


def widths(url: str) -> dict[str, int | None]:
    """Return how many characters each text column of users holds; None stands for any number."""
    statement = """
        SELECT column_name, character_maximum_length
        FROM information_schema.columns
        WHERE table_name = 'users' AND data_type IN ('text', 'character varying')
    """
    return dict(run_sql(url, statement))
