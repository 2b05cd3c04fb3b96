"""Limits on attempts and on costly requests, exact over all workers and replicas, kept in PostgreSQL."""
