-- +goose Up

-- When full syncs run and how much they may remove unasked; one row, none before it was changed.
CREATE TABLE exporter_sync_settings (
	id              BIGINT PRIMARY KEY,
	interval_ms     BIGINT NOT NULL, -- 0: only on demand
	removal_count   BIGINT NOT NULL,
	removal_percent BIGINT NOT NULL,
	updated_at      BIGINT NOT NULL
);

-- Full syncs. selection is what was asked for, as JSON; confirms the run whose held removals this one lets. epoch
-- is of the lease under which a node works on it: what an earlier holder still writes is refused.
CREATE TABLE exporter_sync_runs (
	id              TEXT PRIMARY KEY,
	trigger_kind    TEXT NOT NULL,
	confirms        TEXT NOT NULL,
	dry_run         BOOLEAN NOT NULL,
	grace_ms        BIGINT NOT NULL,
	selection       TEXT NOT NULL,
	status          TEXT NOT NULL,
	planned         BOOLEAN NOT NULL,
	cancelled       BOOLEAN NOT NULL,
	created_by      TEXT NOT NULL,
	config_revision BIGINT NOT NULL,
	epoch           BIGINT NOT NULL,
	error           TEXT NOT NULL,
	created_at      BIGINT NOT NULL,
	started_at      BIGINT NOT NULL,
	finished_at     BIGINT NOT NULL
);
CREATE INDEX exporter_sync_runs_created ON exporter_sync_runs (created_at, id);
CREATE INDEX exporter_sync_runs_open ON exporter_sync_runs (created_at, id) WHERE finished_at = 0;

-- What a run does in one account, region and kind, and how far it has come: query and next_token say which page
-- comes next, cursor_id how far the missing were looked at. ticket is of its beginning: what was confirmed since
-- cannot be missing.
CREATE TABLE exporter_sync_scopes (
	run_id      TEXT NOT NULL,
	account     TEXT NOT NULL,
	region      TEXT NOT NULL,
	kind        TEXT NOT NULL,
	position    BIGINT NOT NULL,
	source      TEXT NOT NULL, -- configured, unconfigured or unremembered
	stage       TEXT NOT NULL, -- waiting, listing, checking, removing or done
	status      TEXT NOT NULL, -- once done: complete, failed, held or skipped
	ticket      BIGINT NOT NULL,
	queries     TEXT NOT NULL, -- what is listed, digested
	query       BIGINT NOT NULL,
	next_token  TEXT NOT NULL,
	cursor_id   TEXT NOT NULL,
	expected    BIGINT NOT NULL,
	listed      BIGINT NOT NULL,
	unchanged   BIGINT NOT NULL,
	created     BIGINT NOT NULL, -- and what exporter_sync_batches adds
	updated     BIGINT NOT NULL,
	removed     BIGINT NOT NULL,
	failed      BIGINT NOT NULL,
	spared      BIGINT NOT NULL,
	missing     BIGINT NOT NULL,
	unread      BIGINT NOT NULL,
	held        BIGINT NOT NULL,
	error       TEXT NOT NULL,
	started_at  BIGINT NOT NULL,
	finished_at BIGINT NOT NULL,
	PRIMARY KEY (run_id, account, region, kind)
);

-- What changed, a row for each transaction that changed something, written by it: counts survive a kill.
CREATE TABLE exporter_sync_batches (
	run_id  TEXT NOT NULL,
	account TEXT NOT NULL,
	region  TEXT NOT NULL,
	kind    TEXT NOT NULL,
	batch   BIGINT NOT NULL,
	created BIGINT NOT NULL,
	updated BIGINT NOT NULL,
	removed BIGINT NOT NULL,
	PRIMARY KEY (run_id, account, region, kind, batch)
);

-- The first changes of each scope, those that a dry run would make, and what failed.
CREATE TABLE exporter_sync_changes (
	run_id     TEXT NOT NULL,
	account    TEXT NOT NULL,
	region     TEXT NOT NULL,
	kind       TEXT NOT NULL,
	identifier TEXT NOT NULL,
	change     TEXT NOT NULL,
	why        TEXT NOT NULL,
	at         BIGINT NOT NULL,
	PRIMARY KEY (run_id, account, region, kind, identifier)
);

-- What a dry run has listed, while it runs: other runs leave that in the resources' tickets.
CREATE TABLE exporter_sync_listed (
	run_id     TEXT NOT NULL,
	account    TEXT NOT NULL,
	region     TEXT NOT NULL,
	kind       TEXT NOT NULL,
	identifier TEXT NOT NULL,
	PRIMARY KEY (run_id, account, region, kind, identifier)
);

-- What a run found changed. It is drift once due_at has passed and no event has told; confirmed says that.
CREATE TABLE exporter_drift (
	run_id     TEXT NOT NULL,
	account    TEXT NOT NULL,
	region     TEXT NOT NULL,
	kind       TEXT NOT NULL,
	identifier TEXT NOT NULL,
	missed     TEXT NOT NULL, -- create, update or delete
	since_at   BIGINT NOT NULL,
	found_at   BIGINT NOT NULL,
	due_at     BIGINT NOT NULL,
	confirmed  BOOLEAN NOT NULL,
	PRIMARY KEY (run_id, account, region, kind, identifier)
);
CREATE INDEX exporter_drift_pending ON exporter_drift (due_at) WHERE NOT confirmed;
CREATE INDEX exporter_drift_found ON exporter_drift (found_at);

-- How fresh each account, region and kind is. sync_revision is that of the configuration at the last complete sync;
-- drift counts since the last event.
CREATE TABLE exporter_freshness (
	account          TEXT NOT NULL,
	region           TEXT NOT NULL,
	kind             TEXT NOT NULL,
	events           BIGINT NOT NULL,
	last_event_at    BIGINT NOT NULL,
	last_received_at BIGINT NOT NULL,
	last_stored_at   BIGINT NOT NULL,
	last_failure_at  BIGINT NOT NULL,
	last_failure     TEXT NOT NULL,
	last_attempt_at  BIGINT NOT NULL,
	last_sync_at     BIGINT NOT NULL,
	last_sync_run    TEXT NOT NULL,
	sync_revision    BIGINT NOT NULL,
	last_sync_error  TEXT NOT NULL,
	drift            BIGINT NOT NULL,
	last_drift_at    BIGINT NOT NULL,
	drift_since_at   BIGINT NOT NULL,
	PRIMARY KEY (account, region, kind)
);

-- The lag from an event to the stored change, counted by hour; counts is a JSON object of bucket to number.
CREATE TABLE exporter_lag (
	account TEXT NOT NULL,
	region  TEXT NOT NULL,
	kind    TEXT NOT NULL,
	hour_at BIGINT NOT NULL,
	counts  TEXT NOT NULL,
	PRIMARY KEY (account, region, kind, hour_at)
);

-- +goose Down
DROP TABLE exporter_lag;
DROP TABLE exporter_freshness;
DROP TABLE exporter_drift;
DROP TABLE exporter_sync_listed;
DROP TABLE exporter_sync_changes;
DROP TABLE exporter_sync_batches;
DROP TABLE exporter_sync_scopes;
DROP TABLE exporter_sync_runs;
DROP TABLE exporter_sync_settings;
