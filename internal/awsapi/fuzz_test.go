package awsapi

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// A shape of every kind, for the fuzzers.
type everything struct {
	B    *bool
	Bl   []byte
	D    *float64
	I    *int32
	L    []string
	Lg   *int64
	M    map[string]string
	S    *string
	St   *inner
	Subs []inner
	T    *time.Time
}

type inner struct {
	A *string
	M map[string]leaf
}

type leaf struct{ N *int32 }

var (
	stringShape = &Shape{Name: "Text", Kind: String, Pattern: NewPattern(`[^x]*`), HasMax: true, Max: 8}
	leafShape   = &Shape{Name: "Leaf", Kind: Structure, Members: []Member{{Name: "N", Shape: &Shape{Kind: Integer, HasMin: true}}}}
	innerShape  = &Shape{Name: "Inner", Kind: Structure, Members: []Member{
		{Name: "A", Shape: stringShape, Required: true},
		{Name: "M", Shape: &Shape{Kind: Map, Key: stringShape, Elem: leafShape, Flattened: true, KeyName: "Name", ElemName: "Value"}},
	}}
	everythingShape = &Shape{Name: "Everything", Kind: Structure, Members: []Member{
		{Name: "B", Shape: &Shape{Kind: Boolean}},
		{Name: "Bl", Shape: &Shape{Kind: Blob, Sensitive: true, HasMax: true, Max: 2}},
		{Name: "D", Shape: &Shape{Kind: Double}},
		{Name: "I", Shape: &Shape{Kind: Integer}},
		{Name: "L", Shape: &Shape{Kind: List, Elem: stringShape}},
		{Name: "Lg", Shape: &Shape{Kind: Long}},
		{Name: "M", Shape: &Shape{Kind: Map, Key: stringShape, Elem: stringShape}},
		{Name: "S", Shape: stringShape, In: "s"},
		{Name: "St", Shape: innerShape},
		{Name: "Subs", Shape: &Shape{Kind: List, Elem: innerShape, Flattened: true}, In: "Sub"},
		{Name: "T", Shape: &Shape{Kind: Timestamp}},
	}}
	fuzzAPI = &API{Name: "fuzz", Protocols: []Protocol{JSON, Query}}
)

// Whatever is decoded is encoded to JSON that encoding/json reads, and that
// decodes to the same again.
func FuzzDecodeJSON(f *testing.F) {
	for _, seed := range []string{
		`{"B":true,"Bl":"AQI=","D":1.5e3,"I":-1,"L":["a","\ud83d\ude8c"],"Lg":9007199254740993,"M":{"k":"v"},"S":"x\n","St":{"A":"a","M":{"q":{"N":1}}},"Subs":[{},{"A":""}],"T":1767323045.678}`,
		`{"Unknown":[{"a":"}"},[],{}],"S":null}`, `{"L":[null]}`, `{"T":1e300}`, `{"S":"\ud800\u0041\udc00"}`, ` { } `, `[]`, `{"S":"`, "{\"S\":\"\xff\"}", `{"M":{"a":null}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		in := new(everything)
		err := DecodeJSON(everythingShape, body, in)
		checkAgainstStandard(t, body, err)
		if err != nil {
			return
		}
		_ = fuzzAPI.Validate(JSON, everythingShape, in)
		checkRecords(t, in)
		out := EncodeJSON(everythingShape, in)
		if !json.Valid(out) || !utf8.Valid(out) {
			t.Fatalf("not JSON: %q", out)
		}
		again := new(everything)
		if err := DecodeJSON(everythingShape, out, again); err != nil || !reflect.DeepEqual(in, again) {
			t.Fatalf("%v\n%q\n%q", err, body, out)
		}
		if in.S != nil {
			var std struct{ S *string }
			if err := json.Unmarshal(out, &std); err != nil || std.S == nil || *std.S != *in.S {
				t.Fatalf("encoding/json reads another S: %v", err)
			}
		}
	})
}

// checkRecords sees to it that what the trail makes of a request is JSON without its secrets.
func checkRecords(t *testing.T, in *everything) {
	t.Helper()
	v := reflect.ValueOf(in).Elem()
	for what, record := range map[string][]byte{
		"requestParameters": trailJSON{}.structure(nil, everythingShape, v),
		"those of EC2":      ec2Parameters(&Operation{Name: "RunInstances", Input: everythingShape}, v),
		"EC2's answer":      trailJSON{ec2: true}.structure(nil, everythingShape, v),
	} {
		if !json.Valid(record) || !utf8.Valid(record) {
			t.Fatalf("%s are not JSON: %q", what, record)
		}
		var members map[string]any
		if err := json.Unmarshal(record, &members); err != nil {
			t.Fatal(err)
		}
		if bl, there := members["bl"]; there && bl != ec2Removed {
			t.Fatalf("%s show a secret: %q", what, record)
		}
	}
	if in.S != nil {
		if shown := cut(*in.S); len(shown) > maxTrailText || !strings.HasPrefix(*in.S, shown) {
			t.Fatalf("%q is cut to %q", *in.S, shown)
		}
	}
}

// checkAgainstStandard compares what is JSON and what is not with encoding/json.
// A value of the wrong type may be reported before the syntax error behind it.
func checkAgainstStandard(t *testing.T, body []byte, err error) {
	t.Helper()
	if err == nil {
		if len(strings.TrimSpace(string(body))) > 0 && !json.Valid(body) {
			t.Fatalf("accepted %q", body)
		}
		return
	}
	if _, ok := err.(*Error); !ok {
		t.Fatalf("%T: %v", err, err)
	}
	if err == error(errNotJSON) && json.Valid(body) {
		t.Fatalf("refused %q", body)
	}
}

func FuzzDecodeQuery(f *testing.F) {
	for _, seed := range []string{
		"B=true&Bl=AQI%3D&D=1.5&I=-1&L.member.1=a&L.member.3=b&Lg=9&M.entry.1.key=k&M.entry.1.value=v&s=x&St.A=a&St.M.1.Name=q&St.M.1.Value.N=1&Sub.1.A=&Sub.2.A=b&T=2026-01-02T03:04:05Z",
		"L=", "Sub=", "Sub=x", "St=x", "St.M.Name=a&St.M.Value.N=2", "a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p.q=1", "..=1&.=2&Sub..A=3&Sub.01.A=4&Sub.-1.A=5", "M.entry.1.value=v", "I=1&I.1=2",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		form, err := url.ParseQuery(text)
		if err != nil {
			return
		}
		for _, protocol := range []Protocol{Query, EC2} {
			in := new(everything)
			if err := DecodeQuery(protocol, everythingShape, form, in); err != nil {
				if _, ok := err.(*Error); !ok {
					t.Fatalf("%T: %v", err, err)
				}
				continue
			}
			_ = fuzzAPI.Validate(protocol, everythingShape, in)
			checkRecords(t, in)
			if out := EncodeJSON(everythingShape, in); !json.Valid(out) {
				t.Fatalf("not JSON: %q", out)
			}
		}
	})
}

func FuzzParseAuthorization(f *testing.F) {
	for _, seed := range []string{
		"AWS4-HMAC-SHA256 Credential=AKID/20260102/eu-west-1/events/aws4_request, SignedHeaders=host;x-amz-date, Signature=00ff",
		"AWS4-HMAC-SHA256 Credential=a/b/c/d/aws4_request,SignedHeaders=host,Signature=0", "AWS4-HMAC-SHA256", "", "AWS4-HMAC-SHA256 ,,=,Credential==/,", "Basic eA==",
		"AWS4-HMAC-SHA256 Credential=////aws4_request, SignedHeaders=;;host;, Signature=x",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, auth string) {
		s, err := parseAuthorization(auth)
		if err != nil {
			if _, ok := err.(*Error); !ok {
				t.Fatalf("%T: %v", err, err)
			}
			return
		}
		if s.keyID == "" || s.region == "" || s.service == "" || s.value == "" || strings.Contains(s.keyID, "/") {
			t.Fatalf("accepted %q as %+v", auth, s)
		}
		r := httptest.NewRequest("POST", "/", nil)
		s.at, s.presigned, s.expires = time.Now(), false, 0
		if err := s.verify(r, nil, Credential{Secret: "secret"}); err == nil {
			t.Fatalf("%q verifies", auth)
		}
	})
}

// Any path, query string, header and body are decoded or refused, and what the path
// names is what a request is about.
func FuzzRESTRequest(f *testing.F) {
	op := Operation{Name: "Get", Method: "POST", URI: "/v1/things/{s}/parts", Status: 200, Output: Empty, New: func() any { return new(everything) }}
	op.Input = &Shape{Kind: Structure, Members: slices.Clone(everythingShape.Members)}
	for i, at := range map[string]Location{"S": InURI, "I": InQuery, "L": InQuery, "T": InHeader} {
		m, _ := op.Input.member([]byte(i))
		op.Input.Members[m].Location, op.Input.Members[m].LocationName = at, strings.ToLower(i)
	}
	api := &API{Name: "fuzz", Protocols: []Protocol{RESTJSON}, Operations: []Operation{op}, MaxBody: 1 << 20}
	f.Add("/v1/things/a%2Fb/parts", "i=1&l=a&l=b", "2026-01-02T03:04:05Z", `{"S":"other","B":true}`)
	f.Add("/v1/things/你好/parts/", "i=x", "", `{"M":{"a":null}}`)
	f.Add("/v1/things//parts", "%", "now", `[`)
	f.Fuzz(func(t *testing.T, path, query, header, body string) {
		found, labels := api.route("POST", path)
		if found == nil {
			return
		}
		if labels["s"] == "" || strings.Count(strings.TrimSuffix(path, "/"), "/") != 4 {
			t.Fatalf("%q is taken for %s with %q", path, found.URI, labels)
		}
		r := &http.Request{URL: &url.URL{RawQuery: query}, Header: http.Header{"T": {header}}}
		x := &exchange{r: r, op: found, body: []byte(body)}
		in := found.New().(*everything)
		if err := x.decodeREST(in, labels); err != nil {
			if _, told := errors.AsType[*Error](err); !told {
				t.Fatalf("the caller is not told of %v", err)
			}
			return
		}
		if in.S == nil || *in.S != labels["s"] {
			t.Fatalf("%q is about %v", path, in.S)
		}
	})
}
