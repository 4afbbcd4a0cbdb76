-- +goose Up
-- When the rules with schedules are next due. A rate counts from started_at, which
-- is when the rule was given its expression; next_at is NULL while the rule is
-- disabled, and once it is never due again.
CREATE TABLE rule_schedules (
    account    TEXT   NOT NULL,
    region     TEXT   NOT NULL,
    rule       TEXT NOT NULL,
    expression TEXT   NOT NULL,
    started_at BIGINT NOT NULL,
    next_at    BIGINT,
    PRIMARY KEY (account, region, rule)
);
CREATE INDEX rule_schedules_by_next ON rule_schedules (next_at);

-- +goose Down
DROP TABLE rule_schedules;
