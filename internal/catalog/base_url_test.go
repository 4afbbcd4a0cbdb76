package catalog

import (
	"net/http/httptest"
	"strings"
	"testing"
)

// An integration is told where to send its logs, and has to reach that.
func TestIntegrationsAreToldToCallWhereTheyReachUs(t *testing.T) {
	t.Parallel()
	const public = "https://rialto.example.com"
	for _, tt := range []struct{ name, public, host, header, want string }{
		{"no public URL", "", "rialto:7425", "", "http://rialto:7425"},
		{"no public URL, through a proxy with TLS", "", "rialto:7425", "X-Forwarded-Proto: https", "https://rialto:7425"},
		{"by the public name, which a proxy serves with TLS", public + "/", "Rialto.example.com", "", public},
		{"through a proxy that calls us by another name", public, "10.0.0.7:7425", "X-Forwarded-For: 192.0.2.1", public},
		{"past the proxy", public, "127.0.0.1:7425", "", "http://127.0.0.1:7425"},
	} {
		c := &Catalog{o: Options{PublicURL: tt.public}}
		r := httptest.NewRequest("GET", "/v1/integration", nil)
		r.Host = tt.host
		if tt.header != "" {
			name, value, _ := strings.Cut(tt.header, ": ")
			r.Header.Set(name, value)
		}
		if got := c.baseURL(r); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}
