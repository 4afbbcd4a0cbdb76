-- +goose Up

-- The installation's first start: default buses exist since then.
CREATE TABLE bus_installation (
    id         BIGINT PRIMARY KEY,
    created_at BIGINT NOT NULL
);

-- One row per bus name that was ever changed, never deleted: a bus that is
-- created again goes on counting.
CREATE TABLE bus_versions (
    account TEXT   NOT NULL,
    region  TEXT   NOT NULL,
    bus     TEXT   NOT NULL,
    version BIGINT NOT NULL,
    PRIMARY KEY (account, region, bus)
);

-- The default bus has a row only once something about it was set.
CREATE TABLE buses (
    account     TEXT   NOT NULL,
    region      TEXT   NOT NULL,
    name        TEXT COLLATE "C" NOT NULL,
    description TEXT   NOT NULL,
    policy      TEXT   NOT NULL,
    created_at  BIGINT NOT NULL,
    modified_at BIGINT NOT NULL,
    PRIMARY KEY (account, region, name)
);

CREATE TABLE rules (
    id          BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account     TEXT   NOT NULL,
    region      TEXT   NOT NULL,
    bus         TEXT   NOT NULL,
    name        TEXT COLLATE "C" NOT NULL,
    pattern     TEXT   NOT NULL,
    description TEXT,
    role_arn    TEXT   NOT NULL,
    state       TEXT   NOT NULL,
    created_by  TEXT   NOT NULL,
    version     BIGINT NOT NULL,
    UNIQUE (account, region, bus, name)
);

-- The id is the subscription's and is never used again. NULL limits were not
-- given by the user.
CREATE TABLE targets (
    id               BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    rule_id          BIGINT NOT NULL REFERENCES rules (id),
    target_id        TEXT COLLATE "C" NOT NULL,
    arn              TEXT COLLATE "C" NOT NULL,
    kind             BIGINT NOT NULL,
    role_arn         TEXT   NOT NULL,
    message_group_id TEXT   NOT NULL,
    http_parameters  TEXT   NOT NULL,
    retry_policy     BOOLEAN NOT NULL,
    max_attempts     BIGINT,
    max_age_seconds  BIGINT,
    dead_letter_arn  TEXT   NOT NULL,
    version          BIGINT NOT NULL,
    UNIQUE (rule_id, target_id)
);
CREATE INDEX targets_by_arn ON targets (arn);

-- Tags of buses and rules, in the order in which they were added.
CREATE TABLE bus_tags (
    id           BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    resource_arn TEXT NOT NULL,
    tag_key      TEXT NOT NULL,
    tag_value    TEXT NOT NULL,
    UNIQUE (resource_arn, tag_key)
);

-- shown is what describing the connection shows; sealed is all of its
-- authorization, encrypted, NULL once deauthorized.
CREATE TABLE connections (
    id            TEXT   NOT NULL PRIMARY KEY,
    account       TEXT   NOT NULL,
    region        TEXT   NOT NULL,
    name          TEXT COLLATE "C" NOT NULL,
    description   TEXT,
    auth_type     TEXT   NOT NULL,
    state         TEXT   NOT NULL,
    state_reason  TEXT   NOT NULL,
    secret_arn    TEXT   NOT NULL,
    shown         TEXT   NOT NULL,
    sealed        BYTEA,
    version       BIGINT NOT NULL,
    created_at    BIGINT NOT NULL,
    modified_at   BIGINT NOT NULL,
    authorized_at BIGINT NOT NULL,
    UNIQUE (account, region, name)
);

CREATE TABLE api_destinations (
    id             TEXT   NOT NULL PRIMARY KEY,
    account        TEXT   NOT NULL,
    region         TEXT   NOT NULL,
    name           TEXT COLLATE "C" NOT NULL,
    description    TEXT,
    connection_arn TEXT   NOT NULL,
    connection_id  TEXT   NOT NULL,
    endpoint       TEXT   NOT NULL,
    method         TEXT   NOT NULL,
    rate_limit     BIGINT NOT NULL,
    created_at     BIGINT NOT NULL,
    modified_at    BIGINT NOT NULL,
    UNIQUE (account, region, name)
);
CREATE INDEX api_destinations_by_connection ON api_destinations (connection_arn, name);

-- +goose Down
DROP TABLE api_destinations;
DROP TABLE connections;
DROP TABLE bus_tags;
DROP TABLE targets;
DROP TABLE rules;
DROP TABLE buses;
DROP TABLE bus_versions;
DROP TABLE bus_installation;
