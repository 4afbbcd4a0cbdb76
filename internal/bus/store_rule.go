package bus

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/rialto-bus/rialto/inputtransform"
	"github.com/rialto-bus/rialto/internal/event"
	"github.com/rialto-bus/rialto/internal/store"
)

const ruleColumns = `SELECT id, account, region, bus, name, pattern, schedule, blank_pattern, blank_schedule, description, role_arn,
	state, managed_by, created_by, version FROM rules`

func scanRule(row store.Row) (Rule, error) {
	var r Rule
	var description sql.NullString
	err := row.Scan(&r.id, &r.Bus.Account, &r.Bus.Region, &r.Bus.Name, &r.Name, &r.Pattern, &r.Schedule,
		&r.blankPattern, &r.blankSchedule, &description, &r.RoleARN, &r.State, &r.ManagedBy, &r.CreatedBy, &r.version)
	if description.Valid {
		r.Description = &description.String
	}
	return r, err
}

func selectRule(ctx context.Context, q store.Querier, ref event.BusRef, name string) (Rule, bool, error) {
	r, err := scanRule(q.QueryRow(ctx, ruleColumns+` WHERE account = $1 AND region = $2 AND bus = $3 AND name = $4`,
		ref.Account, ref.Region, ref.Name, name))
	if errors.Is(err, sql.ErrNoRows) {
		return Rule{}, false, nil
	}
	if err != nil {
		return Rule{}, false, fmt.Errorf("read rule %s: %w", name, err)
	}
	return r, true, nil
}

// selectRules returns up to limit rules of a bus by name, those after the given one.
func selectRules(ctx context.Context, q store.Querier, ref event.BusRef, prefix, after string, limit int) ([]Rule, error) {
	return readRules(ctx, q, ` WHERE account = $1 AND region = $2 AND bus = $3 AND name >= $4 AND name < $5 AND name > $6
		ORDER BY name LIMIT $7`, ref.Account, ref.Region, ref.Name, prefix, store.PrefixEnd(prefix), after, limit)
}

// selectRulesOf returns all rules of a bus.
func selectRulesOf(ctx context.Context, q store.Querier, ref event.BusRef) ([]Rule, error) {
	return readRules(ctx, q, ` WHERE account = $1 AND region = $2 AND bus = $3`, ref.Account, ref.Region, ref.Name)
}

func selectAllRules(ctx context.Context, q store.Querier) ([]Rule, error) {
	return readRules(ctx, q, ``)
}

func readRules(ctx context.Context, q store.Querier, where string, args ...any) ([]Rule, error) {
	rows, err := q.Query(ctx, ruleColumns+where, args...)
	return store.All(rows, err, scanRule)
}

// selectRuleNamesByTarget returns up to limit names of a bus's rules that have the target.
func selectRuleNamesByTarget(ctx context.Context, q store.Querier, ref event.BusRef, targetARN, after string, limit int) ([]string, error) {
	rows, err := q.Query(ctx, `
		SELECT DISTINCT r.name FROM targets t JOIN rules r ON r.id = t.rule_id
		WHERE t.arn = $1 AND r.account = $2 AND r.region = $3 AND r.bus = $4 AND r.name > $5
		ORDER BY r.name LIMIT $6`, targetARN, ref.Account, ref.Region, ref.Name, after, limit)
	return store.All(rows, err, func(row store.Row) (name string, err error) { return name, row.Scan(&name) })
}

func countRules(ctx context.Context, q store.Querier, ref event.BusRef) (int, error) {
	var n int
	err := q.QueryRow(ctx, `SELECT count(*) FROM rules WHERE account = $1 AND region = $2 AND bus = $3`,
		ref.Account, ref.Region, ref.Name).Scan(&n)
	return n, err
}

// countOwnRules leaves out the rules that services manage.
func countOwnRules(ctx context.Context, q store.Querier, ref event.BusRef) (int, error) {
	var n int
	err := q.QueryRow(ctx, `SELECT count(*) FROM rules WHERE account = $1 AND region = $2 AND bus = $3 AND managed_by = ''`,
		ref.Account, ref.Region, ref.Name).Scan(&n)
	return n, err
}

func insertRule(ctx context.Context, tx *store.Tx, r Rule) error {
	_, err := tx.Exec(ctx, `
		INSERT INTO rules (account, region, bus, name, pattern, schedule, blank_pattern, blank_schedule, description, role_arn,
			state, managed_by, created_by, version)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)`,
		r.Bus.Account, r.Bus.Region, r.Bus.Name, r.Name, r.Pattern, r.Schedule, r.blankPattern, r.blankSchedule, r.Description, r.RoleARN,
		r.State, r.ManagedBy, r.CreatedBy, r.version)
	return err
}

// updateRule leaves who made the rule and whose it is.
func updateRule(ctx context.Context, tx *store.Tx, r Rule) error {
	_, err := tx.Exec(ctx, `
		UPDATE rules SET pattern = $1, schedule = $2, blank_pattern = $3, blank_schedule = $4, description = $5, role_arn = $6,
			state = $7, version = $8 WHERE id = $9`,
		r.Pattern, r.Schedule, r.blankPattern, r.blankSchedule, r.Description, r.RoleARN, r.State, r.version, r.id)
	return err
}

func deleteRule(ctx context.Context, tx *store.Tx, id int64) error {
	_, err := tx.Exec(ctx, `DELETE FROM rules WHERE id = $1`, id)
	return err
}

const targetColumns = `SELECT t.id, t.rule_id, t.target_id, t.arn, t.kind, t.role_arn, t.input, t.message_group_id, t.http_parameters,
	t.retry_policy, t.max_attempts, t.max_age_seconds, t.dead_letter_arn, t.version FROM targets t`

func scanTarget(row store.Row) (RuleTarget, error) {
	var t RuleTarget
	var input, parameters string
	var attempts, age sql.NullInt32
	err := row.Scan(&t.id, &t.ruleID, &t.ID, &t.ARN, &t.Kind, &t.RoleARN, &input, &t.MessageGroupID, &parameters,
		&t.HasRetryPolicy, &attempts, &age, &t.DeadLetterARN, &t.version)
	if err != nil {
		return RuleTarget{}, err
	}
	if attempts.Valid {
		t.MaximumRetryAttempts = &attempts.Int32
	}
	if age.Valid {
		t.MaximumEventAgeSeconds = &age.Int32
	}
	if input != "" {
		if err := json.Unmarshal([]byte(input), &t.Input); err != nil {
			return RuleTarget{}, fmt.Errorf("read input of target %s: %w", t.ID, err)
		}
	}
	if parameters == "" {
		return t, nil
	}
	t.HTTPParameters = new(HTTPParameters)
	if err := json.Unmarshal([]byte(parameters), t.HTTPParameters); err != nil {
		return RuleTarget{}, fmt.Errorf("read HTTP parameters of target %s: %w", t.ID, err)
	}
	return t, nil
}

func readTargets(ctx context.Context, q store.Querier, where string, args ...any) ([]RuleTarget, error) {
	rows, err := q.Query(ctx, targetColumns+where, args...)
	return store.All(rows, err, scanTarget)
}

// selectTargets returns up to limit targets of a rule by id, those after the given one.
func selectTargets(ctx context.Context, q store.Querier, ruleID int64, after string, limit int) ([]RuleTarget, error) {
	return readTargets(ctx, q, ` WHERE t.rule_id = $1 AND t.target_id > $2 ORDER BY t.target_id LIMIT $3`, ruleID, after, limit)
}

// selectTargetsOf returns all targets of all rules of a bus.
func selectTargetsOf(ctx context.Context, q store.Querier, ref event.BusRef) ([]RuleTarget, error) {
	return readTargets(ctx, q, ` JOIN rules r ON r.id = t.rule_id
		WHERE r.account = $1 AND r.region = $2 AND r.bus = $3 ORDER BY t.id`, ref.Account, ref.Region, ref.Name)
}

func selectAllTargets(ctx context.Context, q store.Querier) ([]RuleTarget, error) {
	return readTargets(ctx, q, ` ORDER BY t.id`)
}

func countTargets(ctx context.Context, q store.Querier, ruleID int64) (int, error) {
	var n int
	err := q.QueryRow(ctx, `SELECT count(*) FROM targets WHERE rule_id = $1`, ruleID).Scan(&n)
	return n, err
}

// saveTarget writes a target, new or in place of the one with its id.
func saveTarget(ctx context.Context, tx *store.Tx, t RuleTarget) error {
	input, err := textOf(t.Input, t.Input == (inputtransform.Input{}))
	if err != nil {
		return err
	}
	parameters, err := textOf(t.HTTPParameters, t.HTTPParameters == nil)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `
		INSERT INTO targets (rule_id, target_id, arn, kind, role_arn, input, message_group_id, http_parameters,
			retry_policy, max_attempts, max_age_seconds, dead_letter_arn, version)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
		ON CONFLICT (rule_id, target_id) DO UPDATE SET arn = excluded.arn, kind = excluded.kind, role_arn = excluded.role_arn,
			input = excluded.input, message_group_id = excluded.message_group_id, http_parameters = excluded.http_parameters,
			retry_policy = excluded.retry_policy, max_attempts = excluded.max_attempts,
			max_age_seconds = excluded.max_age_seconds, dead_letter_arn = excluded.dead_letter_arn, version = excluded.version`,
		t.ruleID, t.ID, t.ARN, t.Kind, t.RoleARN, input, t.MessageGroupID, parameters,
		t.HasRetryPolicy, t.MaximumRetryAttempts, t.MaximumEventAgeSeconds, t.DeadLetterARN, t.version)
	return err
}

// textOf returns the value as JSON, and no text at all when it is blank.
func textOf(value any, blank bool) (string, error) {
	if blank {
		return "", nil
	}
	text, err := json.Marshal(value)
	return string(text), err
}

func deleteTarget(ctx context.Context, tx *store.Tx, ruleID int64, id string) error {
	_, err := tx.Exec(ctx, `DELETE FROM targets WHERE rule_id = $1 AND target_id = $2`, ruleID, id)
	return err
}

// selectBusOfSubscription returns the bus whose rule has the subscription.
func selectBusOfSubscription(ctx context.Context, q store.Querier, id int64) (event.BusRef, bool, error) {
	var ref event.BusRef
	err := q.QueryRow(ctx, `SELECT r.account, r.region, r.bus FROM targets t JOIN rules r ON r.id = t.rule_id WHERE t.id = $1`, id).
		Scan(&ref.Account, &ref.Region, &ref.Name)
	if errors.Is(err, sql.ErrNoRows) {
		return event.BusRef{}, false, nil
	}
	return ref, err == nil, err
}
