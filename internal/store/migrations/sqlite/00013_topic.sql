-- +goose Up
CREATE TABLE topic (
	id            INTEGER PRIMARY KEY AUTOINCREMENT,
	account       TEXT NOT NULL,
	region        TEXT NOT NULL,
	name          TEXT NOT NULL,
	attributes    TEXT NOT NULL,
	tags          TEXT NOT NULL,
	subscriptions BIGINT NOT NULL,
	created_at    BIGINT NOT NULL,
	UNIQUE (account, region, name)
);

-- Those of a topic that was deleted stay until a job has removed them; they
-- are read together with their topic only, so nobody sees them.
-- state is pending, confirmed or removed: unsubscribed by a link, which can be taken
-- back. token is the SHA-256 of the last confirmation token, and '' without one.
CREATE TABLE topic_subscription (
	id               INTEGER PRIMARY KEY AUTOINCREMENT,
	uuid             TEXT NOT NULL UNIQUE,
	topic_id         BIGINT NOT NULL,
	owner            TEXT NOT NULL,
	region           TEXT NOT NULL,
	protocol         TEXT NOT NULL,
	endpoint         TEXT NOT NULL,
	attributes       TEXT NOT NULL,
	filtered         BOOLEAN NOT NULL,
	state            TEXT NOT NULL,
	authenticated    BOOLEAN NOT NULL,
	guarded          BOOLEAN NOT NULL,
	token            TEXT NOT NULL,
	token_expires_at BIGINT NOT NULL,
	created_at       BIGINT NOT NULL,
	UNIQUE (topic_id, protocol, endpoint)
);
CREATE INDEX topic_subscription_topic ON topic_subscription (topic_id, state, id);
CREATE INDEX topic_subscription_owner ON topic_subscription (owner, region, id);
CREATE INDEX topic_subscription_token ON topic_subscription (token) WHERE token <> '';
CREATE INDEX topic_subscription_expiry ON topic_subscription (token_expires_at) WHERE state <> 'confirmed';
CREATE INDEX topic_subscription_filtered ON topic_subscription (topic_id) WHERE filtered;
CREATE INDEX topic_subscription_owner_filtered ON topic_subscription (owner) WHERE filtered;

-- A message, for as long as deliveries of it are left. fanned_to is the last
-- subscription that deliveries were made for while there are more to come, else NULL.
-- size is the content's, in bytes.
-- token is sealed, of a confirmation only.
CREATE TABLE topic_message (
	id           INTEGER PRIMARY KEY AUTOINCREMENT,
	topic_id     BIGINT NOT NULL,
	message_id   TEXT NOT NULL,
	kind         TEXT NOT NULL,
	content      TEXT NOT NULL,
	size         BIGINT NOT NULL,
	token        BLOB,
	fanned_to    BIGINT,
	published_at BIGINT NOT NULL
);

-- One message on its way to one subscription. failure is why it is to go to
-- the dead-letter queue; '' while it is still to be delivered.
CREATE TABLE topic_delivery (
	id              INTEGER PRIMARY KEY AUTOINCREMENT,
	subscription_id BIGINT NOT NULL,
	message_id      BIGINT NOT NULL,
	attempt         BIGINT NOT NULL,
	due_at          BIGINT NOT NULL,
	failure         TEXT NOT NULL
);
CREATE INDEX topic_delivery_due ON topic_delivery (subscription_id, due_at, id);
CREATE INDEX topic_delivery_message ON topic_delivery (message_id);

-- The key that signs what goes to endpoints; there is one row, with id 1.
CREATE TABLE topic_signing_key (
	id          BIGINT PRIMARY KEY,
	certificate TEXT NOT NULL,
	private_key BLOB NOT NULL,
	created_at  BIGINT NOT NULL
);

-- +goose Down
DROP TABLE topic_signing_key;
DROP TABLE topic_delivery;
DROP TABLE topic_message;
DROP TABLE topic_subscription;
DROP TABLE topic;
