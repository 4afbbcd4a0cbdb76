-- +goose Up
-- In this schema a time of 0 means "never".
CREATE TABLE intake_sources (
	id         TEXT PRIMARY KEY,
	name       TEXT NOT NULL UNIQUE,
	kind       TEXT NOT NULL,
	enabled    BOOLEAN NOT NULL,
	-- The service client of an endpoint; empty for queues.
	client_id  TEXT NOT NULL,
	settings   TEXT NOT NULL,
	created_at BIGINT NOT NULL,
	updated_at BIGINT NOT NULL
);

-- What came of a source. It is written now and then, so that after a crash the
-- last second may be missing; nothing is decided by it.
CREATE TABLE intake_activity (
	source_id   TEXT PRIMARY KEY REFERENCES intake_sources (id) ON DELETE CASCADE,
	accepted    BIGINT NOT NULL,
	duplicates  BIGINT NOT NULL,
	refused     BIGINT NOT NULL,
	accepted_at BIGINT NOT NULL,
	-- How long before accepted_at the last accepted event had happened, in milliseconds.
	lag         BIGINT NOT NULL,
	refused_at  BIGINT NOT NULL,
	refused_why TEXT NOT NULL,
	-- Why the source does not work now; 0 while it does.
	failed_at   BIGINT NOT NULL,
	failed_why  TEXT NOT NULL,
	-- About how many messages the queue held at polled_at.
	waiting     BIGINT NOT NULL,
	polled_at   BIGINT NOT NULL
);

-- Messages that were refused and taken off a queue without a redrive policy.
CREATE TABLE intake_refused (
	source_id  TEXT NOT NULL REFERENCES intake_sources (id),
	message_id TEXT NOT NULL,
	body       BLOB NOT NULL,
	why        TEXT NOT NULL,
	refused_at BIGINT NOT NULL,
	PRIMARY KEY (source_id, message_id)
);

-- The events that were accepted of late: a hash of source, bus, event id and
-- replay.
CREATE TABLE intake_seen (
	key     BLOB PRIMARY KEY,
	seen_at BIGINT NOT NULL
) WITHOUT ROWID;
CREATE INDEX intake_seen_at ON intake_seen (seen_at);

-- +goose Down
DROP TABLE intake_seen;
DROP TABLE intake_refused;
DROP TABLE intake_activity;
DROP TABLE intake_sources;
