-- +goose Up

-- A stack. config is what its template was last applied with, and outputs what came of it, both sealed: they may
-- hold secrets. operation is its last operation, 0 before the first; change_set the one executed last.
-- deleted_at is 0 while the stack is there: names are used again, and deleted ones are found by uuid.
CREATE TABLE stack (
	id          BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	account     TEXT COLLATE "C" NOT NULL,
	region      TEXT COLLATE "C" NOT NULL,
	name        TEXT COLLATE "C" NOT NULL,
	uuid        TEXT NOT NULL UNIQUE,
	status      TEXT NOT NULL,
	reason      TEXT NOT NULL,
	description TEXT NOT NULL,
	config      BYTEA NOT NULL,
	outputs     BYTEA NOT NULL,
	change_set  TEXT NOT NULL,
	operation   BIGINT NOT NULL,
	created_at  BIGINT NOT NULL,
	updated_at  BIGINT NOT NULL,
	deleted_at  BIGINT NOT NULL
);
CREATE UNIQUE INDEX stack_name ON stack (account, region, name) WHERE deleted_at = 0;
CREATE INDEX stack_listed ON stack (account, region, id);
CREATE INDEX stack_deleted ON stack (deleted_at) WHERE deleted_at > 0;

-- An operation on a stack, run by a job. previous is the stack's config before it, sealed, and NULL without one; caller is who
-- asked for it, as JSON. run marks the process that carries it out: what an earlier one still writes is refused.
CREATE TABLE stack_operation (
	id         BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	stack_id   BIGINT NOT NULL,
	kind       TEXT NOT NULL,
	phase      TEXT NOT NULL,
	token      TEXT NOT NULL,
	digest     TEXT NOT NULL,
	caller     TEXT NOT NULL,
	options    TEXT NOT NULL,
	previous   BYTEA,
	run        TEXT NOT NULL,
	started_at BIGINT NOT NULL,
	ended_at   BIGINT NOT NULL
);
CREATE INDEX stack_operation_stack ON stack_operation (stack_id, id);

-- A resource of a stack; one that is being replaced has two. details are its identifier, properties and model, and prior what they were
-- before the operation changed_by changed it, both sealed.
-- action is what was begun and is not known to have ended: create, update or delete; '' for none. A row with an action
-- when an operation is taken up again is one that was cut off. made_by is the operation that made it, dropped_by the one
-- that no longer wants it, 0 for none; gone says that it was deleted or retained.
CREATE TABLE stack_resource (
	id          BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	stack_id    BIGINT NOT NULL,
	logical_id  TEXT COLLATE "C" NOT NULL,
	type        TEXT NOT NULL,
	physical_id TEXT COLLATE "C" NOT NULL,
	status      TEXT NOT NULL,
	reason      TEXT NOT NULL,
	action      TEXT NOT NULL,
	token       TEXT NOT NULL,
	details     BYTEA NOT NULL,
	prior       BYTEA,
	made_by     BIGINT NOT NULL,
	changed_by  BIGINT NOT NULL,
	dropped_by  BIGINT NOT NULL,
	gone        BOOLEAN NOT NULL,
	updated_at  BIGINT NOT NULL
);
CREATE INDEX stack_resource_stack ON stack_resource (stack_id, logical_id, id);
CREATE INDEX stack_resource_physical ON stack_resource (physical_id);

-- What happened to a stack. properties are a resource's, as JSON, sealed.
CREATE TABLE stack_event (
	id          BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	stack_id    BIGINT NOT NULL,
	event_id    TEXT NOT NULL,
	logical_id  TEXT COLLATE "C" NOT NULL,
	physical_id TEXT COLLATE "C" NOT NULL,
	type        TEXT NOT NULL,
	status      TEXT NOT NULL,
	reason      TEXT NOT NULL,
	properties  BYTEA NOT NULL,
	token       TEXT NOT NULL,
	at          BIGINT NOT NULL
);
CREATE INDEX stack_event_stack ON stack_event (stack_id, id);
CREATE INDEX stack_event_age ON stack_event (at);

-- What stacks offer to the others of their account and region, and who uses it.
CREATE TABLE stack_export (
	account  TEXT COLLATE "C" NOT NULL,
	region   TEXT COLLATE "C" NOT NULL,
	name     TEXT COLLATE "C" NOT NULL,
	value    TEXT NOT NULL,
	stack_id BIGINT NOT NULL,
	PRIMARY KEY (account, region, name)
);
CREATE INDEX stack_export_stack ON stack_export (stack_id);
CREATE TABLE stack_import (
	account  TEXT COLLATE "C" NOT NULL,
	region   TEXT COLLATE "C" NOT NULL,
	name     TEXT COLLATE "C" NOT NULL,
	stack_id BIGINT NOT NULL,
	PRIMARY KEY (account, region, name, stack_id)
);
CREATE INDEX stack_import_stack ON stack_import (stack_id);

-- A change set. config is what it would apply, sealed; changes what that would do, as JSON, sealed too.
CREATE TABLE stack_change_set (
	id          BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	stack_id    BIGINT NOT NULL,
	name        TEXT COLLATE "C" NOT NULL,
	uuid        TEXT NOT NULL UNIQUE,
	kind        TEXT NOT NULL,
	status      TEXT NOT NULL,
	reason      TEXT NOT NULL,
	execution   TEXT NOT NULL,
	description TEXT NOT NULL,
	on_failure  TEXT NOT NULL,
	token       TEXT NOT NULL,
	digest      TEXT NOT NULL,
	config      BYTEA NOT NULL,
	changes     BYTEA NOT NULL,
	created_at  BIGINT NOT NULL
);
CREATE UNIQUE INDEX stack_change_set_name ON stack_change_set (stack_id, name);

-- +goose Down
DROP TABLE stack_change_set;
DROP TABLE stack_import;
DROP TABLE stack_export;
DROP TABLE stack_event;
DROP TABLE stack_resource;
DROP TABLE stack_operation;
DROP TABLE stack;
