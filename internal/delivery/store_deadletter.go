package delivery

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rialto-bus/rialto/internal/event"
	"github.com/rialto-bus/rialto/internal/store"
)

// letterStore keeps the built-in dead letters.
type letterStore struct{ db *store.DB }

// insert stores letters that are new in one transaction. It returns the ids of all,
// and how many bytes the new ones count.
func (s letterStore) insert(ctx context.Context, letters []*DeadLetter) (ids []int64, added int64, err error) {
	err = s.db.UpdateReadCommitted(ctx, func(tx *store.Tx) error {
		ids, added = make([]int64, len(letters)), 0
		changes := totalChanges{}
		for i, l := range letters {
			id, isNew, err := insertLetter(ctx, tx, l)
			if err != nil {
				return err
			}
			ids[i] = id
			if isNew {
				changes.add(l)
				added += l.Size
			}
		}
		return changes.store(ctx, tx)
	})
	return ids, added, err
}

func insertLetter(ctx context.Context, tx *store.Tx, l *DeadLetter) (id int64, isNew bool, err error) {
	spells, err := json.Marshal(l.spells)
	if err != nil {
		return 0, false, fmt.Errorf("encode the attempts of event %s: %w", l.EventID, err)
	}
	err = tx.QueryRow(ctx, `
		INSERT INTO dead_letter (account, subscription_id, event_id, dead_at, code, message, exhausted, attempts, spells,
			redriven, target_arn, queue_arn, queue_error, source, detail_type, sequence, entry, size, record, body)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20)
		ON CONFLICT (subscription_id, sequence, entry, event_id) DO NOTHING RETURNING id`,
		l.Bus.Account, l.Subscription, l.EventID, l.At.UnixMilli(), l.Code, l.Message, l.Exhausted, l.Attempts, string(spells),
		l.Redriven, l.TargetARN, l.QueueARN, l.QueueError, l.Source, l.DetailType, int64(l.sequence), l.index, l.Size, l.Record.Append(nil), l.Body,
	).Scan(&id)
	if !errors.Is(err, sql.ErrNoRows) {
		return id, true, err
	}
	err = tx.QueryRow(ctx, `SELECT id FROM dead_letter WHERE subscription_id = $1 AND sequence = $2 AND entry = $3 AND event_id = $4`,
		l.Subscription, int64(l.sequence), l.index, l.EventID).Scan(&id)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, false, nil // redriven or discarded at this moment: it was there
	}
	return id, false, err
}

// totalChanges are changes of dead_letter_total, by subscription.
type totalChanges map[int64]*totalChange

type totalChange struct {
	of             *DeadLetter // nil when letters go
	letters, bytes int64
}

func (c totalChanges) add(l *DeadLetter) {
	t := c[l.Subscription]
	if t == nil {
		t = &totalChange{of: l}
		c[l.Subscription] = t
	}
	t.letters++
	t.bytes += l.Size
}

func (c totalChanges) remove(subscription, size int64) {
	t := c[subscription]
	if t == nil {
		t = &totalChange{}
		c[subscription] = t
	}
	t.letters--
	t.bytes -= size
}

// store changes the rows in the order of their keys, so that two that do so at once
// do not wait for each other.
func (c totalChanges) store(ctx context.Context, tx *store.Tx) error {
	for _, subscription := range slices.Sorted(maps.Keys(c)) {
		if err := c[subscription].store(ctx, tx, subscription); err != nil {
			return fmt.Errorf("count the dead letters of subscription %d: %w", subscription, err)
		}
	}
	return nil
}

func (t *totalChange) store(ctx context.Context, tx *store.Tx, subscription int64) error {
	if l := t.of; l != nil {
		_, err := tx.Exec(ctx, `
			INSERT INTO dead_letter_total (subscription_id, account, region, bus, rule, rule_arn, target_id, letters, bytes)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
			ON CONFLICT (subscription_id) DO UPDATE SET
				letters = dead_letter_total.letters + excluded.letters, bytes = dead_letter_total.bytes + excluded.bytes`,
			subscription, l.Bus.Account, l.Bus.Region, l.Bus.Name, l.RuleName, l.RuleARN, l.TargetID, t.letters, t.bytes)
		return err
	}
	var left int64
	err := tx.QueryRow(ctx, `UPDATE dead_letter_total SET letters = letters + $2, bytes = bytes + $3 WHERE subscription_id = $1 RETURNING letters`,
		subscription, t.letters, t.bytes).Scan(&left)
	if err == nil && left <= 0 {
		_, err = tx.Exec(ctx, `DELETE FROM dead_letter_total WHERE subscription_id = $1`, subscription)
	}
	return err
}

// bytes returns how much all dead letters count.
func (s letterStore) bytes(ctx context.Context) (letters, bytes int64, err error) {
	err = s.db.QueryRow(ctx, `SELECT COALESCE(SUM(letters), 0), COALESCE(SUM(bytes), 0) FROM dead_letter_total`).Scan(&letters, &bytes)
	return letters, bytes, err
}

// totals returns what is kept of each subscription of an account, the most first.
func (s letterStore) totals(ctx context.Context, account string, limit int) ([]DeadLetterTotal, error) {
	rows, err := s.db.Query(ctx, `
		SELECT region, bus, rule, rule_arn, target_id, letters, bytes,
			COALESCE((SELECT MIN(dead_at) FROM dead_letter l WHERE l.subscription_id = t.subscription_id), 0),
			COALESCE((SELECT MAX(dead_at) FROM dead_letter l WHERE l.subscription_id = t.subscription_id), 0)
		FROM dead_letter_total t WHERE account = $1 ORDER BY letters DESC, subscription_id LIMIT $2`, account, limit)
	return store.All(rows, err, func(row store.Row) (t DeadLetterTotal, err error) {
		var oldest, newest int64
		err = row.Scan(&t.Region, &t.BusName, &t.RuleName, &t.RuleARN, &t.TargetID, &t.Letters, &t.Bytes, &oldest, &newest)
		t.Oldest, t.Newest = time.UnixMilli(oldest).UTC(), time.UnixMilli(newest).UTC()
		return t, err
	})
}

// letterColumns are those of a list; of one letter record and body follow.
const letterColumns = `l.id, l.subscription_id, l.account, t.region, t.bus, t.rule, t.rule_arn, t.target_id, l.target_arn, l.event_id, l.source,
	l.detail_type, l.code, l.message, l.exhausted, l.attempts, l.spells, l.redriven, l.queue_arn, l.queue_error, l.dead_at, l.size, l.sequence, l.entry`

// SQLite's driver reads an empty body as none.
const wholeLetterColumns = letterColumns + `, l.record, l.body, l.body IS NOT NULL`

const fromLetters = ` FROM dead_letter l JOIN dead_letter_total t ON t.subscription_id = l.subscription_id `

func scanLetter(row store.Row, more ...any) (l DeadLetter, err error) {
	var at, sequence int64
	var spells string
	dest := []any{
		&l.ID, &l.Subscription, &l.Bus.Account, &l.Bus.Region, &l.Bus.Name, &l.RuleName, &l.RuleARN, &l.TargetID, &l.TargetARN, &l.EventID, &l.Source,
		&l.DetailType, &l.Code, &l.Message, &l.Exhausted, &l.Attempts, &spells, &l.Redriven, &l.QueueARN, &l.QueueError, &at, &l.Size, &sequence, &l.index,
	}
	if err := row.Scan(append(dest, more...)...); err != nil {
		return l, err
	}
	l.At, l.sequence = time.UnixMilli(at).UTC(), uint64(sequence)
	if err := json.Unmarshal([]byte(spells), &l.spells); err != nil {
		return l, fmt.Errorf("read the attempts of dead letter %d: %w", l.ID, err)
	}
	return l, nil
}

func scanListed(row store.Row) (DeadLetter, error) { return scanLetter(row) }

func scanWholeLetter(row store.Row) (DeadLetter, error) {
	var record, body []byte
	var hasBody bool
	l, err := scanLetter(row, &record, &body, &hasBody)
	if err != nil {
		return l, err
	}
	if l.Record, err = event.DecodeRecord(record); err != nil {
		return l, fmt.Errorf("read the event of dead letter %d: %w", l.ID, err)
	}
	if hasBody {
		l.Body = append([]byte{}, body...)
	}
	return l, nil
}

func (s letterStore) letter(ctx context.Context, account string, id int64) (*DeadLetter, error) {
	l, found, err := store.One(s.db.QueryRow(ctx, `SELECT `+wholeLetterColumns+fromLetters+`WHERE l.account = $1 AND l.id = $2`, account, id), scanWholeLetter)
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, ErrNoDeadLetter
	}
	return &l, nil
}

// list returns letters after a place, the newest first.
func (s letterStore) list(ctx context.Context, account string, f DeadLetterFilter, after place, limit int) ([]DeadLetter, error) {
	where, args, err := s.where(ctx, account, f)
	if err != nil || where == "" {
		return nil, err
	}
	if after != (place{}) {
		args = append(args, after.at, after.id)
		where += fmt.Sprintf(` AND (l.dead_at, l.id) < ($%d, $%d)`, len(args)-1, len(args))
	}
	// The ids first, from an index alone: the letters themselves are large.
	rows, err := s.db.Query(ctx, `SELECT `+letterColumns+fromLetters+`WHERE l.id IN (
			SELECT l.id FROM dead_letter l WHERE `+where+` ORDER BY l.dead_at DESC, l.id DESC LIMIT `+strconv.Itoa(limit)+`)
		ORDER BY l.dead_at DESC, l.id DESC`, args...)
	return store.All(rows, err, scanListed)
}

// next returns letters after a place, the oldest first, as many as one transaction
// should take; whole ones if so asked.
func (s letterStore) next(ctx context.Context, account string, f DeadLetterFilter, after place, limit int, whole bool) (letters []DeadLetter, err error) {
	where, args, err := s.where(ctx, account, f)
	if err != nil || where == "" {
		return nil, err
	}
	columns, scan := letterColumns, scanListed
	if whole {
		columns, scan = wholeLetterColumns, scanWholeLetter
	}
	args = append(args, after.at, after.id)
	where += fmt.Sprintf(` AND (l.dead_at, l.id) > ($%d, $%d)`, len(args)-1, len(args))
	rows, err := s.db.Query(ctx, `SELECT `+columns+fromLetters+`WHERE l.id IN (
			SELECT l.id FROM dead_letter l WHERE `+where+` ORDER BY l.dead_at, l.id LIMIT `+strconv.Itoa(limit)+`)
		ORDER BY l.dead_at, l.id`, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for size := int64(0); size < letterChunkBytes && rows.Next(); {
		l, err := scan(rows)
		if err != nil {
			return nil, err
		}
		letters, size = append(letters, l), size+l.Size
	}
	return letters, rows.Err()
}

// count returns how many letters are meant, and the id of the latest.
func (s letterStore) count(ctx context.Context, account string, f DeadLetterFilter) (n, last int64, err error) {
	where, args, err := s.where(ctx, account, f)
	if err != nil || where == "" {
		return 0, 0, err
	}
	err = s.db.QueryRow(ctx, `SELECT COUNT(*), COALESCE(MAX(l.id), 0) FROM dead_letter l WHERE `+where, args...).Scan(&n, &last)
	return n, last, err
}

// where is the condition of the letters of a filter, empty where it can hold for
// none. Rules and targets are looked up first: their letters are then found by an
// index.
func (s letterStore) where(ctx context.Context, account string, f DeadLetterFilter) (where string, args []any, err error) {
	args = []any{account}
	conditions := []string{`l.account = $1`}
	if len(f.IDs) > 0 {
		// They find few letters, where SQLite would go through all of the account.
		conditions[0] = `l.account || '' = $1`
	}
	and := func(condition string, arg any) {
		args = append(args, arg)
		conditions = append(conditions, condition+` $`+strconv.Itoa(len(args)))
	}
	if f.ofSubscriptions() {
		ids, err := s.subscriptions(ctx, account, f)
		if err != nil || len(ids) == 0 {
			return "", nil, err
		}
		conditions = append(conditions, `l.subscription_id IN (`+store.IDList(ids)+`)`)
	}
	if isARN(f.Target) {
		and(`l.target_arn =`, f.Target)
	}
	if f.Code != "" {
		and(`l.code =`, f.Code)
	}
	if f.EventID != "" {
		and(`l.event_id =`, f.EventID)
	}
	if !f.Since.IsZero() {
		and(`l.dead_at >=`, f.Since.UnixMilli())
	}
	if !f.Until.IsZero() {
		and(`l.dead_at <`, f.Until.UnixMilli())
	}
	if len(f.IDs) > 0 {
		conditions = append(conditions, `l.id IN (`+store.IDList(f.IDs)+`)`)
	}
	if f.upTo > 0 {
		and(`l.id <=`, f.upTo)
	}
	return strings.Join(conditions, ` AND `), args, nil
}

func isARN(s string) bool { return strings.HasPrefix(s, "arn:") }

// ofSubscriptions reports whether the filter names what a subscription has.
func (f *DeadLetterFilter) ofSubscriptions() bool {
	return f.Region != "" || f.Bus != "" || f.Rule != "" || f.Target != "" && !isARN(f.Target)
}

// subscriptions returns those of the filter that have letters.
func (s letterStore) subscriptions(ctx context.Context, account string, f DeadLetterFilter) ([]int64, error) {
	query, args := `SELECT subscription_id FROM dead_letter_total WHERE account = $1`, []any{account}
	and := func(column, value string) {
		if value != "" {
			args = append(args, value)
			query += ` AND ` + column + ` = $` + strconv.Itoa(len(args))
		}
	}
	and(`region`, f.Region)
	and(`bus`, f.Bus)
	if isARN(f.Rule) {
		and(`rule_arn`, f.Rule)
	} else {
		and(`rule`, f.Rule)
	}
	if !isARN(f.Target) {
		and(`target_id`, f.Target)
	}
	rows, err := s.db.Query(ctx, query, args...)
	return store.All(rows, err, func(row store.Row) (id int64, err error) {
		err = row.Scan(&id)
		return id, err
	})
}

// deletedLetter is one that went.
type deletedLetter struct{ id, subscription, size, at int64 }

func scanDeleted(row store.Row) (d deletedLetter, err error) {
	err = row.Scan(&d.id, &d.subscription, &d.size, &d.at)
	return d, err
}

// delete deletes those of the letters that are there, and counts them off.
func (s letterStore) delete(ctx context.Context, tx *store.Tx, account string, ids []int64) ([]deletedLetter, error) {
	query, args := `DELETE FROM dead_letter WHERE id IN (`+store.IDList(ids)+`)`, []any{}
	if account != "" {
		query, args = query+` AND account = $1`, []any{account}
	}
	rows, err := tx.Query(ctx, query+` RETURNING id, subscription_id, size, dead_at`, args...)
	gone, err := store.All(rows, err, scanDeleted)
	if err != nil {
		return nil, fmt.Errorf("delete dead letters: %w", err)
	}
	changes := totalChanges{}
	for _, d := range gone {
		changes.remove(d.subscription, d.size)
	}
	return gone, changes.store(ctx, tx)
}
