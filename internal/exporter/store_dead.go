package exporter

import (
	"context"
	"fmt"

	"github.com/rialto-bus/rialto/internal/store"
)

const (
	deadColumns = `id, queue_arn, message_id, body, ` + deadRest
	deadRest    = `source, reason, resource_account, region, kind, identifier, attempts, sent_at, dead_at`
)

func scanDead(row store.Row) (DeadRecord, error) {
	var d DeadRecord
	var sent, dead int64
	err := row.Scan(&d.ID, &d.QueueARN, &d.MessageID, &d.Body, &d.Size, &d.Source, &d.Reason, &d.Key.Account, &d.Key.Region, &d.Key.Kind, &d.Key.Identifier,
		&d.Attempts, &sent, &dead)
	d.SentAt, d.DeadAt = fromMillis(sent), fromMillis(dead)
	return d, err
}

// insertDead keeps dead records; one of a message that is kept already is left as it is.
// It returns how many are kept then, and the bytes of their bodies.
func insertDead(ctx context.Context, tx *store.Tx, list []DeadRecord) (records, bytes int64, err error) {
	args := make([]any, 0, 13*len(list))
	for i := range list {
		d := &list[i]
		args = append(args, d.ID, d.QueueARN, d.MessageID, d.Body, d.Source, d.Reason, d.Key.Account, d.Key.Region, d.Key.Kind, d.Key.Identifier,
			d.Attempts, millis(d.SentAt), millis(d.DeadAt))
	}
	rows, err := tx.Query(ctx, `INSERT INTO exporter_dead_records (`+deadColumns+`) VALUES `+tuples(1, len(list), 13)+`
		ON CONFLICT DO NOTHING RETURNING length(body)`, args...)
	sizes, err := store.All(rows, err, scanSize)
	if err != nil {
		return 0, 0, err
	}
	return addDead(ctx, tx, int64(len(sizes)), sum(sizes))
}

func scanSize(row store.Row) (n int64, err error) { return n, row.Scan(&n) }

func sum(list []int64) (n int64) {
	for _, i := range list {
		n += i
	}
	return n
}

// addDead counts dead records that have come, or gone.
func addDead(ctx context.Context, tx *store.Tx, records, bytes int64) (totalRecords, totalBytes int64, err error) {
	err = tx.QueryRow(ctx, `UPDATE exporter_dead_total SET records = records + $1, bytes = bytes + $2 WHERE id = 1 RETURNING records, bytes`,
		records, bytes).Scan(&totalRecords, &totalBytes)
	return totalRecords, totalBytes, err
}

func loadDead(ctx context.Context, q store.Querier, id string) (DeadRecord, bool, error) {
	return store.One(q.QueryRow(ctx, `SELECT id, queue_arn, message_id, body, length(body), `+deadRest+`
		FROM exporter_dead_records WHERE id = $1`, id), scanDead)
}

func listDead(ctx context.Context, q store.Querier, f DeadFilter, after string, limit int, descending bool) ([]DeadRecord, error) {
	order, than := "ASC", ">"
	if descending {
		order, than = "DESC", "<"
	}
	where, args := `($1 = '' OR id `+than+` $1)`, []any{after}
	for _, c := range []struct{ column, value string }{
		{"queue_arn", f.QueueARN}, {"resource_account", f.Account}, {"region", f.Region}, {"kind", f.Kind}, {"identifier", f.Identifier},
	} {
		if c.value != "" {
			args = append(args, c.value)
			where += fmt.Sprintf(" AND %s = $%d", c.column, len(args))
		}
	}
	args = append(args, limit)
	rows, err := q.Query(ctx, fmt.Sprintf(`SELECT id, queue_arn, message_id, substr(body, 1, %d), length(body), `+deadRest+`
		FROM exporter_dead_records WHERE %s ORDER BY id %s LIMIT $%d`, maxListedBody, where, order, len(args)), args...)
	return store.All(rows, err, scanDead)
}

func deleteDead(ctx context.Context, tx *store.Tx, id string) (bool, error) {
	rows, err := tx.Query(ctx, `DELETE FROM exporter_dead_records WHERE id = $1 RETURNING length(body)`, id)
	sizes, err := store.All(rows, err, scanSize)
	if err != nil || len(sizes) == 0 {
		return false, err
	}
	_, _, err = addDead(ctx, tx, -1, -sum(sizes))
	return true, err
}
