-- +goose Up
CREATE TABLE lease (
	name       TEXT PRIMARY KEY,
	holder     TEXT NOT NULL,
	expires_at BIGINT NOT NULL
);

-- AUTOINCREMENT: an id is never given twice, so what was deleted is never
-- taken for what comes later.
CREATE TABLE outbox (
	id         INTEGER PRIMARY KEY AUTOINCREMENT,
	node       TEXT NOT NULL,
	created_at BIGINT NOT NULL,
	record     BLOB NOT NULL
);
CREATE INDEX outbox_node ON outbox (node, id);

-- +goose Down
DROP TABLE outbox;
DROP TABLE lease;
