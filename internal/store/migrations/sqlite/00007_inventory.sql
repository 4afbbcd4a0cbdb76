-- +goose Up
-- In this schema a time of 0 means "never", and a deleted_at of 0 "not deleted".
CREATE TABLE inventory_projects (
	id          TEXT PRIMARY KEY,
	name        TEXT NOT NULL,
	description TEXT NOT NULL,
	created_at  BIGINT NOT NULL,
	updated_at  BIGINT NOT NULL,
	deleted_at  BIGINT NOT NULL
);
CREATE UNIQUE INDEX inventory_projects_name ON inventory_projects (name) WHERE deleted_at = 0;

CREATE TABLE inventory_cloud_accounts (
	id           TEXT PRIMARY KEY,
	project_id   TEXT NOT NULL REFERENCES inventory_projects (id),
	account_id   TEXT NOT NULL,
	description  TEXT NOT NULL,
	regions      TEXT NOT NULL,
	options      TEXT NOT NULL,
	connected_at BIGINT NOT NULL,
	deleted_at   BIGINT NOT NULL,
	-- The real-time credential; empty while not monitored.
	webhook_id   TEXT NOT NULL,
	client_id    TEXT NOT NULL,
	monitored_at BIGINT NOT NULL,
	-- Why events had to be taken at their word the last time, and when.
	unread_at    BIGINT NOT NULL,
	unread_why   TEXT NOT NULL
);
CREATE UNIQUE INDEX inventory_cloud_accounts_account ON inventory_cloud_accounts (project_id, account_id) WHERE deleted_at = 0;
CREATE UNIQUE INDEX inventory_cloud_accounts_webhook ON inventory_cloud_accounts (webhook_id) WHERE webhook_id <> '';

-- What webhooks took in. The primary key is the dedupe by event id, the unique
-- index the one by meaning.
CREATE TABLE inventory_events (
	cloud_account_id TEXT NOT NULL,
	event_id         TEXT NOT NULL,
	webhook_id       TEXT NOT NULL,
	region           TEXT NOT NULL,
	instance_id      TEXT NOT NULL,
	state            TEXT NOT NULL,
	event_at         BIGINT NOT NULL,
	received_at      BIGINT NOT NULL,
	settled_at       BIGINT NOT NULL,
	outcome          TEXT NOT NULL,
	PRIMARY KEY (cloud_account_id, event_id)
);
CREATE UNIQUE INDEX inventory_events_meaning ON inventory_events (cloud_account_id, region, instance_id, state, event_at);
CREATE INDEX inventory_events_received ON inventory_events (received_at);

-- What is known of an instance beyond its server: its tombstone.
CREATE TABLE inventory_instances (
	project_id  TEXT NOT NULL,
	account_id  TEXT NOT NULL,
	region      TEXT NOT NULL,
	instance_id TEXT NOT NULL,
	server_id   TEXT NOT NULL,
	removed_at  BIGINT NOT NULL,
	reason      TEXT NOT NULL,
	final       BOOLEAN NOT NULL,
	ignored     BOOLEAN NOT NULL,
	PRIMARY KEY (project_id, account_id, region, instance_id)
);
CREATE INDEX inventory_instances_removed ON inventory_instances (removed_at);

CREATE TABLE inventory_servers (
	id               TEXT PRIMARY KEY,
	project_id       TEXT NOT NULL REFERENCES inventory_projects (id),
	cloud_account_id TEXT NOT NULL,
	account_id       TEXT NOT NULL,
	region           TEXT NOT NULL,
	instance_id      TEXT NOT NULL,
	hostname         TEXT NOT NULL,
	canonical_name   TEXT NOT NULL,
	access_address   TEXT NOT NULL,
	bastion          TEXT NOT NULL,
	managed          BOOLEAN NOT NULL,
	registered_at    BIGINT NOT NULL,
	deleted_at       BIGINT NOT NULL,
	last_seen_at     BIGINT NOT NULL,
	ec2_state        TEXT NOT NULL,
	told_at          BIGINT NOT NULL,
	confirmed_at     BIGINT NOT NULL,
	absent_since_at  BIGINT NOT NULL,
	not_found        BIGINT NOT NULL,
	-- The facts that nothing is looked up by, as JSON.
	facts            TEXT NOT NULL,
	api_labels       TEXT NOT NULL
);
CREATE UNIQUE INDEX inventory_servers_instance ON inventory_servers (project_id, account_id, region, instance_id)
	WHERE deleted_at = 0 AND instance_id <> '';
CREATE INDEX inventory_servers_listed ON inventory_servers (registered_at, id) WHERE deleted_at = 0;
CREATE INDEX inventory_servers_project ON inventory_servers (project_id, registered_at, id) WHERE deleted_at = 0;
CREATE INDEX inventory_servers_hostname ON inventory_servers (hostname, project_id, registered_at, id) WHERE deleted_at = 0;
CREATE INDEX inventory_servers_instance_id ON inventory_servers (instance_id, project_id, registered_at, id);
CREATE INDEX inventory_servers_removed ON inventory_servers (deleted_at) WHERE deleted_at > 0;
CREATE INDEX inventory_servers_address ON inventory_servers (project_id, access_address) WHERE deleted_at = 0 AND access_address <> '';

-- Every change of a server, and what caused it.
CREATE TABLE inventory_history (
	id         INTEGER PRIMARY KEY AUTOINCREMENT,
	server_id  TEXT NOT NULL,
	at         BIGINT NOT NULL,
	change     TEXT NOT NULL,
	cause      TEXT NOT NULL,
	fields     TEXT NOT NULL
);
CREATE INDEX inventory_history_server ON inventory_history (server_id, id);

CREATE TABLE inventory_sync_runs (
	id               TEXT PRIMARY KEY,
	cloud_account_id TEXT NOT NULL,
	trigger_kind     TEXT NOT NULL,
	dry_run          BOOLEAN NOT NULL,
	confirmed        BOOLEAN NOT NULL,
	status           TEXT NOT NULL,
	created_at       BIGINT NOT NULL,
	started_at       BIGINT NOT NULL,
	finished_at      BIGINT NOT NULL,
	added            BIGINT NOT NULL,
	updated          BIGINT NOT NULL,
	removed          BIGINT NOT NULL,
	held             BIGINT NOT NULL,
	drift            BIGINT NOT NULL,
	error            TEXT NOT NULL,
	regions          TEXT NOT NULL
);
CREATE INDEX inventory_sync_runs_account ON inventory_sync_runs (cloud_account_id, created_at);

-- How the event path and the syncs of a region fare.
CREATE TABLE inventory_regions (
	cloud_account_id TEXT NOT NULL,
	region           TEXT NOT NULL,
	events           BIGINT NOT NULL,
	last_event_at    BIGINT NOT NULL,
	last_received_at BIGINT NOT NULL,
	last_sync_at     BIGINT NOT NULL,
	last_sync_error  TEXT NOT NULL,
	-- What syncs found since the last event that events should have told.
	drift            BIGINT NOT NULL,
	last_drift_at    BIGINT NOT NULL,
	PRIMARY KEY (cloud_account_id, region)
);

-- Calls of a webhook, with a good token, that were refused or not ours.
CREATE TABLE inventory_rejections (
	cloud_account_id TEXT NOT NULL,
	reason           TEXT NOT NULL,
	subject          TEXT NOT NULL,
	count            BIGINT NOT NULL,
	last_at          BIGINT NOT NULL,
	message          TEXT NOT NULL,
	PRIMARY KEY (cloud_account_id, reason, subject)
);

CREATE TABLE inventory_enrollment_tokens (
	id           TEXT PRIMARY KEY,
	project_id   TEXT NOT NULL REFERENCES inventory_projects (id),
	description  TEXT NOT NULL,
	created_by   TEXT NOT NULL,
	issued_at    BIGINT NOT NULL,
	deleted_at   BIGINT NOT NULL,
	last_used_at BIGINT NOT NULL,
	uses         BIGINT NOT NULL,
	salt         BLOB NOT NULL,
	hash         BLOB NOT NULL
);
CREATE INDEX inventory_enrollment_tokens_project ON inventory_enrollment_tokens (project_id);

-- The keys that agents sign with, each bound to one server.
CREATE TABLE inventory_agents (
	id         TEXT PRIMARY KEY,
	server_id  TEXT NOT NULL,
	public_key TEXT NOT NULL,
	created_at BIGINT NOT NULL,
	revoked_at BIGINT NOT NULL,
	-- The last signed time that was accepted: none is accepted twice.
	signed_at  BIGINT NOT NULL
);
CREATE INDEX inventory_agents_server ON inventory_agents (server_id);
CREATE INDEX inventory_agents_key ON inventory_agents (public_key);

-- +goose Down
DROP TABLE inventory_agents;
DROP TABLE inventory_enrollment_tokens;
DROP TABLE inventory_rejections;
DROP TABLE inventory_regions;
DROP TABLE inventory_sync_runs;
DROP TABLE inventory_history;
DROP TABLE inventory_servers;
DROP TABLE inventory_instances;
DROP TABLE inventory_events;
DROP TABLE inventory_cloud_accounts;
DROP TABLE inventory_projects;
