-- `content`: SHA-256 of the row's first body, in hexadecimal. It tells a replay (the same message committed
-- again under its key) from another message that was given the same key. NULL in rows of older versions.
ALTER TABLE outbox ADD COLUMN content TEXT;
