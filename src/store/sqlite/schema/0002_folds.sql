-- `inside`: the key of the summary that a row is told in. Set when the summary is first claimed, so
-- that it is the same summary with the same key however often it has to be tried; kept when it ends.
-- `alone`: this row must be told by itself: its own attempt was cut off and may have arrived (a
-- summary would tell it again under another key), or it is sent again after a summary with it was
-- refused.
ALTER TABLE outbox ADD COLUMN inside TEXT;
ALTER TABLE outbox ADD COLUMN alone INTEGER NOT NULL DEFAULT 0 CHECK (alone IN (0, 1));

CREATE INDEX outbox_inside ON outbox (inside) WHERE inside IS NOT NULL;
