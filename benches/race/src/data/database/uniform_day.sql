-- A day that touches 1% of the rows of every table, wherever they lie, and nothing else.

UPDATE customers SET updated_at = updated_at + interval '1 day' WHERE chance(id, 201, 100) = 0;
UPDATE accounts
SET balance = balance + chance(id, 207, 10000)::numeric / 100, version = version + 1,
    updated_at = updated_at + interval '1 day'
WHERE chance(id, 202, 100) = 0;
UPDATE transactions SET status = 'disputed' WHERE chance(id, 203, 100) = 0;
UPDATE postings SET posted_at = posted_at + interval '1 day' WHERE chance(id, 204, 100) = 0;
UPDATE audit_events SET kind = kind || '.reviewed' WHERE chance(id, 205, 100) = 0;

VACUUM ANALYZE;
