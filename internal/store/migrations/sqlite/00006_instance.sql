-- +goose Up
-- launch is what a launch fixed for good, as JSON. Addresses are '' while
-- there is none.
CREATE TABLE instance (
	seq               INTEGER PRIMARY KEY AUTOINCREMENT,
	id                TEXT NOT NULL UNIQUE,
	account           TEXT NOT NULL,
	region            TEXT NOT NULL,
	reservation_id    TEXT NOT NULL,
	client_token      TEXT NOT NULL,
	request_hash      TEXT NOT NULL,
	state             TEXT NOT NULL,
	private_ip        TEXT NOT NULL,
	public_ip         TEXT NOT NULL,
	reason_code       TEXT NOT NULL,
	reason_message    TEXT NOT NULL,
	transition_reason TEXT NOT NULL,
	launched_at       BIGINT NOT NULL,
	tags              TEXT NOT NULL,
	tag_version       BIGINT NOT NULL,
	launch            TEXT NOT NULL
);
CREATE INDEX instance_place ON instance (account, region, seq);
CREATE INDEX instance_token ON instance (account, region, client_token) WHERE client_token <> '';
CREATE UNIQUE INDEX instance_private_ip ON instance (account, region, private_ip) WHERE private_ip <> '';
CREATE UNIQUE INDEX instance_public_ip ON instance (public_ip) WHERE public_ip <> '';

-- next_host counts up through the subnet, so that addresses come back late.
CREATE TABLE instance_subnet (
	subnet_id TEXT PRIMARY KEY,
	next_host BIGINT NOT NULL
);

-- +goose Down
DROP TABLE instance_subnet;
DROP TABLE instance;
