-- The platform database: about :megabytes MB of plain pg_dump, the same rows every time. Everything is a
-- function of the row's number (md5 stands in for chance), so that no seed of the server's matters.

CREATE TABLE users (
    id          bigint PRIMARY KEY,
    public_id   uuid NOT NULL UNIQUE,
    email       text NOT NULL,
    full_name   text NOT NULL,
    created_at  timestamptz NOT NULL
);

CREATE TABLE jobs (
    id          bigint PRIMARY KEY,
    public_id   uuid NOT NULL,
    user_id     bigint NOT NULL REFERENCES users,
    status      text NOT NULL,
    parameters  jsonb NOT NULL,
    updated_at  timestamptz NOT NULL
);

CREATE TABLE payments (
    id          bigint PRIMARY KEY,
    job_id      bigint NOT NULL REFERENCES jobs,
    amount      numeric(18, 8) NOT NULL,
    tx_hash     bytea NOT NULL,
    settled_at  timestamptz
);

CREATE TABLE events (
    id          bigint PRIMARY KEY,
    user_id     bigint NOT NULL REFERENCES users,
    kind        text NOT NULL,
    payload     jsonb NOT NULL,
    created_at  timestamptz NOT NULL
);

INSERT INTO users
SELECT i,
       md5('user' || i)::uuid,
       'user' || i || '@' || (ARRAY['example.com', 'example.org', 'mail.example.net'])[1 + i % 3],
       (ARRAY['Ada', 'Grace', 'Linus', 'Margaret', 'Edsger', 'Barbara'])[1 + i % 6] || ' '
           || (ARRAY['Moreau', 'Okafor', 'Tanaka', 'Silva', 'Novak'])[1 + i % 5],
       timestamptz '2025-01-01 00:00:00+00' + i * interval '97 seconds'
FROM generate_series(1, 500 * :megabytes) AS i;

INSERT INTO jobs
SELECT i,
       md5('job' || i)::uuid,
       1 + i % (500 * :megabytes),
       (ARRAY['queued', 'running', 'completed', 'completed', 'completed', 'failed'])[1 + i % 6],
       jsonb_build_object(
           'model', (ARRAY['whisper-large', 'llama-70b', 'sdxl'])[1 + i % 3],
           'gpu', (ARRAY['a100', 'h100', 'rtx4090'])[1 + i % 3],
           'prompt_tokens', i::bigint * 7919 % 4096,
           'input', 's3://platform-inputs/' || md5('input' || i),
           'retries', i % 3),
       timestamptz '2025-06-01 00:00:00+00' + i * interval '31.7 seconds'
FROM generate_series(1, 2000 * :megabytes) AS i;

INSERT INTO payments
SELECT i,
       1 + i % (2000 * :megabytes),
       (i::bigint * 104729 % 100000000)::numeric / 1000000,
       decode(md5('payment' || i) || md5('tx' || i), 'hex'),
       CASE WHEN i % 11 <> 0 THEN timestamptz '2025-06-02 00:00:00+00' + i * interval '32 seconds' END
FROM generate_series(1, 1500 * :megabytes) AS i;

INSERT INTO events
SELECT i,
       1 + i % (500 * :megabytes),
       (ARRAY['login', 'job.created', 'job.finished', 'payout', 'settings.changed'])[1 + i % 5],
       jsonb_build_object('ip', '10.' || i % 256 || '.' || i * 31 % 256 || '.7', 'session', md5('session' || i / 9)),
       timestamptz '2025-06-01 00:00:00+00' + i * interval '12.5 seconds'
FROM generate_series(1, 2300 * :megabytes) AS i;

ANALYZE;
