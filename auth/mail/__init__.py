"""Mails: an outbox in the database, a thread that sends, the messages."""
