package reader

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/rialto-bus/rialto/internal/cloud"
	"github.com/rialto-bus/rialto/internal/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	account = "123456789012"
	home    = "eu-west-1"
)

// awsCall is a call as it came over the wire.
type awsCall struct {
	// Service and Region are those that the call is signed for.
	Service, Region string
	Operation       string
	// Form holds the parameters of the query protocols, Body the input of the JSON
	// ones.
	Form url.Values
	Body map[string]any
}

// text is a member of the call's input.
func (c awsCall) text(name string) string {
	if c.Form != nil {
		return c.Form.Get(name)
	}
	s, _ := c.Body[name].(string)
	return s
}

// wire is how a service answers.
type wire int

const (
	jsonWire wire = iota
	queryWire
	ec2Wire
)

var wires = map[string]wire{"cloudcontrolapi": jsonWire, "acm": jsonWire, "ec2": ec2Wire}

// awsError is an error that the endpoint answers.
type awsError struct {
	status        int
	code, message string
}

func (e *awsError) Error() string { return e.code }

// endpoint speaks AWS's protocols to whatever calls it. serve returns what is
// answered: for the JSON protocols a value, for the others the inner XML of the
// result; or an error.
type endpoint struct {
	*httptest.Server
	mu    sync.Mutex
	calls []awsCall
	serve func(c awsCall) (any, *awsError)
}

func newEndpoint(t testing.TB, serve func(c awsCall) (any, *awsError)) *endpoint {
	e := &endpoint{serve: serve}
	e.Server = httptest.NewServer(e)
	t.Cleanup(e.Close)
	return e
}

func (e *endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c, err := readCall(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	e.mu.Lock()
	e.calls = append(e.calls, c)
	e.mu.Unlock()
	out, refused := e.serve(c)
	kind, ok := wires[c.Service]
	if !ok {
		kind = queryWire
	}
	if refused != nil {
		writeAWSError(w, kind, refused)
		return
	}
	if kind == jsonWire {
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		if err := json.NewEncoder(w).Encode(out); err != nil {
			panic(err)
		}
		return
	}
	w.Header().Set("Content-Type", "text/xml")
	if kind == ec2Wire {
		fmt.Fprintf(w, "<%sResponse>%s</%sResponse>", c.Operation, out, c.Operation)
		return
	}
	fmt.Fprintf(w, "<%[1]sResponse><%[1]sResult>%[2]s</%[1]sResult></%[1]sResponse>", c.Operation, out)
}

func writeAWSError(w http.ResponseWriter, kind wire, e *awsError) {
	if kind == jsonWire {
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		w.WriteHeader(e.status)
		json.NewEncoder(w).Encode(map[string]string{"__type": "com.amazon.coral.service#" + e.code, "message": e.message})
		return
	}
	w.Header().Set("Content-Type", "text/xml")
	w.WriteHeader(e.status)
	body := "<Code>" + escape(e.code) + "</Code><Message>" + escape(e.message) + "</Message>"
	if kind == ec2Wire {
		fmt.Fprintf(w, "<Response><Errors><Error>%s</Error></Errors><RequestID>r</RequestID></Response>", body)
		return
	}
	fmt.Fprintf(w, "<ErrorResponse><Error><Type>Sender</Type>%s</Error><RequestId>r</RequestId></ErrorResponse>", body)
}

func escape(s string) string {
	var b strings.Builder
	xml.EscapeText(&b, []byte(s))
	return b.String()
}

func readCall(r *http.Request) (awsCall, error) {
	// Credential=KEY/DATE/REGION/SERVICE/aws4_request
	_, scope, _ := strings.Cut(r.Header.Get("Authorization"), "Credential=")
	parts := strings.Split(scope, "/")
	if len(parts) < 5 {
		return awsCall{}, fmt.Errorf("not signed: %q", r.Header.Get("Authorization"))
	}
	c := awsCall{Region: parts[2], Service: parts[3]}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return c, err
	}
	if target := r.Header.Get("X-Amz-Target"); target != "" {
		_, c.Operation, _ = strings.Cut(target, ".")
		return c, json.Unmarshal(body, &c.Body)
	}
	c.Form, err = url.ParseQuery(string(body))
	c.Operation = c.Form.Get("Action")
	return c, err
}

// count returns how often an operation was called.
func (e *endpoint) count(operation string) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := 0
	for _, c := range e.calls {
		if c.Operation == operation {
			n++
		}
	}
	return n
}

func (e *endpoint) last(t *testing.T, operation string) awsCall {
	t.Helper()
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, c := range slices.Backward(e.calls) {
		if c.Operation == operation {
			return c
		}
	}
	t.Fatalf("%s was not called", operation)
	return awsCall{}
}

// accountsAt returns accounts of which one is a real one at the URL.
func accountsAt(t testing.TB, url string, edit func(*cloud.Settings)) *cloud.Accounts {
	t.Helper()
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	t.Setenv("AWS_CONFIG_FILE", t.TempDir()+"/none")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", t.TempDir()+"/none")
	a := cloud.Open(storetest.SQLite(t), cloud.Options{
		BoxEndpoint:    func() string { return "http://127.0.0.1:1" },
		BoxCredentials: func(string) (string, string) { return "BOX", "secret" },
		Sealer:         plainSealer{},
	})
	t.Cleanup(a.Close)
	s := cloud.Settings{
		AccountID: account, AccessKeyID: "AKIAEXAMPLEEXAMPLE00", EndpointURL: url, RequestsPerSecond: 10_000, Burst: 10_000,
	}
	if edit != nil {
		edit(&s)
	}
	if _, err := a.Put(t.Context(), s, "the secret"); err != nil {
		t.Fatal(err)
	}
	return a
}

type plainSealer struct{}

func (plainSealer) Seal(_ string, plain []byte) []byte           { return plain }
func (plainSealer) Open(_ string, sealed []byte) ([]byte, error) { return sealed, nil }

// readerAt returns a reader of an account at the endpoint.
func readerAt(t testing.TB, e *endpoint, edit func(*cloud.Settings)) *Reader {
	return New(Options{Cloud: accountsAt(t, e.URL, edit)})
}

func in(kind string) Scope { return Scope{Account: account, Region: home, Kind: kind} }
