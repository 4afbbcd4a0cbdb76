-- +goose Up
-- The messages of a queue hang on its contents. Purging gives the queue new
-- contents at once and leaves the old ones to the sweeper.
CREATE TABLE queue_contents (
	id         INTEGER PRIMARY KEY AUTOINCREMENT,
	dropped_at BIGINT
);
CREATE INDEX queue_contents_dropped ON queue_contents (dropped_at) WHERE dropped_at IS NOT NULL;

CREATE TABLE queue (
	id              INTEGER PRIMARY KEY AUTOINCREMENT,
	account         TEXT NOT NULL,
	region          TEXT NOT NULL,
	name            TEXT NOT NULL,
	contents_id     BIGINT NOT NULL UNIQUE REFERENCES queue_contents (id),
	attributes      TEXT NOT NULL,
	tags            TEXT NOT NULL,
	dead_letter_arn TEXT NOT NULL,
	created_at      BIGINT NOT NULL,
	modified_at     BIGINT NOT NULL,
	purged_at       BIGINT NOT NULL,
	UNIQUE (account, region, name)
);
CREATE INDEX queue_dead_letter ON queue (dead_letter_arn, name) WHERE dead_letter_arn <> '';

-- receipt is drawn anew at each receive: a receipt handle holds it. Messages
-- without group, trace, attributes or dead-letter source have ''.
CREATE TABLE queue_message (
	id                INTEGER PRIMARY KEY AUTOINCREMENT,
	contents_id       BIGINT NOT NULL,
	message_id        TEXT NOT NULL,
	sent_at           BIGINT NOT NULL,
	visible_at        BIGINT NOT NULL,
	received_at       BIGINT NOT NULL DEFAULT 0,
	first_received_at BIGINT NOT NULL DEFAULT 0,
	receive_count     BIGINT NOT NULL DEFAULT 0,
	receipt           BIGINT NOT NULL DEFAULT 0,
	fifo              BOOLEAN NOT NULL,
	group_id          TEXT NOT NULL,
	dedup_id          TEXT NOT NULL,
	sender            TEXT NOT NULL,
	trace             TEXT NOT NULL,
	source_arn        TEXT NOT NULL DEFAULT '',
	attributes        TEXT NOT NULL,
	body              TEXT NOT NULL
);
CREATE INDEX queue_message_visible ON queue_message (contents_id, visible_at, id);
CREATE INDEX queue_message_group ON queue_message (contents_id, group_id, id) WHERE fifo;

-- One row for each message group that has messages. ready_at is when the group
-- may be received from: once nothing of it is in flight and its first message is due.
CREATE TABLE queue_group (
	contents_id BIGINT NOT NULL,
	group_id    TEXT NOT NULL,
	ready_at    BIGINT NOT NULL,
	PRIMARY KEY (contents_id, group_id)
);
CREATE INDEX queue_group_ready ON queue_group (contents_id, ready_at);

CREATE TABLE queue_dedup (
	queue_id   BIGINT NOT NULL,
	scope      TEXT NOT NULL,
	dedup_id   TEXT NOT NULL,
	message_id TEXT NOT NULL,
	sequence   BIGINT NOT NULL,
	expires_at BIGINT NOT NULL,
	PRIMARY KEY (queue_id, scope, dedup_id)
);
CREATE INDEX queue_dedup_expiry ON queue_dedup (expires_at);

-- What a receive attempt of a FIFO queue was answered, for its repetition.
CREATE TABLE queue_attempt (
	contents_id BIGINT NOT NULL,
	attempt_id  TEXT NOT NULL,
	receipt     BIGINT NOT NULL,
	messages    TEXT NOT NULL,
	expires_at  BIGINT NOT NULL,
	PRIMARY KEY (contents_id, attempt_id)
);
CREATE INDEX queue_attempt_expiry ON queue_attempt (expires_at);

CREATE TABLE queue_move (
	id              INTEGER PRIMARY KEY AUTOINCREMENT,
	handle          TEXT NOT NULL UNIQUE,
	account         TEXT NOT NULL,
	region          TEXT NOT NULL,
	source          TEXT NOT NULL,
	destination_arn TEXT NOT NULL,
	rate            BIGINT NOT NULL,
	status          TEXT NOT NULL,
	failure         TEXT NOT NULL,
	to_move         BIGINT NOT NULL,
	moved           BIGINT NOT NULL,
	started_at      BIGINT NOT NULL,
	resume_at       BIGINT NOT NULL
);
CREATE INDEX queue_move_source ON queue_move (account, region, source, started_at);
CREATE INDEX queue_move_running ON queue_move (resume_at) WHERE status = 'RUNNING';

-- +goose Down
DROP TABLE queue_move;
DROP TABLE queue_attempt;
DROP TABLE queue_dedup;
DROP TABLE queue_group;
DROP TABLE queue_message;
DROP TABLE queue;
DROP TABLE queue_contents;
