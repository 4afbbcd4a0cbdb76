-- +goose Up
-- An invocation that was accepted and is to be made, asynchronously. function_id is that
-- of one function for as long as it lives: what waits for one that was deleted ends, also
-- when another gets its name. errors counts runs that the function failed, tries attempts
-- that did not reach it since. failure is why it is to go to the dead-letter queue; '' while
-- it is still to be made.
CREATE TABLE function_invocation (
	id          BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	function_id BIGINT NOT NULL,
	request_id  TEXT NOT NULL,
	qualifier   TEXT COLLATE "C" NOT NULL,
	payload     BYTEA NOT NULL,
	size        BIGINT NOT NULL,
	trace       TEXT NOT NULL,
	errors      BIGINT NOT NULL,
	tries       BIGINT NOT NULL,
	failure     TEXT NOT NULL,
	accepted_at BIGINT NOT NULL,
	due_at      BIGINT NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX function_invocation_due ON function_invocation (function_id, due_at, id);

-- A function is named, not referred to: a mapping outlives its function, as in AWS.
-- state is AWS's; enabled is what it is to become. version grows with each change that
-- whoever polls must follow; result is how the last batch went.
CREATE TABLE event_source_mapping (
	id            BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	uuid          TEXT COLLATE "C" NOT NULL UNIQUE,
	account       TEXT COLLATE "C" NOT NULL,
	region        TEXT COLLATE "C" NOT NULL,
	function_name TEXT COLLATE "C" NOT NULL,
	qualifier     TEXT COLLATE "C" NOT NULL,
	source_arn    TEXT COLLATE "C" NOT NULL,
	settings      TEXT NOT NULL,
	tags          TEXT NOT NULL,
	state         TEXT NOT NULL,
	enabled       BOOLEAN NOT NULL,
	result        TEXT NOT NULL,
	version       BIGINT NOT NULL,
	modified_at   BIGINT NOT NULL,
	UNIQUE (account, region, function_name, qualifier, source_arn)
);
CREATE INDEX event_source_mapping_list ON event_source_mapping (account, region, uuid);

-- +goose Down
DROP TABLE event_source_mapping;
DROP TABLE function_invocation;
