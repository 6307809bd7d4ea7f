-- A day at work. What autovacuum does at its own times in a real database is done here at the end of each part.

-- Every table grows by 1%.
CALL add_customers(:customers + 1, :customers + :customers / 100);
CALL add_accounts(2 * :customers + 1, 2 * :customers + 2 * (:customers / 100));
CALL add_transactions(10 * :customers + 1, 10 * :customers + 10 * (:customers / 100));
CALL add_postings(20 * :customers + 1, 20 * :customers + 20 * (:customers / 100));
CALL add_audit_events(8 * :customers + 1, 8 * :customers + 8 * (:customers / 100));

-- A few accounts are busy: each change is a transaction of its own, and stays on its page (HOT).
DO $$
BEGIN
    FOR turn IN 1..50 LOOP
        UPDATE accounts
        SET balance = balance + turn, version = version + 1, updated_at = updated_at + interval '17 minutes'
        WHERE chance(id, 101, 1000) = 0;
        COMMIT;
    END LOOP;
END
$$;

-- One account in a hundred is touched, wherever it lies.
UPDATE accounts
SET balance = balance + chance(id, 102, 10000)::numeric / 100, version = version + 1,
    updated_at = updated_at + interval '1 day'
WHERE chance(id, 103, 100) = 0;

-- What was pending of late is settled.
UPDATE transactions SET status = 'settled', settled_at = created_at + interval '1 day'
WHERE id > 10 * :customers - 10 * (:customers / 100) AND status = 'pending';

-- The oldest events have served their time, and a few people ask to be forgotten.
DELETE FROM audit_events WHERE id <= 8 * :customers / 500 OR customer_id <= 3;

VACUUM ANALYZE;
