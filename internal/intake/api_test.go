package intake

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/rialto-bus/rialto/eventpattern"
	"github.com/rialto-bus/rialto/internal/auth"
	"github.com/rialto-bus/rialto/internal/store/storetest"
)

func TestEndpointAnswers(t *testing.T) {
	w := newWorld(t, storetest.SQLite(t))
	s, token := w.endpoint("a", Settings{Regions: []string{testRegion, "us-east-1"}, Pattern: `{"detail":{"state":["running"]}}`})
	_, otherToken := w.endpoint("b", Settings{})
	queue, _ := w.add(Source{Name: "q", Kind: KindQueue, Settings: Settings{Queue: "arn:aws:sqs:eu-west-1:111122223333:q"}})
	good := eventBody("first", testAccount, testRegion, `{"state":"running"}`)
	edit := func(old, with string) string {
		edited := strings.Replace(good, "first", "edited", 1)
		if !strings.Contains(edited, old) {
			t.Fatalf("the event has no %s", old)
		}
		return strings.Replace(edited, old, with, 1)
	}
	path := "/v1/intake/" + s.ID
	tests := []struct {
		name              string
		path, token, body string
		status            int
		says              string
	}{
		{"accepted", path, token, good, 202, `"accepted":1`},
		{"the same event again", path, token, good, 200, `"duplicates":1`},
		{"a list", path, token, "[" + edit("edited", "l-1") + "]", 202, `"accepted":1`},
		{"without version and resources", path, token, strings.Replace(strings.Replace(edit("edited", "bare"), `"version":"0",`, "", 1), `"resources":["arn:aws:ec2:eu-west-1:111122223333:instance/i-0abcd1234ef567890"],`, "", 1), 202, "accepted"},
		{"with white space around", path, token, "\n " + edit("edited", "space") + "\n", 202, "accepted"},
		{"no token", path, "", good, 401, "there is none"},
		{"not a token", path, "nonsense", good, 401, "/v1/oauth_token"},
		{"the token of another source", path, otherToken, good, 403, "not for this source"},
		{"no such source", "/v1/intake/00000000-0000-0000-0000-000000000000", token, good, 404, "no source"},
		{"no id", "/v1/intake/none", token, good, 404, "no source"},
		{"no such source, no token", "/v1/intake/none", "", good, 401, ""},
		{"a source of another kind", "/v1/intake/" + queue.ID, token, good, 404, "no source"},
		{"nothing", path, token, "", 400, "not a JSON object"},
		{"no JSON", path, token, "hello", 400, "not a JSON object"},
		{"null", path, token, "null", 400, "null"},
		{"an empty list", path, token, "[]", 400, "no event"},
		{"a list of something else", path, token, "[1]", 400, "not a JSON object"},
		{"half a list", path, token, "[" + good, 400, "not a list"},
		{"two events", path, token, good + good, 400, "not a JSON object"},
		{"one bad event among good ones", path, token, "[" + edit("edited", "x-1") + "," + edit(`"account":"111122223333"`, `"account":"1"`) + "]", 403, "Event 2: "},
		{"too many events", path, token, "[" + strings.Repeat("{},", maxEvents) + "{}]", 400, "more than the 500 events"},
		{"what a transformer left", path, token, `{"instance":"i-1"}`, 400, "which no EventBridge event has"},
		{"no id in the event", path, token, edit(`"id":"edited",`, ""), 400, "has no id. If the rule's target has an input transformer"},
		{"an unknown member", path, token, edit(`"detail":`, `"Detail":{},"detail":`), 400, "Detail"},
		{"another version", path, token, edit(`"version":"0"`, `"version":"1"`), 400, "version"},
		{"a detail that is a string", path, token, edit(`{"state":"running"}`, `"{}"`), 400, "detail is not a JSON object"},
		{"a time in words", path, token, edit("2026-01-15T21:29:54Z", "yesterday"), 400, "yesterday"},
		{"an id with a control character", path, token, edit(`"edited"`, `"a\u0000b"`), 400, "id"},
		{"an id that is too long", path, token, edit("edited", strings.Repeat("x", 65)), 400, "65 characters"},
		{"a region that is none", path, token, edit(`"region":"eu-west-1"`, `"region":"订单"`), 400, "region"},
		{"a number for a string", path, token, edit(`"source":"aws.ec2"`, `"source":7`), 400, "source is not a string"},
		{"not UTF-8", path, token, edit("running", "\xff"), 400, "UTF-8"},
		{"an account that is not allowed", path, token, edit(`"account":"111122223333"`, `"account":"999999999999"`), 403, "account 999999999999"},
		{"a region that is not allowed", path, token, edit(`"region":"eu-west-1"`, `"region":"us-west-2"`), 403, "region us-west-2"},
		{"not of the pattern", path, token, edit("running", "stopped"), 403, "does not match the pattern"},
		{"what is no list after too many events", path, token, "[" + strings.Repeat("{},", maxEvents+1) + "nonsense", 400, "more than the 500 events"},
		{"a list that goes on", path, token, "[" + good + "]x", 400, "more after the list"},
		{"a list with a comma too many", path, token, "[" + good + ",]", 400, "not a list"},
		{"a list without commas", path, token, "[" + good + " " + good + "]", 400, "not a list"},
		{"a list that ends as an object", path, token, "[" + good + "}", 400, "not a list"},
		{"an event that gets too large as it is written", path, token, strings.Replace(edit(`{"state":"running"}`, `{"state":"running","x":"`+strings.Repeat("x", maxEvent-len(good)-7)+`"}`), `"version":"0",`, "", 1), 413, "more than the"},
		{"too large", path, token, good + strings.Repeat(" ", MaxBody), 413, "larger"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := w.call("POST", tt.path, tt.token, tt.body)
			if a.status != tt.status || !strings.Contains(a.body, tt.says) {
				t.Errorf("answered %d %s, want %d and %q", a.status, a.body, tt.status, tt.says)
			}
			if a.status == 401 && a.header.Get("WWW-Authenticate") == "" {
				t.Error("401 without WWW-Authenticate")
			}
			if !json.Valid([]byte(a.body)) {
				t.Errorf("the answer is not JSON: %s", a.body)
			}
		})
	}
	if n := len(w.records()); n != 4 {
		t.Errorf("%d events were accepted, want 4", n)
	}
	if a := w.activity(s); a.Accepted != 4 || a.Duplicates != 1 || a.Refused != 31 || a.RefusedWhy == "" {
		t.Errorf("activity is %+v", a)
	}
	if a := w.call("GET", path, "", ""); a.status != 200 || a.body != w.http.URL+path {
		t.Errorf("GET answers %+v", a)
	}
	if a := w.call("PUT", path, token, good); a.status != 405 {
		t.Errorf("PUT answers %+v", a)
	}
}

func TestADisabledEndpointHasAWSTryAgain(t *testing.T) {
	w := newWorld(t, storetest.SQLite(t))
	s, token := w.endpoint("a", Settings{})
	if a := w.call("PUT", "/v1/sources/a", "", `{"enabled":false}`); a.status != 200 || !strings.Contains(a.body, "The source is disabled") {
		t.Fatalf("disable: %+v", a)
	}
	if a := w.post(s, token, eventBody("e", testAccount, testRegion, "{}")); a.status != 503 || a.header.Get("Retry-After") == "" {
		t.Errorf("answered %+v", a)
	}
}

func TestSecretsOfAnEndpoint(t *testing.T) {
	w := newWorld(t, storetest.SQLite(t))
	a := w.call("POST", "/v1/sources", "", `{"name":"a","kind":"endpoint","allow_accounts":["111122223333"]}`)
	var made sourceJSON
	if err := json.Unmarshal([]byte(a.body), &made); err != nil || a.status != 201 || made.ClientSecret == "" || made.EndpointURL == nil {
		t.Fatalf("made: %+v, %v", a, err)
	}
	if len(made.Notes) == 0 || !strings.Contains(made.Notes[0], "AWS cannot reach") {
		t.Errorf("a loopback URL is not warned about: %v", made.Notes)
	}
	s, err := w.i.Source(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	old := w.token(s.ClientID, made.ClientSecret)
	n := 0
	status := func(token string) int {
		n++
		return w.post(s, token, eventBody(fmt.Sprint("e-", n), testAccount, testRegion, "{}")).status
	}
	a = w.call("POST", "/v1/sources/a/secrets", "", `{"overlap":"1h"}`)
	var rotated sourceJSON
	if err := json.Unmarshal([]byte(a.body), &rotated); err != nil || a.status != 201 || rotated.ClientSecret == made.ClientSecret || len(rotated.Secrets) != 2 {
		t.Fatalf("rotated: %+v, %v", a, err)
	}
	fresh := w.token(s.ClientID, rotated.ClientSecret)
	if status(old) != 202 || status(fresh) != 202 {
		t.Error("during the overlap both should be good")
	}
	if a := w.call("DELETE", "/v1/sources/a/secrets/"+rotated.Secrets[0].ID, "", ""); a.status != 204 {
		t.Errorf("revoke: %+v", a)
	}
	if status(old) != 401 || status(fresh) != 202 {
		t.Error("of a revoked secret and another")
	}
	if a := w.call("GET", "/v1/sources/a", "", ""); strings.Contains(a.body, rotated.ClientSecret) || strings.Contains(a.body, "client_secret") {
		t.Errorf("the secret is shown again: %s", a.body)
	}
	for name, tt := range map[string]struct {
		method, path, body string
		status             int
	}{
		"an overlap in words":     {"POST", "/v1/sources/a/secrets", `{"overlap":"long"}`, 400},
		"an overlap that is long": {"POST", "/v1/sources/a/secrets", `{"overlap":"100000h"}`, 400},
		"an unknown field":        {"POST", "/v1/sources/a/secrets", `{"overlapp":"1h"}`, 400},
		"an unknown secret":       {"DELETE", "/v1/sources/a/secrets/none", "", 404},
		"an unknown source":       {"POST", "/v1/sources/b/secrets", "", 404},
	} {
		if a := w.call(tt.method, tt.path, "", tt.body); a.status != tt.status {
			t.Errorf("%s: %+v, want %d", name, a, tt.status)
		}
	}
	if a := w.call("DELETE", "/v1/sources/a", "", ""); a.status != 204 {
		t.Errorf("remove: %+v", a)
	}
	if status(fresh) != 401 {
		t.Error("a token of a removed source is good")
	}
}

func TestBadSourcesAreRefused(t *testing.T) {
	w := newWorld(t, storetest.SQLite(t))
	w.endpoint("there", Settings{})
	w.add(Source{Name: "polls", Kind: KindQueue, Settings: Settings{Queue: "arn:aws:sqs:us-east-1:111122223333:polled"}})
	source := func(more string) string {
		return `{"name":"a","kind":"endpoint","allow_accounts":["111122223333"]` + more + `}`
	}
	list := func(n int, f func(int) string) string {
		items := make([]string, n)
		for i := range items {
			items[i] = `"` + f(i) + `"`
		}
		return "[" + strings.Join(items, ",") + "]"
	}
	for name, tt := range map[string]struct {
		body   string
		status int
		says   string
	}{
		"nothing":                     {``, 400, "empty"},
		"no JSON":                     {`name=a`, 400, "not valid JSON"},
		"an unknown field":            {source(`,"buss":"x"`), 400, "buss"},
		"a field twice":               {source(`,"name":"b"`), 400, "twice"},
		"no name":                     {`{"kind":"endpoint","allow_accounts":["111122223333"]}`, 400, "name"},
		"a name with a slash":         {strings.Replace(source(""), `"a"`, `"a/b"`, 1), 400, "name"},
		"a name in Chinese":           {strings.Replace(source(""), `"a"`, `"订单"`, 1), 400, "name"},
		"a name like an id":           {strings.Replace(source(""), `"a"`, `"00000000-0000-0000-0000-000000000000"`, 1), 400, "id"},
		"a name that is there":        {strings.Replace(source(""), `"a"`, `"there"`, 1), 409, "already exists"},
		"no kind":                     {`{"name":"a","allow_accounts":["111122223333"]}`, 400, "kind"},
		"an unknown kind":             {strings.Replace(source(""), "endpoint", "topic", 1), 400, "kind"},
		"no accounts":                 {`{"name":"a","kind":"endpoint"}`, 400, "allow_accounts is empty"},
		"an account of 11 digits":     {strings.Replace(source(""), "111122223333", "11112222333", 1), 400, "12 digits"},
		"any account":                 {strings.Replace(source(""), "111122223333", "*", 1), 400, "12 digits"},
		"an account twice":            {strings.Replace(source(""), `"111122223333"`, `"111122223333","111122223333"`, 1), 400, "twice"},
		"too many accounts":           {strings.Replace(source(""), `["111122223333"]`, list(maxAccounts+1, func(n int) string { return fmt.Sprintf("%012d", n) }), 1), 400, "1001"},
		"a region that is none":       {source(`,"allow_regions":["home"]`), 400, "home"},
		"too many regions":            {source(`,"allow_regions":` + list(maxRegions+1, func(n int) string { return fmt.Sprintf("xx-east-%d", n) })), 400, "65"},
		"a bus that is none":          {source(`,"bus":"a b"`), 400, "bus"},
		"an ARN of something else":    {source(`,"bus":"arn:aws:sqs:us-east-1:111122223333:q"`), 400, "bus"},
		"a bus that does not exist":   {source(`,"bus":"arn:aws:events:us-east-1:111122223333:event-bus/none"`), 404, "event-bus/none does not exist"},
		"a pattern that is no JSON":   {source(`,"pattern":"{"`), 400, "pattern"},
		"a pattern that is no object": {source(`,"pattern":"[]"`), 400, "pattern"},
		"a pattern that is too long":  {source(`,"pattern":"` + strings.Repeat("x", maxPattern+1) + `"`), 400, "4097 bytes"},
		"a negative rate":             {source(`,"max_events_per_second":-1`), 400, "max_events_per_second"},
		"a rate in words":             {source(`,"max_events_per_second":"10"`), 400, "max_events_per_second"},
		"a long description":          {source(`,"description":"` + strings.Repeat("订", maxDescription+1) + `"`), 400, "description"},
		"an endpoint with a queue":    {source(`,"queue":"arn:aws:sqs:us-east-1:111122223333:q"`), 400, "queue is for"},
		"a queue source without one":  {`{"name":"a","kind":"queue","allow_accounts":["111122223333"]}`, 400, "queue"},
		"a queue of another source":   {`{"name":"a","kind":"queue","allow_accounts":["111122223333"],"queue":"https://sqs.us-east-1.amazonaws.com/111122223333/polled"}`, 409, "polled by another source"},
		"a queue that is none":        {`{"name":"a","kind":"queue","allow_accounts":["111122223333"],"queue":"https://example.com/q"}`, 400, "not the URL of an SQS queue"},
	} {
		if a := w.call("POST", "/v1/sources", "", tt.body); a.status != tt.status || !strings.Contains(a.body, tt.says) {
			t.Errorf("%s: %d %s, want %d with %q", name, a.status, a.body, tt.status, tt.says)
		}
	}
	for name, tt := range map[string]struct {
		path, body string
		status     int
		says       string
	}{
		"another name":      {"there", `{"name":"b"}`, 400, "name"},
		"another kind":      {"there", `{"kind":"queue"}`, 400, "kind"},
		"no accounts":       {"there", `{"allow_accounts":[]}`, 400, "allow_accounts is empty"},
		"a missing bus":     {"there", `{"bus":"arn:aws:events:us-east-1:111122223333:event-bus/none"}`, 404, "does not exist"},
		"a missing source":  {"nowhere", `{"enabled":false}`, 404, "nowhere"},
		"a source in words": {"a%20b", `{"enabled":false}`, 404, "a b"},
	} {
		if a := w.call("PUT", "/v1/sources/"+tt.path, "", tt.body); a.status != tt.status || !strings.Contains(a.body, tt.says) {
			t.Errorf("update, %s: %d %s, want %d with %q", name, a.status, a.body, tt.status, tt.says)
		}
	}
	for route, status := range map[string]int{
		"GET /v1/sources/nowhere": 404, "DELETE /v1/sources/nowhere": 404, "GET /v1/sources/nowhere/refused": 404,
		"GET /v1/sources/there/refused?prev=true": 400, "GET /v1/sources/there/refused?offset=%00": 400, "GET /v1/sources/there/refused?count=0": 400,
		"POST /v1/sources/there/refused/none/retry": 404, "DELETE /v1/sources/there/refused/none": 404, "DELETE /v1/sources/there/refused/a%00b": 404,
	} {
		method, path, _ := strings.Cut(route, " ")
		if a := w.call(method, path, "", ""); a.status != status {
			t.Errorf("%s: %+v, want %d", route, a, status)
		}
	}
	if all, err := w.i.Sources(t.Context()); err != nil || len(all) != 2 {
		t.Errorf("sources are %+v, %v", all, err)
	}
}

// An admin makes and sees only sources of accounts that are theirs to administer.
func TestSourcesBelongToTheirAccounts(t *testing.T) {
	w := newWorld(t, storetest.SQLite(t))
	login := func(account string, role auth.Role) string {
		t.Helper()
		k, secret, err := w.auth.CreateKey(t.Context(), auth.NewKey{Account: account, Role: role})
		if err != nil {
			t.Fatal(err)
		}
		token, _, err := w.auth.Login(t.Context(), k.ID, secret)
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	home := login(auth.HomeAccount, auth.Admin)
	mine, reader, operator := login(testAccount, auth.Admin), login(testAccount, auth.Reader), login(testAccount, auth.Operator)
	theirs := login("999999999999", auth.Admin)
	body := func(name, more string) string {
		return `{"name":"` + name + `","kind":"endpoint","allow_accounts":["111122223333"]` + more + `}`
	}
	for name, tt := range map[string]struct {
		token, body string
		status      int
	}{
		"nobody":             {"", body("a", ""), 401},
		"a reader":           {reader, body("a", ""), 403},
		"an operator":        {operator, body("a", ""), 403},
		"another's admin":    {theirs, body("a", ""), 403},
		"onto another's bus": {mine, body("a", `,"bus":"arn:aws:events:us-east-1:999999999999:event-bus/default"`), 403},
		"of another's queue": {mine, strings.Replace(body("a", `,"queue":"arn:aws:sqs:us-east-1:999999999999:q"`), "endpoint", "queue", 1), 403},
		"its own admin":      {mine, body("mine", ""), 201},
		"the installation's": {home, body("homes", `,"bus":"arn:aws:events:us-east-1:000000000000:event-bus/default"`), 201},
	} {
		if a := w.call("POST", "/v1/sources", tt.token, tt.body); a.status != tt.status {
			t.Errorf("%s: %+v, want %d", name, a, tt.status)
		}
	}
	for name, tt := range map[string]struct {
		token string
		list  []string
	}{
		"the installation's admin": {home, []string{"homes", "mine"}},
		"its own admin":            {mine, []string{"mine"}},
		"a reader of the account":  {reader, []string{"mine"}},
		"another's admin":          {theirs, nil},
	} {
		var out struct{ List []sourceJSON }
		if err := json.Unmarshal([]byte(w.call("GET", "/v1/sources", tt.token, "").body), &out); err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, s := range out.List {
			names = append(names, s.Name)
		}
		if fmt.Sprint(names) != fmt.Sprint(tt.list) {
			t.Errorf("%s sees %v, want %v", name, names, tt.list)
		}
	}
	if a := w.call("GET", "/v1/sources/mine", theirs, ""); a.status != 404 {
		t.Errorf("another's admin finds it: %+v", a)
	}
	if a := w.call("PUT", "/v1/sources/mine", mine, `{"allow_accounts":["111122223333","999999999999"]}`); a.status != 403 {
		t.Errorf("an account that is not theirs is allowed: %+v", a)
	}
	// Whether another's bus is there is none of their business.
	for _, bus := range []string{"there", "not-there"} {
		arn := "arn:aws:events:us-east-1:999999999999:event-bus/" + bus
		w.buses[arn] = bus == "there"
		if a := w.call("PUT", "/v1/sources/mine", mine, `{"bus":"`+arn+`"}`); a.status != 403 {
			t.Errorf("onto another's bus %s: %+v", bus, a)
		}
	}
	if a := w.call("DELETE", "/v1/sources/homes", mine, ""); a.status != 404 {
		t.Errorf("the installation's source is removed: %+v", a)
	}
}

func TestAnEventThatNoRuleCouldMatchIsRefused(t *testing.T) {
	pattern, err := eventpattern.Compile([]byte(`{"source":["s"]}`))
	if err != nil {
		t.Fatal(err)
	}
	for levels, taken := range map[int]bool{1: true, eventpattern.MaxEventDepth - 1: true, eventpattern.MaxEventDepth: false} {
		detail := strings.Repeat(`{"a]\"[":`, levels-1) + "{}" + strings.Repeat("}", levels-1)
		raw := []byte(`{"version":"0","id":"i","detail-type":"t","source":"s","account":"111122223333","time":"2026-01-02T03:04:05Z","region":"us-east-1","resources":[],"detail":` + detail + `}`)
		_, err := parse(raw)
		if (err == nil) != taken {
			t.Errorf("a detail of %d levels: %v", levels, err)
		}
		if _, matchErr := pattern.Match(raw); (matchErr == nil) != taken {
			t.Errorf("a detail of %d levels is matched with %v", levels, matchErr)
		}
	}
}

func FuzzBodies(f *testing.F) {
	good := eventBody("e", testAccount, testRegion, `{"a":"订单 🛒"}`)
	f.Add([]byte(good))
	f.Add([]byte("[" + good + "," + good + "]"))
	f.Add([]byte(`{"Type":"Notification","TopicArn":"arn","Message":"{}"}`))
	f.Add([]byte(`[[]]`))
	f.Fuzz(func(t *testing.T, body []byte) {
		list, err := splitBody(body)
		if err != nil {
			if _, theirs := refusal(err); !theirs {
				t.Fatalf("not the sender's doing: %v", err)
			}
			return
		}
		for _, raw := range append(list, unwrap(body)) {
			ev, err := parse(raw)
			if err != nil {
				if e, theirs := refusal(err); !theirs || e.Message == "" {
					t.Fatalf("not the sender's doing: %v", err)
				}
				continue
			}
			again, err := parse(ev.AppendJSON(nil))
			if err != nil {
				t.Fatalf("what is sent on cannot be read: %v", err)
			}
			if again.ID != ev.ID || again.Account != ev.Account || again.Region != ev.Region || !again.Time.Equal(ev.Time) || again.Source != ev.Source || again.DetailType != ev.DetailType {
				t.Fatalf("%+v is sent on as %+v", ev, again)
			}
		}
	})
}

func TestWhatIsKeptOfATextIsPlain(t *testing.T) {
	if got := plain("a\x00b\xff"); got != "a\ufffdb\ufffd" {
		t.Errorf("got %q", got)
	}
	if got := plain(strings.Repeat("订", 1000)); len(got) > maxWhy+3 || !strings.HasSuffix(got, "订…") {
		t.Errorf("got %d bytes, %q", len(got), got[len(got)-6:])
	}
}

// A call that comes slowly is given up before others wait for its place; it is AWS
// that tries again then, as nothing is wrong with the event.
func TestACallThatDoesNotArriveIsToBeTriedAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, storetest.SQLite(t))
	s, token := w.endpoint("a", Settings{})
	good := eventBody("e", testAccount, testRegion, "{}")
	for name, end := range map[string]func(*net.TCPConn) error{
		"it stops":  func(*net.TCPConn) error { return nil },
		"it is cut": (*net.TCPConn).CloseWrite,
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := net.Dial("tcp", strings.TrimPrefix(w.http.URL, "http://"))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			fmt.Fprintf(conn, "POST /v1/intake/%s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nAuthorization: Bearer %s\r\nContent-Length: %d\r\n\r\n%s",
				s.ID, token, len(good), good[:len(good)/2])
			if err := end(conn.(*net.TCPConn)); err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if resp.StatusCode != http.StatusServiceUnavailable || time.Since(began) > 2*acceptTime {
				t.Errorf("answered %s after %s", resp.Status, time.Since(began))
			}
		})
	}
	if a := w.activity(s); a.Refused != 0 || a.Accepted != 0 {
		t.Errorf("activity is %+v", a)
	}
}
