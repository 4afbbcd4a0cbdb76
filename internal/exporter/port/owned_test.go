package port

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rialto-bus/rialto/internal/catalog"
)

func owned(t *testing.T, s *Sink, before time.Time) []string {
	t.Helper()
	var list []string
	err := s.Owned(t.Context(), before, func(e catalog.EntityRef) error {
		list = append(list, e.Blueprint+"/"+e.Identifier)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(list)
	return list
}

func TestOwnedAreTheEntitiesOfOurPlaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAPI(t)
		places := []Place{{"210987654321", "us-east-1"}, {account, "eu-west-1"}}
		s := newSink(t, a, func(o *Options) { o.Places = func(context.Context) ([]Place, error) { return places, nil } })
		for i, p := range append(slices.Clone(places), Place{account, "ap-south-1"}) {
			w := catalog.Writer{Datasource: UserAgent(p.Account, p.Region)}
			if err := s.Write(t.Context(), w, []catalog.EntityChange{upsert("b", fmt.Sprint("e", i))}, nil); err != nil {
				t.Fatal(err)
			}
		}
		a.entities[catalog.EntityRef{Blueprint: "b", Identifier: "foreign"}] = map[string]any{}
		time.Sleep(time.Second)
		now := time.Now()
		time.Sleep(time.Second)
		write(t, s, upsert("b", "late"))
		if got, want := owned(t, s, now), []string{"b/e0", "b/e1"}; !slices.Equal(got, want) {
			t.Errorf("owned are %v, want %v", got, want)
		}
		stop := errors.New("stop")
		if err := s.Owned(t.Context(), now, func(catalog.EntityRef) error { return stop }); !errors.Is(err, stop) {
			t.Errorf("yield's error: %v", err)
		}
	})
}

// What a search leaves out would be taken for gone: an answer that is not whole is no
// answer.
func TestAnAnswerThatIsNotWholeIsAnError(t *testing.T) {
	for _, text := range []string{
		"", "[]", "{}", `{"ok":true}`, `{"entities":{}}`, `{"entities":[{"blueprint":"b","identifier":"x"}`, `{"entities":[{"blueprint":"b"}]}`,
		`{"entities":[{"blueprint":"b","identifier":"x"}]`, `{"entities":[1]}`, `{"entities":null}`,
	} {
		synctest.Test(t, func(t *testing.T) {
			a := newAPI(t)
			a.before = first(100, "/search", func(w http.ResponseWriter) { w.Write([]byte(text)) })
			err := newSink(t, a, nil).Owned(t.Context(), time.Now(), func(catalog.EntityRef) error {
				t.Error("something is yielded")
				return nil
			})
			if err == nil || !strings.Contains(err.Error(), "not Port's") {
				t.Errorf("%q: %v", text, err)
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		a := newAPI(t)
		s := newSink(t, a, nil)
		write(t, s, upsert("b", "x"))
		time.Sleep(time.Second)
		a.before = first(1, "/search", func(w http.ResponseWriter) { w.Write([]byte(`{"entities":[{"blueprint":"b","identifier":"y"},`)) })
		if got := owned(t, s, time.Now()); !slices.Equal(got, []string{"b/x"}) {
			t.Errorf("after an answer that broke off: %v", got)
		}
	})
}
