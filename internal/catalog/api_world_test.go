package catalog_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rialto-bus/rialto/internal/auth"
	"github.com/rialto-bus/rialto/internal/catalog"
	"github.com/rialto-bus/rialto/internal/httpapi"
	"github.com/rialto-bus/rialto/internal/jq"
	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/work"
)

// apiServer is a server with the catalog's API as the program serves it: behind the
// guard, with tokens, jobs running.
type apiServer struct {
	url     string
	auth    *auth.Auth
	catalog *catalog.Catalog
	clock   *testClock
	stop    func() // ends it before the test does
}

// testClock goes on by itself, and can be set ahead.
type testClock struct {
	mu    sync.Mutex
	ahead time.Duration
}

func (c *testClock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.ahead)
}

func (c *testClock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ahead += d
}

func startAPI(t *testing.T, db *store.DB) *apiServer {
	t.Helper()
	clock := &testClock{}
	a, err := auth.Open(t.Context(), db, auth.Options{MasterKey: make([]byte, auth.MasterKeySize), Now: clock.now})
	if err != nil {
		t.Fatal(err)
	}
	jobs := work.New(db, "test", nil)
	evaluator := jq.New(jq.Options{})
	t.Cleanup(func() { _ = evaluator.Close() })
	c := catalog.New(catalog.Options{DB: db, Jobs: jobs, JQ: evaluator, Now: clock.now})
	rest := http.NewServeMux()
	c.Register(rest)
	mux := http.NewServeMux()
	mux.Handle(auth.PortTokenPath, a.PortTokenHandler())
	for _, path := range catalog.Paths() {
		mux.Handle(path, a.PortMiddleware(rest))
	}
	guard, err := httpapi.Guard(mux, httpapi.GuardOptions{})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(httpapi.Requests(guard, nil))
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = jobs.Run(ctx) })
	wg.Go(func() { _ = c.Run(ctx) })
	stop := sync.OnceFunc(func() {
		server.Close()
		cancel()
		wg.Wait()
	})
	t.Cleanup(stop)
	return &apiServer{url: server.URL, auth: a, catalog: c, clock: clock, stop: stop}
}

// apiClient calls the API as a program that names itself so.
type apiClient struct {
	t     *testing.T
	url   string
	agent string
	token string
}

func (s *apiServer) client(t *testing.T, agent string) *apiClient {
	t.Helper()
	c := &apiClient{t: t, url: s.url, agent: agent}
	got := c.ok("POST", "/v1/auth/access_token", `{"clientId":"rialto-test","clientSecret":"any"}`)
	c.token, _ = got["accessToken"].(string)
	return c
}

// as is a client with an access key.
func (s *apiServer) as(t *testing.T, account string, role auth.Role) *apiClient {
	t.Helper()
	k, secret, err := s.auth.CreateKey(t.Context(), auth.NewKey{Account: account, Role: role})
	if err != nil {
		t.Fatal(err)
	}
	c := &apiClient{t: t, url: s.url, agent: "test"}
	body, _ := json.Marshal(map[string]string{"clientId": k.ID, "clientSecret": secret})
	c.token, _ = c.ok("POST", "/v1/auth/access_token", string(body))["accessToken"].(string)
	return c
}

// apiAnswer is an answer: its status, and its body as JSON.
type apiAnswer struct {
	status int
	header http.Header
	body   map[string]any
}

// call sends a body, none if empty, and reads the answer, which must be JSON with ok.
func (c *apiClient) call(method, target, body string) apiAnswer {
	c.t.Helper()
	r, err := http.NewRequestWithContext(c.t.Context(), method, c.url+target, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	r.Header.Set("User-Agent", c.agent)
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	if c.token != "" {
		r.Header.Set("Authorization", "Bearer "+c.token)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		c.t.Fatalf("%s %s: %v", method, target, err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatalf("%s %s: %v", method, target, err)
	}
	a := apiAnswer{status: resp.StatusCode, header: resp.Header}
	if err := json.Unmarshal(text, &a.body); err != nil {
		c.t.Fatalf("%s %s: %d %q: %v", method, target, resp.StatusCode, text, err)
	}
	if ok, isBool := a.body["ok"].(bool); !isBool || ok != (a.status < 400) {
		c.t.Errorf("%s %s: %d with ok %v", method, target, a.status, a.body["ok"])
	}
	if a.status >= 400 {
		code, _ := a.body["error"].(string)
		message, _ := a.body["message"].(string)
		if code == "" || message == "" {
			c.t.Errorf("%s %s: %d %s: not an error in Port's shape", method, target, a.status, text)
		}
	}
	return a
}

// ok is a call that must succeed.
func (c *apiClient) ok(method, target, body string) map[string]any {
	c.t.Helper()
	a := c.call(method, target, body)
	if a.status/100 != 2 {
		c.t.Fatalf("%s %s %s: %d %v", method, target, body, a.status, a.body)
	}
	return a.body
}

// status is a call that must be answered with a status.
func (c *apiClient) status(want int, method, target, body string) map[string]any {
	c.t.Helper()
	a := c.call(method, target, body)
	if a.status != want {
		c.t.Errorf("%s %s %.200s: %d %v, want %d", method, target, body, a.status, a.body, want)
	}
	return a.body
}

// refused is a call that must be refused, with a code, by a message that says some word.
func (c *apiClient) refused(status int, code, says, method, target, body string) {
	c.t.Helper()
	got := c.status(status, method, target, body)
	text, _ := json.Marshal(got)
	if got["error"] != code || !strings.Contains(string(text), says) {
		c.t.Errorf("%s %s %.200s: %s, want %s that says %q", method, target, body, text, code, says)
	}
}

// blueprint makes one of an identifier; more are further members, such as
// "relations":{…}.
func (c *apiClient) blueprint(identifier, properties string, more ...string) {
	c.t.Helper()
	body := `{"identifier":"` + identifier + `","title":"` + identifier + `","schema":{"properties":{` + properties + `},"required":[]}`
	for _, m := range more {
		body += "," + m
	}
	c.status(201, "POST", "/v1/blueprints", body+"}")
}

// entity upserts one, by merging.
func (c *apiClient) entity(blueprint, body string) map[string]any {
	c.t.Helper()
	got := c.ok("POST", "/v1/blueprints/"+blueprint+"/entities?upsert=true&merge=true", body)
	entity, _ := got["entity"].(map[string]any)
	return entity
}

// found are the identifiers of what a search answers with.
func (c *apiClient) found(rules string) []string {
	c.t.Helper()
	return identifiersIn(c.ok("POST", "/v1/entities/search", `{"combinator":"and","rules":[`+rules+`]}`))
}

func identifiersIn(answer map[string]any) []string {
	out := []string{}
	list, _ := answer["entities"].([]any)
	for _, v := range list {
		e, _ := v.(map[string]any)
		id, _ := e["identifier"].(string)
		out = append(out, id)
	}
	return out
}

// at follows a path of keys and indexes into a JSON value.
func at(v any, path ...any) any {
	for _, p := range path {
		switch p := p.(type) {
		case string:
			m, _ := v.(map[string]any)
			v = m[p]
		case int:
			l, _ := v.([]any)
			if p >= len(l) {
				return nil
			}
			v = l[p]
		}
	}
	return v
}

func esc(s string) string { return url.PathEscape(s) }
