package exporter

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/rialto-bus/rialto/internal/catalog"
	"github.com/rialto-bus/rialto/internal/store"
)

const selectRun = `SELECT id, trigger_kind, confirms, dry_run, grace_ms, selection, status, planned, cancelled, created_by,
	config_revision, epoch, error, created_at, started_at, finished_at FROM exporter_sync_runs`

func scanRun(row store.Row) (SyncRun, error) {
	var r SyncRun
	var grace, created, started, finished int64
	var selection string
	if err := row.Scan(&r.ID, &r.Trigger, &r.Confirms, &r.DryRun, &grace, &selection, &r.Status, &r.planned, &r.cancelled, &r.CreatedBy,
		&r.ConfigRevision, &r.epoch, &r.Error, &created, &started, &finished); err != nil {
		return r, err
	}
	r.Grace = time.Duration(grace) * time.Millisecond
	r.CreatedAt, r.StartedAt, r.FinishedAt = fromMillis(created), fromMillis(started), fromMillis(finished)
	return r, json.Unmarshal([]byte(selection), &r.Selection)
}

func insertRun(ctx context.Context, tx *store.Tx, r SyncRun) error {
	selection, err := json.Marshal(r.Selection)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `INSERT INTO exporter_sync_runs (id, trigger_kind, confirms, dry_run, grace_ms, selection, status, planned,
			cancelled, created_by, config_revision, epoch, error, created_at, started_at, finished_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 0, 0, $11, $12, $13, $14)`,
		r.ID, r.Trigger, r.Confirms, r.DryRun, r.Grace.Milliseconds(), string(selection), string(r.Status), false,
		false, r.CreatedBy, r.Error, millis(r.CreatedAt), millis(r.StartedAt), millis(r.FinishedAt))
	return err
}

// saveRun writes how far the holder of an epoch has come with a run; it reports
// false if a later one has it.
func saveRun(ctx context.Context, tx *store.Tx, r SyncRun) (ours bool, err error) {
	return changedRow(tx.Exec(ctx, `UPDATE exporter_sync_runs SET status = $3, planned = $4, config_revision = $5, epoch = $2, error = $6,
		started_at = $7, finished_at = $8 WHERE id = $1 AND epoch <= $2 AND finished_at = 0`,
		r.ID, r.epoch, string(r.Status), r.planned, r.ConfigRevision, r.Error, millis(r.StartedAt), millis(r.FinishedAt)))
}

// markCancelled asks the run's node to stop, or ends a run that no node has begun.
func markCancelled(ctx context.Context, tx *store.Tx, r SyncRun) error {
	_, err := tx.Exec(ctx, `UPDATE exporter_sync_runs SET cancelled = $2, status = $3, finished_at = $4 WHERE id = $1`,
		r.ID, true, string(r.Status), millis(r.FinishedAt))
	return err
}

func loadRun(ctx context.Context, q store.Querier, id string) (SyncRun, bool, error) {
	return store.One(q.QueryRow(ctx, selectRun+` WHERE id = $1`, id), scanRun)
}

func listRuns(ctx context.Context, q store.Querier, limit int) ([]SyncRun, error) {
	rows, err := q.Query(ctx, selectRun+` ORDER BY created_at DESC, id DESC LIMIT $1`, limit)
	return store.All(rows, err, scanRun)
}

// openRuns are those that have not finished, the oldest first.
func openRuns(ctx context.Context, q store.Querier, limit int) ([]SyncRun, error) {
	rows, err := q.Query(ctx, selectRun+` WHERE finished_at = 0 ORDER BY created_at, id LIMIT $1`, limit)
	return store.All(rows, err, scanRun)
}

// oldRun is a run beyond the last keep, the oldest first.
func oldRun(ctx context.Context, q store.Querier, keep int) (string, bool, error) {
	return store.One(q.QueryRow(ctx, `SELECT id FROM exporter_sync_runs WHERE finished_at > 0 AND id NOT IN
		(SELECT id FROM exporter_sync_runs ORDER BY created_at DESC, id DESC LIMIT $1) ORDER BY created_at LIMIT 1`, keep),
		func(row store.Row) (id string, err error) { return id, row.Scan(&id) })
}

// runTables hold what belongs to a run, the run itself last.
var runTables = []string{"exporter_sync_listed", "exporter_sync_changes", "exporter_sync_batches", "exporter_sync_scopes"}

// deleteRunRows deletes a little of what one of runTables has of a run, and reports
// whether there may be more.
func deleteRunRows(ctx context.Context, tx *store.Tx, table, id string, limit int) (more bool, err error) {
	rows, err := tx.Query(ctx, `SELECT account, region, kind FROM `+table+` WHERE run_id = $1 ORDER BY account, region, kind LIMIT 1`, id)
	scopes, err := store.All(rows, err, scanScopeKey)
	if err != nil || len(scopes) == 0 {
		return false, err
	}
	k := scopes[0]
	column := map[string]string{"exporter_sync_batches": "batch", "exporter_sync_scopes": "kind"}[table]
	if column == "" {
		column = "identifier"
	}
	_, err = tx.Exec(ctx, `DELETE FROM `+table+` WHERE run_id = $1 AND account = $2 AND region = $3 AND kind = $4 AND `+column+` IN
		(SELECT `+column+` FROM `+table+` WHERE run_id = $1 AND account = $2 AND region = $3 AND kind = $4 ORDER BY `+column+` LIMIT $5)`,
		id, k.Account, k.Region, k.Kind, limit)
	return true, err
}

func deleteRun(ctx context.Context, tx *store.Tx, id string) error {
	_, err := tx.Exec(ctx, `DELETE FROM exporter_sync_runs WHERE id = $1`, id)
	return err
}

func scanScopeKey(row store.Row) (ScopeKey, error) {
	var k ScopeKey
	return k, row.Scan(&k.Account, &k.Region, &k.Kind)
}

// sums are a scope's counts: what its row has, and what batches have added since.
const sums = `s.expected, s.listed, s.unchanged,
	s.created + COALESCE(b.created, 0), s.updated + COALESCE(b.updated, 0), s.removed + COALESCE(b.removed, 0),
	s.failed, s.missing, s.unread, s.held`

const fromScopes = ` FROM exporter_sync_scopes s LEFT JOIN (SELECT account, region, kind, SUM(created) AS created, SUM(updated) AS updated,
		SUM(removed) AS removed FROM exporter_sync_batches WHERE run_id = $1 GROUP BY account, region, kind) b
	ON b.account = s.account AND b.region = s.region AND b.kind = s.kind`

const selectScope = `SELECT s.run_id, s.account, s.region, s.kind, s.source, s.stage, s.status, ` + sums + `, s.error, s.started_at,
	s.finished_at, s.position, s.ticket, s.queries, s.query, s.next_token, s.cursor_id, s.spared` + fromScopes

func scanScope(row store.Row) (SyncScope, error) {
	var s SyncScope
	var started, finished int64
	c := &s.Counts
	err := row.Scan(&s.RunID, &s.Account, &s.Region, &s.Kind, &s.Source, &s.Stage, &s.Status, &c.Expected, &c.Listed, &c.Unchanged,
		&c.Created, &c.Updated, &c.Removed, &c.Failed, &c.Missing, &c.Unread, &c.Held, &s.Error, &started,
		&finished, &s.position, &s.ticket, &s.queries, &s.query, &s.next, &s.cursor, &s.spared)
	s.StartedAt, s.FinishedAt = fromMillis(started), fromMillis(finished)
	return s, err
}

func insertScope(ctx context.Context, tx *store.Tx, s *SyncScope) error {
	_, err := tx.Exec(ctx, `INSERT INTO exporter_sync_scopes (run_id, account, region, kind, position, source, stage, status, ticket, queries,
			query, next_token, cursor_id, expected, listed, unchanged, created, updated, removed, failed, spared, missing, unread, held,
			error, started_at, finished_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, '', 0, '', 0, '', '', $8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, '', 0, 0)`,
		s.RunID, s.Account, s.Region, s.Kind, s.position, s.Source, s.Stage, s.Counts.Expected)
	return err
}

// saveScope writes how far a scope has come. Created, updated and removed are
// counted by addBatch and foldBatches.
func saveScope(ctx context.Context, tx *store.Tx, s *SyncScope) error {
	c := &s.Counts
	_, err := tx.Exec(ctx, `UPDATE exporter_sync_scopes SET stage = $5, status = $6, ticket = $7, queries = $8, query = $9, next_token = $10,
			cursor_id = $11, expected = $12, listed = $13, unchanged = $14, failed = $15, spared = $16, missing = $17, unread = $18,
			held = $19, error = $20, started_at = $21, finished_at = $22
		WHERE run_id = $1 AND account = $2 AND region = $3 AND kind = $4`,
		s.RunID, s.Account, s.Region, s.Kind, s.Stage, s.Status, s.ticket, s.queries, s.query, s.next,
		s.cursor, c.Expected, c.Listed, c.Unchanged, c.Failed, s.spared, c.Missing, c.Unread,
		c.Held, s.Error, millis(s.StartedAt), millis(s.FinishedAt))
	return err
}

// addBatch counts what one transaction changed, under a number of its own.
func addBatch(ctx context.Context, tx *store.Tx, s *SyncScope, batch int64, created, updated, removed int) error {
	_, err := tx.Exec(ctx, `INSERT INTO exporter_sync_batches (run_id, account, region, kind, batch, created, updated, removed)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
		s.RunID, s.Account, s.Region, s.Kind, batch, created, updated, removed)
	return err
}

// foldBatches moves a scope's batches into its row, in a transaction that sees those of one
// moment: more may come meanwhile.
func foldBatches(ctx context.Context, tx *store.Tx, s *SyncScope) error {
	_, err := tx.Exec(ctx, `UPDATE exporter_sync_scopes SET
			created = created + COALESCE((SELECT SUM(b.created) FROM exporter_sync_batches b WHERE b.run_id = $1 AND b.account = $2 AND b.region = $3 AND b.kind = $4), 0),
			updated = updated + COALESCE((SELECT SUM(b.updated) FROM exporter_sync_batches b WHERE b.run_id = $1 AND b.account = $2 AND b.region = $3 AND b.kind = $4), 0),
			removed = removed + COALESCE((SELECT SUM(b.removed) FROM exporter_sync_batches b WHERE b.run_id = $1 AND b.account = $2 AND b.region = $3 AND b.kind = $4), 0)
		WHERE run_id = $1 AND account = $2 AND region = $3 AND kind = $4`, s.RunID, s.Account, s.Region, s.Kind)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `DELETE FROM exporter_sync_batches WHERE run_id = $1 AND account = $2 AND region = $3 AND kind = $4`,
		s.RunID, s.Account, s.Region, s.Kind)
	return err
}

// pendingScopes are a run's scopes in an account that are not done, in the order of their positions.
func pendingScopes(ctx context.Context, q store.Querier, runID, account string, after, limit int) ([]SyncScope, error) {
	rows, err := q.Query(ctx, selectScope+` WHERE s.run_id = $1 AND s.account = $2 AND s.stage <> 'done' AND s.position > $3 ORDER BY s.position LIMIT $4`,
		runID, account, after, limit)
	return store.All(rows, err, scanScope)
}

// pendingAccounts are those of which a run has open scopes.
func pendingAccounts(ctx context.Context, q store.Querier, runID string) ([]string, error) {
	rows, err := q.Query(ctx, `SELECT DISTINCT account FROM exporter_sync_scopes WHERE run_id = $1 AND stage <> 'done' AND account <> $2`,
		runID, unrememberedScope.Account)
	return store.All(rows, err, func(row store.Row) (account string, err error) {
		err = row.Scan(&account)
		return account, err
	})
}

func loadScope(ctx context.Context, q store.Querier, runID string, k ScopeKey) (SyncScope, bool, error) {
	return store.One(q.QueryRow(ctx, selectScope+` WHERE s.run_id = $1 AND s.account = $2 AND s.region = $3 AND s.kind = $4`,
		runID, k.Account, k.Region, k.Kind), scanScope)
}

func listScopes(ctx context.Context, q store.Querier, runID string, f ScopeFilter, after ScopeKey, limit int) ([]SyncScope, error) {
	rows, err := q.Query(ctx, selectScope+` WHERE s.run_id = $1 AND (s.account, s.region, s.kind) > ($2, $3, $4)
			AND ($5 = '' OR s.account = $5) AND ($6 = '' OR s.region = $6) AND ($7 = '' OR s.kind = $7) AND ($8 = '' OR s.status = $8)
		ORDER BY s.account, s.region, s.kind LIMIT $9`,
		runID, after.Account, after.Region, after.Kind, f.Account, f.Region, f.Kind, f.Status, limit)
	return store.All(rows, err, scanScope)
}

// heldScopes are the scopes of a run that were held.
func heldScopes(ctx context.Context, q store.Querier, runID string) ([]ScopeKey, error) {
	rows, err := q.Query(ctx, `SELECT account, region, kind FROM exporter_sync_scopes WHERE run_id = $1 AND status = 'held' ORDER BY account, region, kind`, runID)
	return store.All(rows, err, scanScopeKey)
}

const sumTotals = `COUNT(*), SUM(CASE WHEN s.stage = 'done' THEN 1 ELSE 0 END), SUM(CASE WHEN s.status = 'failed' THEN 1 ELSE 0 END),
	SUM(CASE WHEN s.status = 'held' THEN 1 ELSE 0 END), SUM(CASE WHEN s.status = 'skipped' THEN 1 ELSE 0 END), SUM(s.expected), SUM(s.listed), SUM(s.unchanged),
	SUM(s.created + COALESCE(b.created, 0)), SUM(s.updated + COALESCE(b.updated, 0)), SUM(s.removed + COALESCE(b.removed, 0)),
	SUM(s.failed), SUM(s.missing), SUM(s.unread), SUM(s.held)`

func (t *SyncTotals) fields() []any {
	return []any{
		&t.Scopes, &t.ScopesDone, &t.ScopesFailed, &t.ScopesHeld, &t.ScopesSkipped, &t.Expected, &t.Listed, &t.Unchanged,
		&t.Created, &t.Updated, &t.Removed, &t.Failed, &t.Missing, &t.Unread, &t.Held,
	}
}

// kindTotals sums a run up by kind.
func kindTotals(ctx context.Context, q store.Querier, runID string) ([]KindTotals, error) {
	rows, err := q.Query(ctx, `SELECT s.kind, `+sumTotals+`, MIN(CASE WHEN s.started_at > 0 THEN s.started_at END), MAX(s.finished_at),
		MAX(s.error)`+fromScopes+` WHERE s.run_id = $1 GROUP BY s.kind ORDER BY s.kind`, runID)
	list, err := store.All(rows, err, func(row store.Row) (KindTotals, error) {
		var k KindTotals
		var started *int64
		var finished int64
		err := row.Scan(append(append([]any{&k.Kind}, k.fields()...), &started, &finished, &k.Error)...)
		if started != nil {
			k.StartedAt = fromMillis(*started)
		}
		if k.ScopesDone == k.Scopes {
			k.FinishedAt = fromMillis(finished)
		}
		return k, err
	})
	if err != nil {
		return nil, err
	}
	drift, err := driftByKind(ctx, q, runID)
	if err != nil {
		return nil, err
	}
	for i := range list {
		list[i].Drift, list[i].DriftPending = drift[list[i].Kind].confirmed, drift[list[i].Kind].pending
	}
	return list, nil
}

// runTotals sums a run up.
func runTotals(ctx context.Context, q store.Querier, runID string) (SyncTotals, error) {
	kinds, err := kindTotals(ctx, q, runID)
	var t SyncTotals
	for i := range kinds {
		t.add(&kinds[i].SyncTotals)
	}
	return t, err
}

func (t *SyncTotals) add(o *SyncTotals) {
	into, from := t.fields(), o.fields()
	for i := range into {
		*into[i].(*int64) += *from[i].(*int64)
	}
	t.Drift, t.DriftPending = t.Drift+o.Drift, t.DriftPending+o.DriftPending
}

// noteChanges keeps what happened to some resources; a later note of the same run
// takes the place of an earlier one.
func noteChanges(ctx context.Context, tx *store.Tx, s *SyncScope, list []SyncChange) error {
	for _, c := range list {
		_, err := tx.Exec(ctx, `INSERT INTO exporter_sync_changes (run_id, account, region, kind, identifier, change, why, at)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
			ON CONFLICT (run_id, account, region, kind, identifier) DO UPDATE SET change = excluded.change, why = excluded.why, at = excluded.at`,
			s.RunID, s.Account, s.Region, s.Kind, c.Identifier, c.Change, c.Why, millis(c.At))
		if err != nil {
			return err
		}
	}
	return nil
}

func listChanges(ctx context.Context, q store.Querier, runID string, f ScopeFilter, after Key, limit int) ([]SyncChange, error) {
	rows, err := q.Query(ctx, `SELECT account, region, kind, identifier, change, why, at FROM exporter_sync_changes
		WHERE run_id = $1 AND (account, region, kind, identifier) > ($2, $3, $4, $5)
			AND ($6 = '' OR account = $6) AND ($7 = '' OR region = $7) AND ($8 = '' OR kind = $8) AND ($9 = '' OR change = $9)
		ORDER BY account, region, kind, identifier LIMIT $10`,
		runID, after.Account, after.Region, after.Kind, after.Identifier, f.Account, f.Region, f.Kind, f.Status, limit)
	return store.All(rows, err, func(row store.Row) (SyncChange, error) {
		var c SyncChange
		var at int64
		err := row.Scan(&c.Account, &c.Region, &c.Kind, &c.Identifier, &c.Change, &c.Why, &at)
		c.At = fromMillis(at)
		return c, err
	})
}

// noteListed keeps what a dry run has listed.
func noteListed(ctx context.Context, tx *store.Tx, s *SyncScope, identifiers []string) error {
	for _, id := range identifiers {
		_, err := tx.Exec(ctx, `INSERT INTO exporter_sync_listed (run_id, account, region, kind, identifier) VALUES ($1, $2, $3, $4, $5)
			ON CONFLICT DO NOTHING`, s.RunID, s.Account, s.Region, s.Kind, id)
		if err != nil {
			return err
		}
	}
	return nil
}

// candidates are the resources of a scope that are known and that nothing has
// confirmed since the scope began, after a cursor in the order of their
// identifiers. Of a dry run, which confirms nothing, those that it has listed are left out.
func candidates(ctx context.Context, q store.Querier, s *SyncScope, dryRun bool, limit int) ([]string, error) {
	rows, err := q.Query(ctx, `SELECT identifier FROM exporter_resources r
		WHERE account = $1 AND region = $2 AND kind = $3 AND present AND ticket < $4 AND identifier > $5`+unlisted(dryRun)+`
		ORDER BY identifier LIMIT $7`, s.Account, s.Region, s.Kind, s.ticket, s.cursor, s.RunID, limit)
	return store.All(rows, err, func(row store.Row) (id string, err error) { return id, row.Scan(&id) })
}

// countCandidates counts what candidates returns, from the cursor on, and all known resources of the scope.
func countCandidates(ctx context.Context, q store.Querier, s *SyncScope, dryRun bool) (missing, present int64, err error) {
	err = q.QueryRow(ctx, `SELECT COALESCE(SUM(CASE WHEN ticket < $4 AND identifier > $5`+unlisted(dryRun)+` THEN 1 ELSE 0 END), 0), COUNT(*)
		FROM exporter_resources r WHERE account = $1 AND region = $2 AND kind = $3 AND present`,
		s.Account, s.Region, s.Kind, s.ticket, s.cursor, s.RunID).Scan(&missing, &present)
	return missing, present, err
}

func unlisted(dryRun bool) string {
	if !dryRun {
		return ` AND $6 <> ''`
	}
	return ` AND NOT EXISTS (SELECT 1 FROM exporter_sync_listed l WHERE l.run_id = $6 AND l.account = r.account AND l.region = r.region
		AND l.kind = r.kind AND l.identifier = r.identifier)`
}

// remembered reports whether an entity is of a resource.
func remembered(ctx context.Context, q store.Querier, ref catalog.EntityRef) (bool, error) {
	var n int
	err := q.QueryRow(ctx, `SELECT COUNT(*) FROM exporter_entities WHERE blueprint = $1 AND identifier = $2`, ref.Blueprint, ref.Identifier).Scan(&n)
	return n > 0, err
}

func loadSettings(ctx context.Context, q store.Querier) (SyncSettings, bool, error) {
	return store.One(q.QueryRow(ctx, `SELECT interval_ms, removal_count, removal_percent, updated_at FROM exporter_sync_settings WHERE id = 1`),
		func(row store.Row) (SyncSettings, error) {
			var s SyncSettings
			var interval, updated int64
			err := row.Scan(&interval, &s.RemovalCount, &s.RemovalPercent, &updated)
			s.Interval, s.UpdatedAt = time.Duration(interval)*time.Millisecond, fromMillis(updated)
			return s, err
		})
}

func saveSettings(ctx context.Context, tx *store.Tx, s SyncSettings) error {
	_, err := tx.Exec(ctx, `INSERT INTO exporter_sync_settings (id, interval_ms, removal_count, removal_percent, updated_at)
		VALUES (1, $1, $2, $3, $4)
		ON CONFLICT (id) DO UPDATE SET interval_ms = excluded.interval_ms, removal_count = excluded.removal_count,
			removal_percent = excluded.removal_percent, updated_at = excluded.updated_at`,
		s.Interval.Milliseconds(), s.RemovalCount, s.RemovalPercent, millis(s.UpdatedAt))
	if err != nil {
		return fmt.Errorf("save the sync settings: %w", err)
	}
	return nil
}

// lastFullRun is when the last run of all that is configured was asked for by a time;
// zero without one.
func lastFullRun(ctx context.Context, q store.Querier, by time.Time) (time.Time, error) {
	var at int64
	err := q.QueryRow(ctx, `SELECT COALESCE(MAX(created_at), 0) FROM exporter_sync_runs WHERE selection = '{}' AND NOT dry_run AND confirms = ''
		AND created_at <= $1`, millis(by)).Scan(&at)
	return fromMillis(at), err
}

// configured reports whether there are a configuration and a cloud account.
func configured(ctx context.Context, q store.Querier) (bool, error) {
	var n int
	err := q.QueryRow(ctx, `SELECT (SELECT COUNT(*) FROM exporter_state WHERE config_revision > 0) * (SELECT COUNT(*) FROM exporter_accounts)`).Scan(&n)
	return n > 0, err
}

// knownScopes counts the resources that are known, by scope.
func knownScopes(ctx context.Context, q store.Querier) (map[ScopeKey]int64, error) {
	rows, err := q.Query(ctx, `SELECT account, region, kind, COUNT(*) FROM exporter_resources WHERE present GROUP BY account, region, kind`)
	known := map[ScopeKey]int64{}
	_, err = store.All(rows, err, func(row store.Row) (struct{}, error) {
		var k ScopeKey
		var n int64
		err := row.Scan(&k.Account, &k.Region, &k.Kind, &n)
		known[k] = n
		return struct{}{}, err
	})
	return known, err
}
