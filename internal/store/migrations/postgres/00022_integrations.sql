-- +goose Up
-- Those who write into the catalog from elsewhere, as they describe themselves. In
-- this schema a time of 0 means "never".
CREATE TABLE catalog_integrations (
	id              TEXT PRIMARY KEY,
	installation_id TEXT COLLATE "C" NOT NULL UNIQUE,
	log_ingest_id   TEXT NOT NULL UNIQUE,
	-- What the integration says of itself, as JSON: type, title, version, config, and
	-- the members that only it knows.
	body            TEXT NOT NULL,
	-- What it says of its full sync, as JSON.
	resync_state    TEXT NOT NULL,
	created_by      TEXT NOT NULL,
	created_at      BIGINT NOT NULL,
	updated_by      TEXT NOT NULL,
	-- When the integration or its config was changed: who polls takes it for a request
	-- to sync.
	updated_at      BIGINT NOT NULL,
	heartbeat_at    BIGINT NOT NULL
);

-- What a kind's resources look like, to write mappings by.
CREATE TABLE catalog_integration_kinds (
	integration_id TEXT NOT NULL REFERENCES catalog_integrations (id) ON DELETE CASCADE,
	kind           TEXT COLLATE "C" NOT NULL,
	examples       TEXT NOT NULL,
	updated_at     BIGINT NOT NULL,
	PRIMARY KEY (integration_id, kind)
);

-- How far an integration has read each of its sources.
CREATE TABLE catalog_integration_cursors (
	integration_id TEXT NOT NULL REFERENCES catalog_integrations (id) ON DELETE CASCADE,
	kind           TEXT COLLATE "C" NOT NULL,
	idx            TEXT COLLATE "C" NOT NULL,
	cursor_json    TEXT NOT NULL,
	updated_at     BIGINT NOT NULL,
	PRIMARY KEY (integration_id, kind, idx)
);

-- What an integration logs. Rows go by age and by number.
CREATE TABLE catalog_integration_logs (
	id             BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	integration_id TEXT NOT NULL REFERENCES catalog_integrations (id) ON DELETE CASCADE,
	-- When it was logged, as the integration says.
	logged_at      BIGINT NOT NULL,
	level          TEXT NOT NULL,
	event_id       TEXT NOT NULL,
	line           TEXT NOT NULL,
	received_at    BIGINT NOT NULL
);
CREATE INDEX catalog_integration_logs_at ON catalog_integration_logs (integration_id, logged_at, id);
CREATE INDEX catalog_integration_logs_of ON catalog_integration_logs (integration_id, id);
CREATE INDEX catalog_integration_logs_received ON catalog_integration_logs (received_at);

-- What came of each kind in each of an integration's full syncs.
CREATE TABLE catalog_sync_metrics (
	integration_id TEXT NOT NULL REFERENCES catalog_integrations (id) ON DELETE CASCADE,
	event_id       TEXT COLLATE "C" NOT NULL,
	kind           TEXT COLLATE "C" NOT NULL,
	metrics        TEXT NOT NULL,
	created_at     BIGINT NOT NULL,
	updated_at     BIGINT NOT NULL,
	PRIMARY KEY (integration_id, event_id, kind)
);
CREATE INDEX catalog_sync_metrics_of ON catalog_sync_metrics (integration_id, updated_at);
CREATE INDEX catalog_sync_metrics_updated ON catalog_sync_metrics (updated_at);

-- Deletions of all entities of a blueprint, which take their time.
CREATE TABLE catalog_migrations (
	id               TEXT PRIMARY KEY,
	blueprint        TEXT COLLATE "C" NOT NULL,
	delete_blueprint BOOLEAN NOT NULL,
	status           TEXT NOT NULL,
	-- The writer, as JSON.
	writer           TEXT NOT NULL,
	-- Entities up to this id are deleted: those that are made meanwhile are not.
	last_entity_id   BIGINT NOT NULL,
	deleted          BIGINT NOT NULL,
	error            TEXT NOT NULL,
	created_at       BIGINT NOT NULL,
	updated_at       BIGINT NOT NULL
);
CREATE INDEX catalog_migrations_updated ON catalog_migrations (updated_at);

-- +goose Down
DROP TABLE catalog_migrations;
DROP TABLE catalog_sync_metrics;
DROP TABLE catalog_integration_logs;
DROP TABLE catalog_integration_cursors;
DROP TABLE catalog_integration_kinds;
DROP TABLE catalog_integrations;
