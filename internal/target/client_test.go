package target

import (
	"context"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func rules(t testing.TB, texts ...string) []OutboundRule {
	t.Helper()
	list, err := ParseAllow(texts)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func newTestClient(t *testing.T, o ClientOptions) *Client {
	t.Helper()
	c := NewClient(o)
	t.Cleanup(c.Close)
	return c
}

// get returns the status, or the kind of the error.
func get(t *testing.T, c *Client, target string) (int, CallErrorKind, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "GET", target, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := c.Do(req)
	if err != nil {
		e, ok := errors.AsType[*CallError](err)
		if !ok {
			t.Fatalf("%s: %T %v, want a *CallError", target, err, err)
		}
		return 0, e.Kind, err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, 0, nil
}

func TestSpecialAddress(t *testing.T) {
	for _, s := range []string{
		"127.0.0.1", "127.255.0.9", "::1", "0.0.0.0", "0.1.2.3", "::",
		"10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1", "100.127.255.255", "fc00::1", "fd00:ec2::254",
		"169.254.169.254", "169.254.170.2", "fe80::1", "fe80::1%eth0", "168.63.129.16", "100.100.100.200", "192.0.0.192",
		"224.0.0.1", "239.255.255.255", "ff02::1", "255.255.255.255", "240.0.0.1",
		"192.0.2.1", "198.51.100.1", "203.0.113.1", "198.18.0.1", "2001:db8::1", "fec0::1",
		"::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:a9fe:a9fe", "::127.0.0.1",
		"64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::a00:1", "2002:7f00:1::", "2001:0:7f00:1::",
	} {
		if specialAddress(netip.MustParseAddr(s)) == "" {
			t.Errorf("%s counts as public", s)
		}
	}
	for _, s := range []string{
		"1.1.1.1", "8.8.8.8", "52.94.236.248", "172.15.255.255", "172.32.0.1", "100.63.255.255", "100.128.0.1", "169.253.1.1", "223.255.255.1",
		"2606:4700:4700::1111", "2a05:d018::1", "::ffff:8.8.8.8", "64:ff9b::808:808",
	} {
		if why := specialAddress(netip.MustParseAddr(s)); why != "" {
			t.Errorf("%s counts as %s", s, why)
		}
	}
}

func TestParseOutboundRule(t *testing.T) {
	for in, want := range map[string]string{
		"10.0.0.0/8": "10.0.0.0/8", "10.1.2.3/8": "10.0.0.0/8", "0.0.0.0/0": "0.0.0.0/0", "fd00::/8": "fd00::/8",
		"10.1.2.3": "10.1.2.3/32", "::1": "::1/128", "::ffff:10.0.0.1": "10.0.0.1/32",
		"Catalog.Internal.:8080": "catalog.internal:8080", "my_host:1": "my_host:1", "[::1]:9000": "[::1]:9000", "127.0.0.1:80": "127.0.0.1:80",
		"xn--fsqu00a.example:443": "xn--fsqu00a.example:443",
	} {
		rule, err := ParseOutboundRule(in)
		if err != nil || rule.String() != want {
			t.Errorf("ParseOutboundRule(%q) = %v, %v; want %s", in, rule, err, want)
		}
	}
	for _, in := range []string{
		"", "host", "host:", "host:0", "host:65536", "host:http", "host:080", ":80", "*.internal:80", "http://host:80", "10.0.0.0/33", "10.0.0/8",
		"::ffff:10.0.0.0/104", "目录.example:443", "a b:80", "user@host:80", "....:1", ".host:1", "a..b:1", "[fe80::1%eth0]:80", strings.Repeat("x", 300) + ":80",
	} {
		if rule, err := ParseOutboundRule(in); err == nil || !strings.Contains(err.Error(), "CIDR") {
			t.Errorf("ParseOutboundRule(%q) = %v, %v; want an error that says how", in, rule, err)
		}
	}
}

func FuzzParseOutboundRule(f *testing.F) {
	for _, s := range []string{"10.0.0.0/8", "host:80", "[::1]:80", "::1", "1.2.3.4"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		rule, err := ParseOutboundRule(s)
		if err != nil {
			return
		}
		again, err := ParseOutboundRule(rule.String())
		if err != nil || again != rule {
			t.Errorf("%q is %v, which is read as %v, %v", s, rule, again, err)
		}
	})
}

func TestClientReachesOnlyWhatIsOpen(t *testing.T) {
	var hits atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		hits.Add(1)
		w.WriteHeader(http.StatusNoContent)
	}))
	defer server.Close()
	at, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	local := "http://localhost:" + at.Port()
	own := func() []string { return []string{server.URL, "https://rialto.example.com"} }
	no := func() bool { return false }
	yes := func() bool { return true }
	tests := []struct {
		name    string
		options ClientOptions
		url     string
		refused bool
	}{
		{"loopback address", ClientOptions{}, server.URL, true},
		{"a name that resolves to loopback", ClientOptions{}, local, true},
		{"loopback written as IPv6", ClientOptions{}, "http://[::ffff:127.0.0.1]:" + at.Port(), true},
		{"loopback by https", ClientOptions{}, "https://127.0.0.1:" + at.Port(), true},
		{"loopback, dev mode over", ClientOptions{AllowLoopback: no}, server.URL, true},
		{"loopback, dev mode", ClientOptions{AllowLoopback: yes}, server.URL, false},
		{"a name, dev mode", ClientOptions{AllowLoopback: yes}, local, false},
		{"a private address, dev mode", ClientOptions{AllowLoopback: yes}, "http://10.255.255.1:9/", true},
		{"an allowed block", ClientOptions{Allow: rules(t, "127.0.0.0/8")}, server.URL, false},
		{"an allowed block, by name", ClientOptions{Allow: rules(t, "127.0.0.0/8", "::1")}, local, false},
		{"another allowed block", ClientOptions{Allow: rules(t, "10.0.0.0/8")}, server.URL, true},
		{"an allowed address and port", ClientOptions{Allow: rules(t, at.Host)}, server.URL, false},
		{"an allowed address and another port", ClientOptions{Allow: rules(t, "127.0.0.1:1")}, server.URL, true},
		{"an allowed name and port", ClientOptions{Allow: rules(t, "localhost:"+at.Port())}, strings.ToUpper(local[:16]) + local[16:], false},
		{"an allowed name does not allow its address", ClientOptions{Allow: rules(t, "localhost:"+at.Port())}, server.URL, true},
		{"own webhook", ClientOptions{Own: own}, server.URL + "/v1/webhooks/7f9c", false},
		{"own webhook by name", ClientOptions{Own: own}, local + "/v1/webhooks/7f9c", false},
		{"own token endpoint", ClientOptions{Own: own}, server.URL + "/v1/oauth_token?x=1", false},
		{"own intake", ClientOptions{Own: own}, server.URL + "/v1/intakes/7f9c/events", false},
		{"own keys", ClientOptions{Own: own}, server.URL + "/v1/keys", true},
		{"own AWS services", ClientOptions{Own: own}, server.URL + "/", true},
		{"own keys by way of a webhook", ClientOptions{Own: own}, server.URL + "/v1/webhooks/../keys", true},
		{"own keys by way of an escaped webhook", ClientOptions{Own: own}, server.URL + "/v1/webhooks/%2e%2e/keys", true},
		{"own webhook on another port", ClientOptions{Own: own}, "http://127.0.0.1:1/v1/webhooks/7f9c", true},
		{"own webhook by another scheme", ClientOptions{Own: own}, "https" + server.URL[4:] + "/v1/webhooks/7f9c", true},
		{"metadata", ClientOptions{AllowLoopback: yes, Own: own}, "http://169.254.169.254/latest/meta-data", true},
		{"http to the public internet", ClientOptions{}, "http://1.1.1.1/", true},
		{"another scheme", ClientOptions{AllowLoopback: yes}, "file:///etc/passwd", true},
		{"credentials in the URL", ClientOptions{AllowLoopback: yes}, "http://u:p@" + at.Host, true},
		{"no host", ClientOptions{AllowLoopback: yes}, "http:///x", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before := hits.Load()
			status, kind, err := get(t, newTestClient(t, tt.options), tt.url)
			if tt.refused && (kind != Refused || hits.Load() != before) {
				t.Errorf("status %d, %v; want it refused", status, err)
			}
			if !tt.refused && status != http.StatusNoContent {
				t.Errorf("status %d, %v; want 204", status, err)
			}
			if err != nil && strings.Contains(err.Error(), ":p@") {
				t.Error("the error shows a password")
			}
		})
	}
}

func TestAKeptConnectionServesNoCallThatWouldNotHaveGotIt(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {}))
	defer server.Close()
	c := newTestClient(t, ClientOptions{Own: func() []string { return []string{server.URL, "https://rialto.example.com"} }})
	if status, _, err := get(t, c, server.URL+"/v1/webhooks/x"); status != 200 {
		t.Fatal(err)
	}
	if status, kind, _ := get(t, c, server.URL+"/v1/keys"); kind != Refused {
		t.Errorf("own keys over the webhook's connection: status %d", status)
	}
}

func TestCheckURLRefusesWhatNoCallWouldGet(t *testing.T) {
	yes := func() bool { return true }
	open := ClientOptions{Allow: rules(t, "10.0.0.0/8", "catalog.internal:8080")}
	dev := ClientOptions{AllowLoopback: yes}
	own := ClientOptions{Own: func() []string { return []string{"http://127.0.0.1:7425", "https://rialto.example.com"} }}
	tests := []struct {
		options ClientOptions
		url     string
		refused bool
	}{
		{ClientOptions{}, "https://api.example.com/*/hook", false},
		{ClientOptions{}, "https://1.1.1.1", false},
		{ClientOptions{}, "http://api.example.com", true},
		{ClientOptions{}, "http://1.1.1.1", true},
		{ClientOptions{}, "https://127.0.0.1:7425/v1/webhooks/x", true},
		{ClientOptions{}, "https://[::ffff:10.0.0.1]", true},
		{ClientOptions{}, "https://169.254.169.254", true},
		{ClientOptions{}, "ftp://api.example.com", true},
		{ClientOptions{}, "https://user@api.example.com", true},
		{ClientOptions{}, "://", true},
		{ClientOptions{}, "https://10.0.0.1:99999", true},
		{open, "http://catalog.internal:8080/x", false},
		{open, "http://10.1.1.1", false},
		{open, "http://192.168.1.1", true},
		{open, "http://may-resolve-to-ten.example", false},
		{dev, "http://localhost:3000", false},
		{dev, "http://127.0.0.1:3000", false},
		{dev, "http://api.example.com", true},
		{own, "http://127.0.0.1:7425/v1/webhooks/x", false},
		{own, "http://localhost:7425/v1/oauth_token", false},
		{own, "http://127.0.0.1:7425/v1/keys", true},
		{own, "https://rialto.example.com/v1/webhooks/x", false},
	}
	for _, tt := range tests {
		if err := newTestClient(t, tt.options).CheckURL(tt.url); (err != nil) != tt.refused {
			t.Errorf("CheckURL(%q) = %v, refused should be %v", tt.url, err, tt.refused)
		}
	}
}

func TestRefusalSaysWhatAndHow(t *testing.T) {
	_, _, err := get(t, newTestClient(t, ClientOptions{}), "https://127.0.0.1:8443/hook")
	e, ok := errors.AsType[*CallError](err)
	if !ok || e.Addr != netip.MustParseAddrPort("127.0.0.1:8443") {
		t.Fatalf("%v", err)
	}
	for _, want := range []string{"127.0.0.1 is a loopback address", "--allow-outbound 127.0.0.1/32", "--allow-outbound 127.0.0.1:8443"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in %q", want, err)
		}
	}
	if f := callFailure(err); f.Retryable || f.Code != CodeConnectionFailure || f.Message != err.Error() {
		t.Errorf("callFailure = %+v", f)
	}
}

// nameServer answers every A query with the next of addrs, an empty one standing
// for a name that does not exist, and other queries with nothing.
func nameServer(t *testing.T, addrs ...string) *net.Resolver {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() {
		conn.Close()
		<-done
	})
	go func() {
		defer close(done)
		buf := make([]byte, 512)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			answer, isA := dnsAnswer(buf[:n], addrs[0])
			if isA && len(addrs) > 1 {
				addrs = addrs[1:]
			}
			if _, err := conn.WriteTo(answer, from); err != nil {
				return
			}
		}
	}()
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
}

// dnsAnswer makes the answer to a query of one question (RFC 1035, section 4).
func dnsAnswer(query []byte, addr string) (answer []byte, isA bool) {
	end := 12
	for query[end] != 0 {
		end += int(query[end]) + 1
	}
	question := query[12 : end+5]
	isA = binary.BigEndian.Uint16(query[end+1:]) == 1
	answer = append(answer, query[0], query[1], 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0)
	answer = append(answer, question...)
	if addr == "" {
		answer[3] |= 3 // NXDOMAIN
		return answer, isA
	}
	if isA {
		answer[7] = 1
		ip := netip.MustParseAddr(addr).As4()
		answer = append(answer, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4)
		answer = append(answer, ip[:]...)
	}
	return answer, isA
}

func TestTheAddressIsCheckedWhenConnecting(t *testing.T) {
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Header().Set("Connection", "close") })
	server := httptest.NewUnstartedServer(handler)
	listener, err := net.Listen("tcp", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	server.Listener.Close()
	server.Listener = listener
	server.Start()
	defer server.Close()
	_, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c := newTestClient(t, ClientOptions{Allow: rules(t, "127.0.0.2")})
	c.resolver = nameServer(t, "127.0.0.2", "127.0.0.1")
	rebound := "http://rebind.example:" + port
	if status, _, err := get(t, c, rebound); status != 200 {
		t.Fatalf("the name while it resolves to what is open: %v", err)
	}
	if status, kind, err := get(t, c, rebound); kind != Refused {
		t.Errorf("the name after it was pointed elsewhere: status %d, %v", status, err)
	}
}

func TestClientTellsFailuresApart(t *testing.T) {
	open := ClientOptions{Allow: rules(t, "127.0.0.0/8")}
	stop := make(chan struct{})
	mux := http.NewServeMux()
	mux.HandleFunc("/slow", func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-stop:
		case <-r.Context().Done():
		}
	})
	mux.HandleFunc("/headers", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X", strings.Repeat("x", maxAnswerHeader+1))
	})
	mux.HandleFunc("/redirect", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/slow", http.StatusFound) })
	plain, secure := httptest.NewServer(mux), httptest.NewTLSServer(mux)
	secure.Config.ErrorLog = nil
	defer plain.Close()
	defer secure.Close()
	defer close(stop)
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()

	tests := []struct {
		name string
		url  string
		want CallErrorKind
	}{
		{"nobody listens", "http://" + closed.Addr().String(), Unreachable},
		{"an unknown certificate", secure.URL, TLSFailed},
		{"https to a server of http", "https" + plain.URL[4:], TLSFailed},
		{"no answer", plain.URL + "/slow", TimedOut},
		{"a header too large", plain.URL + "/headers", BadAnswer},
		{"http to a server of https is an answer", "http" + secure.URL[5:], 0},
		{"a redirect is an answer", plain.URL + "/redirect", 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := open
			if tt.want == TimedOut {
				o.Timeout = 100 * time.Millisecond
			}
			status, kind, err := get(t, newTestClient(t, o), tt.url)
			if kind != tt.want {
				t.Errorf("status %d, kind %d, %v; want kind %d", status, kind, err, tt.want)
			}
			if kind == 0 {
				return
			}
			f := callFailure(err)
			if !f.Retryable || (f.Code == CodeTimeout) != (kind == TimedOut) {
				t.Errorf("callFailure = %+v", f)
			}
		})
	}

	t.Run("a name that does not exist", func(t *testing.T) {
		c := newTestClient(t, ClientOptions{})
		c.resolver = &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
			return nil, errors.New("the name server is down")
		}}
		if _, kind, err := get(t, c, "https://a.example"); kind != DNSFailed || !callFailure(err).Retryable {
			t.Errorf("no name server: %v", err)
		}
		c.resolver = nameServer(t, "")
		if _, kind, err := get(t, c, "https://a.example"); kind != NoSuchHost || callFailure(err).Retryable {
			t.Errorf("no such name: %v", err)
		}
	})
	t.Run("a trusted certificate", func(t *testing.T) {
		o := open
		o.RootCAs = x509.NewCertPool()
		o.RootCAs.AddCert(secure.Certificate())
		if status, _, err := get(t, newTestClient(t, o), secure.URL+"/redirect"); status != http.StatusFound {
			t.Errorf("status %d, %v", status, err)
		}
	})
	t.Run("the caller gives up", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		req, err := http.NewRequestWithContext(ctx, "GET", plain.URL+"/slow", nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := newTestClient(t, open).Do(req); !errors.Is(err, context.Canceled) {
			t.Errorf("%v, want context.Canceled", err)
		}
	})
}

func TestAnswersAreBounded(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/limit":
			_, _ = w.Write(make([]byte, maxAnswer))
		case "/large":
			_, _ = w.Write(make([]byte, maxAnswer+1))
		case "/stalls":
			_, _ = w.Write([]byte("a"))
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		case "/breaks":
			w.Header().Set("Content-Length", "10")
			_, _ = w.Write([]byte("a"))
		}
	}))
	defer server.Close()
	for path, want := range map[string]CallErrorKind{"/limit": 0, "/large": BadAnswer, "/stalls": TimedOut, "/breaks": BadAnswer} {
		o := ClientOptions{Allow: rules(t, "127.0.0.0/8")}
		if want == TimedOut {
			o.Timeout = 500 * time.Millisecond // the first byte must come in time, the second not
		}
		c := newTestClient(t, o)
		req, err := http.NewRequestWithContext(t.Context(), "POST", server.URL+path, strings.NewReader("事件"))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := c.Do(req)
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		n, err := io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		var kind CallErrorKind
		if e, ok := errors.AsType[*CallError](err); ok {
			kind = e.Kind
		}
		if kind != want || n > maxAnswer || (err == nil) != (want == 0) {
			t.Errorf("%s: %d bytes, %v; want kind %d", path, n, err, want)
		}
	}
}

func TestTheClientUsesNoProxy(t *testing.T) {
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { t.Error("the proxy was called") }))
	defer proxy.Close()
	t.Setenv("HTTP_PROXY", proxy.URL)
	t.Setenv("HTTPS_PROXY", proxy.URL)
	c := newTestClient(t, ClientOptions{})
	c.resolver = nameServer(t, "10.0.0.1")
	for _, u := range []string{"http://a.example", "https://a.example"} {
		if _, kind, err := get(t, c, u); kind != Refused {
			t.Errorf("%s: %v", u, err)
		}
	}
}

func TestCloseLeavesNothingBehind(t *testing.T) {
	ignore := goleak.IgnoreCurrent()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {}))
	c := NewClient(ClientOptions{Allow: rules(t, "127.0.0.0/8")})
	if status, _, err := get(t, c, server.URL); status != 200 {
		t.Error(err)
	}
	c.Close()
	server.Close()
	goleak.VerifyNone(t, ignore)
}
