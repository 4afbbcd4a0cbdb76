package catalog

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// Whatever parts of an entity are asked for, the entity itself stays as it is, and the
// answer is JSON.
func FuzzView(f *testing.F) {
	for _, seed := range []string{
		"include=identifier", "include=properties.a,properties&exclude=properties.b", "include=$title&exclude=title", "include=relations.r&attach_title_to_relation=0xc0", "include=.&exclude=..", "exclude=properties", "include=订单.🛒",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, query string) {
		q, err := url.ParseQuery(query)
		if err != nil {
			return
		}
		e := Entity{Blueprint: "b", Identifier: "i", Properties: map[string]any{"a": 1.0, "b": map[string]any{"c": "d"}}, Relations: map[string]any{"r": []string{"x"}, "s": nil}}
		v := viewOf(q)
		if _, err := json.Marshal(v.of(&e)); err != nil {
			t.Error(err)
		}
		v.needsComputed()
		if len(e.Properties) != 2 || len(e.Relations) != 2 {
			t.Errorf("%q changed the entity", query)
		}
	})
}

// A segment of a path is read as it is, or not at all.
func FuzzSegment(f *testing.F) {
	f.Add("/v1/integration/a+b%2Fc", 2)
	f.Add("/v1//%zz", 1)
	f.Fuzz(func(t *testing.T, path string, n int) {
		u, err := url.ParseRequestURI(path)
		if err != nil || n < 0 {
			return
		}
		got := segment(&http.Request{URL: u}, n)
		if parts := strings.Split(u.EscapedPath(), "/"); n >= len(parts) && got != "" {
			t.Errorf("%q has a segment %d: %q", path, n, got)
		}
	})
}

// Every query of the audit log is a filter, none, or an error for its sender.
func FuzzAuditFilter(f *testing.F) {
	f.Add("blueprint=b&entity=e&from=2026-11-21T09:30:00Z&limit=7&origin[]=API,UI&resources=entity")
	f.Add("action=x&before=-1")
	f.Fuzz(func(t *testing.T, query string) {
		q, err := url.ParseQuery(query)
		if err != nil {
			return
		}
		filter, err := auditFilter(q)
		if _, told := errorOf(err); err != nil && !told {
			t.Errorf("%q: %v is not for its sender", query, err)
		}
		if filter != nil && (filter.Limit < 1 || filter.Limit > mostChanges) {
			t.Errorf("%q: limit %d", query, filter.Limit)
		}
	})
}
