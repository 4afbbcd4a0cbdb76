package function

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/rialto-bus/rialto/internal/awsapi/gen/lambda"
)

func TestALinkToCodeHoldsForTenMinutes(t *testing.T) {
	f := newSQLite(t)
	in := creation("hello")
	must[any](f, "CreateFunction", in)
	link := *must[*lambda.GetFunctionOutput](f, "GetFunction", &lambda.GetFunctionInput{FunctionName: new("hello")}).Code.Location
	follow := func(method, link string) (int, []byte) {
		t.Helper()
		r := httptest.NewRequestWithContext(t.Context(), method, link, nil)
		if !IsLink(r) {
			t.Fatalf("%s is no link", link)
		}
		w := httptest.NewRecorder()
		f.ServeHTTP(w, r)
		b, err := io.ReadAll(w.Result().Body)
		if err != nil {
			t.Fatal(err)
		}
		return w.Code, b
	}
	if status, b := follow(http.MethodGet, link); status != http.StatusOK || !bytes.Equal(b, in.Code.ZipFile) {
		t.Errorf("got %d and %d bytes", status, len(b))
	}
	if status, b := follow(http.MethodHead, link); status != http.StatusOK || len(b) > 0 {
		t.Errorf("HEAD: got %d and %d bytes", status, len(b))
	}
	for _, other := range []string{link[:len(link)-2], link + "A", strings.Replace(link, linkPath, linkPath+"A", 1), "http://127.0.0.1:7425" + linkPath, "http://127.0.0.1:7425" + linkPath + "订单"} {
		if status, _ := follow(http.MethodGet, other); status != http.StatusForbidden {
			t.Errorf("%s: got %d", other, status)
		}
	}
	f.ahead.Store(int64(linkLife) + 1_000_000_000)
	if status, _ := follow(http.MethodGet, link); status != http.StatusForbidden {
		t.Errorf("an old link: got %d", status)
	}
	for _, r := range []*http.Request{
		httptest.NewRequestWithContext(t.Context(), http.MethodPost, link, nil), httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/2015-03-31/functions", nil),
	} {
		if IsLink(r) {
			t.Errorf("%s %s is a link", r.Method, r.URL)
		}
	}
}
