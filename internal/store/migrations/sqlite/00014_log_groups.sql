-- +goose Up
-- A group or stream that was deleted keeps its row, with dropped_at, until the
-- sweeper has removed what hangs on it; its name is free at once.
CREATE TABLE log_group (
	id             INTEGER PRIMARY KEY AUTOINCREMENT,
	account        TEXT NOT NULL,
	region         TEXT NOT NULL,
	name           TEXT NOT NULL,
	retention_days BIGINT NOT NULL DEFAULT 0,
	created_at     BIGINT NOT NULL,
	dropped_at     BIGINT
);
CREATE UNIQUE INDEX log_group_name ON log_group (account, region, name) WHERE dropped_at IS NULL;
CREATE INDEX log_group_dropped ON log_group (id) WHERE dropped_at IS NOT NULL;

-- Times of events are NULL while the stream has had none.
CREATE TABLE log_stream (
	id               INTEGER PRIMARY KEY AUTOINCREMENT,
	group_id         BIGINT NOT NULL REFERENCES log_group (id),
	name             TEXT NOT NULL,
	created_at       BIGINT NOT NULL,
	first_event_at   BIGINT,
	last_event_at    BIGINT,
	last_ingested_at BIGINT,
	stored_bytes     BIGINT NOT NULL DEFAULT 0,
	dropped_at       BIGINT
);
CREATE UNIQUE INDEX log_stream_name ON log_stream (group_id, name) WHERE dropped_at IS NULL;
CREATE INDEX log_stream_last ON log_stream (group_id, COALESCE(last_event_at, -1), name) WHERE dropped_at IS NULL;
CREATE INDEX log_stream_dropped ON log_stream (group_id, id) WHERE dropped_at IS NOT NULL;

-- Messages are bytes, for they may hold the character NUL.
CREATE TABLE log_event (
	id          INTEGER PRIMARY KEY AUTOINCREMENT,
	group_id    BIGINT NOT NULL,
	stream_id   BIGINT NOT NULL,
	event_at    BIGINT NOT NULL,
	ingested_at BIGINT NOT NULL,
	message     BLOB NOT NULL
);
CREATE INDEX log_event_stream ON log_event (stream_id, event_at, id);
CREATE INDEX log_event_group ON log_event (group_id, event_at, id);

-- +goose Down
DROP TABLE log_event;
DROP TABLE log_stream;
DROP TABLE log_group;
