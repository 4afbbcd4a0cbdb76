-- +goose Up
-- Where the subscriptions off the shared path read the log.
CREATE TABLE catch_up (
	subscription_id BIGINT NOT NULL PRIMARY KEY,
	first_sequence  BIGINT NOT NULL,
	first_index     BIGINT NOT NULL,
	revision        BIGINT NOT NULL,
	snapshot        TEXT   NOT NULL,
	created_at      BIGINT NOT NULL
);

-- +goose Down
DROP TABLE catch_up;
