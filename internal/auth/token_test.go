package auth

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/rialto-bus/rialto/internal/httpapi"
	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/store/storetest"
)

const hook = "webhook:7f9c24e5-海"

func newClient(t *testing.T, a *Auth, audience string) (id, secret string) {
	t.Helper()
	err := a.db.Update(t.Context(), func(tx *store.Tx) (err error) {
		id, secret, err = a.Clients().CreateClient(t.Context(), tx, audience)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return id, secret
}

func rotate(t *testing.T, a *Auth, clientID string, overlap time.Duration) (secret string, err error) {
	t.Helper()
	err = a.db.Update(t.Context(), func(tx *store.Tx) (err error) {
		secret, err = a.Clients().RotateSecret(t.Context(), tx, clientID, overlap)
		return err
	})
	return secret, err
}

// ask sends a form to the token endpoint and returns the status and the answer.
func ask(t *testing.T, a *Auth, form url.Values) (int, map[string]any) {
	t.Helper()
	r := httptest.NewRequest("POST", httpapi.TokenPath, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return answer(t, a, r)
}

func answer(t *testing.T, a *Auth, r *http.Request) (int, map[string]any) {
	t.Helper()
	w := httptest.NewRecorder()
	a.TokenHandler().ServeHTTP(w, r)
	var body map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil {
		t.Fatalf("%d %q: %v", w.Code, w.Body, err)
	}
	if w.Header().Get("Cache-Control") != "no-store" || w.Header().Get("Content-Type") != "application/json" {
		t.Errorf("headers %v", w.Header())
	}
	if (w.Code == 401) != (w.Header().Get("WWW-Authenticate") != "") {
		t.Errorf("%d with WWW-Authenticate %q", w.Code, w.Header().Get("WWW-Authenticate"))
	}
	return w.Code, body
}

func form(id, secret string) url.Values {
	return url.Values{"grant_type": {"client_credentials"}, "client_id": {id}, "client_secret": {secret}}
}

func mustToken(t *testing.T, a *Auth, id, secret string) string {
	t.Helper()
	status, body := ask(t, a, form(id, secret))
	token, _ := body["access_token"].(string)
	if status != 200 || token == "" {
		t.Fatalf("token request: %d %v", status, body)
	}
	return token
}

func TestTokenEndpoint(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		a := node(t, db, newClock())
		id, secret := newClient(t, a, hook)
		basic := func(id, secret string) string {
			return "Basic " + base64.StdEncoding.EncodeToString([]byte(id+":"+secret))
		}
		asJSON := func(v map[string]any) string {
			b, err := json.Marshal(v)
			if err != nil {
				t.Fatal(err)
			}
			return string(b)
		}
		const formType, jsonType = "application/x-www-form-urlencoded", "application/json"
		good := form(id, secret).Encode()
		tests := []struct {
			name, method, query, contentType, authorization, body string
			status                                                int
			err                                                   string
		}{
			{"a form", "POST", "", formType, "", good, 200, ""},
			{"a form with charset", "POST", "", formType + "; charset=utf-8", "", good, 200, ""},
			{"PUT", "PUT", "", formType, "", good, 200, ""},
			{"GET with a query", "GET", good, "", "", "", 200, ""},
			{"POST with a query", "POST", good, "", "", "", 200, ""},
			{"JSON", "POST", "", jsonType, "", asJSON(map[string]any{"grant_type": "client_credentials", "client_id": id, "client_secret": secret}), 200, ""},
			{"JSON with an unknown number", "POST", "", jsonType, "", asJSON(map[string]any{"grant_type": "client_credentials", "client_id": id, "client_secret": secret, "x": 1}), 200, ""},
			{"Basic", "POST", "", formType, basic(id, secret), "grant_type=client_credentials", 200, ""},
			{"Basic with escapes", "POST", "", formType, basic(strings.ReplaceAll(id, "-", "%2D"), secret), "grant_type=client_credentials", 200, ""},
			{"Basic and the same in the body", "POST", "", formType, basic(id, secret), good, 200, ""},
			{"Basic and grant_type in the query", "POST", "grant_type=client_credentials", "", basic(id, secret), "", 200, ""},
			{"the same grant_type twice", "POST", "grant_type=client_credentials", formType, "", good, 200, ""},
			{"an unknown parameter", "POST", "", formType, "", good + "&audience=%E6%B5%B7", 200, ""},

			{"Basic and another secret in the body", "POST", "", formType, basic(id, secret), form(id, "other").Encode(), 400, "invalid_request"},
			{"Basic and another id in the body", "POST", "", formType, basic(id, secret), form("other", secret).Encode(), 400, "invalid_request"},
			{"query and body disagree", "POST", "client_secret=other", formType, "", good, 400, "invalid_request"},
			{"a parameter twice", "POST", "", formType, "", good + "&client_id=" + id, 400, "invalid_request"},
			{"a JSON member twice", "POST", "", jsonType, "", `{"client_id":"a","client_id":"b"}`, 400, "invalid_request"},
			{"JSON credentials that are no strings", "POST", "", jsonType, "", `{"client_id":1}`, 400, "invalid_request"},
			{"JSON that is no object", "POST", "", jsonType, "", `[]`, 400, "invalid_request"},
			{"broken JSON", "POST", "", jsonType, "", `{`, 400, "invalid_request"},
			{"a broken form", "POST", "", formType, "", "a=%zz", 400, "invalid_request"},
			{"a broken query", "POST", "a=%zz", formType, "", good, 400, "invalid_request"},
			{"another content type", "POST", "", "text/plain", "", good, 400, "invalid_request"},
			{"no content type", "POST", "", "", "", good, 400, "invalid_request"},
			{"a body too large", "POST", "", formType, "", good + "&x=" + strings.Repeat("x", maxTokenRequest), 413, "invalid_request"},
			{"no grant_type", "POST", "", formType, basic(id, secret), "", 400, "invalid_request"},
			{"another grant_type", "POST", "", formType, basic(id, secret), "grant_type=password", 400, "unsupported_grant_type"},
			{"a scope", "POST", "", formType, "", good + "&scope=all", 400, "invalid_scope"},
			{"a wrong secret", "POST", "", formType, "", form(id, "rls-wrong").Encode(), 401, "invalid_client"},
			{"a wrong secret and grant_type", "POST", "", formType, "", "client_id=" + id + "&client_secret=x&grant_type=y", 401, "invalid_client"},
			{"an unknown client", "POST", "", formType, "", form("rlc-unknown", secret).Encode(), 401, "invalid_client"},
			{"a client with a NUL", "POST", "", formType, "", form("a\x00", secret).Encode(), 401, "invalid_client"},
			{"a client that is not UTF-8", "POST", "", formType, "", form("a\xff", secret).Encode(), 401, "invalid_client"},
			{"no credentials", "POST", "", formType, "", "grant_type=client_credentials", 401, "invalid_client"},
			{"no secret", "POST", "", formType, "", "grant_type=client_credentials&client_id=" + id, 401, "invalid_client"},
			{"Bearer instead of Basic", "POST", "", formType, "Bearer x", good, 401, "invalid_client"},
			{"DELETE", "DELETE", "", "", "", "", 405, "invalid_request"},
		}
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				r := httptest.NewRequest(tt.method, httpapi.TokenPath+"?"+tt.query, strings.NewReader(tt.body))
				if tt.contentType != "" {
					r.Header.Set("Content-Type", tt.contentType)
				}
				if tt.authorization != "" {
					r.Header.Set("Authorization", tt.authorization)
				}
				status, body := answer(t, a, r)
				got, _ := body["error"].(string)
				if status != tt.status || got != tt.err {
					t.Fatalf("%d %v, want %d %s", status, body, tt.status, tt.err)
				}
				if tt.err != "" {
					return
				}
				if body["token_type"] != "Bearer" || body["expires_in"] != 3600.0 {
					t.Errorf("answer %v", body)
				}
				token, _ := body["access_token"].(string)
				if claims, err := a.VerifyToken(t.Context(), token, hook); err != nil || claims.ClientID != id {
					t.Errorf("VerifyToken = %+v, %v", claims, err)
				}
			})
		}
		secrets, err := a.Clients().ListSecrets(t.Context(), db, id)
		if err != nil || len(secrets) != 1 || secrets[0].LastUsedAt.IsZero() || !strings.HasSuffix(secret, secrets[0].LastFour) {
			t.Errorf("secrets %+v, %v", secrets, err)
		}
	})
}

func TestTokensDieWithTheirSecret(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		ctx := t.Context()
		c := newClock()
		a, other := node(t, db, c), node(t, db, c)
		valid := func(on *Auth, token string) bool {
			_, err := on.VerifyToken(ctx, token, hook)
			if err != nil && !errors.Is(err, ErrToken) {
				t.Fatal(err)
			}
			return err == nil
		}
		id, oldSecret := newClient(t, a, hook)
		oldToken := mustToken(t, a, id, oldSecret)
		newSecret, err := rotate(t, a, id, 10*time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		newToken := mustToken(t, a, id, newSecret)
		if _, body := ask(t, a, form(id, oldSecret)); body["expires_in"] != 600.0 {
			t.Errorf("a token asked for with the old secret lives %v s, want 600", body["expires_in"])
		}
		if !valid(a, oldToken) || !valid(other, newToken) {
			t.Fatal("a token is not valid during the overlap")
		}
		c.add(10 * time.Minute)
		if valid(a, oldToken) || valid(other, oldToken) {
			t.Error("a token outlived its secret, which was rotated away")
		}
		if status, _ := ask(t, a, form(id, oldSecret)); status != 401 {
			t.Errorf("the old secret after the overlap: %d", status)
		}

		secrets, err := a.Clients().ListSecrets(ctx, db, id)
		if err != nil || len(secrets) != 2 {
			t.Fatalf("secrets %+v, %v", secrets, err)
		}
		current := slices.IndexFunc(secrets, func(s ClientSecret) bool { return s.Valid(c.now()) })
		valid(other, newToken) // now in the other node's cache
		err = db.Update(ctx, func(tx *store.Tx) error { return a.Clients().RevokeSecret(ctx, tx, id, secrets[current].ID) })
		if err != nil {
			t.Fatal(err)
		}
		if valid(a, newToken) {
			t.Error("a token outlived its secret, which was revoked here")
		}
		c.add(time.Second)
		if valid(other, newToken) {
			t.Error("a second later, a token outlived its secret, which was revoked on another node")
		}
		if status, _ := ask(t, a, form(id, newSecret)); status != 401 {
			t.Errorf("the revoked secret: %d", status)
		}

		last, err := rotate(t, a, id, 0)
		if err != nil {
			t.Fatal(err)
		}
		lastToken := mustToken(t, a, id, last)
		if !valid(a, lastToken) {
			t.Error("a new secret after a revocation gives no valid token")
		}
		c.add(time.Hour)
		if valid(a, lastToken) {
			t.Error("a token is valid after an hour")
		}
		lastToken = mustToken(t, a, id, last)
		if err := db.Update(ctx, func(tx *store.Tx) error { return a.Clients().DeleteClient(ctx, tx, id) }); err != nil {
			t.Fatal(err)
		}
		if valid(a, lastToken) {
			t.Error("a token outlived its client")
		}
		if _, err := a.Clients().ListSecrets(ctx, db, id); !errors.Is(err, ErrNoClient) {
			t.Errorf("secrets of a deleted client: %v", err)
		}
	})
}

func TestClientErrors(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		ctx := t.Context()
		c := newClock()
		a := node(t, db, c)
		id, _ := newClient(t, a, hook)
		clients := a.Clients()
		for name, tt := range map[string]struct {
			want error
			do   func(tx *store.Tx) error
		}{
			"rotate an unknown client":  {ErrNoClient, func(tx *store.Tx) error { _, err := clients.RotateSecret(ctx, tx, "rlc-x", 0); return err }},
			"rotate a NUL":              {ErrNoClient, func(tx *store.Tx) error { _, err := clients.RotateSecret(ctx, tx, "\x00", 0); return err }},
			"revoke an unknown secret":  {ErrNoSecret, func(tx *store.Tx) error { return clients.RevokeSecret(ctx, tx, id, "x") }},
			"revoke a NUL":              {ErrNoSecret, func(tx *store.Tx) error { return clients.RevokeSecret(ctx, tx, id, "\x00") }},
			"delete an unknown client":  {ErrNoClient, func(tx *store.Tx) error { return clients.DeleteClient(ctx, tx, "rlc-x") }},
			"list of an unknown client": {ErrNoClient, func(tx *store.Tx) error { _, err := clients.ListSecrets(ctx, tx, "rlc-x"); return err }},
		} {
			if err := db.Update(ctx, tt.do); !errors.Is(err, tt.want) {
				t.Errorf("%s: %v, want %v", name, err, tt.want)
			}
		}
		for _, overlap := range []time.Duration{-1, MaxOverlap + 1} {
			if _, err := rotate(t, a, id, overlap); err == nil {
				t.Errorf("overlap %v was accepted", overlap)
			}
		}
		for i := 1; i < MaxSecrets; i++ {
			if _, err := rotate(t, a, id, time.Hour); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := rotate(t, a, id, time.Hour); !errors.Is(err, ErrTooManySecrets) {
			t.Errorf("secret %d: %v", MaxSecrets+1, err)
		}
		c.add(keepEnded + 2*time.Hour)
		if _, err := rotate(t, a, id, time.Hour); err != nil {
			t.Fatal(err)
		}
		if secrets, err := clients.ListSecrets(ctx, db, id); err != nil || len(secrets) != 2 {
			t.Errorf("after 90 days: %d secrets, %v; want the last two", len(secrets), err)
		}
		err := db.Update(ctx, func(tx *store.Tx) error {
			if _, _, err := clients.CreateClient(ctx, tx, "webhook:rolled-back"); err != nil {
				return err
			}
			return errors.New("the caller's transaction failed")
		})
		var n int
		if scan := db.QueryRow(ctx, `SELECT count(*) FROM service_client`).Scan(&n); err == nil || scan != nil || n != 1 {
			t.Errorf("after a rollback there are %d clients, %v, %v", n, err, scan)
		}
	})
}

func TestVerifyTokenTellsWhy(t *testing.T) {
	c := newClock()
	a := node(t, storetest.SQLite(t), c)
	id, secret := newClient(t, a, hook)
	token := mustToken(t, a, id, secret)
	verify := func(token, audience string) error {
		_, err := a.VerifyToken(context.Background(), token, audience)
		return err
	}
	parts := strings.Split(token, ".")
	claims := clientClaims{RegisteredClaims: registered(id, hook, c.now(), c.now().Add(time.Hour)), SecretID: "x"}
	sign := func(method jwt.SigningMethod, key any, claims jwt.Claims) string {
		s, err := jwt.NewWithClaims(method, claims).SignedString(key)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	forever := claims
	forever.ExpiresAt = nil
	login, _, err := a.Login(t.Context(), "111111111111", "")
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		token, audience string
		want            error
	}{
		"valid":                   {token, hook, nil},
		"another webhook":         {token, "webhook:other", ErrAudience},
		"no token":                {"", hook, ErrToken},
		"no JWT":                  {"x", hook, ErrToken},
		"three empty parts":       {"..", hook, ErrToken},
		"a changed signature":     {parts[0] + "." + parts[1] + "." + strings.Repeat("A", len(parts[2])), hook, ErrToken},
		"no signature":            {parts[0] + "." + parts[1] + ".", hook, ErrToken},
		"algorithm none":          {sign(jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, claims), hook, ErrToken},
		"another algorithm":       {sign(jwt.SigningMethodHS384, a.clientToken, claims), hook, ErrToken},
		"another key":             {sign(jwt.SigningMethodHS256, testKey(7), claims), hook, ErrToken},
		"a secret that is gone":   {sign(jwt.SigningMethodHS256, a.clientToken, claims), hook, ErrToken},
		"no end":                  {sign(jwt.SigningMethodHS256, a.clientToken, forever), hook, ErrToken},
		"a login token":           {login, hook, ErrToken},
		"a token far too long":    {strings.Repeat("x", 1<<20), hook, ErrToken},
		"valid, no audience":      {token, "", ErrAudience},
		"valid, padding appended": {token + "=", hook, ErrToken},
	} {
		if err := verify(tt.token, tt.audience); !errors.Is(err, tt.want) || (err == nil) != (tt.want == nil) {
			t.Errorf("%s: %v, want %v", name, err, tt.want)
		}
	}
	if _, err := a.verifyLogin(t.Context(), token); !errors.Is(err, ErrToken) {
		t.Errorf("a client's token as a login token: %v", err)
	}
}

func TestBearerToken(t *testing.T) {
	for header, want := range map[string]string{
		"Bearer abc": "abc", "bearer abc": "abc", " BEARER   abc ": "abc", "Bearer": "", "": "", "Basic abc": "", "Bearerabc": "",
	} {
		if got := BearerToken(header); got != want {
			t.Errorf("BearerToken(%q) = %q, want %q", header, got, want)
		}
	}
}

// The Go OAuth 2 client asks as many others do: Basic first, then parameters.
func TestTokenEndpointServesTheGoClient(t *testing.T) {
	a := node(t, storetest.SQLite(t), &clock{at: time.Now()})
	server := httptest.NewServer(a.TokenHandler())
	defer server.Close()
	id, secret := newClient(t, a, hook)
	for _, style := range []oauth2.AuthStyle{oauth2.AuthStyleAutoDetect, oauth2.AuthStyleInHeader, oauth2.AuthStyleInParams} {
		config := clientcredentials.Config{ClientID: id, ClientSecret: secret, TokenURL: server.URL, AuthStyle: style}
		token, err := config.Token(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := a.VerifyToken(t.Context(), token.AccessToken, hook); err != nil {
			t.Error(err)
		}
	}
}

func FuzzVerifyToken(f *testing.F) {
	db := storetest.SQLite(f)
	a, err := Open(f.Context(), db, Options{MasterKey: testKey(1)})
	if err != nil {
		f.Fatal(err)
	}
	token, err := signToken(a.clientToken, clientClaims{RegisteredClaims: registered("c", hook, a.now(), a.now().Add(time.Hour)), SecretID: "s"})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(token)
	f.Add("eyJhbGciOiJub25lIn0.e30.")
	f.Add("a.b.c")
	f.Fuzz(func(t *testing.T, token string) {
		if _, err := a.VerifyToken(t.Context(), token, hook); !errors.Is(err, ErrToken) {
			t.Errorf("VerifyToken(%q) = %v, want ErrToken", token, err)
		}
	})
}

func FuzzTokenRequest(f *testing.F) {
	db := storetest.SQLite(f)
	a, err := Open(f.Context(), db, Options{MasterKey: testKey(1)})
	if err != nil {
		f.Fatal(err)
	}
	f.Add("a=b", "application/x-www-form-urlencoded", "Basic YTpi", "grant_type=client_credentials&client_id=a")
	f.Add("", "application/json", "", `{"grant_type":"client_credentials","client_id":"a","client_secret":"b"}`)
	f.Fuzz(func(t *testing.T, query, contentType, authorization, body string) {
		r := httptest.NewRequest("POST", httpapi.TokenPath, strings.NewReader(body))
		r.URL.RawQuery = query
		r.Header.Set("Content-Type", contentType)
		r.Header.Set("Authorization", authorization)
		w := httptest.NewRecorder()
		a.TokenHandler().ServeHTTP(w, r)
		if w.Code < 400 || w.Code >= 500 {
			t.Errorf("status %d: %s", w.Code, w.Body)
		}
	})
}

func BenchmarkVerifyToken(b *testing.B) {
	db := storetest.SQLite(b)
	a, err := Open(b.Context(), db, Options{MasterKey: testKey(1)})
	if err != nil {
		b.Fatal(err)
	}
	var token string
	err = db.Update(b.Context(), func(tx *store.Tx) error {
		id, _, err := a.Clients().CreateClient(b.Context(), tx, hook)
		if err != nil {
			return err
		}
		secrets, err := selectSecrets(b.Context(), tx, id)
		if err != nil {
			return err
		}
		token, _, err = a.issueToken(secrets[0], hook)
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := a.VerifyToken(b.Context(), token, hook); err != nil {
			b.Fatal(err)
		}
	}
}

// An id is an argument of commands: one that began with '-' would be taken for a flag.
func TestIDsOfSecretsAreLettersAndDigits(t *testing.T) {
	a := node(t, storetest.SQLite(t), newClock())
	client, _ := newClient(t, a, hook)
	for range 200 {
		if _, err := rotate(t, a, client, 0); err != nil {
			t.Fatal(err)
		}
	}
	list, err := a.Clients().ListSecrets(t.Context(), a.db, client)
	if err != nil || len(list) != 201 {
		t.Fatalf("%d secrets, %v", len(list), err)
	}
	form := regexp.MustCompile(`^[A-Z2-7]{16}$`)
	for _, s := range list {
		if !form.MatchString(s.ID) {
			t.Errorf("a secret has id %q", s.ID)
		}
	}
}
