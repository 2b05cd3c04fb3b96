-- The tables of the User Service. Every statement may run any number of times. The service applies this file
-- when it starts; an operator may apply it with `flask --app app init-db` or `psql -f`. The service runs all
-- statements but CREATE INDEX in one transaction.
-- The service reads the tables, columns and indexes from this file, so keep the layout of these statements.

CREATE TABLE IF NOT EXISTS users (
    id SERIAL PRIMARY KEY,
    username VARCHAR(50) UNIQUE NOT NULL,
    email VARCHAR(255) UNIQUE NOT NULL,
    password TEXT NOT NULL,
    first_name VARCHAR(100),
    last_name VARCHAR(100),
    created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP
);

-- An older table may have narrower columns. They are widened, which does not rewrite the table. A column that a
-- view or a trigger depends on keeps its width; the service then refuses values that are longer than that.
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
        -- atttypmod is n + 4 for a VARCHAR(n), and -1 for a VARCHAR without a limit.
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

-- An earlier version called the table of sessions `sessions`, a name that other services use, too. The table
-- belongs to this service if it has exactly the columns of that version.
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
    LOOP  -- renaming a constraint renames its index, too
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

-- Every registration and every login opens a session. The access token has the id of the session in its claim
-- "sid". A refresh token has two parts: a selector, which stays the same for the whole session, and a verifier,
-- which every refresh replaces. Only their SHA-256 is stored: handle_hash of the selector, token_hash of the
-- whole current token.
CREATE TABLE IF NOT EXISTS auth_sessions (
    id BIGSERIAL PRIMARY KEY,
    user_id BIGINT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    handle_hash BYTEA UNIQUE NOT NULL,
    token_hash BYTEA NOT NULL,
    previous_hash BYTEA,                    -- the refresh token before the current one
    salt BYTEA,                             -- it derived the current token from that one
    rotated_at TIMESTAMPTZ,                 -- time of the last refresh, by the clock of the database
    created_at TIMESTAMPTZ NOT NULL,
    last_used_at TIMESTAMPTZ NOT NULL,      -- time of the login or of the last refresh
    valid_until TIMESTAMPTZ NOT NULL,       -- the session ends then, unless it is refreshed before
    expires_at TIMESTAMPTZ NOT NULL,        -- the session ends then, in any case
    ip TEXT NOT NULL,
    user_agent TEXT NOT NULL
);

-- In a table of the earlier version user_id is an integer. It is widened if the ids of users are wider.
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

-- The budgets of throttling. A key names what is limited, such as an address or the strangers of an account. A
-- budget without a row is full. UNLOGGED: a crash of PostgreSQL empties the table, and every budget is full again.
-- A row that many requests change stays on its page, because a page is filled to the half.
CREATE UNLOGGED TABLE IF NOT EXISTS auth_throttle (
    key TEXT COLLATE "C" PRIMARY KEY,
    full_at TIMESTAMPTZ NOT NULL DEFAULT '-infinity',   -- the budget is full then, by the clock of the database
    failures INTEGER NOT NULL DEFAULT 0,                -- in a row
    locked BOOLEAN NOT NULL DEFAULT FALSE               -- after too many failures; no time ends it
) WITH (fillfactor = 50);

-- What is known of a user's address. `verified` counts as long as it equals the email in users, which somebody else
-- may change, too. `pending` replaces that email once it is verified.
CREATE TABLE IF NOT EXISTS auth_emails (
    user_id BIGINT PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    verified TEXT,
    pending TEXT
);

-- Secrets that work once, such as those in the links of mails. Only their SHA-256 is stored. A user has one for each
-- purpose: a newer one takes the place of the older one.
CREATE TABLE IF NOT EXISTS auth_one_time_tokens (
    token_hash BYTEA PRIMARY KEY,
    purpose TEXT NOT NULL,
    user_id BIGINT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    email TEXT NOT NULL,                    -- the address that the token was sent to
    expires_at TIMESTAMPTZ NOT NULL,
    used_at TIMESTAMPTZ,
    UNIQUE (user_id, purpose)
);

-- Second factors. The secret of an authenticator app is encrypted with a key that is derived from SECRET_KEY.
CREATE TABLE IF NOT EXISTS auth_second_factors (
    user_id BIGINT PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    secret BYTEA NOT NULL,
    last_step BIGINT NOT NULL DEFAULT -1,   -- the time step of the last code that was accepted
    recovery_hashes BYTEA[] NOT NULL,       -- keyed hashes of the recovery codes; NULL in the place of a used one
    setup_expires_at TIMESTAMPTZ NOT NULL,
    enabled_at TIMESTAMPTZ                  -- NULL: set up, and not in force yet
);

-- What a user gets for a right password while the second factor is due. Only the SHA-256 of a ticket is stored.
-- A user may have several: whoever knows the password cannot make the ticket of somebody else void.
CREATE TABLE IF NOT EXISTS auth_tickets (
    token_hash BYTEA PRIMARY KEY,
    user_id BIGINT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    proof BYTEA NOT NULL,                   -- SHA-256 of the password hash that the user had then
    expires_at TIMESTAMPTZ NOT NULL
);

-- The mails that wait. A row is written in the transaction that causes the mail, and deleted when a mail server has
-- accepted the mail. It has no link and no token: a token is made when the mail is sent.
CREATE TABLE IF NOT EXISTS auth_outbox (
    id BIGSERIAL PRIMARY KEY,
    kind TEXT NOT NULL,
    user_id BIGINT REFERENCES users (id) ON DELETE CASCADE,    -- NULL: the user who has the address of the recipient
    recipient TEXT NOT NULL,
    details JSON NOT NULL,
    queued_at TIMESTAMPTZ NOT NULL DEFAULT statement_timestamp(),
    due_at TIMESTAMPTZ NOT NULL DEFAULT statement_timestamp(), -- of the next try; a worker that tries moves it
    tries INTEGER NOT NULL DEFAULT 0,
    last_error TEXT NOT NULL DEFAULT '',
    is_charged BOOLEAN NOT NULL DEFAULT FALSE,                 -- to the budget of the mailbox
    given_up BOOLEAN NOT NULL DEFAULT FALSE
);

-- The SHA-256 of the version of this file that was applied last. The service writes it.
CREATE TABLE IF NOT EXISTS auth_schema (
    fingerprint TEXT NOT NULL
);

-- A service whose role is not the owner reads it, too.
GRANT SELECT ON auth_schema TO PUBLIC;

-- A CREATE INDEX CONCURRENTLY that fails leaves an invalid index, and IF NOT EXISTS would then skip it.
DO $$
DECLARE
    broken REGCLASS;
BEGIN
    FOR broken IN
        SELECT indexrelid
        FROM pg_index
        JOIN pg_class ON pg_class.oid = indexrelid
        WHERE indrelid IN (
              'users'::regclass, 'auth_sessions'::regclass, 'auth_second_factors'::regclass,
              'auth_tickets'::regclass, 'auth_outbox'::regclass
          )
          AND relname IN (
              'users_username_lower_key', 'users_email_lower_key',
              'auth_sessions_user_id_idx', 'auth_sessions_valid_until_idx',
              'auth_second_factors_setup_idx', 'auth_tickets_user_id_idx',
              'auth_outbox_due_at_idx', 'auth_outbox_user_id_idx'
          )
          AND NOT indisvalid
    LOOP
        EXECUTE format('DROP INDEX %s', broken);
    END LOOP;
END
$$;

-- CONCURRENTLY lets everybody read and write while the index is built. PostgreSQL allows it only outside of a
-- transaction.

-- Usernames and emails are unique without regard to case. COLLATE "C" folds A-Z only, and does so in every
-- locale; in a Turkish database lower('I') without it is not 'i'.
CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS users_username_lower_key ON users (lower(username COLLATE "C"));
CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS users_email_lower_key ON users (lower(email COLLATE "C"));
CREATE INDEX CONCURRENTLY IF NOT EXISTS auth_sessions_user_id_idx ON auth_sessions (user_id);
CREATE INDEX CONCURRENTLY IF NOT EXISTS auth_sessions_valid_until_idx ON auth_sessions (valid_until);
CREATE INDEX CONCURRENTLY IF NOT EXISTS auth_second_factors_setup_idx ON auth_second_factors (setup_expires_at) WHERE enabled_at IS NULL;
CREATE INDEX CONCURRENTLY IF NOT EXISTS auth_tickets_user_id_idx ON auth_tickets (user_id);
CREATE INDEX CONCURRENTLY IF NOT EXISTS auth_outbox_due_at_idx ON auth_outbox (due_at) WHERE NOT given_up;
CREATE INDEX CONCURRENTLY IF NOT EXISTS auth_outbox_user_id_idx ON auth_outbox (user_id);
