package port

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rialto-bus/rialto/internal/catalog"
	"github.com/rialto-bus/rialto/internal/store"
)

func upsert(blueprint, id string, more ...func(*catalog.EntityChange)) catalog.EntityChange {
	c := catalog.EntityChange{Blueprint: blueprint, Upsert: true, Merge: true}
	c.Entity.Identifier = catalog.Given(id)
	for _, edit := range more {
		edit(&c)
	}
	return c
}

func related(to string) func(*catalog.EntityChange) {
	return func(c *catalog.EntityChange) { c.Entity.Relations = map[string]any{"needs": to} }
}

func gone(blueprint, id string) catalog.EntityChange {
	return catalog.EntityChange{Blueprint: blueprint, Identifier: id, Delete: true, DeleteDependents: true}
}

// write writes the changes and returns the results that commit was given.
func write(t *testing.T, s *Sink, changes ...catalog.EntityChange) []catalog.ChangeResult {
	t.Helper()
	var results []catalog.ChangeResult
	commits := 0
	err := s.Write(t.Context(), catalog.Writer{}, changes, func(_ context.Context, tx *store.Tx, rs []catalog.ChangeResult) error {
		if tx != nil {
			t.Error("commit has a transaction")
		}
		commits++
		results = rs
		return nil
	})
	if err != nil || commits != 1 || len(results) != len(changes) {
		t.Fatalf("wrote with %v, %d commits, %d results of %d changes", err, commits, len(results), len(changes))
	}
	return results
}

func status(err error) int {
	if e, ok := errors.AsType[*catalog.Error](err); ok {
		return e.Status
	}
	return 0
}

func TestAnEntityIsWrittenAsTheExporterWritesIt(t *testing.T) {
	a := newAPI(t)
	srv := httptest.NewServer(a)
	t.Cleanup(srv.Close)
	client := srv.Client()
	t.Cleanup(client.CloseIdleConnections)
	s := newSink(t, a, func(o *Options) { o.BaseURL, o.HTTP = srv.URL+"/v1/", client })
	const id = `https://sqs.eu-west-1.amazonaws.com/1/队列+a@b=c\d`
	c := upsert("sqs", id)
	c.Entity.Title = catalog.Given("队列 🛒")
	c.Entity.Properties = map[string]any{"arn": nil, "size": 3}
	c.Entity.Relations = map[string]any{"topic": nil}
	r := write(t, s, c)[0]
	if r.Err != nil || !r.Created || r.Identifier != id || r.Blueprint != "sqs" {
		t.Errorf("the result is %+v", r)
	}
	want := map[string]any{
		"identifier": id, "title": "队列 🛒", "properties": map[string]any{"arn": nil, "size": 3.0}, "relations": map[string]any{"topic": nil},
	}
	if diff := cmp.Diff(want, a.has("sqs", id)); diff != "" {
		t.Error(diff)
	}
	if r := write(t, s, c)[0]; r.Err != nil || r.Created {
		t.Errorf("again: %+v", r)
	}
	if r := write(t, s, gone("sqs", id))[0]; r.Err != nil || !r.Deleted || a.has("sqs", id) != nil {
		t.Errorf("deleted: %+v", r)
	}
	if last := a.calls[len(a.calls)-1]; !strings.HasSuffix(last, "/https%3A%2F%2Fsqs.eu-west-1.amazonaws.com%2F1%2F%E9%98%9F%E5%88%97%2Ba%40b%3Dc%5Cd") {
		t.Errorf("the identifier in the path: %s", last)
	}
	if status(write(t, s, gone("sqs", id))[0].Err) != http.StatusNotFound {
		t.Error("the entity is deleted twice")
	}
	if a.logins != 1 || a.count("/integration") != 1 {
		t.Errorf("%d logins, %d integrations", a.logins, a.count("/integration"))
	}
	for i, agent := range a.agents {
		if want := UserAgent(account, "eu-west-1"); agent != want && !strings.HasSuffix(a.calls[i], "access_token") {
			t.Errorf("%s as %q", a.calls[i], agent)
		}
	}
}

func TestTheWriterSaysForWhomItWrites(t *testing.T) {
	a := newAPI(t)
	s := newSink(t, a, nil)
	other := UserAgent("210987654321", "us-east-1")
	ours := "exporter/1 (accountid/210987654321 region/us-east-1)"
	for _, w := range []catalog.Writer{{Datasource: other}, {Datasource: ours}, {Datasource: "rialto-exporter/1"}} {
		if err := s.Write(t.Context(), w, []catalog.EntityChange{upsert("b", "of/"+w.Datasource[:4])}, nil); err != nil {
			t.Fatal(err)
		}
	}
	for _, id := range []string{"of/port", "of/expo"} {
		if got := a.agentOf[catalog.EntityRef{Blueprint: "b", Identifier: id}]; got != other {
			t.Errorf("%s was written by %q", id, got)
		}
	}
	if got := a.agentOf[catalog.EntityRef{Blueprint: "b", Identifier: "of/rial"}]; got != UserAgent(account, "eu-west-1") {
		t.Errorf("written by %q", got)
	}
	if a.count("/integration") != 2 {
		t.Errorf("%d integrations for two places", a.count("/integration"))
	}
}

func TestManyChangesTakeFewCalls(t *testing.T) {
	for _, noBulk := range []bool{false, true} {
		t.Run(fmt.Sprintf("without bulk: %v", noBulk), func(t *testing.T) {
			a := newAPI(t)
			a.noBulk = noBulk
			s := newSink(t, a, nil)
			var changes []catalog.EntityChange
			for i := range 45 {
				changes = append(changes, upsert("b", fmt.Sprint("e", i)))
			}
			for i, r := range write(t, s, changes...) {
				if r.Err != nil || !r.Created || r.Identifier != fmt.Sprint("e", i) {
					t.Errorf("result %d: %+v", i, r)
				}
			}
			changes = nil
			for i := range 45 {
				changes = append(changes, gone("b", fmt.Sprint("e", i)))
			}
			for i, r := range write(t, s, append(changes, gone("b", "absent"))...) {
				if i < 45 && (r.Err != nil || !r.Deleted) || i == 45 && status(r.Err) != http.StatusNotFound {
					t.Errorf("result %d: %+v", i, r)
				}
			}
			if len(a.entities) != 0 {
				t.Errorf("%d entities are left", len(a.entities))
			}
			if n := a.count("/bulk") + a.count("/bulk/entities/delete"); !noBulk && n != 4 {
				t.Errorf("%d bulk calls", n)
			}
		})
	}
}

func TestChangesOfOneEntityKeepTheirOrder(t *testing.T) {
	a := newAPI(t)
	s := newSink(t, a, nil)
	titled := func(title string) func(*catalog.EntityChange) {
		return func(c *catalog.EntityChange) { c.Entity.Title = catalog.Given(title) }
	}
	rs := write(t, s, upsert("b", "x", titled("1")), upsert("b", "y"), upsert("b", "x", titled("2")), gone("b", "y"), upsert("b", "y"), gone("b", "x"), upsert("b", "x", titled("3")))
	for i, r := range rs {
		if r.Err != nil {
			t.Errorf("change %d: %v", i, r.Err)
		}
	}
	if a.has("b", "x")["title"] != "3" || a.has("b", "y") == nil {
		t.Errorf("the entities are %v", a.entities)
	}
}

func TestOneChangeThatIsRefusedSpoilsNoOther(t *testing.T) {
	a := newAPI(t)
	s := newSink(t, a, nil)
	long := strings.Repeat("长", 1<<19)
	big := func(c *catalog.EntityChange) { c.Entity.Properties = map[string]any{"text": long} }
	half := func(c *catalog.EntityChange) { c.Entity.Properties = map[string]any{"text": long[:1<<18*3]} }
	rs := write(t, s,
		upsert("b", "good"), upsert("b", "not good"), upsert("b", "too-big", big), upsert("b", "big1", half), upsert("b", "big2", half),
		upsert("b", "orphan", related("nobody")), upsert("b", "child", related("parent")), upsert("b", "parent"), upsert("missing", "x"),
		gone("b", "absent"), upsert("b", "last"))
	want := []int{0, 422, 413, 0, 0, 404, 0, 0, 404, 404, 0}
	for i, r := range rs {
		if status(r.Err) != want[i] || (r.Err == nil) != (want[i] == 0) {
			t.Errorf("change %d ended with %v, want status %d", i, r.Err, want[i])
		}
	}
	for _, id := range []string{"good", "big1", "big2", "child", "parent", "last"} {
		if a.has("b", id) == nil {
			t.Errorf("%s is not written", id)
		}
	}
}

func TestWhatComesLaterIsNotUndoneByAnotherTry(t *testing.T) {
	a := newAPI(t)
	rs := write(t, newSink(t, a, nil), upsert("b", "child", related("parent")), upsert("b", "other"), gone("b", "child"), upsert("b", "parent"))
	if status(rs[0].Err) != http.StatusNotFound || rs[3].Err != nil || a.has("b", "child") != nil {
		t.Errorf("the results are %+v, the child %v", rs, a.has("b", "child"))
	}
}

func TestWhatHasDependentsIsKept(t *testing.T) {
	a := newAPI(t)
	s := newSink(t, a, nil)
	write(t, s, upsert("b", "needed1"), upsert("b", "free1"), upsert("b", "free2"))
	var changes []catalog.EntityChange
	for _, id := range []string{"free1", "needed1", "free2"} {
		c := gone("b", id)
		c.DeleteDependents = false
		changes = append(changes, c)
	}
	rs := write(t, s, changes...)
	if !rs[0].Deleted || !rs[2].Deleted || status(rs[1].Err) != http.StatusConflict || rs[1].Deleted {
		t.Errorf("the results are %+v", rs)
	}
}

func TestEntitiesAreReplacedPatchedAndRenamed(t *testing.T) {
	a := newAPI(t)
	s := newSink(t, a, nil)
	write(t, s, upsert("b", "a/1"))
	rename := upsert("b", "a/2")
	rename.Identifier, rename.Upsert = "a/1", false
	if r := write(t, s, rename)[0]; r.Err != nil || r.Identifier != "a/2" || a.has("b", "a/1") != nil {
		t.Errorf("renamed: %+v", r)
	}
	again := upsert("b", "a/3")
	again.Identifier = "a/2"
	back := upsert("b", "a/2")
	back.Identifier = "a/3"
	for _, r := range write(t, s, upsert("b", "other"), again, back) {
		if r.Err != nil {
			t.Errorf("renamed by upserts: %+v", r)
		}
	}
	if a.has("b", "a/3") != nil {
		t.Error("the old name is left")
	}
	replace := catalog.EntityChange{Blueprint: "b", Identifier: "a/2"}
	if r := write(t, s, replace)[0]; r.Err != nil {
		t.Errorf("replaced: %+v", r)
	}
	create := catalog.EntityChange{Blueprint: "b", Entity: catalog.EntityInput{Identifier: catalog.Given("a/2")}}
	if r := write(t, s, create)[0]; status(r.Err) != http.StatusConflict {
		t.Errorf("created twice: %+v", r)
	}
	want := []string{"PATCH /v1/blueprints/b/entities/a%2F3", "PUT /v1/blueprints/b/entities/a%2F2", "POST /v1/blueprints/b/entities"}
	if got := a.calls[len(a.calls)-3:]; !slices.Equal(got, want) {
		t.Errorf("called %q", got)
	}
}

func TestCommitsErrorIsReturned(t *testing.T) {
	failure := errors.New("the disk is full")
	err := newSink(t, newAPI(t), nil).Write(t.Context(), catalog.Writer{}, nil, func(context.Context, *store.Tx, []catalog.ChangeResult) error { return failure })
	if !errors.Is(err, failure) {
		t.Errorf("got %v", err)
	}
}

func TestSettingsThatMakeNoSenseAreNamed(t *testing.T) {
	good := Options{ClientID: "id", ClientSecret: "s", HTTP: http.DefaultClient, Place: Place{account, "eu-west-1"}}
	for _, tt := range []struct {
		name string
		edit func(*Options)
	}{
		{"base URL", func(o *Options) { o.BaseURL = "ftp://x" }},
		{"base URL", func(o *Options) { o.BaseURL = "api.getport.io" }},
		{"base URL", func(o *Options) { o.BaseURL = "https://a:b@x" }},
		{"client id", func(o *Options) { o.ClientID = "" }},
		{"client id", func(o *Options) { o.ClientSecret = "" }},
		{"HTTP client", func(o *Options) { o.HTTP = nil }},
		{"account", func(o *Options) { o.Place.Account = "12" }},
		{"region", func(o *Options) { o.Place.Region = "" }},
	} {
		o := good
		tt.edit(&o)
		if _, err := New(o); err == nil || !strings.Contains(err.Error(), tt.name) {
			t.Errorf("%+v: %v", o, err)
		}
	}
	good.Place = Place{}
	if s, err := New(good); err != nil || s.o.Place != (Place{"000000000000", "us-east-1"}) {
		t.Errorf("without a place: %+v, %v", s, err)
	}
	if s, err := New(good); err != nil || s.base != "https://api.getport.io/v1" {
		t.Errorf("%v, %v", s, err)
	}
}
