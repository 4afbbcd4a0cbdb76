-- +goose Up
CREATE TABLE cloud_accounts (
	account_id TEXT PRIMARY KEY,
	-- Where and how the account is reached, as JSON without secrets.
	settings   TEXT NOT NULL,
	-- A static secret access key, sealed; empty when there is none.
	secret     BYTEA NOT NULL,
	created_at BIGINT NOT NULL,
	updated_at BIGINT NOT NULL
);

-- +goose Down
DROP TABLE cloud_accounts;
