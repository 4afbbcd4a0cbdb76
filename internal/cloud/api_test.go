package cloud

import (
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rialto-bus/rialto/internal/auth"
	"github.com/rialto-bus/rialto/internal/store/storetest"
)

func TestRESTOfAccountsIsForAdmins(t *testing.T) {
	db := storetest.SQLite(t)
	who, err := auth.Open(t.Context(), db, auth.Options{KeyFile: filepath.Join(t.TempDir(), "key")})
	if err != nil {
		t.Fatal(err)
	}
	// of another account: even the one that is to be configured.
	const foreign auth.Role = "foreign admin"
	tokens := map[auth.Role]string{}
	for name, n := range map[auth.Role]auth.NewKey{
		auth.Admin:    {Account: auth.HomeAccount, Role: auth.Admin},
		auth.Operator: {Account: auth.HomeAccount, Role: auth.Operator},
		foreign:       {Account: account, Role: auth.Admin},
	} {
		k, secret, err := who.CreateKey(t.Context(), n)
		if err != nil {
			t.Fatal(err)
		}
		if tokens[name], _, err = who.Login(t.Context(), k.ID, secret); err != nil {
			t.Fatal(err)
		}
	}
	real := newEndpoint(t)
	mux := http.NewServeMux()
	open(t, db, "http://127.0.0.1:1").Register(mux)
	srv := httptest.NewServer(who.Middleware(mux))
	defer srv.Close()
	settings := `{"access_key_id":"AKIAEXAMPLEEXAMPLE00","secret_access_key":"hush hush","endpoint_url":"` + real.URL + `"}`
	for _, step := range []struct {
		role               auth.Role
		method, path, body string
		status             int
		says               string
	}{
		{auth.Operator, "GET", "", "", 403, "operator"},
		{"", "GET", "", "", 401, ""},
		{foreign, "GET", "", "", 403, "000000000000"},
		{foreign, "GET", "/" + account, "", 403, "000000000000"},
		{foreign, "PUT", "/" + account, settings, 403, "000000000000"},
		{foreign, "POST", "/" + account + "/check", "", 403, "000000000000"},
		{foreign, "DELETE", "/" + account, "", 403, "000000000000"},
		{auth.Admin, "GET", "/" + account, "", 404, "the box serves it"},
		{auth.Admin, "PUT", "/12", `{}`, 400, "12 digits"},
		{auth.Admin, "PUT", "/" + account, `{"region":"x"}`, 400, "region"},
		{auth.Admin, "PUT", "/" + account, `{"budgets":{"s3":{}}}`, 400, "budgets.s3"},
		{auth.Admin, "PUT", "/" + account, `{"budgets":{"acm":{"rate":1}}}`, 400, "rate"},
		{auth.Admin, "PUT", "/" + account, `{"budgets":{"cloudcontrol":{"requests_per_second":50}}}`, 200, `"budgets":{"cloudcontrol":{"requests_per_second":50}}`},
		{auth.Admin, "PUT", "/" + account, settings, 200, `"budgets":{}`},
		{auth.Admin, "PUT", "/" + account, settings, 200, `"has_secret":true`},
		{auth.Admin, "GET", "", "", 200, account},
		{auth.Admin, "POST", "/" + account + "/check", "", 502, "account 999999999999"},
		{auth.Admin, "DELETE", "/" + account, "", 204, ""},
		{auth.Admin, "DELETE", "/" + account, "", 404, ""},
	} {
		req, err := http.NewRequestWithContext(t.Context(), step.method, srv.URL+"/v1/cloud/accounts"+step.path, strings.NewReader(step.body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+tokens[step.role])
		req.Header.Set("Content-Type", "application/json")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != step.status || !strings.Contains(string(text), step.says) {
			t.Errorf("%s %s as %q: %d %s, want %d and %q", step.method, step.path, step.role, resp.StatusCode, text, step.status, step.says)
		}
		if strings.Contains(string(text), "hush") {
			t.Error("the secret is shown")
		}
	}
}
