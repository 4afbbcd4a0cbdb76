-- +goose Up
CREATE TABLE lease (
	name       TEXT PRIMARY KEY,
	holder     TEXT NOT NULL,
	expires_at BIGINT NOT NULL
);

CREATE TABLE outbox (
	id         BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	node       TEXT NOT NULL,
	created_at BIGINT NOT NULL,
	record     BYTEA NOT NULL
);
CREATE INDEX outbox_node ON outbox (node, id);

-- +goose Down
DROP TABLE outbox;
DROP TABLE lease;
