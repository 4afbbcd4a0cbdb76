-- +goose Up
-- A resource type that was registered in an account and region, as its newest version has it.
-- identifier is the pointers of its primary identifier, in order, parted by spaces.
-- registration_token is of that version; client_token is what the caller named the
-- registration by, '' without one.
CREATE TABLE resource_type (
	id                 BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	account            TEXT COLLATE "C" NOT NULL,
	region             TEXT COLLATE "C" NOT NULL,
	name               TEXT COLLATE "C" NOT NULL,
	version            BIGINT NOT NULL,
	definition         TEXT NOT NULL,
	identifier         TEXT NOT NULL,
	registration_token TEXT NOT NULL,
	client_token       TEXT NOT NULL,
	created_at         BIGINT NOT NULL,
	updated_at         BIGINT NOT NULL,
	UNIQUE (account, region, name)
);

-- A resource that is stored as given. region is '' for types that are the same in all regions.
-- token is of the operation that made it; seed is what its generated values follow from.
CREATE TABLE resource_document (
	id         BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	account    TEXT COLLATE "C" NOT NULL,
	region     TEXT COLLATE "C" NOT NULL,
	type_name  TEXT COLLATE "C" NOT NULL,
	identifier TEXT COLLATE "C" NOT NULL,
	model      TEXT NOT NULL,
	token      TEXT NOT NULL,
	seed       TEXT NOT NULL,
	created_at BIGINT NOT NULL,
	updated_at BIGINT NOT NULL,
	UNIQUE (account, region, type_name, identifier)
);
CREATE INDEX resource_document_token ON resource_document (token);

-- An operation of Cloud Control, kept for some days after its end. identifier is '' while it is
-- not known. caller is JSON; input is sealed, and NULL once the operation has ended.
-- fingerprint tells whether a client token stands for the same input. tries counts the handler's calls.
-- model is what GetResourceRequestStatus tells of the resource, '' for nothing.
CREATE TABLE resource_request (
	id             BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	token          TEXT NOT NULL UNIQUE,
	account        TEXT COLLATE "C" NOT NULL,
	region         TEXT COLLATE "C" NOT NULL,
	operation      TEXT NOT NULL,
	type_name      TEXT NOT NULL,
	identifier     TEXT NOT NULL,
	status         TEXT NOT NULL,
	error_code     TEXT NOT NULL,
	status_message TEXT NOT NULL,
	client_token   TEXT NOT NULL,
	fingerprint    TEXT NOT NULL,
	caller         TEXT NOT NULL,
	input          BYTEA,
	model          TEXT NOT NULL,
	tries          BIGINT NOT NULL,
	created_at     BIGINT NOT NULL,
	updated_at     BIGINT NOT NULL,
	retry_at       BIGINT NOT NULL,
	ended          BOOLEAN NOT NULL
);
CREATE INDEX resource_request_scope ON resource_request (account, region, id);
CREATE INDEX resource_request_client ON resource_request (account, region, client_token) WHERE client_token <> '';
CREATE INDEX resource_request_running ON resource_request (account, region, type_name, identifier) WHERE NOT ended;
CREATE INDEX resource_request_ended ON resource_request (updated_at) WHERE ended;

-- +goose Down
DROP TABLE resource_request;
DROP TABLE resource_document;
DROP TABLE resource_type;
