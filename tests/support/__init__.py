"""What the tests stand on: a user with a client, databases, the service as a process, the contract."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
SECRET_KEY = "a-key-for-tests-that-is-longer-than-32-bytes"
PASSWORD = "correct horse"
