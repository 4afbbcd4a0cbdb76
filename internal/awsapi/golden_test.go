package awsapi_test

import (
	"bufio"
	"bytes"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rialto-bus/rialto/internal/awsapi"
)

var update = flag.Bool("update", false, "write the answers in testdata anew")

var requestID = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)

// TestProtocols sends the request in each file of testdata/protocol, as it
// stands above the line of dashes, and compares the answer with what is below.
// A request that has no Authorization header is signed as "test" in dev mode,
// but for the header "Unsigned".
func TestProtocols(t *testing.T) {
	files, err := filepath.Glob("testdata/protocol/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no files", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			given, want, _ := strings.Cut(string(data), "\n---\n")
			got := exchangeText(t, given)
			if *update {
				if err := os.WriteFile(file, []byte(given+"\n---\n"+got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// exchangeText sends a request given as text and returns the answer as text.
func exchangeText(t *testing.T, given string) string {
	t.Helper()
	head, body, _ := strings.Cut(given, "\n\n")
	body = strings.TrimSuffix(body, "\n")
	wire := strings.ReplaceAll(head, "\n", "\r\n") + fmt.Sprintf("\r\nHost: rialto.test\r\nContent-Length: %d\r\n\r\n", len(body)) + body
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(wire)))
	if err != nil {
		t.Fatal(err)
	}
	r.RemoteAddr = "192.0.2.1:1234"
	if r.Header.Get("Unsigned") == "" && !r.URL.Query().Has("X-Amz-Algorithm") {
		service := r.Header.Get("Service")
		r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=test/20260102/eu-west-1/"+service+"/aws4_request, SignedHeaders=host, Signature=00")
		r.Header.Set("X-Amz-Date", "20260102T030405Z")
	}
	h, _ := newHandler(awsapi.Config{DevMode: dev})
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)

	var b bytes.Buffer
	fmt.Fprintf(&b, "%d\n", w.Code)
	var names []string
	for name := range w.Header() {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		fmt.Fprintf(&b, "%s: %s\n", name, w.Header().Get(name))
	}
	fmt.Fprintf(&b, "\n%s\n", w.Body)
	return requestID.ReplaceAllString(b.String(), "REQUEST-ID")
}
