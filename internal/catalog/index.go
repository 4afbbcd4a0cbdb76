package catalog

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rialto-bus/rialto/internal/store"
)

// The index of values answers which entities may have a value, and never leaves one out; search
// reads those entities and looks for itself. So what is written here may be shortened.
//
// A row's value is a letter for the kind and the value in a form whose bytes sort as the
// values do. Strings that are times are there twice, as text and as a time.
const (
	indexText = "s"
	// indexTextEnd is behind all texts.
	indexTextEnd = "t"
	indexNumber  = "n" // 16 hexadecimal digits
	indexTime    = "d" // in UTC, to the millisecond
	indexBool    = "b" // 0 or 1
	// indexMore is of an entity that has values which are not in the index, indexLong of one
	// that has text of which the index has the beginning alone.
	indexMore = "~"
	indexLong = "~s"
)

const (
	maxIndexText = 256 // bytes of a string that are indexed
	maxIndexRows = 200 // of one entity and property; with more, there is only indexMore
)

// indexRow is one value of an entity.
type indexRow struct{ property, value string }

// indexValues keeps the index of values true to the changes.
func (c *Catalog) indexValues(ctx context.Context, tx *store.Tx, changes []valueChange) error {
	var gone, come []valueRow
	for i := range changes {
		ch := &changes[i]
		before, after := indexRows(ch.before), indexRows(ch.after)
		old, added := without(before, after), without(after, before)
		keys, err := c.valueKeys(ctx, tx, ch.blueprint.id, slices.Concat(old, added))
		if err != nil {
			return fmt.Errorf("index %s: %w", ch.blueprint.Identifier, err)
		}
		for _, r := range old {
			gone = append(gone, valueRow{keys[r.property], r.value, ch.id})
		}
		for _, r := range added {
			come = append(come, valueRow{keys[r.property], r.value, ch.id})
		}
		if ch.after == nil && len(ch.blueprint.Aggregations) > 0 {
			if err := dropAggregates(ctx, tx, ch.id); err != nil {
				return fmt.Errorf("drop the aggregates of %s: %w", ch.before.Identifier, err)
			}
		}
	}
	if err := deleteValues(ctx, tx, gone); err != nil {
		return fmt.Errorf("delete indexed values: %w", err)
	}
	if err := insertValues(ctx, tx, come); err != nil {
		return fmt.Errorf("index values: %w", err)
	}
	return nil
}

// without returns the rows of a that are not in b. Both are sorted.
func without(a, b []indexRow) []indexRow {
	var rest []indexRow
	for _, r := range a {
		if _, found := slices.BinarySearchFunc(b, r, compareRows); !found {
			rest = append(rest, r)
		}
	}
	return rest
}

func compareRows(a, b indexRow) int {
	if c := strings.Compare(a.property, b.property); c != 0 {
		return c
	}
	return strings.Compare(a.value, b.value)
}

// indexRows are those of an entity, sorted; none of nil.
func indexRows(e *Entity) []indexRow {
	if e == nil {
		return nil
	}
	rows := slices.Concat(propertyRows(metaTitle, e.title()), propertyRows(metaTeam, anyList(e.Team)))
	for name, v := range e.Properties {
		rows = append(rows, propertyRows(name, v)...)
	}
	slices.SortFunc(rows, compareRows)
	return slices.Compact(rows)
}

func propertyRows(name string, v any) []indexRow {
	list, ok := v.([]any)
	if !ok {
		list = []any{v}
	}
	var rows []indexRow
	for _, item := range list {
		for _, key := range valueKeysOf(item) {
			rows = append(rows, indexRow{name, key})
		}
		if len(rows) > maxIndexRows {
			return []indexRow{{name, indexMore}}
		}
	}
	return rows
}

// valueKeysOf returns the forms a value is indexed in: none of null, objects and arrays.
func valueKeysOf(v any) []string {
	switch v := v.(type) {
	case string:
		keys := []string{textKey(v)}
		if len(v) > maxIndexText {
			keys = append(keys, indexLong)
		}
		if t, ok := parseTime(v); ok {
			keys = append(keys, timeKey(t))
		}
		return keys
	case bool:
		return []string{boolKey(v)}
	}
	if f, ok := number(v); ok {
		return []string{numberKey(f)}
	}
	return nil
}

// textKey has the beginning of the text.
func textKey(s string) string {
	if len(s) > maxIndexText {
		n := maxIndexText
		for n > 0 && s[n]&0xC0 == 0x80 { // within a character
			n--
		}
		s = s[:n]
	}
	return indexText + s
}

// numberKey sorts as the numbers do: the bits of a positive one do as they stand, those
// of a negative one turned around.
func numberKey(f float64) string {
	if f == 0 {
		f = 0 // not -0
	}
	bits := math.Float64bits(f)
	if bits>>63 == 1 {
		bits = ^bits
	} else {
		bits |= 1 << 63
	}
	return fmt.Sprintf("%s%016x", indexNumber, bits)
}

func timeKey(t time.Time) string {
	return indexTime + t.UTC().Format("2006-01-02T15:04:05.000")
}

func boolKey(b bool) string {
	if b {
		return indexBool + "1"
	}
	return indexBool + "0"
}

// parseTime reads an RFC 3339 time, or a day, which begins at midnight UTC.
func parseTime(s string) (time.Time, bool) {
	const day = "2006-01-02"
	if len(s) < len(day) || len(s) > 64 || s[4] != '-' || s[7] != '-' {
		return time.Time{}, false
	}
	layout := time.RFC3339Nano
	if len(s) == len(day) {
		layout = day
	}
	t, err := time.Parse(layout, s)
	// Its form in the index has four digits for the year.
	if err != nil || t.UTC().Year() < 0 || t.UTC().Year() > 9999 {
		return time.Time{}, false
	}
	return t.UTC(), true
}

// number takes the forms that JSON numbers come in.
func number(v any) (float64, bool) {
	switch v := v.(type) {
	case float64:
		return v, true
	case int:
		return float64(v), true
	case int64:
		return float64(v), true
	case json.Number:
		f, err := v.Float64()
		return f, err == nil
	}
	return 0, false
}

// keyCache remembers the keys of properties in the index of values. They never change, and
// those of a blueprint that is gone are not asked for again.
type keyCache struct {
	mu   sync.Mutex
	keys map[int64]map[string]int64 // by blueprint and property; the inner maps do not change
}

// of returns those known of a blueprint, nil if none is.
func (k *keyCache) of(blueprint int64) map[string]int64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.keys[blueprint]
}

// maxCachedKeys bounds the blueprints that are remembered.
const maxCachedKeys = 10_000

func (k *keyCache) add(blueprint int64, more map[string]int64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.keys == nil || len(k.keys) >= maxCachedKeys {
		k.keys = map[int64]map[string]int64{}
	}
	all := maps.Clone(k.keys[blueprint])
	if all == nil {
		all = map[string]int64{}
	}
	maps.Copy(all, more)
	k.keys[blueprint] = all
}
