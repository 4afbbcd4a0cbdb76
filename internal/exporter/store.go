package exporter

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/rialto-bus/rialto/internal/store"
)

// In this package's tables a time of 0 means "never".

func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func fromMillis(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

func toJSON(v any) (string, error) {
	b, err := json.Marshal(v)
	return string(b), err
}

// changedRow reports whether a statement changed a row.
func changedRow(res sql.Result, err error) (bool, error) {
	if err != nil {
		return false, err
	}
	n, err := res.RowsAffected()
	return n > 0, err
}

// tuples writes n rows of k placeholders each, the first of which is $from:
// ($1,$2),($3,$4).
func tuples(from, n, k int) string {
	var b strings.Builder
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		for j := range k {
			b.WriteByte("(,"[min(j, 1)])
			b.WriteByte('$')
			b.WriteString(strconv.Itoa(from + i*k + j))
		}
		b.WriteByte(')')
	}
	return b.String()
}

// state is the one row of exporter_state.
type state struct{ epoch, configRevision int64 }

func loadState(ctx context.Context, q store.Querier) (state, error) {
	var s state
	err := q.QueryRow(ctx, `SELECT epoch, config_revision FROM exporter_state WHERE id = 1`).Scan(&s.epoch, &s.configRevision)
	if err != nil {
		return s, fmt.Errorf("read the exporter's state: %w", err)
	}
	return s, nil
}

// holdState is loadState for transactions that write: until they end, nobody changes
// what it returned.
func holdState(ctx context.Context, tx *store.Tx) (state, error) {
	share := ""
	if tx.Dialect() == store.Postgres {
		share = ` FOR SHARE` // others may hold it too
	}
	var s state
	err := tx.QueryRow(ctx, `SELECT epoch, config_revision FROM exporter_state WHERE id = 1`+share).Scan(&s.epoch, &s.configRevision)
	if err != nil {
		return s, fmt.Errorf("read the exporter's state: %w", err)
	}
	return s, nil
}

func raiseEpoch(ctx context.Context, tx *store.Tx) (int64, error) {
	var epoch int64
	err := tx.QueryRow(ctx, `UPDATE exporter_state SET epoch = epoch + 1 WHERE id = 1 RETURNING epoch`).Scan(&epoch)
	return epoch, err
}

func setConfigRevision(ctx context.Context, tx *store.Tx, revision int64) error {
	_, err := tx.Exec(ctx, `UPDATE exporter_state SET config_revision = $1 WHERE id = 1`, revision)
	return err
}

const selectConfig = `SELECT revision, config, created_at, created_by FROM exporter_configs`

func scanConfig(row store.Row) (StoredConfig, error) {
	var c StoredConfig
	var created int64
	err := row.Scan(&c.Revision, &c.Text, &created, &c.CreatedBy)
	c.CreatedAt = fromMillis(created)
	return c, err
}

func insertConfig(ctx context.Context, tx *store.Tx, c StoredConfig) error {
	_, err := tx.Exec(ctx, `INSERT INTO exporter_configs (revision, config, created_at, created_by) VALUES ($1, $2, $3, $4)`,
		c.Revision, c.Text, millis(c.CreatedAt), c.CreatedBy)
	return err
}

func loadConfig(ctx context.Context, q store.Querier, revision int64) (StoredConfig, bool, error) {
	return store.One(q.QueryRow(ctx, selectConfig+` WHERE revision = $1`, revision), scanConfig)
}

// listConfigs returns configurations before a revision, the newest first.
func listConfigs(ctx context.Context, q store.Querier, before int64, limit int) ([]StoredConfig, error) {
	rows, err := q.Query(ctx, selectConfig+` WHERE revision < $1 ORDER BY revision DESC LIMIT $2`, before, limit)
	return store.All(rows, err, scanConfig)
}

// dropConfigs deletes configurations up to a revision.
func dropConfigs(ctx context.Context, tx *store.Tx, upTo int64) error {
	_, err := tx.Exec(ctx, `DELETE FROM exporter_configs WHERE revision <= $1`, upTo)
	return err
}

const selectAccount = `SELECT account, description, home_region, enabled, created_at, updated_at FROM exporter_accounts`

func scanAccount(row store.Row) (Account, error) {
	var a Account
	var created, updated int64
	err := row.Scan(&a.Account, &a.Description, &a.HomeRegion, &a.Enabled, &created, &updated)
	a.CreatedAt, a.UpdatedAt = fromMillis(created), fromMillis(updated)
	return a, err
}

func saveAccount(ctx context.Context, tx *store.Tx, a Account) error {
	_, err := tx.Exec(ctx, `INSERT INTO exporter_accounts (account, description, home_region, enabled, created_at, updated_at)
		VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (account) DO UPDATE SET description = excluded.description,
		home_region = excluded.home_region, enabled = excluded.enabled, updated_at = excluded.updated_at`,
		a.Account, a.Description, a.HomeRegion, a.Enabled, millis(a.CreatedAt), millis(a.UpdatedAt))
	return err
}

func loadAccount(ctx context.Context, q store.Querier, account string) (Account, bool, error) {
	return store.One(q.QueryRow(ctx, selectAccount+` WHERE account = $1`, account), scanAccount)
}

func listAccounts(ctx context.Context, q store.Querier) ([]Account, error) {
	rows, err := q.Query(ctx, selectAccount+` ORDER BY account`)
	return store.All(rows, err, scanAccount)
}

func deleteAccount(ctx context.Context, tx *store.Tx, account string) (bool, error) {
	if _, err := tx.Exec(ctx, `DELETE FROM exporter_queues WHERE account = $1`, account); err != nil {
		return false, err
	}
	return changedRow(tx.Exec(ctx, `DELETE FROM exporter_accounts WHERE account = $1`, account))
}

const selectQueue = `SELECT arn, account, url, dead_letter_arn, stack, created_at, updated_at, polled_at, waiting, received,
	failed_at, failed_why FROM exporter_queues`

func scanQueue(row store.Row) (Queue, error) {
	var q Queue
	var created, updated, polled, failed int64
	err := row.Scan(&q.ARN, &q.Account, &q.URL, &q.DeadLetterARN, &q.Stack, &created, &updated, &polled, &q.Waiting, &q.Received, &failed, &q.FailedWhy)
	q.CreatedAt, q.UpdatedAt, q.PolledAt, q.FailedAt = fromMillis(created), fromMillis(updated), fromMillis(polled), fromMillis(failed)
	return q, err
}

// saveQueue stores what is set of a queue, and leaves what was noted about it.
func saveQueue(ctx context.Context, tx *store.Tx, q Queue) error {
	_, err := tx.Exec(ctx, `INSERT INTO exporter_queues (arn, account, url, dead_letter_arn, stack, created_at, updated_at,
			polled_at, waiting, received, failed_at, failed_why)
		VALUES ($1, $2, $3, '', $4, $5, $6, 0, 0, 0, 0, '')
		ON CONFLICT (arn) DO UPDATE SET account = excluded.account, url = excluded.url, stack = excluded.stack, updated_at = excluded.updated_at`,
		q.ARN, q.Account, q.URL, q.Stack, millis(q.CreatedAt), millis(q.UpdatedAt))
	return err
}

func loadQueue(ctx context.Context, q store.Querier, arn string) (Queue, bool, error) {
	return store.One(q.QueryRow(ctx, selectQueue+` WHERE arn = $1`, arn), scanQueue)
}

func listQueues(ctx context.Context, q store.Querier) ([]Queue, error) {
	rows, err := q.Query(ctx, selectQueue+` ORDER BY account, arn`)
	return store.All(rows, err, scanQueue)
}

func deleteQueue(ctx context.Context, tx *store.Tx, arn string) (bool, error) {
	return changedRow(tx.Exec(ctx, `DELETE FROM exporter_queues WHERE arn = $1`, arn))
}

// noteQueue stores how a queue fares; received is added to what was.
func noteQueue(ctx context.Context, tx *store.Tx, q Queue) error {
	_, err := tx.Exec(ctx, `UPDATE exporter_queues SET dead_letter_arn = $2, polled_at = $3, waiting = $4, received = received + $5,
		failed_at = $6, failed_why = $7 WHERE arn = $1`,
		q.ARN, q.DeadLetterARN, millis(q.PolledAt), q.Waiting, q.Received, millis(q.FailedAt), q.FailedWhy)
	return err
}
