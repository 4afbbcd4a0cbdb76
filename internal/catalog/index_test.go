package catalog

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/store/storetest"
)

func TestKeysSortAsTheirValues(t *testing.T) {
	t.Parallel()
	numbers := []float64{math.Inf(-1), -math.MaxFloat64, -12, -2.5, -1, -math.SmallestNonzeroFloat64, 0, math.SmallestNonzeroFloat64, 1e-9, 1, 2.5, 12, 9007199254740993, math.MaxFloat64, math.Inf(1)}
	var keys []string
	for _, n := range numbers {
		keys = append(keys, numberKey(n))
	}
	if !slices.IsSorted(keys) || len(slices.Compact(slices.Clone(keys))) != len(numbers) {
		t.Errorf("numbers: %q", keys)
	}
	if numberKey(math.Copysign(0, -1)) != numberKey(0) {
		t.Error("zero is there twice")
	}
	rapid.Check(t, func(rt *rapid.T) {
		a, b := rapid.Float64().Draw(rt, "a"), rapid.Float64().Draw(rt, "b")
		if a < b != (numberKey(a) < numberKey(b)) || (a == b) != (numberKey(a) == numberKey(b)) {
			rt.Errorf("%v %q, %v %q", a, numberKey(a), b, numberKey(b))
		}
		x := time.UnixMilli(rapid.Int64Range(firstTime.UnixMilli(), lastTime.UnixMilli()).Draw(rt, "x"))
		y := time.UnixMilli(rapid.Int64Range(firstTime.UnixMilli(), lastTime.UnixMilli()).Draw(rt, "y"))
		if x.Before(y) != (timeKey(x) < timeKey(y)) {
			rt.Errorf("%v %q, %v %q", x, timeKey(x), y, timeKey(y))
		}
	})
}

func TestTextKeyIsTheBeginningOfTheText(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		text := strings.Repeat(rapid.SampledFrom([]string{"a", "é", "文", "🦀"}).Draw(rt, "character"), rapid.IntRange(0, 300).Draw(rt, "times"))
		text = rapid.StringN(0, 3, -1).Draw(rt, "first") + text
		key := strings.TrimPrefix(textKey(text), indexText)
		if !strings.HasPrefix(text, key) || len(key) > maxIndexText || len(text) <= maxIndexText && key != text || len(text) > maxIndexText && len(key) < maxIndexText-3 {
			rt.Errorf("%d bytes of %d", len(key), len(text))
		}
		if !utf8.ValidString(key) {
			rt.Error("it ends within a character")
		}
	})
}

func TestParseTime(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"2026-11-21":                       "2026-11-21T00:00:00Z",
		"2026-11-21T12:00:00Z":             "2026-11-21T12:00:00Z",
		"2026-11-21T12:00:00.123456+02:00": "2026-11-21T10:00:00.123456Z",
		"2024-02-29":                       "2024-02-29T00:00:00Z",
		"2026-02-29":                       "",
		"2026-11-21 12:00:00":              "",
		"2026-11-21T12:00:00":              "",
		"2026-1-2":                         "",
		"0000-01-01T00:00:00+01:00":        "", // the year before
		"9999-12-31T23:59:59-01:00":        "", // the year after
		"":                                 "",
		"not a time at all":                "",
	} {
		got, ok := parseTime(text)
		if ok != (want != "") || ok && got.Format(time.RFC3339Nano) != want {
			t.Errorf("%s is %v, %v", text, got, ok)
		}
	}
}

func TestIndexRows(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 300)
	many := make([]any, 201)
	for i := range many {
		many[i] = float64(i)
	}
	title := "Web"
	e := &Entity{Identifier: "web", Title: &title, Team: []string{"core", "core"}, Properties: map[string]any{
		"text": "a", "long": long, "time": "2026-11-21T12:00:00Z", "flag": true, "null": nil, "object": map[string]any{"a": 1.0},
		"list": []any{"a", 1.0, nil, []any{"b"}, map[string]any{}, "a"}, "many": many,
	}}
	want := []indexRow{
		{"$team", "score"},
		{"$title", "sWeb"},
		{"flag", "b1"},
		{"list", "nbff0000000000000"},
		{"list", "sa"},
		{"long", "s" + long[:256]},
		{"long", "~s"},
		{"many", "~"},
		{"text", "sa"},
		{"time", "d2026-11-21T12:00:00.000"},
		{"time", "s2026-11-21T12:00:00Z"},
	}
	if diff := cmp.Diff(want, indexRows(e), cmp.AllowUnexported(indexRow{})); diff != "" {
		t.Error(diff)
	}
}

func TestPresets(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 31, 15, 4, 5, 0, time.UTC)
	for name, want := range map[string][2]string{
		"today":        {"2026-03-31T00:00:00Z", "2026-03-31T23:59:59.999999999Z"},
		"tomorrow":     {"2026-04-01T00:00:00Z", "2026-04-01T23:59:59.999999999Z"},
		"yesterday":    {"2026-03-30T00:00:00Z", "2026-03-30T23:59:59.999999999Z"},
		"lastDay":      {"2026-03-30T15:04:05Z", "2026-03-31T15:04:05Z"},
		"lastWeek":     {"2026-03-24T15:04:05Z", "2026-03-31T15:04:05Z"},
		"last2Weeks":   {"2026-03-17T15:04:05Z", "2026-03-31T15:04:05Z"},
		"lastMonth":    {"2026-02-28T15:04:05Z", "2026-03-31T15:04:05Z"},
		"last3Months":  {"2025-12-31T15:04:05Z", "2026-03-31T15:04:05Z"},
		"last6Months":  {"2025-09-30T15:04:05Z", "2026-03-31T15:04:05Z"},
		"last12Months": {"2025-03-31T15:04:05Z", "2026-03-31T15:04:05Z"},
		"last2Years":   {"2024-03-31T15:04:05Z", "2026-03-31T15:04:05Z"},
		"last3Years":   {"2023-03-31T15:04:05Z", "2026-03-31T15:04:05Z"},
	} {
		got := presets[name](now)
		if diff := cmp.Diff(want, [2]string{got.from.Format(time.RFC3339Nano), got.to.Format(time.RFC3339Nano)}); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// Ids of keys are 32 bits wide in PostgreSQL, which takes one for each row that it tries to insert.
func TestKnownKeysOfTheIndexUseUpNoIds(t *testing.T) {
	t.Parallel()
	w := newWorld(t, storetest.Postgres(t))
	of := func(property string) (id int64) {
		err := w.db.Update(t.Context(), func(tx *store.Tx) (err error) {
			id, err = makeValueKey(t.Context(), tx, 1, property)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	first := of("a")
	for range 10 {
		if again := of("a"); again != first {
			t.Fatalf("the key is %d, and was %d", again, first)
		}
	}
	if next := of("b"); next != first+1 {
		t.Errorf("the next key has the id %d after %d", next, first)
	}
}
