-- +goose Up

-- One row. epoch grows each time a node takes the exporter's lease: what an earlier holder still writes is refused.
-- config_revision is the revision of exporter_configs in force, 0 for none: what was mapped by another is mapped anew.
CREATE TABLE exporter_state (
	id              BIGINT PRIMARY KEY,
	epoch           BIGINT NOT NULL,
	config_revision BIGINT NOT NULL
);
INSERT INTO exporter_state (id, epoch, config_revision) VALUES (1, 0, 0);

-- Every configuration that was in force, as it was given.
CREATE TABLE exporter_configs (
	revision   BIGINT PRIMARY KEY,
	config     TEXT NOT NULL,
	created_at BIGINT NOT NULL,
	created_by TEXT NOT NULL
);

-- The cloud accounts whose resources are followed. One that is not enabled is left as it is: its queues are not
-- read and it is not synced.
CREATE TABLE exporter_accounts (
	account     TEXT COLLATE "C" PRIMARY KEY,
	description TEXT NOT NULL,
	home_region TEXT NOT NULL,
	enabled     BOOLEAN NOT NULL,
	created_at  BIGINT NOT NULL,
	updated_at  BIGINT NOT NULL
);

-- The queues of event records. arn is what it is known by; account is the one whose resources a record without an
-- account of its own is about. stack is the one that made the queue, '' for none; dead_letter_arn the queue's own
-- dead-letter queue, which is emptied into exporter_dead_records. failed_why says why it is not read, '' when it is.
CREATE TABLE exporter_queues (
	arn             TEXT COLLATE "C" PRIMARY KEY,
	account         TEXT COLLATE "C" NOT NULL,
	url             TEXT NOT NULL,
	dead_letter_arn TEXT NOT NULL,
	stack           TEXT NOT NULL,
	created_at      BIGINT NOT NULL,
	updated_at      BIGINT NOT NULL,
	polled_at       BIGINT NOT NULL,
	waiting         BIGINT NOT NULL,
	received        BIGINT NOT NULL,
	failed_at       BIGINT NOT NULL,
	failed_why      TEXT NOT NULL
);
CREATE INDEX exporter_queues_account ON exporter_queues (account);

-- What is known of a resource. ticket is of the read (or event) that it rests on: a read with a lower one began earlier
-- and changes nothing. One that is not present is a tombstone. name is the identifier's short form, by which records
-- may name it. hash is of the properties. read_at is when that read began, 0 if it rests on an event; upsert_at
-- and delete_at are the times of the latest events that said it lives or was deleted. recheck_at is when it is to
-- be read again although no event asks for it, 0 for not at all; rechecks counts those, and recheck_why says why.
CREATE TABLE exporter_resources (
	id          BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	account     TEXT COLLATE "C" NOT NULL,
	region      TEXT COLLATE "C" NOT NULL,
	kind        TEXT COLLATE "C" NOT NULL,
	identifier  TEXT COLLATE "C" NOT NULL,
	name        TEXT COLLATE "C" NOT NULL,
	present     BOOLEAN NOT NULL,
	ticket      BIGINT NOT NULL,
	hash        TEXT NOT NULL,
	first_at    BIGINT NOT NULL,
	read_at     BIGINT NOT NULL,
	changed_at  BIGINT NOT NULL,
	upsert_at   BIGINT NOT NULL,
	delete_at   BIGINT NOT NULL,
	recheck_at  BIGINT NOT NULL,
	rechecks    BIGINT NOT NULL,
	recheck_why TEXT NOT NULL,
	error       TEXT NOT NULL,
	cause       TEXT NOT NULL,
	updated_at  BIGINT NOT NULL,
	UNIQUE (account, region, kind, identifier)
);
CREATE INDEX exporter_resources_name ON exporter_resources (account, region, kind, name);
CREATE INDEX exporter_resources_recheck ON exporter_resources (recheck_at) WHERE recheck_at > 0;
CREATE INDEX exporter_resources_gone ON exporter_resources (updated_at) WHERE NOT present;

-- Which entities are made of a resource. One that is made of several goes with the last.
CREATE TABLE exporter_entities (
	resource_id BIGINT NOT NULL,
	blueprint   TEXT COLLATE "C" NOT NULL,
	identifier  TEXT COLLATE "C" NOT NULL,
	PRIMARY KEY (resource_id, blueprint, identifier)
);
CREATE INDEX exporter_entities_entity ON exporter_entities (blueprint, identifier);
CREATE INDEX exporter_entities_identifier ON exporter_entities (identifier);

-- Records that were given up. source is how it came: 'record', or 'dead-letter queue'. kind, region, identifier and
-- resource_account are '' where the record could not be read.
CREATE TABLE exporter_dead_records (
	id               TEXT COLLATE "C" PRIMARY KEY,
	queue_arn        TEXT COLLATE "C" NOT NULL,
	message_id       TEXT COLLATE "C" NOT NULL,
	body             BYTEA NOT NULL,
	source           TEXT NOT NULL,
	reason           TEXT NOT NULL,
	resource_account TEXT NOT NULL,
	region           TEXT COLLATE "C" NOT NULL,
	kind             TEXT COLLATE "C" NOT NULL,
	identifier       TEXT COLLATE "C" NOT NULL,
	attempts         BIGINT NOT NULL,
	sent_at          BIGINT NOT NULL,
	dead_at          BIGINT NOT NULL,
	UNIQUE (queue_arn, message_id)
);

-- One row: how many dead records there are, and the bytes of their bodies.
CREATE TABLE exporter_dead_total (
	id      BIGINT PRIMARY KEY,
	records BIGINT NOT NULL,
	bytes   BIGINT NOT NULL
);
INSERT INTO exporter_dead_total (id, records, bytes) VALUES (1, 0, 0);

-- +goose Down
DROP TABLE exporter_dead_total;
DROP TABLE exporter_dead_records;
DROP TABLE exporter_entities;
DROP TABLE exporter_resources;
DROP TABLE exporter_queues;
DROP TABLE exporter_accounts;
DROP TABLE exporter_configs;
DROP TABLE exporter_state;
