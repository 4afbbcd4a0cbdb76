package instance

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/rialto-bus/rialto/internal/store"
)

const columns = `seq, id, account, region, reservation_id, client_token, request_hash, state, private_ip, public_ip,
	reason_code, reason_message, transition_reason, launched_at, tags, tag_version, launch`

func selectInstances(ctx context.Context, db store.Querier, rest string, args ...any) ([]*Instance, error) {
	rows, err := db.Query(ctx, `SELECT `+columns+` FROM instance `+rest, args...)
	list, err := store.All(rows, err, scanInstance)
	if err != nil {
		return nil, fmt.Errorf("read instances: %w", err)
	}
	return list, nil
}

func scanInstance(row store.Row) (*Instance, error) {
	var i Instance
	var launched int64
	var tags, launch string
	err := row.Scan(&i.seq, &i.ID, &i.Account, &i.Region, &i.ReservationID, &i.clientToken, &i.requestHash, &i.State,
		&i.PrivateIP, &i.PublicIP, &i.ReasonCode, &i.ReasonMessage, &i.TransitionReason, &launched, &tags, &i.tagVersion, &launch)
	if err != nil {
		return nil, err
	}
	i.Launched = time.UnixMilli(launched)
	if err := json.Unmarshal([]byte(tags), &i.Tags); err != nil {
		return nil, fmt.Errorf("tags of %s: %w", i.ID, err)
	}
	if err := json.Unmarshal([]byte(launch), &i.Launch); err != nil {
		return nil, fmt.Errorf("launch of %s: %w", i.ID, err)
	}
	return &i, nil
}

// selectIDs returns the instances of any place that exist, in no order.
func selectIDs(ctx context.Context, db store.Querier, ids []string, lock string) ([]*Instance, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	return selectInstances(ctx, db, `WHERE id IN `+in(1, len(ids))+lock, appendStrings(nil, ids)...)
}

// selectByID returns those of a place by id.
func selectByID(ctx context.Context, db store.Querier, p Place, ids []string, lock string) (map[string]*Instance, error) {
	list, err := selectIDs(ctx, db, ids, lock)
	if err != nil {
		return nil, err
	}
	found := make(map[string]*Instance, len(list))
	for _, i := range list {
		if i.Place == p {
			found[i.ID] = i
		}
	}
	return found, nil
}

func selectByToken(ctx context.Context, db store.Querier, p Place, token string) ([]*Instance, error) {
	return selectInstances(ctx, db, `WHERE account = $1 AND region = $2 AND client_token = $3 AND client_token <> '' ORDER BY seq`,
		p.Account, p.Region, token)
}

// selectAfter returns up to limit instances of a place in the order of their launch.
func selectAfter(ctx context.Context, db store.Querier, p Place, after int64, limit int) ([]*Instance, error) {
	return selectInstances(ctx, db, `WHERE account = $1 AND region = $2 AND seq > $3 ORDER BY seq LIMIT $4`,
		p.Account, p.Region, after, limit)
}

// insertRows is how many instances one INSERT carries.
const insertRows = 50

// insertInstances adds instances and sets what orders them.
func insertInstances(ctx context.Context, tx *store.Tx, list []*Instance) error {
	for len(list) > 0 {
		n := min(len(list), insertRows)
		if err := insertSome(ctx, tx, list[:n]); err != nil {
			return fmt.Errorf("insert instances: %w", err)
		}
		list = list[n:]
	}
	return nil
}

func insertSome(ctx context.Context, tx *store.Tx, list []*Instance) error {
	const fields = 16
	var q strings.Builder
	q.WriteString(`INSERT INTO instance (id, account, region, reservation_id, client_token, request_hash, state, private_ip, public_ip,
		reason_code, reason_message, transition_reason, launched_at, tags, tag_version, launch) VALUES `)
	var args []any
	for k, i := range list {
		if k > 0 {
			q.WriteString(", ")
		}
		q.WriteString(in(1+k*fields, fields))
		tags, launch, err := encode(i)
		if err != nil {
			return err
		}
		args = append(args, i.ID, i.Account, i.Region, i.ReservationID, i.clientToken, i.requestHash, i.State, i.PrivateIP, i.PublicIP,
			i.ReasonCode, i.ReasonMessage, i.TransitionReason, i.Launched.UnixMilli(), tags, i.tagVersion, launch)
	}
	_, err := tx.Exec(ctx, q.String(), args...)
	return err
}

func encode(i *Instance) (tags, launch string, err error) {
	if i.Tags == nil {
		i.Tags = map[string]string{}
	}
	t, err := json.Marshal(i.Tags)
	if err != nil {
		return "", "", err
	}
	l, err := json.Marshal(i.Launch)
	return string(t), string(l), err
}

// updateInstance writes what a change of state may change.
func updateInstance(ctx context.Context, tx *store.Tx, i *Instance) error {
	_, err := tx.Exec(ctx, `UPDATE instance SET state = $2, private_ip = $3, public_ip = $4, reason_code = $5, reason_message = $6,
		transition_reason = $7, launched_at = $8 WHERE id = $1`,
		i.ID, i.State, i.PrivateIP, i.PublicIP, i.ReasonCode, i.ReasonMessage, i.TransitionReason, i.Launched.UnixMilli())
	if err != nil {
		return fmt.Errorf("update instance %s: %w", i.ID, err)
	}
	return nil
}

func updateTags(ctx context.Context, tx *store.Tx, i *Instance) error {
	tags, _, err := encode(i)
	if err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, `UPDATE instance SET tags = $2, tag_version = $3 WHERE id = $1`, i.ID, tags, i.tagVersion); err != nil {
		return fmt.Errorf("update tags of %s: %w", i.ID, err)
	}
	return nil
}

func deleteTerminated(ctx context.Context, tx *store.Tx, ids []string) error {
	if _, err := tx.Exec(ctx, `DELETE FROM instance WHERE state = 'terminated' AND id IN `+in(1, len(ids)), appendStrings(nil, ids)...); err != nil {
		return fmt.Errorf("delete terminated instances: %w", err)
	}
	return nil
}

func countLive(ctx context.Context, tx *store.Tx, p Place) (n int, err error) {
	err = tx.QueryRow(ctx, `SELECT COUNT(*) FROM instance WHERE account = $1 AND region = $2 AND private_ip <> ''`, p.Account, p.Region).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("count instances: %w", err)
	}
	return n, nil
}

// nextHosts counts n addresses on in the subnet and returns the first.
func nextHosts(ctx context.Context, tx *store.Tx, subnetID string, n int) (first int64, err error) {
	err = tx.QueryRow(ctx, `INSERT INTO instance_subnet (subnet_id, next_host) VALUES ($1, $2)
		ON CONFLICT (subnet_id) DO UPDATE SET next_host = instance_subnet.next_host + excluded.next_host RETURNING next_host`,
		subnetID, n).Scan(&first)
	if err != nil {
		return 0, fmt.Errorf("count addresses: %w", err)
	}
	return first - int64(n), nil
}

func usedPrivateIPs(ctx context.Context, tx *store.Tx, p Place, ips []string) (map[string]bool, error) {
	return usedIPs(ctx, tx, `SELECT private_ip FROM instance WHERE account = $1 AND region = $2 AND private_ip <> '' AND private_ip IN `+in(3, len(ips)),
		appendStrings([]any{p.Account, p.Region}, ips))
}

func usedPublicIPs(ctx context.Context, tx *store.Tx, ips []string) (map[string]bool, error) {
	if len(ips) == 0 {
		return nil, nil
	}
	return usedIPs(ctx, tx, `SELECT public_ip FROM instance WHERE public_ip <> '' AND public_ip IN `+in(1, len(ips)), appendStrings(nil, ips))
}

func usedIPs(ctx context.Context, tx *store.Tx, query string, args []any) (map[string]bool, error) {
	rows, err := tx.Query(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("read addresses: %w", err)
	}
	defer rows.Close()
	used := map[string]bool{}
	for rows.Next() {
		var ip string
		if err := rows.Scan(&ip); err != nil {
			return nil, fmt.Errorf("read addresses: %w", err)
		}
		used[ip] = true
	}
	return used, rows.Err()
}

// in returns "($from, $from+1, …)" for n parameters.
func in(from, n int) string {
	var b strings.Builder
	b.WriteByte('(')
	for k := range n {
		if k > 0 {
			b.WriteString(", ")
		}
		b.WriteByte('$')
		b.WriteString(strconv.Itoa(from + k))
	}
	b.WriteByte(')')
	return b.String()
}

func appendStrings(args []any, list []string) []any {
	for _, s := range list {
		args = append(args, s)
	}
	return args
}
