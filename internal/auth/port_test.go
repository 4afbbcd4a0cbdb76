package auth

import (
	"encoding/base64"
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

// portServer is the token endpoint of Port's API, a route of it, and the REST API.
func portServer(a *Auth) http.Handler {
	whoami := Require(Read, func(w http.ResponseWriter, r *http.Request) {
		p, _ := PrincipalFrom(r.Context())
		httpapi.JSON(w, 200, p)
	})
	mux := http.NewServeMux()
	mux.Handle(PortTokenPath, a.PortTokenHandler())
	mux.Handle("/v1/port", a.PortMiddleware(whoami))
	mux.Handle("/v1/rest", a.Middleware(whoami))
	mux.Handle(LoginPattern, a.LoginHandler())
	return mux
}

func portLogin(t *testing.T, h http.Handler, body string) restAnswer {
	t.Helper()
	return call(t, h, "POST", PortTokenPath, "", body)
}

func credentialsBody(id, secret string) string {
	b, _ := json.Marshal(map[string]any{"clientId": id, "clientSecret": secret, "unknown": 1})
	return string(b)
}

// portClaimsOf are a token's claims as a client reads them: unverified.
func portClaimsOf(t *testing.T, token string) map[string]any {
	t.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatalf("%q is no JWT", token)
	}
	text, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	var claims map[string]any
	if err := json.Unmarshal(text, &claims); err != nil {
		t.Fatal(err)
	}
	return claims
}

func checkPortError(t *testing.T, name string, got restAnswer, status int, code string) {
	t.Helper()
	ok, isBool := got.body["ok"].(bool)
	if got.status != status || !isBool || ok || got.str("error") != code || got.str("message") == "" {
		t.Errorf("%s: %+v, want %d %s in Port's shape", name, got, status, code)
	}
}

func TestPortTokensAreOfAccessKeysAndEndWithThem(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		clock := newClock()
		a := node(t, db, clock)
		h := portServer(a)
		mustCreate(t, a, HomeAccount, Admin)
		reader, secret := mustCreate(t, a, "111111111111", Reader)

		got := portLogin(t, h, credentialsBody(reader.ID, secret))
		token := got.str("accessToken")
		if got.status != 200 || got.body["ok"] != true || token == "" || got.str("tokenType") != "Bearer" || got.body["expiresIn"] != 10800.0 {
			t.Fatalf("login: %+v", got)
		}
		if claims := portClaimsOf(t, token); claims["isMachine"] != true || claims["personalToken"] != false || claims["sub"] != reader.ID {
			t.Errorf("claims %v", claims)
		}
		rest := login(t, h, reader.ID, secret).str("bearer_token")
		for path, bearer := range map[string]string{"/v1/port": token, "/v1/rest": token, "/v1/port?": rest} {
			got := call(t, h, "GET", path, bearer, "")
			if got.status != 200 || got.str("KeyID") != reader.ID || got.str("Role") != "reader" || got.str("Account") != "111111111111" {
				t.Errorf("%s: %+v", path, got)
			}
		}
		if got := basicCall(t, h, reader.ID, secret); got.status != 200 || got.str("KeyID") != reader.ID {
			t.Errorf("Basic: %+v", got)
		}

		clock.add(PortTokenLife - time.Second)
		if got := call(t, h, "GET", "/v1/port", token, ""); got.status != 200 {
			t.Errorf("a second before its end: %+v", got)
		}
		clock.add(2 * time.Second)
		checkPortError(t, "expired", call(t, h, "GET", "/v1/port", token, ""), 401, "unauthorized")

		token = portLogin(t, h, credentialsBody(reader.ID, secret)).str("accessToken")
		if err := a.RevokeKey(t.Context(), reader.ID); err != nil {
			t.Fatal(err)
		}
		checkPortError(t, "revoked", call(t, h, "GET", "/v1/port", token, ""), 401, "unauthorized")
		checkPortError(t, "login of a revoked key", portLogin(t, h, credentialsBody(reader.ID, secret)), 401, "unauthorized")
		checkPortError(t, "Basic of a revoked key", basicCall(t, h, reader.ID, secret), 401, "unauthorized")
	})
}

func basicCall(t *testing.T, h http.Handler, id, secret string) restAnswer {
	t.Helper()
	r := httptest.NewRequest("GET", "/v1/port", nil)
	r.SetBasicAuth(id, secret)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	got := restAnswer{status: w.Code, header: w.Header()}
	if err := json.Unmarshal(w.Body.Bytes(), &got.body); err != nil {
		t.Fatalf("%d %q", w.Code, w.Body)
	}
	return got
}

func TestPortTokenLivesNoLongerThanItsKey(t *testing.T) {
	a := node(t, storetest.SQLite(t), newClock())
	h := portServer(a)
	mustCreate(t, a, HomeAccount, Admin)
	k, secret := mustCreate(t, a, HomeAccount, Operator)
	if _, _, err := a.RotateKey(t.Context(), k.ID, time.Hour, ""); err != nil {
		t.Fatal(err)
	}
	if got := portLogin(t, h, credentialsBody(k.ID, secret)); got.status != 200 || got.body["expiresIn"] != 3600.0 {
		t.Errorf("%+v, want a life of an hour", got)
	}
}

func TestPortLoginRefusesBadInput(t *testing.T) {
	a := node(t, storetest.SQLite(t), newClock())
	h := portServer(a)
	k, secret := mustCreate(t, a, HomeAccount, Admin)
	for _, tt := range []struct {
		name, body string
		status     int
		code       string
	}{
		{"a wrong secret", credentialsBody(k.ID, secret+"x"), 401, "unauthorized"},
		{"an empty secret", credentialsBody(k.ID, ""), 401, "unauthorized"},
		{"an unknown id", credentialsBody("RLTOAAAAAAAAAAAAAAAA", secret), 401, "unauthorized"},
		{"12 digits", credentialsBody("111111111111", secret), 401, "unauthorized"},
		{"Chinese and emoji", credentialsBody("钥匙🔑", "秘密"), 401, "unauthorized"},
		{"an empty id", credentialsBody("", secret), 422, "invalid_request"},
		{"a long id", credentialsBody(strings.Repeat("x", 129), secret), 422, "invalid_request"},
		{"no secret", `{"clientId":"` + k.ID + `"}`, 422, "invalid_request"},
		{"a number", `{"clientId":1,"clientSecret":"x"}`, 422, "invalid_request"},
		{"null", `{"clientId":null,"clientSecret":null}`, 422, "invalid_request"},
		{"a list", `[]`, 422, "invalid_request"},
		{"no JSON", `clientId=x`, 400, "invalid_request"},
		{"nothing", ` `, 400, "invalid_request"},
		{"an id twice", `{"clientId":"a","clientId":"b","clientSecret":"c"}`, 400, "invalid_request"},
		{"too much", credentialsBody(k.ID, strings.Repeat("x", maxLogin)), 413, "too_large"},
	} {
		checkPortError(t, tt.name, portLogin(t, h, tt.body), tt.status, tt.code)
	}
	got := call(t, h, "GET", PortTokenPath, "", "")
	checkPortError(t, "GET", got, 405, "invalid_request")
	if got.header.Get("Allow") != "POST" {
		t.Errorf("Allow %q", got.header.Get("Allow"))
	}
}

func TestPortMiddlewareRefusesInPortsShape(t *testing.T) {
	a := node(t, storetest.SQLite(t), newClock())
	h := portServer(a)
	k, secret := mustCreate(t, a, HomeAccount, Admin)
	for name, token := range map[string]string{"no token": "", "a token that lies": "a.b.c", "an account": "111111111111"} {
		got := call(t, h, "GET", "/v1/port", token, "")
		checkPortError(t, name, got, 401, "unauthorized")
		if got.header.Get("WWW-Authenticate") == "" {
			t.Errorf("%s: no WWW-Authenticate", name)
		}
	}
	checkPortError(t, "wrong Basic", basicCall(t, h, k.ID, secret+"x"), 401, "unauthorized")
}

func TestPortInDevModeTakesAnyCredentials(t *testing.T) {
	a := node(t, storetest.SQLite(t), newClock())
	h := portServer(a)
	for _, id := range []string{"anything", "60EsooJtOqimlekxrNh7nfr2iOgTcyLZ", "222222222222"} {
		token := portLogin(t, h, credentialsBody(id, "any")).str("accessToken")
		want := DefaultAccount
		if IsAccount(id) {
			want = id
		}
		if got := call(t, h, "GET", "/v1/port", token, ""); got.status != 200 || got.str("Account") != want || got.str("Role") != "admin" {
			t.Errorf("%s: %+v", id, got)
		}
		if got := basicCall(t, h, id, "any"); got.status != 200 || got.str("Account") != want {
			t.Errorf("Basic %s: %+v", id, got)
		}
	}
	if got := call(t, h, "GET", "/v1/port", "", ""); got.status != 200 {
		t.Errorf("nobody: %+v", got)
	}
	dev := portLogin(t, h, credentialsBody("x", "y")).str("accessToken")
	mustCreate(t, a, HomeAccount, Admin)
	checkPortError(t, "after dev mode", call(t, h, "GET", "/v1/port", dev, ""), 401, "unauthorized")
}
