-- +goose Up
-- Deliveries that were given up and that no queue of the user's took.
CREATE TABLE dead_letter (
	id              BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	account         TEXT   NOT NULL,
	subscription_id BIGINT NOT NULL,
	event_id        TEXT   NOT NULL,
	dead_at         BIGINT NOT NULL,
	code            TEXT   NOT NULL,
	message         TEXT   NOT NULL,
	exhausted       TEXT   NOT NULL,
	attempts        BIGINT NOT NULL,
	spells          TEXT   NOT NULL,
	redriven        BIGINT NOT NULL,
	target_arn      TEXT   NOT NULL,
	queue_arn       TEXT   NOT NULL,
	queue_error     TEXT   NOT NULL,
	source          TEXT   NOT NULL,
	detail_type     TEXT   NOT NULL,
	sequence        BIGINT NOT NULL,
	entry           BIGINT NOT NULL,
	size            BIGINT NOT NULL,
	record          BYTEA  NOT NULL,
	body            BYTEA,
	-- The log's place first: what comes together stands together. The event too, should the log begin anew.
	UNIQUE (subscription_id, sequence, entry, event_id)
);
CREATE INDEX dead_letter_account ON dead_letter (account, dead_at, id, code, event_id);
CREATE INDEX dead_letter_subscription ON dead_letter (subscription_id, dead_at, id, code);

-- What is kept for each subscription, changed with the letters themselves.
CREATE TABLE dead_letter_total (
	subscription_id BIGINT NOT NULL PRIMARY KEY,
	account         TEXT   NOT NULL,
	region          TEXT   NOT NULL,
	bus             TEXT   NOT NULL,
	rule            TEXT   NOT NULL,
	rule_arn        TEXT   NOT NULL,
	target_id       TEXT   NOT NULL,
	letters         BIGINT NOT NULL,
	bytes           BIGINT NOT NULL
);
CREATE INDEX dead_letter_total_rule ON dead_letter_total (account, rule);

-- What was dropped for want of room or for its age.
CREATE TABLE dead_letter_drop (
	account    TEXT   NOT NULL,
	rule_arn   TEXT   NOT NULL,
	target_id  TEXT   NOT NULL,
	reason     TEXT   NOT NULL,
	letters    BIGINT NOT NULL,
	bytes      BIGINT NOT NULL,
	oldest_at  BIGINT NOT NULL,
	newest_at  BIGINT NOT NULL,
	dropped_at BIGINT NOT NULL,
	PRIMARY KEY (account, rule_arn, target_id, reason)
);

-- Redrives and discards of many letters.
CREATE TABLE dead_letter_run (
	id          TEXT   NOT NULL PRIMARY KEY,
	account     TEXT   NOT NULL,
	action      TEXT   NOT NULL,
	request     TEXT   NOT NULL,
	status      TEXT   NOT NULL,
	total       BIGINT NOT NULL,
	done        BIGINT NOT NULL,
	refused     BIGINT NOT NULL,
	refusals    TEXT   NOT NULL,
	after_at    BIGINT NOT NULL,
	after_id    BIGINT NOT NULL,
	created_by  TEXT   NOT NULL,
	created_at  BIGINT NOT NULL,
	finished_at BIGINT
);
CREATE INDEX dead_letter_run_account ON dead_letter_run (account, created_at, id);

-- +goose Down
DROP TABLE dead_letter_run;
DROP TABLE dead_letter_drop;
DROP TABLE dead_letter_total;
DROP TABLE dead_letter;
