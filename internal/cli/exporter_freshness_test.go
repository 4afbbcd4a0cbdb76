package cli

import (
	"testing"
	"time"
)

func TestWhyHasAllThatIsToBeSaidOfAStatus(t *testing.T) {
	at := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	later := at.Add(time.Minute)
	denied, dead := "访问被拒 denied", "the record is dead"
	for name, c := range map[string]struct {
		row  scopeFreshness
		want string
	}{
		"nothing":                      {scopeFreshness{Status: "ok"}, ""},
		"a sync and a record":          {scopeFreshness{Status: "failing", LastSyncError: &denied, LastFailureAt: &at, LastFailure: &dead}, "访问被拒 denied; the record is dead"},
		"a record and ignored ones":    {scopeFreshness{Status: "not_configured", LastFailureAt: &at, LastFailure: &dead, Ignored: 2}, "the record is dead; records ignored: 2"},
		"a sync and ignored ones":      {scopeFreshness{Status: "not_configured", LastSyncError: &denied, Ignored: 1}, "访问被拒 denied; records ignored: 1"},
		"a record, and a change since": {scopeFreshness{Status: "ok", LastFailureAt: &at, LastFailure: &dead, LastStoredAt: &later}, ""},
		"a record, and none since":     {scopeFreshness{Status: "failing", LastFailureAt: &later, LastFailure: &dead, LastStoredAt: &at}, "the record is dead"},
		"changes that events missed":   {scopeFreshness{Status: "broken", Drift: 3, DriftSince: &at}, "3 changes missed since 2026-11-21T12:00:00Z"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := c.row.why(); got != c.want {
				t.Errorf("it says %q, want %q", got, c.want)
			}
		})
	}
}
