-- +goose Up

-- Event records of a region or account that the configuration does not select, which changed nothing.
ALTER TABLE exporter_freshness ADD COLUMN ignored BIGINT NOT NULL DEFAULT 0;

-- +goose Down
ALTER TABLE exporter_freshness DROP COLUMN ignored;
