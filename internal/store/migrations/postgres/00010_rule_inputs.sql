-- +goose Up

-- A rule may have a pattern, a schedule or both. blank_pattern and blank_schedule
-- say that the one that it lacks was given, as an empty text. managed_by names the
-- service that the rule belongs to, empty for users' own.
ALTER TABLE rules ADD COLUMN schedule TEXT NOT NULL DEFAULT '';
ALTER TABLE rules ADD COLUMN blank_pattern BOOLEAN NOT NULL DEFAULT FALSE;
ALTER TABLE rules ADD COLUMN blank_schedule BOOLEAN NOT NULL DEFAULT FALSE;
ALTER TABLE rules ADD COLUMN managed_by TEXT NOT NULL DEFAULT '';

-- What the target gets of an event, as JSON; empty: the event.
ALTER TABLE targets ADD COLUMN input TEXT NOT NULL DEFAULT '';

-- Empty: not set.
ALTER TABLE buses ADD COLUMN dead_letter_arn TEXT NOT NULL DEFAULT '';
ALTER TABLE buses ADD COLUMN log_level TEXT NOT NULL DEFAULT '';
ALTER TABLE buses ADD COLUMN log_detail TEXT NOT NULL DEFAULT '';

-- +goose Down
ALTER TABLE buses DROP COLUMN log_detail;
ALTER TABLE buses DROP COLUMN log_level;
ALTER TABLE buses DROP COLUMN dead_letter_arn;
ALTER TABLE targets DROP COLUMN input;
ALTER TABLE rules DROP COLUMN managed_by;
ALTER TABLE rules DROP COLUMN blank_schedule;
ALTER TABLE rules DROP COLUMN blank_pattern;
ALTER TABLE rules DROP COLUMN schedule;
