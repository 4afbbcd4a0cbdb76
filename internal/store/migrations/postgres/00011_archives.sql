-- +goose Up

-- Archives of event buses. rule_id is the managed rule that fills the archive, uuid
-- ends the ARN in that rule's template. pattern is as submitted; it and description
-- are empty where none was given. retention_days 0: for ever.
CREATE TABLE archives (
    id             BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account        TEXT   NOT NULL,
    region         TEXT COLLATE "C" NOT NULL,
    name           TEXT COLLATE "C" NOT NULL,
    bus            TEXT   NOT NULL,
    uuid           TEXT   NOT NULL,
    description    TEXT   NOT NULL,
    pattern        TEXT   NOT NULL,
    retention_days BIGINT NOT NULL,
    rule_id        BIGINT NOT NULL,
    created_at     BIGINT NOT NULL,
    UNIQUE (account, region, name)
);
CREATE INDEX archives_by_rule ON archives (rule_id);

-- event_at is the event's own time, ingested_at when its bus took it. body is the
-- envelope, compressed unless it begins with a brace, and size its length before.
-- What is left of a deleted archive is deleted by a job.
CREATE TABLE archived_events (
    id          BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    archive_id  BIGINT NOT NULL,
    event_at    BIGINT NOT NULL,
    event_id    TEXT COLLATE "C" NOT NULL,
    ingested_at BIGINT NOT NULL,
    size        BIGINT NOT NULL,
    body        BYTEA  NOT NULL,
    UNIQUE (archive_id, event_at, event_id)
);
CREATE INDEX archived_events_by_ingestion ON archived_events (archive_id, ingested_at);

-- How many events an archive holds, and their size: the sum over shards, each of
-- which has one writer, so that none waits for another.
CREATE TABLE archive_counts (
    archive_id BIGINT NOT NULL,
    shard      BIGINT NOT NULL,
    events     BIGINT NOT NULL,
    bytes      BIGINT NOT NULL,
    PRIMARY KEY (archive_id, shard)
);

-- Replays, also those that ended a while ago. The event at (cursor_at, cursor_id) is
-- the last that was replayed. total is how many there were to replay when it began
-- to run; ended_at is 0 until it ends.
CREATE TABLE replays (
    id           BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account      TEXT   NOT NULL,
    region       TEXT COLLATE "C" NOT NULL,
    name         TEXT COLLATE "C" NOT NULL,
    archive_id   BIGINT NOT NULL,
    archive      TEXT   NOT NULL,
    bus          TEXT   NOT NULL,
    rules        TEXT   NOT NULL,
    description  TEXT   NOT NULL,
    from_at      BIGINT NOT NULL,
    until_at     BIGINT NOT NULL,
    state        TEXT   NOT NULL,
    state_reason TEXT   NOT NULL,
    started_at   BIGINT NOT NULL,
    ended_at     BIGINT NOT NULL,
    cursor_at    BIGINT NOT NULL,
    cursor_id    TEXT   NOT NULL,
    total        BIGINT NOT NULL,
    replayed     BIGINT NOT NULL,
    UNIQUE (account, region, name)
);
CREATE INDEX replays_by_end ON replays (ended_at);

-- +goose Down
DROP TABLE replays;
DROP TABLE archive_counts;
DROP TABLE archived_events;
DROP TABLE archives;
