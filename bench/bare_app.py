"""The yardstick: the least Flask app that answers GET /me with the same SELECT, and nothing else."""

import os
import threading
from typing import Any

import psycopg2
from flask import Flask

app = Flask(__name__, static_folder=None)
local = threading.local()


@app.get("/me")
def me() -> dict[str, Any]:
    if not hasattr(local, "connection"):
        local.connection = psycopg2.connect(os.environ["DB_URL"])
        local.connection.autocommit = True
    with local.connection.cursor() as cur:
        cur.execute(
            "SELECT id, username, email, first_name, last_name, created_at FROM users WHERE id = %s", (1,)
        )
        row = cur.fetchone()
    return {
        "id": row[0],
        "username": row[1],
        "email": row[2],
        "first_name": row[3] or "",
        "last_name": row[4] or "",
        "created_at": row[5].isoformat() + "Z",
        "firstName": row[3] or "",
        "lastName": row[4] or "",
        "createdAt": row[5].isoformat() + "Z",
    }
