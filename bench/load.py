"""What locust sends, a user class for each kind of load. run.py chooses the classes and their numbers."""

import os
from itertools import count

from locust import FastHttpUser, constant, task

SERVICE = os.environ["SERVICE_URL"]
BARE = os.environ.get("BARE_URL", "")
TOKENS = os.environ["TOKENS"].split(",")
PASSWORD = "correct horse"
COUNTS = dict(pair.split("=") for pair in os.environ["COUNTS"].split(","))
numbers = count()


class Reader(FastHttpUser):
    """Reads the current user from the service, then the same row from the bare app."""

    fixed_count = int(COUNTS.get("Reader", 0))
    host = SERVICE
    wait_time = constant(0)

    def on_start(self) -> None:
        self.headers = {"Authorization": f"Bearer {TOKENS[next(numbers) % len(TOKENS)]}"}

    @task
    def read(self) -> None:
        self.client.get("/api/auth/me", headers=self.headers, name="me")
        if BARE:
            self.client.get(f"{BARE}/me", headers=self.headers, name="bare")


class Visitor(FastHttpUser):
    """Reads the current user ten times a second, as other people do during a storm."""

    fixed_count = int(COUNTS.get("Visitor", 0))
    host = SERVICE
    wait_time = constant(0.1)

    def on_start(self) -> None:
        self.headers = {"Authorization": f"Bearer {TOKENS[next(numbers) % len(TOKENS)]}"}

    @task
    def read(self) -> None:
        self.client.get("/api/auth/me", headers=self.headers, name="me")


class Hammer(FastHttpUser):
    """Logs in again as soon as it is answered; `busy` is an answer, and Retry-After is ignored."""

    fixed_count = int(COUNTS.get("Hammer", 0))
    host = SERVICE
    wait_time = constant(0)

    def on_start(self) -> None:
        self.body = {"username": f"user{next(numbers) % len(TOKENS)}", "password": PASSWORD}

    @task
    def log_in(self) -> None:
        with self.client.post("/api/auth/login", json=self.body, name="login", catch_response=True) as answer:
            if answer.status_code == 503 and answer.json()["code"] == "busy":
                answer.request_meta["name"] = "busy"
                answer.success()


class Newcomer(FastHttpUser):
    """Registers somebody new as soon as it is answered."""

    fixed_count = int(COUNTS.get("Newcomer", 0))
    host = SERVICE
    wait_time = constant(0)

    @task
    def register(self) -> None:
        name = f"new{next(numbers)}-{os.getpid()}"
        body = {"username": name, "email": f"{name}@example.com", "password": PASSWORD}
        self.client.post("/api/auth/register", json=body, name="register")
