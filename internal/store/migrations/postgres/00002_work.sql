-- +goose Up
CREATE TABLE work_queue (
	name   TEXT PRIMARY KEY,
	paused BOOLEAN NOT NULL
);

-- A job that is leased has a holder, and its run_at is when the lease ends:
-- an abandoned job comes due again by itself.
CREATE TABLE job (
	id         BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	queue      TEXT COLLATE "C" NOT NULL,
	key        TEXT COLLATE "C" NOT NULL,
	payload    BYTEA NOT NULL,
	attempt    BIGINT NOT NULL,
	created_at BIGINT NOT NULL,
	run_at     BIGINT NOT NULL,
	holder     TEXT,
	again_at   BIGINT,
	reason     TEXT NOT NULL,
	failed_at  BIGINT,
	UNIQUE (queue, key)
);
CREATE INDEX job_due ON job (queue, run_at, id) WHERE failed_at IS NULL;
CREATE INDEX job_leased ON job (holder) WHERE holder IS NOT NULL;
CREATE INDEX job_failed ON job (queue, failed_at) WHERE failed_at IS NOT NULL;

-- +goose Down
DROP TABLE job;
DROP TABLE work_queue;
