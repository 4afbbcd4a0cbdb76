package bus

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/rialto-bus/rialto/internal/event"
	"github.com/rialto-bus/rialto/internal/store"
)

// ruleSchedule is when a rule of the account's default bus is due.
type ruleSchedule struct {
	account, region, rule string
	expression            string
	started               time.Time // a rate counts from here
	next                  time.Time // zero: not due
}

func (s ruleSchedule) ref() event.BusRef {
	return event.BusRef{Account: s.account, Region: s.region, Name: event.DefaultBus}
}

const scheduleColumns = `SELECT account, region, rule, expression, started_at, next_at FROM rule_schedules`

func scanSchedule(row store.Row) (ruleSchedule, error) {
	var s ruleSchedule
	var started int64
	var next sql.NullInt64
	err := row.Scan(&s.account, &s.region, &s.rule, &s.expression, &started, &next)
	s.started = time.UnixMilli(started).UTC()
	if next.Valid {
		s.next = time.UnixMilli(next.Int64).UTC()
	}
	return s, err
}

func selectSchedule(ctx context.Context, tx *store.Tx, ref event.BusRef, rule string) (ruleSchedule, bool, error) {
	s, err := scanSchedule(tx.QueryRow(ctx, scheduleColumns+` WHERE account = $1 AND region = $2 AND rule = $3`+tx.Dialect().ForUpdate(),
		ref.Account, ref.Region, rule))
	if errors.Is(err, sql.ErrNoRows) {
		return s, false, nil
	}
	if err != nil {
		return s, false, fmt.Errorf("read the schedule of rule %s: %w", rule, err)
	}
	return s, true, nil
}

func saveSchedule(ctx context.Context, tx *store.Tx, s ruleSchedule) error {
	var next sql.NullInt64
	if !s.next.IsZero() {
		next = sql.NullInt64{Int64: s.next.UnixMilli(), Valid: true}
	}
	_, err := tx.Exec(ctx, `
		INSERT INTO rule_schedules (account, region, rule, expression, started_at, next_at) VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (account, region, rule) DO UPDATE SET
			expression = excluded.expression, started_at = excluded.started_at, next_at = excluded.next_at`,
		s.account, s.region, s.rule, s.expression, s.started.UnixMilli(), next)
	if err != nil {
		return fmt.Errorf("store the schedule of rule %s: %w", s.rule, err)
	}
	return nil
}

func deleteSchedule(ctx context.Context, tx *store.Tx, ref event.BusRef, rule string) error {
	_, err := tx.Exec(ctx, `DELETE FROM rule_schedules WHERE account = $1 AND region = $2 AND rule = $3`, ref.Account, ref.Region, rule)
	if err != nil {
		return fmt.Errorf("delete the schedule of rule %s: %w", rule, err)
	}
	return nil
}

// selectDue returns up to limit schedules that are due by now, the longest due
// first.
func selectDue(ctx context.Context, q store.Querier, now time.Time, limit int) ([]ruleSchedule, error) {
	rows, err := q.Query(ctx, scheduleColumns+` WHERE next_at <= $1 ORDER BY next_at LIMIT $2`, now.UnixMilli(), limit)
	return store.All(rows, err, scanSchedule)
}

// firstDue returns when the first schedule is due, zero if none is.
func firstDue(ctx context.Context, q store.Querier) (time.Time, error) {
	var next sql.NullInt64
	if err := q.QueryRow(ctx, `SELECT MIN(next_at) FROM rule_schedules`).Scan(&next); err != nil {
		return time.Time{}, err
	}
	if !next.Valid {
		return time.Time{}, nil
	}
	return time.UnixMilli(next.Int64), nil
}
