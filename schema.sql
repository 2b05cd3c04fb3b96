-- The database of the User Service. Every statement may run any number of times: the service applies this
-- file when it starts, `flask --app app init-db` does so by hand, and so may `psql -f`. The service runs what
-- comes before the indexes in one transaction.

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

-- An earlier version called its table of sessions by a name that others use, too. The table is ours if it has our
-- columns and no other.
DO $$
DECLARE
    old RECORD;
BEGIN
    IF to_regclass('auth_sessions') IS NOT NULL OR ARRAY(
        SELECT attname || ' ' || format_type(atttypid, atttypmod)
        FROM pg_attribute
        WHERE attrelid = to_regclass('sessions') AND attnum > 0 AND NOT attisdropped
        ORDER BY attnum
    ) <> ARRAY[
        'id bigint', 'user_id integer', 'handle_hash bytea', 'token_hash bytea', 'previous_hash bytea',
        'salt bytea', 'rotated_at timestamp with time zone', 'created_at timestamp with time zone',
        'last_used_at timestamp with time zone', 'valid_until timestamp with time zone',
        'expires_at timestamp with time zone', 'ip text', 'user_agent text'
    ] THEN
        RETURN;
    END IF;
    ALTER TABLE sessions RENAME TO auth_sessions;
    EXECUTE format(
        'ALTER SEQUENCE %s RENAME TO auth_sessions_id_seq', pg_get_serial_sequence('auth_sessions', 'id')
    );
    FOR old IN
        SELECT conname AS name
        FROM pg_constraint
        WHERE conrelid = 'auth_sessions'::regclass AND starts_with(conname, 'sessions_')
    LOOP  -- this renames the index of a constraint, too
        EXECUTE format('ALTER TABLE auth_sessions RENAME CONSTRAINT %I TO %I', old.name, 'auth_' || old.name);
    END LOOP;
    FOR old IN
        SELECT indexrelid::regclass AS index, relname AS name
        FROM pg_index
        JOIN pg_class ON pg_class.oid = indexrelid
        WHERE indrelid = 'auth_sessions'::regclass AND starts_with(relname, 'sessions_')
    LOOP
        EXECUTE format('ALTER INDEX %s RENAME TO %I', old.index, 'auth_' || old.name);
    END LOOP;
    RAISE WARNING 'the table sessions is auth_sessions now: processes of an earlier version cannot use it any more';
END
$$;

-- Sessions: one for each registration and login; the access token names it in its claim "sid". A refresh token is
-- a handle, the same for the whole session, and a secret that every refresh replaces. Only SHA-256 is kept of either.
CREATE TABLE IF NOT EXISTS auth_sessions (
    id BIGSERIAL PRIMARY KEY,
    user_id BIGINT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
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

-- A table that was carried over has room for the ids of a SERIAL.
DO $$
BEGIN
    IF EXISTS (
        SELECT FROM pg_attribute
        WHERE attrelid = 'users'::regclass AND attname = 'id' AND atttypid = 'bigint'::regtype
    ) AND EXISTS (
        SELECT FROM pg_attribute
        WHERE attrelid = 'auth_sessions'::regclass AND attname = 'user_id' AND atttypid = 'integer'::regtype
    ) THEN
        ALTER TABLE auth_sessions ALTER COLUMN user_id TYPE BIGINT;
    END IF;
END
$$;

-- Which version of this file was applied last, as its SHA-256; the service writes it.
CREATE TABLE IF NOT EXISTS auth_schema (
    fingerprint TEXT NOT NULL
);

-- A service whose role is not the owner asks, too.
GRANT SELECT ON auth_schema TO PUBLIC;

-- CREATE INDEX CONCURRENTLY that fails leaves an index which looks as if it were there.
DO $$
DECLARE
    broken REGCLASS;
BEGIN
    FOR broken IN
        SELECT indexrelid
        FROM pg_index
        JOIN pg_class ON pg_class.oid = indexrelid
        WHERE indrelid IN ('users'::regclass, 'auth_sessions'::regclass)
          AND relname IN (
              'users_username_lower_key', 'users_email_lower_key',
              'auth_sessions_user_id_idx', 'auth_sessions_valid_until_idx'
          )
          AND NOT indisvalid
    LOOP
        EXECUTE format('DROP INDEX %s', broken);
    END LOOP;
END
$$;

-- The indexes are built while everybody goes on reading and writing, which PostgreSQL does outside of a
-- transaction only.

-- Usernames and emails are unique without regard to case. COLLATE "C" folds A-Z only, the same in every
-- locale: in a Turkish database plain lower('I') is not 'i'.
CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS users_username_lower_key ON users (lower(username COLLATE "C"));
CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS users_email_lower_key ON users (lower(email COLLATE "C"));
CREATE INDEX CONCURRENTLY IF NOT EXISTS auth_sessions_user_id_idx ON auth_sessions (user_id);
CREATE INDEX CONCURRENTLY IF NOT EXISTS auth_sessions_valid_until_idx ON auth_sessions (valid_until);
