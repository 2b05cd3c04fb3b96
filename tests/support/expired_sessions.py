"""Sessions that have ended and whose rows are still there."""

ADD = (
    "INSERT INTO auth_sessions (user_id, handle_hash, token_hash, created_at, last_used_at, valid_until,"
    " expires_at, ip, user_agent) SELECT id, sha256(('h' || n)::bytea), ''::bytea, now(), now(),"
    " now() - interval '1 s', now(), '', 'expired' FROM users, generate_series(1, %s) AS n"
)
COUNT = "SELECT count(*) FROM auth_sessions WHERE user_agent = 'expired'"
