package httpapi

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

func TestGuard(t *testing.T) {
	public, err := url.Parse("https://Rialto.example.com:443")
	if err != nil {
		t.Fatal(err)
	}
	ok := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusOK) })
	g, err := Guard(ok, GuardOptions{
		PublicURL: public,
		Hosts:     []string{"rialto", "Bus.Internal."},
		Page:      func(r *http.Request) bool { return strings.HasPrefix(r.URL.Path, "/console") },
	})
	if err != nil {
		t.Fatal(err)
	}
	header := func(kv ...string) http.Header {
		h := http.Header{}
		for i := 0; i < len(kv); i += 2 {
			h.Set(kv[i], kv[i+1])
		}
		return h
	}
	none := header()
	json := "application/json"
	tests := []struct {
		name   string
		method string
		host   string
		path   string
		header http.Header
		want   int
	}{
		{"localhost with port", "GET", "localhost:7425", "/", none, 200},
		{"localhost in capitals", "GET", "LOCALHOST:7425", "/", none, 200},
		{"a name under localhost", "GET", "queue.localhost:7425", "/", none, 200},
		{"loopback address", "GET", "127.0.0.1:7425", "/", none, 200},
		{"IPv6 with port", "GET", "[::1]:7425", "/", none, 200},
		{"IPv6 without port", "GET", "[::1]", "/", none, 200},
		{"any IP literal: no DNS can point it here", "GET", "10.1.2.3:80", "/", none, 200},
		{"public host", "GET", "rialto.example.com", "/", none, 200},
		{"public host with a final dot", "GET", "rialto.example.com.", "/", none, 200},
		{"accepted container name", "GET", "rialto:7425", "/", none, 200},
		{"accepted name in another spelling", "GET", "bus.internal", "/", none, 200},
		{"DNS rebinding: a stranger's name", "GET", "evil.example.net:7425", "/", none, 403},
		{"a stranger's name that ends like localhost", "GET", "notlocalhost:7425", "/", none, 403},
		{"a stranger's name that begins with an address", "GET", "127.0.0.1.evil.example:7425", "/", none, 403},
		{"decimal address is a name", "GET", "2130706433:7425", "/", none, 403},
		{"empty host", "GET", "", "/", none, 403},

		{"SDK: no browser header at all", "POST", "127.0.0.1:7425", "/", header("Content-Type", "application/x-amz-json-1.1"), 200},
		{"cross-site read", "GET", "127.0.0.1:7425", "/v1/keys", header("Sec-Fetch-Site", "cross-site"), 403},
		{"cross-site write", "POST", "127.0.0.1:7425", "/", header("Sec-Fetch-Site", "cross-site"), 403},
		{"same site but another port", "GET", "localhost:7425", "/?Action=PurgeQueue", header("Sec-Fetch-Site", "same-site"), 403},
		{"same origin", "GET", "localhost:7425", "/console", header("Sec-Fetch-Site", "same-origin"), 200},
		{"typed into the address bar", "GET", "localhost:7425", "/console", header("Sec-Fetch-Site", "none"), 200},
		{"link on another site to a page", "GET", "localhost:7425", "/console/events",
			header("Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"), 200},
		{"link on another site to an API", "GET", "localhost:7425", "/?Action=PurgeQueue&X-Amz-Signature=x",
			header("Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"), 403},
		{"form on another site to a page", "POST", "localhost:7425", "/console/events",
			header("Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"), 403},
		{"page of another site in a frame", "GET", "localhost:7425", "/console/events",
			header("Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "iframe"), 403},
		{"foreign origin", "POST", "localhost:7425", "/", header("Origin", "https://evil.example"), 403},
		{"foreign origin, other port", "GET", "localhost:7425", "/v1/keys", header("Origin", "http://localhost:3000"), 403},
		{"opaque origin", "POST", "localhost:7425", "/", header("Origin", "null"), 403},
		{"own origin", "POST", "localhost:7425", "/", header("Origin", "http://localhost:7425"), 200},
		{"public origin behind a proxy that rewrites Host", "POST", "127.0.0.1:7425", "/", header("Origin", "https://rialto.example.com"), 200},
		{"public host, other scheme", "POST", "127.0.0.1:7425", "/", header("Origin", "http://rialto.example.com"), 403},

		{"REST write with JSON", "POST", "localhost", "/v1/keys", header("Content-Type", json), 200},
		{"REST write with JSON and charset", "POST", "localhost", "/v1/webhooks/x", header("Content-Type", "application/json; charset=utf-8"), 200},
		{"REST write with a +json type", "POST", "localhost", "/v1/webhooks/x", header("Content-Type", "application/cloudevents+json"), 200},
		{"REST write as a form", "POST", "localhost", "/v1/keys", header("Content-Type", "application/x-www-form-urlencoded"), 415},
		{"REST write as text", "PUT", "localhost", "/v1/keys", header("Content-Type", "text/plain"), 415},
		{"REST write without a type", "PATCH", "localhost", "/v1/keys", none, 415},
		{"REST write without a body, with a token", "POST", "localhost", "/v1/keys", header("Authorization", "Bearer x"), 200},
		{"REST write without a body, with what a browser remembers", "POST", "localhost", "/v1/keys", header("Authorization", "Basic eDp4"), 415},
		{"REST read without a type", "GET", "localhost", "/v1/keys", none, 200},
		{"REST delete without a type", "DELETE", "localhost", "/v1/keys/x", none, 200},
		{"the token endpoint takes forms", "POST", "localhost", TokenPath, header("Content-Type", "application/x-www-form-urlencoded"), 200},
		{"a path like the token endpoint's does not", "POST", "localhost", TokenPath + "/x", none, 415},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := httptest.NewRequest(tt.method, "http://x"+tt.path, nil)
			r.Host = tt.host
			r.Header = tt.header
			w := httptest.NewRecorder()
			g.ServeHTTP(w, r)
			if w.Code != tt.want {
				t.Errorf("%s %s%s: status %d, want %d: %s", tt.method, tt.host, tt.path, w.Code, tt.want, w.Body)
			}
			if w.Header().Get("X-Content-Type-Options") != "nosniff" || w.Header().Get("X-Frame-Options") != "DENY" {
				t.Error("security headers are missing")
			}
		})
	}
}

func TestGuardTakesJSONLinesAndNothingThatAPageCanSend(t *testing.T) {
	g, err := Guard(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), GuardOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for contentType, want := range map[string]int{
		"application/x-ndjson": 200, "application/jsonl; charset=utf-8": 200, "application/json": 200,
		"text/plain": 415, "application/x-www-form-urlencoded": 415, "multipart/form-data; boundary=a": 415, "": 415,
	} {
		r := httptest.NewRequest("POST", "http://localhost/v1/events", nil)
		r.Header.Set("Content-Type", contentType)
		w := httptest.NewRecorder()
		if g.ServeHTTP(w, r); w.Code != want {
			t.Errorf("%q answered %d, want %d", contentType, w.Code, want)
		}
	}
}

func TestGuardRefusesProxiesWhileTheServerIsOpen(t *testing.T) {
	open := true
	g, err := Guard(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), GuardOptions{Open: func(context.Context) bool { return open }})
	if err != nil {
		t.Fatal(err)
	}
	get := func(header string) int {
		r := httptest.NewRequest("GET", "http://127.0.0.1:7425/", nil)
		if header != "" {
			r.Header.Set(header, "203.0.113.9")
		}
		w := httptest.NewRecorder()
		g.ServeHTTP(w, r)
		return w.Code
	}
	for _, header := range proxyHeaders {
		if got := get(header); got != 403 {
			t.Errorf("with %s: %d, want 403", header, got)
		}
	}
	if got := get(""); got != 200 {
		t.Errorf("without a proxy: %d", got)
	}
	open = false
	if got := get("X-Forwarded-For"); got != 200 {
		t.Errorf("through a proxy, where credentials are asked for: %d", got)
	}
}

func TestGuardRefusesHostsThatAreNotNames(t *testing.T) {
	for _, host := range []string{"", "http://x", "x:80", "*", "a b"} {
		if _, err := Guard(http.NotFoundHandler(), GuardOptions{Hosts: []string{host}}); err == nil {
			t.Errorf("Guard took %q as a host name", host)
		}
	}
}
