package catalog

import (
	"context"
	"encoding/json"
	"time"

	"github.com/rialto-bus/rialto/internal/store"
)

// What an integration tells of its full syncs is kept within limits, the newest.
const (
	maxLogBatch      = 1000 // lines in one call
	maxLogLine       = 64 << 10
	keepLogs         = 14 * 24 * time.Hour
	keepLogLines     = 10_000 // of an integration
	maxLogPage       = 1000
	maxMetricsBatch  = 500
	maxMetrics       = 64 << 10
	keepMetrics      = 30 * 24 * time.Hour
	keepMetricsRows  = 10_000 // of an integration
	maxSyncsAnswered = 500
	sweepRows        = 1000 // deleted in one transaction
)

// KindExamples are examples of what an integration reads of a kind.
type KindExamples struct {
	Kind      string
	Examples  json.RawMessage // a list
	UpdatedAt time.Time
}

// PutKindExamples stores examples of a kind, at most 100 of them; what comes after
// is left out.
func (c *Catalog) PutKindExamples(ctx context.Context, id, kind string, examples []any) error {
	if err := checkName("kind", kind); err != nil {
		return err
	}
	examples = examples[:min(len(examples), maxExamples)]
	if err := checkSize("The examples", examples, maxExamplesBytes); err != nil {
		return err
	}
	text, err := json.Marshal(examples)
	if err != nil {
		return invalid("The examples cannot be written as JSON: %v.", err)
	}
	_, err = c.changeIntegration(ctx, id, func(tx *store.Tx, in Integration) (Integration, error) {
		n, size, err := countOtherKinds(ctx, tx, in.ID, kind)
		switch {
		case err == nil && n >= maxKinds:
			err = invalid("Integration %q has examples of %d kinds, as many as are kept.", in.InstallationID, n)
		case err == nil && size+len(text) > maxAllExamplesBytes:
			err = tooLarge("The examples of integration %q would have %d bytes; at most %d are kept.", in.InstallationID, size+len(text), maxAllExamplesBytes)
		}
		if err != nil {
			return in, err
		}
		return in, upsertExamples(ctx, tx, in.ID, kind, string(text), c.now())
	})
	return err
}

// checkName refuses an empty or long name and one that is no line of text.
func checkName(field, s string) error {
	if s == "" || len(s) > maxName {
		return invalid("%s must have 1 to %d bytes.", field, maxName)
	}
	return checkPlain(field, s)
}

// IntegrationKinds returns the kinds that an integration has given examples of.
func (c *Catalog) IntegrationKinds(ctx context.Context, id string) ([]KindExamples, error) {
	in, err := c.Integration(ctx, id, false)
	if err != nil {
		return nil, err
	}
	list, err := listKinds(ctx, c.db, in.ID)
	return list, annotate(err, "list kinds of integration %s", id)
}

// SetCursor stores how far an integration has read a source: that of the kind and
// index (its place among the resources of the config). The cursor is any JSON value.
func (c *Catalog) SetCursor(ctx context.Context, id, kind, index string, cursor any) error {
	if err := checkCursor(kind, index); err != nil {
		return err
	}
	if err := checkSize("The cursor", cursor, maxCursorBytes); err != nil {
		return err
	}
	text, err := json.Marshal(cursor)
	if err != nil {
		return invalid("The cursor cannot be written as JSON: %v.", err)
	}
	_, err = c.changeIntegration(ctx, id, func(tx *store.Tx, in Integration) (Integration, error) {
		n, err := countOtherCursors(ctx, tx, in.ID, kind, index)
		if err == nil && n >= maxCursors {
			err = invalid("Integration %q has %d cursors, as many as are kept.", in.InstallationID, n)
		}
		if err != nil {
			return in, err
		}
		return in, upsertCursor(ctx, tx, in.ID, kind, index, string(text), c.now())
	})
	return err
}

func checkCursor(kind, index string) error {
	if err := checkName("Query parameter kind", kind); err != nil {
		return err
	}
	if len(index) > maxName {
		return invalid("Query parameter index must have at most %d bytes.", maxName)
	}
	return checkPlain("Query parameter index", index)
}

// Cursor returns what SetCursor stored; JSON null if nothing is.
func (c *Catalog) Cursor(ctx context.Context, id, kind, index string) (json.RawMessage, error) {
	if err := checkCursor(kind, index); err != nil {
		return nil, err
	}
	in, err := c.Integration(ctx, id, false)
	if err != nil {
		return nil, err
	}
	cursor, found, err := loadCursor(ctx, c.db, in.ID, kind, index)
	if err == nil && !found {
		cursor = json.RawMessage("null")
	}
	return cursor, annotate(err, "read cursor of integration %s", id)
}

// LogLine is one thing that an integration logged.
type LogLine struct {
	ID         int64
	At         time.Time // as the integration says; when it came if it does not say
	Level      string
	EventID    string          // of the full sync; may be empty
	Line       json.RawMessage // the object as it was sent
	ReceivedAt time.Time
}

// AddLogs stores log lines, objects with message, level, timestamp and extra, at most
// 1000. Of an integration the last 10,000 are kept, for 14 days.
func (c *Catalog) AddLogs(ctx context.Context, id string, lines []any) error {
	if len(lines) > maxLogBatch {
		return invalid("logs has %d lines; send at most %d at a time.", len(lines), maxLogBatch)
	}
	now := c.now()
	parsed := make([]LogLine, 0, len(lines))
	for i, v := range lines {
		line, err := parseLogLine(v, now)
		if err != nil {
			return invalid("logs[%d]: %v", i, err)
		}
		parsed = append(parsed, line)
	}
	_, err := c.changeIntegration(ctx, id, func(tx *store.Tx, in Integration) (Integration, error) {
		if err := insertLogs(ctx, tx, in.ID, parsed); err != nil {
			return in, err
		}
		_, err := deleteLogsBeyond(ctx, tx, in.ID, keepLogLines)
		return in, err
	})
	return err
}

func parseLogLine(v any, now time.Time) (LogLine, error) {
	object, ok := v.(map[string]any)
	if !ok {
		return LogLine{}, invalid("it must be an object.")
	}
	text, err := json.Marshal(object)
	if err != nil {
		return LogLine{}, err
	}
	if len(text) > maxLogLine {
		return LogLine{}, invalid("it has %d bytes; at most %d are kept.", len(text), maxLogLine)
	}
	line := LogLine{At: now, ReceivedAt: now, Line: text}
	line.Level = plainString(object["level"], 50)
	line.EventID = plainString(object["eventId"], maxName)
	if extra, ok := object["extra"].(map[string]any); ok && line.EventID == "" {
		line.EventID = plainString(extra["event_id"], maxName)
	}
	if at, ok := parseLogTime(object["timestamp"]); ok {
		line.At = at
	}
	return line, nil
}

// plainString is v if it is a line of text of at most so many bytes; empty otherwise.
func plainString(v any, most int) string {
	s, _ := v.(string)
	if len(s) > most || checkPlain("", s) != nil {
		return ""
	}
	return s
}

// parseLogTime reads RFC 3339 or milliseconds since 1970; false for anything else.
func parseLogTime(v any) (time.Time, bool) {
	var t time.Time
	switch x := v.(type) {
	case string:
		var err error
		if t, err = time.Parse(time.RFC3339, x); err != nil {
			return t, false
		}
	case float64:
		if x < 0 || x > 1e15 {
			return t, false
		}
		t = time.UnixMilli(int64(x))
	default:
		return t, false
	}
	t = t.UTC().Truncate(time.Millisecond)
	return t, t.Year() >= 1970 && t.Year() < 10000
}

// LogFilter says which log lines to read.
type LogFilter struct {
	// At and ID are the position: lines before it, the newest first, or with After
	// those after it, the oldest first. A zero At is the end, or with After the beginning.
	At      time.Time
	ID      int64
	After   bool
	EventID string // empty: any
	Level   string // empty: any
	Limit   int    // 1 to 1000; 0 stands for 100
}

// Logs reads what an integration has logged.
func (c *Catalog) Logs(ctx context.Context, id string, f LogFilter) ([]LogLine, error) {
	in, err := c.Integration(ctx, id, false)
	if err != nil {
		return nil, err
	}
	if f.Limit == 0 {
		f.Limit = 100
	}
	f.Limit = min(f.Limit, maxLogPage)
	list, err := listLogs(ctx, c.db, in.ID, f)
	return list, annotate(err, "read logs of integration %s", id)
}

// SyncMetrics are what came of one kind in a full sync of an integration.
type SyncMetrics struct {
	EventID   string // of the full sync
	Kind      string
	Metrics   json.RawMessage // the object as it was sent
	CreatedAt time.Time
	UpdatedAt time.Time
}

// Sync sums up a full sync of an integration.
type Sync struct {
	EventID   string
	Kinds     int // that it has told of
	CreatedAt time.Time
	UpdatedAt time.Time
}

// PutSyncMetrics stores what came of kinds in full syncs, in place of what was
// stored of them before; at most 500 at a time. Each is an object that names its
// full sync in eventId and its kind in kindIdentifier or kind. They are kept for 30
// days, of an integration the last 10,000.
func (c *Catalog) PutSyncMetrics(ctx context.Context, id string, metrics []any) error {
	if len(metrics) > maxMetricsBatch {
		return invalid("syncKindsMetrics has %d elements; send at most %d at a time.", len(metrics), maxMetricsBatch)
	}
	parsed := make([]SyncMetrics, 0, len(metrics))
	for i, v := range metrics {
		m, err := parseMetrics(v)
		if err != nil {
			return invalid("syncKindsMetrics[%d]: %v", i, err)
		}
		parsed = append(parsed, m)
	}
	now := c.now()
	_, err := c.changeIntegration(ctx, id, func(tx *store.Tx, in Integration) (Integration, error) {
		for _, m := range parsed {
			if err := upsertMetrics(ctx, tx, in.ID, m, now); err != nil {
				return in, err
			}
		}
		_, err := deleteMetricsBeyond(ctx, tx, in.ID, keepMetricsRows)
		return in, err
	})
	return err
}

func parseMetrics(v any) (SyncMetrics, error) {
	object, ok := v.(map[string]any)
	if !ok {
		return SyncMetrics{}, invalid("it must be an object.")
	}
	text, err := json.Marshal(object)
	if err != nil {
		return SyncMetrics{}, err
	}
	if len(text) > maxMetrics {
		return SyncMetrics{}, invalid("it has %d bytes; at most %d are kept.", len(text), maxMetrics)
	}
	m := SyncMetrics{Metrics: text}
	m.EventID, _ = object["eventId"].(string)
	if m.Kind, _ = object["kindIdentifier"].(string); m.Kind == "" {
		m.Kind, _ = object["kind"].(string)
	}
	if err := checkName("eventId", m.EventID); err != nil {
		return m, err
	}
	return m, checkName("kindIdentifier", m.Kind)
}

// SyncMetrics returns what an integration told of a full sync, by kind; with an
// empty event id, of the last ones, at most 500.
func (c *Catalog) SyncMetrics(ctx context.Context, id, eventID string) ([]SyncMetrics, error) {
	in, err := c.Integration(ctx, id, false)
	if err != nil {
		return nil, err
	}
	if plainString(eventID, maxName) != eventID {
		return nil, nil
	}
	list, err := listMetrics(ctx, c.db, in.ID, eventID, maxSyncsAnswered)
	return list, annotate(err, "read metrics of integration %s", id)
}

// Syncs returns the full syncs that an integration has told of, the last first, at
// most 500.
func (c *Catalog) Syncs(ctx context.Context, id string) ([]Sync, error) {
	in, err := c.Integration(ctx, id, false)
	if err != nil {
		return nil, err
	}
	list, err := listSyncs(ctx, c.db, in.ID, maxSyncsAnswered)
	return list, annotate(err, "list syncs of integration %s", id)
}

// sweepIntegrations deletes logs and metrics that are past their time.
func (c *Catalog) sweepIntegrations(ctx context.Context) error {
	now := c.now()
	err := c.deleteInChunks(ctx, func(tx *store.Tx) (int64, error) { return deleteLogsBefore(ctx, tx, now.Add(-keepLogs)) })
	if err != nil {
		return annotate(err, "delete old logs of integrations")
	}
	err = c.deleteInChunks(ctx, func(tx *store.Tx) (int64, error) { return deleteMetricsBefore(ctx, tx, now.Add(-keepMetrics)) })
	return annotate(err, "delete old metrics of integrations")
}
