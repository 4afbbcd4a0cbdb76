-- +goose Up
-- The one master key that this database's secrets are made with, by its check value.
CREATE TABLE auth_master_key (
	one         INTEGER PRIMARY KEY CHECK (one = 1),
	check_value TEXT NOT NULL,
	created_at  BIGINT NOT NULL
);

CREATE TABLE access_key (
	id          TEXT PRIMARY KEY,
	account     TEXT NOT NULL,
	role        TEXT NOT NULL,
	description TEXT NOT NULL,
	secret      BLOB NOT NULL, -- sealed
	created_by  TEXT NOT NULL,
	created_at  BIGINT NOT NULL,
	expires_at  BIGINT,
	revoked_at  BIGINT,
	replaced_by TEXT
);
CREATE INDEX access_key_account ON access_key (account, created_at, id);

CREATE TABLE service_client (
	id         TEXT PRIMARY KEY,
	audience   TEXT NOT NULL,
	created_at BIGINT NOT NULL
);

CREATE TABLE client_secret (
	id           TEXT PRIMARY KEY,
	client_id    TEXT NOT NULL,
	salt         BLOB NOT NULL,
	hash         BLOB NOT NULL,
	last_four    TEXT NOT NULL,
	created_at   BIGINT NOT NULL,
	expires_at   BIGINT,
	revoked_at   BIGINT,
	last_used_at BIGINT
);
CREATE INDEX client_secret_client ON client_secret (client_id, created_at, id);

-- +goose Down
DROP TABLE client_secret;
DROP TABLE service_client;
DROP TABLE access_key;
DROP TABLE auth_master_key;
