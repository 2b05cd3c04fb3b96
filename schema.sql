-- The database of the User Service. Every statement may run any number of times: the service applies this
-- file when it starts, `flask --app app init-db` does so by hand, and so may psql.

CREATE TABLE IF NOT EXISTS users (
    id SERIAL PRIMARY KEY,
    username VARCHAR(50) UNIQUE NOT NULL,
    email VARCHAR(255) UNIQUE NOT NULL,
    password TEXT NOT NULL,
    first_name VARCHAR(100),
    last_name VARCHAR(100),
    created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP
);

-- Columns of an older table that are narrower are widened, which does not rewrite the table. What a view or a
-- trigger depends on stays as it is; a value that is too long for it is then refused by its real width.
DO $$
DECLARE
    narrow RECORD;
BEGIN
    FOR narrow IN
        SELECT attname AS name, wide.type
        FROM pg_attribute
        JOIN (VALUES
            ('username', 'VARCHAR(50)', 50),
            ('email', 'VARCHAR(255)', 255),
            ('password', 'TEXT', NULL),
            ('first_name', 'VARCHAR(100)', 100),
            ('last_name', 'VARCHAR(100)', 100)
        ) AS wide (name, type, characters) ON wide.name = attname
        -- The modifier of a VARCHAR(n) is n + 4, that of one without a limit is -1.
        WHERE attrelid = 'users'::regclass
          AND atttypid = 'varchar'::regtype
          AND atttypmod >= 0
          AND (characters IS NULL OR atttypmod < characters + 4)
    LOOP
        BEGIN
            EXECUTE format('ALTER TABLE users ALTER COLUMN %I TYPE %s', narrow.name, narrow.type);
        EXCEPTION WHEN feature_not_supported OR syntax_error OR invalid_table_definition THEN
            RAISE WARNING 'users.% is narrower than % and cannot be widened: %', narrow.name, narrow.type, SQLERRM;
        END;
    END LOOP;
END
$$;

-- Indexes take long on a large table, and the lock of the widening would keep everybody from reading meanwhile.
-- End of transaction.

-- Usernames and emails are unique without regard to case. COLLATE "C" folds A-Z only, the same in every
-- locale: in a Turkish database plain lower('I') is not 'i'. An older table may hold rows that differ only in
-- case; naming them says more than the failure of the index would.
DO $$
DECLARE
    clashes TEXT;
BEGIN
    IF to_regclass('users_username_lower_key') IS NULL OR to_regclass('users_email_lower_key') IS NULL THEN
        SELECT string_agg(clash, '; ') INTO clashes FROM (
            SELECT 'the usernames of users ' || string_agg(id::text, ', ' ORDER BY id) AS clash
            FROM users GROUP BY lower(username COLLATE "C") HAVING count(*) > 1
            UNION ALL
            SELECT 'the emails of users ' || string_agg(id::text, ', ' ORDER BY id)
            FROM users GROUP BY lower(email COLLATE "C") HAVING count(*) > 1
            LIMIT 20
        ) AS found;
        IF clashes IS NOT NULL THEN
            RAISE unique_violation USING
                MESSAGE = 'these differ only in case, change all but one: ' || clashes;
        END IF;
    END IF;
END
$$;

CREATE UNIQUE INDEX IF NOT EXISTS users_username_lower_key ON users (lower(username COLLATE "C"));
CREATE UNIQUE INDEX IF NOT EXISTS users_email_lower_key ON users (lower(email COLLATE "C"));

-- Sessions: one for each registration and login; the access token names it in its claim "sid". A refresh token is
-- a handle, the same for the whole session, and a secret that every refresh replaces. Only SHA-256 is kept of either.
CREATE TABLE IF NOT EXISTS auth_sessions (
    id BIGSERIAL PRIMARY KEY,
    user_id INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    handle_hash BYTEA UNIQUE NOT NULL,
    token_hash BYTEA NOT NULL,
    previous_hash BYTEA,                    -- of the refresh token that was replaced last
    salt BYTEA,                             -- what made the current token out of that one
    rotated_at TIMESTAMPTZ,                 -- when, by the clock of the database
    created_at TIMESTAMPTZ NOT NULL,
    last_used_at TIMESTAMPTZ NOT NULL,      -- when it was opened or last refreshed
    valid_until TIMESTAMPTZ NOT NULL,       -- when it ends unless it is refreshed
    expires_at TIMESTAMPTZ NOT NULL,        -- when it ends in any case
    ip TEXT NOT NULL,
    user_agent TEXT NOT NULL
);

CREATE INDEX IF NOT EXISTS auth_sessions_user_id_idx ON auth_sessions (user_id);
CREATE INDEX IF NOT EXISTS auth_sessions_valid_until_idx ON auth_sessions (valid_until);

-- Which version of this file was applied last, as its SHA-256; the service writes it.
CREATE TABLE IF NOT EXISTS auth_schema (
    fingerprint TEXT NOT NULL
);

-- A service whose role is not the owner asks, too.
GRANT SELECT ON auth_schema TO PUBLIC;
