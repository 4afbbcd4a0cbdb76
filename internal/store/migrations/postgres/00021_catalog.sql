-- +goose Up
-- One row: grows by one with every change of a blueprint, and is locked by it first.
CREATE TABLE catalog_model (
	id       BIGINT PRIMARY KEY,
	revision BIGINT NOT NULL
);
INSERT INTO catalog_model (id, revision) VALUES (1, 1);

-- definition is the JSON object as it was given. refit is empty, or JSON that says how far its entities
-- were brought into line with it.
CREATE TABLE catalog_blueprints (
	id          BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	identifier  TEXT COLLATE "C" NOT NULL UNIQUE,
	definition  TEXT NOT NULL,
	revision    BIGINT NOT NULL,
	refit       TEXT NOT NULL,
	created_at  BIGINT NOT NULL,
	created_by  TEXT NOT NULL,
	updated_at  BIGINT NOT NULL,
	updated_by  TEXT NOT NULL
);

-- The relations that blueprints have. One that is removed and made again has another id, so
-- that rows of catalog_relations whose relation_id is not here count for nothing; they
-- are swept later.
CREATE TABLE catalog_blueprint_relations (
	id           BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	blueprint_id BIGINT NOT NULL REFERENCES catalog_blueprints (id),
	relation     TEXT COLLATE "C" NOT NULL,
	target       BIGINT NOT NULL REFERENCES catalog_blueprints (id),
	UNIQUE (blueprint_id, relation)
);
CREATE INDEX catalog_blueprint_relations_target ON catalog_blueprint_relations (target);

-- The User-Agents of writers: few.
CREATE TABLE catalog_datasources (
	id         BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	datasource TEXT COLLATE "C" NOT NULL UNIQUE
);

-- team is a JSON array of strings, properties a JSON object, cause that of the last change.
-- An identifier has at most 2000 bytes. Relations are in catalog_relations alone.
CREATE TABLE catalog_entities (
	id            BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	blueprint_id  BIGINT NOT NULL REFERENCES catalog_blueprints (id),
	identifier    TEXT COLLATE "C" NOT NULL,
	title         TEXT,
	icon          TEXT,
	team          TEXT NOT NULL,
	properties    TEXT NOT NULL,
	datasource_id BIGINT NOT NULL,
	revision      BIGINT NOT NULL,
	created_at    BIGINT NOT NULL,
	created_by    TEXT NOT NULL,
	updated_at    BIGINT NOT NULL,
	updated_by    TEXT NOT NULL,
	cause         TEXT NOT NULL,
	UNIQUE (blueprint_id, identifier)
);

-- Which entity points to which, by which relation of its blueprint; position is that in a
-- relation to many.
CREATE TABLE catalog_relations (
	source_id   BIGINT NOT NULL REFERENCES catalog_entities (id),
	relation_id BIGINT NOT NULL,
	target_id   BIGINT NOT NULL REFERENCES catalog_entities (id),
	position    BIGINT NOT NULL,
	PRIMARY KEY (source_id, relation_id, target_id)
);
CREATE INDEX catalog_relations_target ON catalog_relations (target_id, relation_id, source_id);

-- Every change of an entity (resource 'entity') or a blueprint ('blueprint', with identifier
-- ''), and what caused it. fields is a JSON object of what changed, before and after.
CREATE TABLE catalog_changes (
	id            BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	resource      TEXT NOT NULL,
	blueprint_id  BIGINT NOT NULL,
	blueprint     TEXT COLLATE "C" NOT NULL,
	identifier    TEXT COLLATE "C" NOT NULL,
	action        TEXT NOT NULL,
	at            BIGINT NOT NULL,
	changed_by    TEXT NOT NULL,
	datasource_id BIGINT NOT NULL,
	cause         TEXT NOT NULL,
	fields        TEXT NOT NULL
);
CREATE INDEX catalog_changes_of ON catalog_changes (blueprint_id, identifier, id);
CREATE INDEX catalog_changes_at ON catalog_changes (at);

-- The search's indexes follow.
CREATE INDEX catalog_entities_datasource ON catalog_entities (datasource_id, blueprint_id, id);
CREATE INDEX catalog_entities_created ON catalog_entities (blueprint_id, created_at, id);
CREATE INDEX catalog_entities_updated ON catalog_entities (blueprint_id, updated_at, id);

-- What entities of a blueprint can be found by: its properties, $title and $team.
CREATE TABLE catalog_value_keys (
	id           INTEGER GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	blueprint_id BIGINT NOT NULL,
	property     TEXT COLLATE "C" NOT NULL,
	UNIQUE (blueprint_id, property)
);

-- The values of entities, one row for each element of an array, written so that their order is
-- that of their bytes (index.go). An entity that has values which are not here has a row '~'.
CREATE TABLE catalog_values (
	key_id    INTEGER NOT NULL,
	value     TEXT COLLATE "C" NOT NULL,
	entity_id BIGINT NOT NULL,
	PRIMARY KEY (key_id, value, entity_id)
);

-- Aggregation properties as they were last computed.
CREATE TABLE catalog_aggregates (
	entity_id BIGINT NOT NULL,
	key_id    INTEGER NOT NULL,
	value     DOUBLE PRECISION NOT NULL,
	PRIMARY KEY (entity_id, key_id)
);

-- How the computing of an aggregation property went last: of which definition it was, when it
-- began, and what kept it from being done, if something did.
CREATE TABLE catalog_aggregations (
	key_id      INTEGER PRIMARY KEY,
	definition  TEXT NOT NULL,
	computed_at BIGINT NOT NULL,
	error       TEXT NOT NULL
);

-- +goose Down
DROP TABLE catalog_aggregations;
DROP TABLE catalog_aggregates;
DROP TABLE catalog_values;
DROP TABLE catalog_value_keys;
DROP TABLE catalog_changes;
DROP TABLE catalog_relations;
DROP TABLE catalog_entities;
DROP TABLE catalog_datasources;
DROP TABLE catalog_blueprint_relations;
DROP TABLE catalog_blueprints;
DROP TABLE catalog_model;
