package bus

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/rialto-bus/rialto/internal/auth"
	"github.com/rialto-bus/rialto/internal/event"
)

// restGet calls the REST API as an account's reader.
func restGet(t *testing.T, x *fixture, account, path string) (status int, body string, header http.Header) {
	t.Helper()
	mux := http.NewServeMux()
	x.Register(mux)
	r := httptest.NewRequest(http.MethodGet, path, nil)
	r = r.WithContext(auth.WithPrincipal(r.Context(), auth.Principal{Account: account, Role: auth.Reader}))
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, r)
	return w.Code, w.Body.String(), w.Header()
}

func TestReplaysOverREST(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, x *fixture) {
		for _, region := range []string{testRegion, "us-east-1"} {
			ref := event.BusRef{Account: testAccount, Region: region, Name: "default"}
			createArchive(t, x, Archive{Bus: ref, Name: "a"})
			for _, name := range []string{"both", "of-" + region} {
				_, err := x.StartReplay(t.Context(), testAccount, region, ReplayRequest{
					Name: name, Archive: archiveARN(ref, "a"), Destination: ref.ARN(), From: testNow, Until: testNow.AddDate(0, 0, 1), Description: "再来一次 🔁",
				})
				if err != nil {
					t.Fatal(err)
				}
			}
		}
		names := func(path string) (list []string, header http.Header) {
			t.Helper()
			status, body, header := restGet(t, x, testAccount, path)
			var answer struct{ List []replayJSON }
			if err := json.Unmarshal([]byte(body), &answer); err != nil || status != http.StatusOK {
				t.Fatalf("%s: %d %s", path, status, body)
			}
			for _, r := range answer.List {
				list = append(list, r.Region+"/"+r.Name)
			}
			return list, header
		}
		all := []string{"eu-west-1/both", "eu-west-1/of-eu-west-1", "us-east-1/both", "us-east-1/of-us-east-1"}
		backwards := slices.Clone(all)
		slices.Reverse(backwards)
		for path, want := range map[string][]string{
			"/v1/replays":                                             all,
			"/v1/replays?descending=true":                             backwards,
			"/v1/replays?region=us-east-1":                            all[2:],
			"/v1/replays?state=starting":                              all,
			"/v1/replays?state=COMPLETED":                             nil,
			"/v1/replays?count=2&offset=eu-west-1/both":               all[1:3],
			"/v1/replays?count=2&prev=true&offset=us-east-1/both":     all[:2],
			"/v1/replays?count=1&prev=true&offset=us-east-1/both":     all[1:2],
			"/v1/replays?offset=us-east-1/of-us-east-1":               nil,
			"/v1/replays?count=2&offset=us-east-1&offset=eu-west-1/x": nil,
		} {
			if strings.HasSuffix(path, "/x") {
				if status, body, _ := restGet(t, x, testAccount, path); status != http.StatusBadRequest || !strings.Contains(body, "Link header") {
					t.Errorf("%s: %d %s", path, status, body)
				}
				continue
			}
			if got, _ := names(path); !slices.Equal(got, want) {
				t.Errorf("%s lists %v, want %v", path, got, want)
			}
		}
		if _, header := names("/v1/replays?count=2"); !strings.Contains(header.Get("Link"), `offset=eu-west-1%2Fof-eu-west-1>; rel="next"`) {
			t.Errorf("the first page links to %s", header.Get("Link"))
		}
		for _, c := range []struct {
			account, path string
			status        int
			says          string
		}{
			{testAccount, "/v1/replays/of-eu-west-1", 200, `"event_last_replayed_time":null,"started_at":"2026-03-04T05:06:07.891Z","ended_at":null,"replayed":0,"total":0`},
			{testAccount, "/v1/replays/of-eu-west-1", 200, `"description":"再来一次 🔁"`},
			{testAccount, "/v1/replays/both", 400, "in several regions: eu-west-1, us-east-1"},
			{testAccount, "/v1/replays/both?region=us-east-1", 200, `"arn":"arn:aws:events:us-east-1:111122223333:replay/both"`},
			{testAccount, "/v1/replays/missing", 404, "There is no replay missing"},
			{testAccount, "/v1/replays/%00", 404, "There is no replay"},
			{testAccount, "/v1/replays?region=%00", 400, "U+0000"},
			{testAccount, "/v1/replays?offset=%00/", 400, "Link header"},
			{testAccount, "/v1/replays?state=gone", 400, "GONE"},
			{testAccount, "/v1/replays?count=0", 400, "count"},
			{"444455556666", "/v1/replays/of-eu-west-1", 404, "another account's"},
			{"444455556666", "/v1/replays", 200, `{"list":[]}`},
		} {
			if status, body, _ := restGet(t, x, c.account, c.path); status != c.status || !strings.Contains(body, c.says) {
				t.Errorf("%s as %s: %d %s, want %d and %s", c.path, c.account, status, body, c.status, c.says)
			}
		}
	})
}
