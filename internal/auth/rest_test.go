package auth

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/rialto-bus/rialto/internal/httpapi"
	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/store/storetest"
)

// restServer is the REST API of keys, and a path that answers who asks.
func restServer(a *Auth) http.Handler {
	inside := http.NewServeMux()
	a.RegisterKeys(inside)
	inside.HandleFunc("GET /v1/whoami", Require(Read, func(w http.ResponseWriter, r *http.Request) {
		p, _ := PrincipalFrom(r.Context())
		httpapi.JSON(w, 200, p)
	}))
	mux := http.NewServeMux()
	mux.Handle(LoginPattern, a.LoginHandler())
	mux.Handle("/v1/", a.Middleware(inside))
	return mux
}

type restAnswer struct {
	status int
	header http.Header
	body   map[string]any
}

func (r restAnswer) str(path ...string) string {
	var v any = r.body
	for _, p := range path {
		m, _ := v.(map[string]any)
		v = m[p]
	}
	s, _ := v.(string)
	return s
}

func call(t *testing.T, h http.Handler, method, path, token, body string) restAnswer {
	t.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	a := restAnswer{status: w.Code, header: w.Header()}
	if w.Body.Len() > 0 {
		if err := json.Unmarshal(w.Body.Bytes(), &a.body); err != nil {
			t.Fatalf("%s %s: %d %q", method, path, w.Code, w.Body)
		}
	}
	return a
}

func login(t *testing.T, h http.Handler, id, secret string) restAnswer {
	t.Helper()
	return call(t, h, "POST", "/v1/teams/default/service_token", "", `{"key_id":"`+id+`","key_secret":"`+secret+`"}`)
}

func TestRESTInDevMode(t *testing.T) {
	a := node(t, storetest.SQLite(t), newClock())
	h := restServer(a)
	tokenOf := func(id string) string { return login(t, h, id, "any").str("bearer_token") }
	for name, tt := range map[string]struct{ token, account string }{
		"nobody":                       {"", DefaultAccount},
		"a bearer of 12 digits":        {"111111111111", "111111111111"},
		"a bearer that means nothing":  {"whatever", DefaultAccount},
		"a login with 12 digits":       {tokenOf("222222222222"), "222222222222"},
		"a login with any other key":   {tokenOf("test"), DefaultAccount},
		"a login with an AWS-like key": {tokenOf("AKIAIOSFODNN7EXAMPLE"), DefaultAccount},
	} {
		got := call(t, h, "GET", "/v1/whoami", tt.token, "")
		if got.status != 200 || got.str("Account") != tt.account || got.str("Role") != "admin" {
			t.Errorf("%s: %+v, want admin of %s", name, got, tt.account)
		}
	}
	dev := tokenOf("222222222222")
	mustCreate(t, a, "111111111111", Admin)
	for _, token := range []string{"", "111111111111", dev} {
		if got := call(t, h, "GET", "/v1/whoami", token, ""); got.status != 401 {
			t.Errorf("token %q after dev mode ended: %+v", token, got)
		}
	}
}

func TestREST(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		c := newClock()
		a := node(t, db, c)
		h := restServer(a)
		admin, adminSecret := mustCreate(t, a, HomeAccount, Admin)

		refused := map[string]restAnswer{
			"a wrong secret":    login(t, h, admin.ID, "wrong"),
			"an empty secret":   login(t, h, admin.ID, ""),
			"an unknown key":    login(t, h, "RLTOAAAAAAAAAAAAAAAA", adminSecret),
			"12 digits":         login(t, h, "111111111111", adminSecret),
			"no token":          call(t, h, "GET", "/v1/whoami", "", ""),
			"a token that lies": call(t, h, "GET", "/v1/whoami", "a.b.c", ""),
		}
		for name, got := range refused {
			if got.status != 401 || got.str("error", "code") != httpapi.CodeAuthenticationError {
				t.Errorf("%s: %+v, want 401 authentication_error", name, got)
			}
		}
		if got := refused["no token"].header.Get("WWW-Authenticate"); got != `Bearer realm="rialto"` {
			t.Errorf("WWW-Authenticate %q", got)
		}
		if got := call(t, h, "POST", "/v1/teams/other/service_token", "", `{}`); got.status != 404 {
			t.Errorf("another team: %+v", got)
		}

		in := login(t, h, admin.ID, adminSecret)
		if in.status != 200 || in.str("team_name") != "default" || in.str("expires_at") != "2026-11-21T01:00:00Z" {
			t.Fatalf("login: %+v", in)
		}
		token := in.str("bearer_token")
		if got := call(t, h, "GET", "/v1/whoami", token, ""); got.str("KeyID") != admin.ID || got.str("Account") != HomeAccount {
			t.Errorf("whoami: %+v", got)
		}

		made := call(t, h, "POST", "/v1/keys", token, `{"account":"222222222222","role":"reader","description":"读者 📖"}`)
		if made.status != 201 || made.str("status") != "ACTIVE" || made.str("created_by") != admin.ID || len(made.str("key_secret")) != 40 {
			t.Fatalf("create: %+v", made)
		}
		reader := login(t, h, made.str("key_id"), made.str("key_secret")).str("bearer_token")
		if got := call(t, h, "GET", "/v1/whoami", reader, ""); got.status != 200 {
			t.Errorf("a reader reads: %+v", got)
		}
		if got := call(t, h, "GET", "/v1/keys", reader, ""); got.status != 403 || got.str("error", "code") != httpapi.CodeForbidden {
			t.Errorf("a reader lists keys: %+v", got)
		}
		for name, body := range map[string]string{
			"a role that is none":   `{"account":"222222222222","role":"root"}`,
			"an account that isn't": `{"account":"2","role":"reader"}`,
			"an unknown field":      `{"account":"222222222222","role":"reader","admin":true}`,
		} {
			if got := call(t, h, "POST", "/v1/keys", token, body); got.status != 400 {
				t.Errorf("%s: %+v", name, got)
			}
		}

		path := "/v1/keys/" + made.str("key_id")
		fresh := call(t, h, "POST", path+"/rotate", token, `{"overlap_seconds":60}`)
		if fresh.status != 201 || fresh.str("role") != "reader" || fresh.str("description") != "读者 📖" {
			t.Errorf("rotate: %+v", fresh)
		}
		if got := call(t, h, "GET", path, token, ""); got.str("replaced_by") != fresh.str("key_id") || got.str("expires_at") != "2026-11-21T00:01:00Z" || got.body["key_secret"] != nil {
			t.Errorf("the old key: %+v", got)
		}
		if got := call(t, h, "POST", path+"/rotate", token, `{"overlap_seconds":-1}`); got.status != 400 {
			t.Errorf("a negative overlap: %+v", got)
		}
		c.add(time.Minute)
		if got := call(t, h, "GET", "/v1/whoami", reader, ""); got.status != 401 {
			t.Errorf("a login token outlived its key: %+v", got)
		}
		if got := call(t, h, "GET", path, token, ""); got.str("status") != "EXPIRED" {
			t.Errorf("the old key: %+v", got)
		}
		if got := call(t, h, "POST", path+"/rotate", token, `{}`); got.status != 409 {
			t.Errorf("rotate an ended key: %+v", got)
		}
		if got := call(t, h, "DELETE", "/v1/keys/"+fresh.str("key_id"), token, ""); got.status != 204 {
			t.Errorf("revoke: %+v", got)
		}
		for _, id := range []string{"RLTOAAAAAAAAAAAAAAAA", "%00", "%ff"} {
			if got := call(t, h, "GET", "/v1/keys/"+id, token, ""); got.status != 404 {
				t.Errorf("key %s: %+v", id, got)
			}
		}
		list := call(t, h, "GET", "/v1/keys?account=222222222222", token, "")
		if keys, _ := list.body["list"].([]any); len(keys) != 2 || strings.Contains(strings.ToLower(mustJSON(t, list.body)), "secret") {
			t.Errorf("list: %+v", list)
		}
		c.add(time.Hour)
		if got := call(t, h, "GET", "/v1/whoami", token, ""); got.status != 401 {
			t.Errorf("a login token after an hour: %+v", got)
		}
	})
}

func TestAdminsOfOneAccountDoNotReachTheKeysOfOthers(t *testing.T) {
	a := node(t, storetest.SQLite(t), newClock())
	h := restServer(a)
	bearer := func(account string, role Role) (token, keyID string) {
		k, secret := mustCreate(t, a, account, role)
		return login(t, h, k.ID, secret).str("bearer_token"), k.ID
	}
	_, home := bearer(HomeAccount, Admin)
	admin, own := bearer("111111111111", Admin)
	_, other := bearer("222222222222", Operator)

	for name, c := range map[string]struct {
		method, path, body string
		status             int
	}{
		"lists the home account's":        {"GET", "/v1/keys?account=" + HomeAccount, "", 403},
		"lists another's":                 {"GET", "/v1/keys?account=222222222222", "", 403},
		"makes one of the home account":   {"POST", "/v1/keys", `{"account":"` + HomeAccount + `","role":"admin"}`, 403},
		"makes one of another":            {"POST", "/v1/keys", `{"account":"222222222222","role":"reader"}`, 403},
		"shows the home account's":        {"GET", "/v1/keys/" + home, "", 404},
		"rotates the home account's":      {"POST", "/v1/keys/" + home + "/rotate", `{}`, 404},
		"rotates another's":               {"POST", "/v1/keys/" + other + "/rotate", `{}`, 404},
		"revokes another's":               {"DELETE", "/v1/keys/" + other, "", 404},
		"makes one of its own account":    {"POST", "/v1/keys", `{"account":"111111111111","role":"admin"}`, 201},
		"lists its own account's by name": {"GET", "/v1/keys?account=111111111111", "", 200},
		"shows its own":                   {"GET", "/v1/keys/" + own, "", 200},
	} {
		if got := call(t, h, c.method, c.path, admin, c.body); got.status != c.status {
			t.Errorf("%s: %d %v, want %d", name, got.status, got.body, c.status)
		}
	}
	list := mustJSON(t, call(t, h, "GET", "/v1/keys", admin, "").body)
	if strings.Contains(list, home) || strings.Contains(list, other) || !strings.Contains(list, own) {
		t.Errorf("its list is %s", list)
	}
	if k, err := selectKey(t.Context(), a.db, other); err != nil || !k.ExpiresAt.IsZero() || !k.RevokedAt.IsZero() {
		t.Errorf("another account's key was changed: %+v, %v", k.Key, err)
	}
}

func TestStreamsEndWithTheirKey(t *testing.T) {
	a := node(t, storetest.SQLite(t), newClock())
	// stream serves one stream and returns once it is open; what it returns waits for its end.
	stream := func(p Principal) (ended func() error) {
		open, end := make(chan struct{}), make(chan error, 1)
		h := a.whileAllowed(func(_ http.ResponseWriter, r *http.Request) {
			close(open)
			<-r.Context().Done()
			end <- r.Context().Err()
		}, time.Millisecond)
		r := httptest.NewRequest("GET", "/v1/events/stream", nil)
		r = r.WithContext(WithPrincipal(t.Context(), p))
		go h(httptest.NewRecorder(), r)
		<-open
		return func() error { return <-end }
	}
	dev := stream(devPrincipal("111111111111"))
	mustCreate(t, a, HomeAccount, Admin)
	if err := dev(); err == nil {
		t.Error("it did not end")
	}
	key, _ := mustCreate(t, a, "111111111111", Reader)
	reader := stream(Principal{KeyID: key.ID, Account: key.Account, Role: Reader})
	if err := a.RevokeKey(t.Context(), key.ID); err != nil {
		t.Fatal(err)
	}
	if err := reader(); err == nil {
		t.Error("it did not end")
	}
}

func TestBasicCredentialsAreThoseOfAnAccessKey(t *testing.T) {
	a := node(t, storetest.SQLite(t), newClock())
	h := a.BasicMiddleware(Require(Read, func(http.ResponseWriter, *http.Request) {}))
	get := func(id, secret string) int {
		r := httptest.NewRequest("GET", "/metrics", nil)
		if id != "" {
			r.SetBasicAuth(id, secret)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w.Code
	}
	if got := get("", ""); got != 200 {
		t.Errorf("in dev mode: %d", got)
	}
	mustCreate(t, a, HomeAccount, Admin)
	reader, readerSecret := mustCreate(t, a, "111111111111", Reader)
	publisher, publisherSecret := mustCreate(t, a, "111111111111", Publisher)
	for name, c := range map[string]struct {
		id, secret string
		want       int
	}{
		"nobody": {"", "", 401}, "a wrong secret": {reader.ID, "wrong", 401}, "an unknown key": {"RLTOAAAAAAAAAAAAAAAA", "x", 401},
		"a reader": {reader.ID, readerSecret, 200}, "a publisher": {publisher.ID, publisherSecret, 403},
	} {
		if got := get(c.id, c.secret); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}

func mustJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
