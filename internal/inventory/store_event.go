package inventory

import (
	"context"
	"time"

	"github.com/rialto-bus/rialto/internal/store"
)

// insertEvent takes an event in. It changes nothing and returns false if the
// cloud account has the event already, by its id or by its meaning.
func insertEvent(ctx context.Context, tx *store.Tx, accountID, webhookID string, n notification, received time.Time) (bool, error) {
	return changedRow(tx.Exec(ctx, `INSERT INTO inventory_events (cloud_account_id, event_id, webhook_id, region, instance_id, state,
			event_at, received_at, settled_at, outcome)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 0, '') ON CONFLICT DO NOTHING`,
		accountID, n.ID, webhookID, n.Region, n.InstanceID, n.State, millis(n.Time), millis(received)))
}

// outcomeContradicted marks events that the cloud has shown to be wrong.
const outcomeContradicted = "contradicted"

// instanceEvents lists the events held about an instance, without those that the
// cloud contradicted, and says of each whether it is settled.
func instanceEvents(ctx context.Context, q store.Querier, accountID, region, instanceID string) (all, fresh []stateEvent, webhooks map[string]string, err error) {
	rows, err := q.Query(ctx, `SELECT event_id, webhook_id, state, event_at, received_at, settled_at FROM inventory_events
		WHERE cloud_account_id = $1 AND region = $2 AND instance_id = $3 AND outcome <> $4`, accountID, region, instanceID, outcomeContradicted)
	if err != nil {
		return nil, nil, nil, err
	}
	defer rows.Close()
	webhooks = map[string]string{}
	for rows.Next() {
		var e stateEvent
		var webhook string
		var at, received, settled int64
		if err := rows.Scan(&e.EventID, &webhook, &e.State, &at, &received, &settled); err != nil {
			return nil, nil, nil, err
		}
		e.Time, e.Received = fromMillis(at), fromMillis(received)
		webhooks[e.EventID] = webhook
		all = append(all, e)
		if settled == 0 {
			fresh = append(fresh, e)
		}
	}
	return all, fresh, webhooks, rows.Err()
}

func settleEvents(ctx context.Context, tx *store.Tx, accountID string, events []stateEvent, at time.Time, outcome string) error {
	for _, e := range events {
		if _, err := tx.Exec(ctx, `UPDATE inventory_events SET settled_at = $3, outcome = $4 WHERE cloud_account_id = $1 AND event_id = $2`,
			accountID, e.EventID, millis(at), outcome); err != nil {
			return err
		}
	}
	return nil
}

// hasEvent reports whether the cloud account has an event of this id.
func hasEvent(ctx context.Context, tx *store.Tx, accountID, eventID string) (bool, error) {
	_, found, err := store.One(tx.QueryRow(ctx, `SELECT 1 FROM inventory_events WHERE cloud_account_id = $1 AND event_id = $2`, accountID, eventID),
		func(row store.Row) (one int, err error) { return one, row.Scan(&one) })
	return found, err
}

// Callers choose the regions and accounts that are counted, so their number is
// bounded: AWS has some 40 regions. What comes beyond that is not counted by
// region, and by account under otherSubjects.
const (
	maxCountedRegions  = 200
	maxCountedSubjects = 100
	otherSubjects      = "others"
)

// countEvent notes that a region's event path works.
func countEvent(ctx context.Context, tx *store.Tx, accountID, region string, eventTime, received time.Time) error {
	counted, err := changedRow(tx.Exec(ctx, `UPDATE inventory_regions SET events = events + 1,
			last_event_at = CASE WHEN $3 > last_event_at THEN $3 ELSE last_event_at END, last_received_at = $4, drift = 0
		WHERE cloud_account_id = $1 AND region = $2`, accountID, region, millis(eventTime), millis(received)))
	if err != nil || counted {
		return err
	}
	var regions int
	if err := tx.QueryRow(ctx, `SELECT COUNT(*) FROM inventory_regions WHERE cloud_account_id = $1`, accountID).Scan(&regions); err != nil || regions >= maxCountedRegions {
		return err
	}
	_, err = tx.Exec(ctx, `INSERT INTO inventory_regions (cloud_account_id, region, events, last_event_at, last_received_at,
			last_sync_at, last_sync_error, drift, last_drift_at)
		VALUES ($1, $2, 1, $3, $4, 0, '', 0, 0)
		ON CONFLICT (cloud_account_id, region) DO UPDATE SET events = inventory_regions.events + 1,
			last_event_at = CASE WHEN excluded.last_event_at > inventory_regions.last_event_at THEN excluded.last_event_at ELSE inventory_regions.last_event_at END,
			last_received_at = excluded.last_received_at, drift = 0`,
		accountID, region, millis(eventTime), millis(received))
	return err
}

// countRejection counts a call that was refused, by reason and what it was about.
func countRejection(ctx context.Context, tx *store.Tx, accountID, reason, subject, message string, at time.Time) error {
	counted, err := changedRow(tx.Exec(ctx, `UPDATE inventory_rejections SET count = count + 1, last_at = $4, message = $5
		WHERE cloud_account_id = $1 AND reason = $2 AND subject = $3`, accountID, reason, subject, millis(at), message))
	if err != nil || counted {
		return err
	}
	var subjects int
	if err := tx.QueryRow(ctx, `SELECT COUNT(*) FROM inventory_rejections WHERE cloud_account_id = $1 AND reason = $2`, accountID, reason).Scan(&subjects); err != nil {
		return err
	}
	if subjects >= maxCountedSubjects {
		subject = otherSubjects
	}
	_, err = tx.Exec(ctx, `INSERT INTO inventory_rejections (cloud_account_id, reason, subject, count, last_at, message)
		VALUES ($1, $2, $3, 1, $4, $5)
		ON CONFLICT (cloud_account_id, reason, subject) DO UPDATE SET count = inventory_rejections.count + 1,
			last_at = excluded.last_at, message = excluded.message`, accountID, reason, subject, millis(at), message)
	return err
}

func listRejections(ctx context.Context, q store.Querier, accountID string) ([]Rejection, error) {
	rows, err := q.Query(ctx, `SELECT reason, subject, count, last_at, message FROM inventory_rejections
		WHERE cloud_account_id = $1 ORDER BY last_at DESC`, accountID)
	return store.All(rows, err, func(row store.Row) (Rejection, error) {
		var r Rejection
		var at int64
		err := row.Scan(&r.Reason, &r.Subject, &r.Count, &at, &r.Message)
		r.LastAt = fromMillis(at)
		return r, err
	})
}

// deleteOld deletes events and tombstones from before the time given, and changes
// and removed servers from before history; at most limit rows of each kind. It
// returns whether there may be more.
func deleteOld(ctx context.Context, tx *store.Tx, before, history time.Time, limit int) (more bool, err error) {
	for _, q := range []struct {
		text   string
		before time.Time
	}{
		{`DELETE FROM inventory_events WHERE (cloud_account_id, event_id) IN
			(SELECT cloud_account_id, event_id FROM inventory_events WHERE received_at < $1 AND settled_at > 0 LIMIT $2)`, before},
		{`DELETE FROM inventory_instances WHERE (project_id, account_id, region, instance_id) IN
			(SELECT project_id, account_id, region, instance_id FROM inventory_instances WHERE removed_at < $1 AND removed_at > 0 AND NOT ignored LIMIT $2)`, before},
		// The oldest changes have the lowest ids.
		{`DELETE FROM inventory_history WHERE id IN
			(SELECT id FROM (SELECT id, at FROM inventory_history ORDER BY id LIMIT $2) oldest WHERE at < $1)`, history},
		{`DELETE FROM inventory_agents WHERE server_id IN
			(SELECT id FROM inventory_servers WHERE deleted_at > 0 AND deleted_at < $1 ORDER BY deleted_at, id LIMIT $2)`, history},
		{`DELETE FROM inventory_servers WHERE id IN
			(SELECT id FROM inventory_servers WHERE deleted_at > 0 AND deleted_at < $1 ORDER BY deleted_at, id LIMIT $2)`, history},
	} {
		res, err := tx.Exec(ctx, q.text, millis(q.before), limit)
		if err != nil {
			return false, err
		}
		n, err := res.RowsAffected()
		if err != nil {
			return false, err
		}
		more = more || n == int64(limit)
	}
	return more, nil
}
