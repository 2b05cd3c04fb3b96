"""Databases of the tests, reached past the service."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg2

MakeDatabase = Callable[..., str]
Sql = Callable[..., list[tuple[Any, ...]]]


def run_sql(url: str, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
    """Run one statement in autocommit and return its rows."""
    conn = psycopg2.connect(url)
    conn.autocommit = True
    try:
        with conn.cursor() as cur:
            cur.execute(statement, parameters or None)
            return cur.fetchall() if cur.description else []
    finally:
        conn.close()


@contextmanager
def held_open(url: str, statement: str) -> Iterator[None]:
    """Keep a transaction open that has run `statement`, with the locks that it took."""
    holder = psycopg2.connect(url)
    try:
        with holder.cursor() as cur:
            cur.execute(statement)
        yield
    finally:
        holder.close()


def on_database(server_url: str, name: str) -> str:
    """Return `server_url` with another database."""
    return urlunsplit(urlsplit(server_url)._replace(path=f"/{name}"))
