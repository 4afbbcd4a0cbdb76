-- +goose Up
-- configuration is what UpdateFunctionConfiguration changes, but for the environment
-- variables: they are encrypted. policy is '' without one.
CREATE TABLE function (
	id            INTEGER PRIMARY KEY AUTOINCREMENT,
	account       TEXT NOT NULL,
	region        TEXT NOT NULL,
	name          TEXT NOT NULL,
	configuration TEXT NOT NULL,
	environment   BLOB NOT NULL,
	code_sha256   TEXT NOT NULL,
	code_size     BIGINT NOT NULL,
	tags          TEXT NOT NULL,
	policy        TEXT NOT NULL,
	revision      TEXT NOT NULL,
	modified_at   BIGINT NOT NULL,
	UNIQUE (account, region, name)
);
CREATE INDEX function_code_sha256 ON function (code_sha256);

-- Deployment packages by the SHA-256 of their bytes, of which functions may share one. One that
-- is not complete is still being stored. One that no function has is swept some time
-- after used_at, and then its chunks.
CREATE TABLE function_code (
	sha256   TEXT PRIMARY KEY,
	size     BIGINT NOT NULL,
	complete BOOLEAN NOT NULL,
	used_at  BIGINT NOT NULL
);
CREATE TABLE function_code_chunk (
	sha256 TEXT NOT NULL,
	number BIGINT NOT NULL,
	bytes  BLOB NOT NULL,
	PRIMARY KEY (sha256, number)
);

-- +goose Down
DROP TABLE function_code_chunk;
DROP TABLE function_code;
DROP TABLE function;
