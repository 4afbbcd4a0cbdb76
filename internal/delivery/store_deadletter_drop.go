package delivery

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/rialto-bus/rialto/internal/store"
)

// dropKey is what a record of dropped letters is kept by.
type dropKey struct{ account, ruleARN, targetID, reason string }

func (k dropKey) compare(other dropKey) int {
	return cmp.Or(cmp.Compare(k.account, other.account), cmp.Compare(k.ruleARN, other.ruleARN),
		cmp.Compare(k.targetID, other.targetID), cmp.Compare(k.reason, other.reason))
}

// dropRecord counts dropped letters and says when they were given up.
type dropRecord struct{ letters, bytes, oldest, newest int64 }

type dropRecords map[dropKey]dropRecord

func (r dropRecords) merge(key dropKey, more dropRecord) {
	have, ok := r[key]
	if !ok {
		r[key] = more
		return
	}
	r[key] = dropRecord{have.letters + more.letters, have.bytes + more.bytes, min(have.oldest, more.oldest), max(have.newest, more.newest)}
}

// oldest returns the letters that came first.
func (s letterStore) oldest(ctx context.Context, limit int) ([]deletedLetter, error) {
	rows, err := s.db.Query(ctx, `SELECT id, subscription_id, size, dead_at FROM dead_letter ORDER BY id LIMIT $1`, limit)
	return store.All(rows, err, scanDeleted)
}

// drop deletes letters, each for its reason, and keeps a record of it.
func (s letterStore) drop(ctx context.Context, tx *store.Tx, reasons map[int64]string, now time.Time) (dropRecords, error) {
	ids := slices.Sorted(maps.Keys(reasons))
	owners, err := s.owners(ctx, tx, ids)
	if err != nil {
		return nil, err
	}
	gone, err := s.delete(ctx, tx, "", ids)
	if err != nil {
		return nil, err
	}
	records := dropRecords{}
	for _, l := range gone {
		key := owners[l.subscription]
		key.reason = reasons[l.id]
		records.merge(key, dropRecord{1, l.size, l.at, l.at})
	}
	for _, key := range slices.SortedFunc(maps.Keys(records), dropKey.compare) {
		if err := s.recordDrop(ctx, tx, key, records[key], now); err != nil {
			return nil, err
		}
	}
	return records, nil
}

// owners returns the subscriptions of letters, as their records name them.
func (s letterStore) owners(ctx context.Context, tx *store.Tx, ids []int64) (map[int64]dropKey, error) {
	type owner struct {
		id  int64
		key dropKey
	}
	rows, err := tx.Query(ctx, `SELECT subscription_id, account, rule_arn, target_id FROM dead_letter_total
		WHERE subscription_id IN (SELECT subscription_id FROM dead_letter WHERE id IN (`+store.IDList(ids)+`))`)
	list, err := store.All(rows, err, func(row store.Row) (o owner, err error) {
		err = row.Scan(&o.id, &o.key.account, &o.key.ruleARN, &o.key.targetID)
		return o, err
	})
	owners := make(map[int64]dropKey, len(list))
	for _, o := range list {
		owners[o.id] = o.key
	}
	return owners, err
}

func (s letterStore) recordDrop(ctx context.Context, tx *store.Tx, key dropKey, r dropRecord, now time.Time) error {
	_, err := tx.Exec(ctx, `
		INSERT INTO dead_letter_drop (account, rule_arn, target_id, reason, letters, bytes, oldest_at, newest_at, dropped_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
		ON CONFLICT (account, rule_arn, target_id, reason) DO UPDATE SET
			letters = dead_letter_drop.letters + excluded.letters, bytes = dead_letter_drop.bytes + excluded.bytes,
			oldest_at = CASE WHEN excluded.oldest_at < dead_letter_drop.oldest_at THEN excluded.oldest_at ELSE dead_letter_drop.oldest_at END,
			newest_at = CASE WHEN excluded.newest_at > dead_letter_drop.newest_at THEN excluded.newest_at ELSE dead_letter_drop.newest_at END,
			dropped_at = excluded.dropped_at`,
		key.account, key.ruleARN, key.targetID, key.reason, r.letters, r.bytes, r.oldest, r.newest, now.UnixMilli())
	if err != nil {
		return fmt.Errorf("record what was dropped: %w", err)
	}
	return nil
}

// dropped returns an account's records, the latest first.
func (s letterStore) dropped(ctx context.Context, account string, limit int) ([]DroppedLetters, error) {
	rows, err := s.db.Query(ctx, `SELECT rule_arn, target_id, reason, letters, bytes, oldest_at, newest_at, dropped_at
		FROM dead_letter_drop WHERE account = $1 ORDER BY dropped_at DESC, rule_arn, target_id, reason LIMIT $2`, account, limit)
	return store.All(rows, err, func(row store.Row) (d DroppedLetters, err error) {
		var oldest, newest, last int64
		err = row.Scan(&d.RuleARN, &d.TargetID, &d.Reason, &d.Letters, &d.Bytes, &oldest, &newest, &last)
		d.Oldest, d.Newest, d.LastAt = time.UnixMilli(oldest).UTC(), time.UnixMilli(newest).UTC(), time.UnixMilli(last).UTC()
		return d, err
	})
}

// forget deletes records of what was dropped and runs that ended before the time.
func (s letterStore) forget(ctx context.Context, before time.Time) error {
	var n int64
	err := s.db.QueryRow(ctx, `SELECT (SELECT COUNT(*) FROM dead_letter_drop WHERE dropped_at < $1)
		+ (SELECT COUNT(*) FROM dead_letter_run WHERE finished_at < $1)`, before.UnixMilli()).Scan(&n)
	if err != nil || n == 0 {
		return err
	}
	return s.db.UpdateReadCommitted(ctx, func(tx *store.Tx) error {
		if _, err := tx.Exec(ctx, `DELETE FROM dead_letter_drop WHERE dropped_at < $1`, before.UnixMilli()); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `DELETE FROM dead_letter_run WHERE finished_at < $1`, before.UnixMilli())
		return err
	})
}
