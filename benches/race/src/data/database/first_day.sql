-- A payments company's platform, of :customers customers. Every value is a function of the row's number: md5 gives what
-- is unique, hashint8extended what is chosen by chance, so that no seed of the server's matters.

CREATE FUNCTION chance(number bigint, salt bigint, bound bigint) RETURNS bigint
    LANGUAGE sql IMMUTABLE AS $$ SELECT ((hashint8extended(number, salt) % bound) + bound) % bound $$;

CREATE TABLE customers (
    id          bigint NOT NULL,
    public_id   uuid NOT NULL,
    email       text NOT NULL,
    full_name   text NOT NULL,
    country     text NOT NULL,
    profile     jsonb NOT NULL,
    created_at  timestamptz NOT NULL,
    updated_at  timestamptz NOT NULL
);

-- Balances change in place: room on each page keeps the new version beside the old one.
CREATE TABLE accounts (
    id          bigint NOT NULL,
    customer_id bigint NOT NULL,
    iban        text NOT NULL,
    currency    text NOT NULL,
    balance     numeric(18, 2) NOT NULL,
    version     integer NOT NULL,
    limits      jsonb NOT NULL,
    mandate     text NOT NULL,
    updated_at  timestamptz NOT NULL
) WITH (fillfactor = 85);

CREATE TABLE transactions (
    id          bigint NOT NULL,
    public_id   uuid NOT NULL,
    account_id  bigint NOT NULL,
    amount      numeric(18, 2) NOT NULL,
    currency    text NOT NULL,
    status      text NOT NULL,
    reference   text NOT NULL,
    details     jsonb NOT NULL,
    created_at  timestamptz NOT NULL,
    settled_at  timestamptz
);

CREATE TABLE postings (
    id             bigint NOT NULL,
    transaction_id bigint NOT NULL,
    account_id     bigint NOT NULL,
    amount         numeric(18, 2) NOT NULL,
    posted_at      timestamptz NOT NULL
);

CREATE TABLE audit_events (
    id          bigint NOT NULL,
    customer_id bigint NOT NULL,
    kind        text NOT NULL,
    payload     jsonb NOT NULL,
    created_at  timestamptz NOT NULL
);

-- The rows of a range of numbers: the first day's, and those that later days append.

CREATE PROCEDURE add_customers(low bigint, high bigint) LANGUAGE sql AS $$
INSERT INTO customers
SELECT i,
       md5('customer' || i)::uuid,
       (ARRAY['ada', 'grace', 'linus', 'margaret', 'edsger', 'barbara', 'alan'])[1 + chance(i, 1, 7)] || i || '@'
           || (ARRAY['example.com', 'example.org', 'mail.example.net'])[1 + chance(i, 2, 3)],
       (ARRAY['Ada', 'Grace', 'Linus', 'Margaret', 'Edsger', 'Barbara', 'Alan'])[1 + chance(i, 1, 7)] || ' '
           || (ARRAY['Moreau', 'Okafor', 'Tanaka', 'Silva', 'Novak', 'Haddad'])[1 + chance(i, 3, 6)],
       (ARRAY['FR', 'NG', 'JP', 'BR', 'CZ', 'DE', 'US'])[1 + chance(i, 4, 7)],
       jsonb_build_object(
           'tier', (ARRAY['free', 'pro', 'business'])[1 + chance(i, 5, 3)],
           'locale', (ARRAY['fr-FR', 'en-GB', 'ja-JP', 'pt-BR'])[1 + chance(i, 6, 4)],
           'phone', '+' || 10000000000 + chance(i, 7, 89999999999),
           'kyc', jsonb_build_object('status', 'verified', 'document', md5('document' || i))),
       timestamptz '2024-01-01 00:00:00+00' + i * interval '397 seconds',
       timestamptz '2025-01-01 00:00:00+00' + i * interval '61 seconds'
FROM generate_series(low, high) AS i
$$;

CREATE PROCEDURE add_accounts(low bigint, high bigint) LANGUAGE sql AS $$
INSERT INTO accounts
SELECT i,
       (i + 1) / 2,
       'FR76' || lpad(chance(i, 11, 10000000000)::text, 10, '0') || lpad(i::text, 11, '0'),
       (ARRAY['EUR', 'EUR', 'EUR', 'USD', 'GBP'])[1 + chance(i, 12, 5)],
       chance(i, 13, 100000000)::numeric / 100,
       1,
       jsonb_build_object(
           'daily', 100 * (1 + chance(i, 14, 50)), 'monthly', 1000 * (1 + chance(i, 15, 50)),
           'countries', (ARRAY['EU', 'EU+UK', 'world'])[1 + chance(i, 16, 3)]),
       'mandate-' || md5('mandate' || i),
       timestamptz '2025-06-01 00:00:00+00' + i * interval '29 seconds'
FROM generate_series(low, high) AS i
$$;

CREATE PROCEDURE add_transactions(low bigint, high bigint) LANGUAGE sql AS $$
INSERT INTO transactions
SELECT i,
       md5('transaction' || i)::uuid,
       1 + chance(i, 21, 2 * :customers),
       chance(i, 22, 1000000)::numeric / 100,
       (ARRAY['EUR', 'EUR', 'EUR', 'USD', 'GBP'])[1 + chance(i, 23, 5)],
       (ARRAY['settled', 'settled', 'settled', 'settled', 'pending', 'refused'])[1 + chance(i, 24, 6)],
       (ARRAY['INVOICE', 'SALARY', 'CARD', 'REFUND'])[1 + chance(i, 25, 4)] || '-' || 100000 + chance(i, 26, 900000),
       jsonb_build_object(
           'channel', (ARRAY['card', 'sepa', 'swift', 'internal'])[1 + chance(i, 27, 4)],
           'merchant', 'merchant-' || chance(i, 28, 5000),
           'ip', '10.' || chance(i, 29, 256) || '.' || chance(i, 30, 256) || '.7',
           'risk', chance(i, 31, 100)),
       timestamptz '2025-01-01 00:00:00+00' + i * interval '31.7 seconds',
       CASE WHEN chance(i, 24, 6) < 4
           THEN timestamptz '2025-01-01 00:10:00+00' + i * interval '31.7 seconds' END
FROM generate_series(low, high) AS i
$$;

-- Two of each transaction, which sum up to nothing.
CREATE PROCEDURE add_postings(low bigint, high bigint) LANGUAGE sql AS $$
INSERT INTO postings
SELECT i,
       (i + 1) / 2,
       CASE WHEN i % 2 = 1 THEN 1 + chance((i + 1) / 2, 21, 2 * :customers)
           ELSE 1 + chance((i + 1) / 2, 32, 2 * :customers) END,
       (CASE WHEN i % 2 = 1 THEN -1 ELSE 1 END) * chance((i + 1) / 2, 22, 1000000)::numeric / 100,
       timestamptz '2025-01-01 00:10:00+00' + (i + 1) / 2 * interval '31.7 seconds'
FROM generate_series(low, high) AS i
$$;

CREATE PROCEDURE add_audit_events(low bigint, high bigint) LANGUAGE sql AS $$
INSERT INTO audit_events
SELECT i,
       1 + chance(i / 7, 41, :customers),
       (ARRAY['login', 'payment.created', 'payment.settled', 'limit.changed', 'export'])[1 + chance(i, 42, 5)],
       jsonb_build_object(
           'ip', '10.' || chance(i / 7, 43, 256) || '.' || chance(i / 7, 44, 256) || '.7',
           'session', md5('session' || i / 7),
           'agent', (ARRAY['Mozilla/5.0 (X11; Linux x86_64)', 'Mozilla/5.0 (iPhone)', 'platform-sdk/2.4'])
               [1 + chance(i / 7, 45, 3)],
           'latency_ms', chance(i, 46, 2000)),
       timestamptz '2025-01-01 00:00:00+00' + i * interval '39.1 seconds'
FROM generate_series(low, high) AS i
$$;

CALL add_customers(1, :customers);
CALL add_accounts(1, 2 * :customers);
CALL add_transactions(1, 10 * :customers);
CALL add_postings(1, 20 * :customers);
CALL add_audit_events(1, 8 * :customers);

ALTER TABLE customers ADD PRIMARY KEY (id);
ALTER TABLE accounts ADD PRIMARY KEY (id);
ALTER TABLE transactions ADD PRIMARY KEY (id);
ALTER TABLE postings ADD PRIMARY KEY (id);
ALTER TABLE audit_events ADD PRIMARY KEY (id);

VACUUM ANALYZE;
