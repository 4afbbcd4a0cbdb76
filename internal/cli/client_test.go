package cli

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestKeysOfAWSAreNotSent(t *testing.T) {
	for name, c := range map[string]struct {
		env  map[string]string
		sent string // the key id that the server gets
	}{
		"a user's":              {map[string]string{"AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE"}, ""},
		"a session's":           {map[string]string{"AWS_ACCESS_KEY_ID": "ASIAIOSFODNN7EXAMPLE"}, ""},
		"an account's number":   {map[string]string{"AWS_ACCESS_KEY_ID": "111122223333"}, "111122223333"},
		"a server's":            {map[string]string{"AWS_ACCESS_KEY_ID": "RLTOAAAAAAAAAAAAAAAA"}, "RLTOAAAAAAAAAAAAAAAA"},
		"a server's beside one": {map[string]string{"AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE", "RIALTO_ACCESS_KEY_ID": "RLTOBBBBBBBBBBBBBBBB"}, "RLTOBBBBBBBBBBBBBBBB"},
	} {
		t.Run(name, func(t *testing.T) {
			const secret = "do-not-tell"
			t.Setenv("RIALTO_ACCESS_KEY_ID", "")
			t.Setenv("AWS_SECRET_ACCESS_KEY", secret)
			t.Setenv("RIALTO_SECRET_ACCESS_KEY", secret)
			for k, v := range c.env {
				t.Setenv(k, v)
			}
			sent := ""
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				var in struct {
					KeyID string `json:"key_id"`
				}
				if json.Unmarshal(body, &in) == nil && in.KeyID != "" {
					sent = in.KeyID
				}
				if c.sent == "" && strings.Contains(string(body), secret) {
					t.Errorf("%s got %s", r.URL, body)
				}
				http.Error(w, `{"error":{"code":"authentication_error","message":"no"}}`, http.StatusUnauthorized)
			}))
			defer server.Close()
			err := (&client{server: server.URL}).do(t.Context(), http.MethodGet, "/v1/keys", nil, nil)
			if sent != c.sent {
				t.Errorf("the server got key %q, want %q", sent, c.sent)
			}
			if err == nil || strings.Contains(err.Error(), "keys of AWS are not sent") != (c.sent == "") || !strings.Contains(err.Error(), "RIALTO_ACCESS_KEY_ID") {
				t.Errorf("the error is %v", err)
			}
		})
	}
}
