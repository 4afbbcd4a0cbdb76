package function

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/rialto-bus/rialto/internal/store"
)

const mappingColumns = `id, uuid, account, region, function_name, qualifier, source_arn, settings, tags, state, enabled, result, version, modified_at`

func scanMapping(row store.Row) (*Mapping, error) {
	var m Mapping
	var source, settings, tags string
	err := row.Scan(&m.id, &m.UUID, &m.Function.Account, &m.Function.Region, &m.Function.Name, &m.Qualifier, &source, &settings, &tags,
		&m.State, &m.Enabled, &m.Result, &m.version, &m.Modified)
	if err != nil {
		return nil, err
	}
	var ok bool
	if m.Source, ok = parseQueueARN(source); !ok {
		return nil, fmt.Errorf("event source mapping %s: %q is not the ARN of a queue", m.UUID, source)
	}
	if err := json.Unmarshal([]byte(settings), &m.settings); err != nil {
		return nil, fmt.Errorf("event source mapping %s: %w", m.UUID, err)
	}
	if err := json.Unmarshal([]byte(tags), &m.Tags); err != nil {
		return nil, fmt.Errorf("event source mapping %s: %w", m.UUID, err)
	}
	return &m, nil
}

func insertMapping(ctx context.Context, tx *store.Tx, m *Mapping) error {
	settings, err := m.settings.encode()
	if err != nil {
		return err
	}
	m.version = 1
	err = tx.QueryRow(ctx, `INSERT INTO event_source_mapping
		(uuid, account, region, function_name, qualifier, source_arn, settings, tags, state, enabled, result, version, modified_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, '', $11, $12) RETURNING id`,
		m.UUID, m.Function.Account, m.Function.Region, m.Function.Name, m.Qualifier, m.Source.String(), settings, encodeMap(m.Tags),
		m.State, m.Enabled, m.version, m.Modified).Scan(&m.id)
	if err != nil {
		return fmt.Errorf("insert event source mapping: %w", err)
	}
	return nil
}

func (s *mappingSettings) encode() (string, error) {
	b, err := json.Marshal(s)
	if err != nil {
		return "", fmt.Errorf("encode event source mapping: %w", err)
	}
	return string(b), nil
}

// updateMapping writes all that may change but result and tags, and gives the mapping its
// next version.
func updateMapping(ctx context.Context, tx *store.Tx, m *Mapping) error {
	settings, err := m.settings.encode()
	if err != nil {
		return err
	}
	m.version++
	_, err = tx.Exec(ctx, `UPDATE event_source_mapping SET function_name = $2, qualifier = $3, settings = $4, state = $5, enabled = $6,
		version = $7, modified_at = $8 WHERE id = $1`, m.id, m.Function.Name, m.Qualifier, settings, m.State, m.Enabled, m.version, m.Modified)
	if err != nil {
		return fmt.Errorf("update event source mapping %s: %w", m.UUID, err)
	}
	return nil
}

func updateMappingTags(ctx context.Context, tx *store.Tx, id int64, tags map[string]string) error {
	if _, err := tx.Exec(ctx, `UPDATE event_source_mapping SET tags = $2 WHERE id = $1`, id, encodeMap(tags)); err != nil {
		return fmt.Errorf("tag event source mapping: %w", err)
	}
	return nil
}

// settleMapping ends a transition, unless the mapping has changed since it was read.
func settleMapping(ctx context.Context, tx *store.Tx, m *Mapping, state string) error {
	_, err := tx.Exec(ctx, `UPDATE event_source_mapping SET state = $3 WHERE id = $1 AND version = $2`, m.id, m.version, state)
	if err != nil {
		return fmt.Errorf("update event source mapping %s: %w", m.UUID, err)
	}
	return nil
}

func updateMappingResult(ctx context.Context, tx *store.Tx, id int64, result string) error {
	if _, err := tx.Exec(ctx, `UPDATE event_source_mapping SET result = $2 WHERE id = $1`, id, result); err != nil {
		return fmt.Errorf("note the result of an event source mapping: %w", err)
	}
	return nil
}

func removeMapping(ctx context.Context, tx *store.Tx, id int64) error {
	if _, err := tx.Exec(ctx, `DELETE FROM event_source_mapping WHERE id = $1 AND state = $2`, id, stateDeleting); err != nil {
		return fmt.Errorf("delete event source mapping: %w", err)
	}
	return nil
}

// mappingByUUID returns nil if there is none.
func mappingByUUID(ctx context.Context, db store.Querier, id string) (*Mapping, error) {
	m, _, err := store.One(db.QueryRow(ctx, `SELECT `+mappingColumns+` FROM event_source_mapping WHERE uuid = $1`, id), scanMapping)
	if err != nil {
		return nil, fmt.Errorf("read event source mapping: %w", err)
	}
	return m, nil
}

// mappingVersion returns 0 once the mapping is gone.
func mappingVersion(ctx context.Context, db store.Querier, id int64) (version int64, err error) {
	err = db.QueryRow(ctx, `SELECT version FROM event_source_mapping WHERE id = $1`, id).Scan(&version)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return 0, fmt.Errorf("read event source mapping: %w", err)
	}
	return version, nil
}

// findSameMapping returns the id of the mapping of the same function and queue, if there is one.
func findSameMapping(ctx context.Context, tx *store.Tx, m *Mapping) (id string, err error) {
	err = tx.QueryRow(ctx, `SELECT uuid FROM event_source_mapping
		WHERE account = $1 AND region = $2 AND function_name = $3 AND qualifier = $4 AND source_arn = $5`,
		m.Function.Account, m.Function.Region, m.Function.Name, m.Qualifier, m.Source.String()).Scan(&id)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return "", fmt.Errorf("look for an event source mapping: %w", err)
	}
	return id, nil
}

// listMappings returns the mappings after one, ordered by id: those of a function if it is named, and
// of a queue if that is.
func listMappings(ctx context.Context, db store.Querier, account, region, function, source, after string, limit int) ([]*Mapping, error) {
	rows, err := db.Query(ctx, `SELECT `+mappingColumns+` FROM event_source_mapping
		WHERE account = $1 AND region = $2 AND ($3 = '' OR function_name = $3) AND ($4 = '' OR source_arn = $4) AND uuid > $5
		ORDER BY uuid LIMIT $6`, account, region, function, source, after, limit)
	list, err := store.All(rows, err, scanMapping)
	if err != nil {
		return nil, fmt.Errorf("list event source mappings: %w", err)
	}
	return list, nil
}

// mappingsToFollow returns the ids of the mappings that are polled or on the way to
// another state.
func mappingsToFollow(ctx context.Context, db store.Querier) ([]string, error) {
	rows, err := db.Query(ctx, `SELECT uuid FROM event_source_mapping WHERE state <> $1 ORDER BY id`, stateDisabled)
	ids, err := store.All(rows, err, func(row store.Row) (id string, err error) { return id, row.Scan(&id) })
	if err != nil {
		return nil, fmt.Errorf("list event source mappings: %w", err)
	}
	return ids, nil
}
