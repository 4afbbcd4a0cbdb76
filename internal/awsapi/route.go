package awsapi

import (
	"bytes"
	"errors"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"reflect"
	"regexp"
	"strings"
)

// IsAWSRequest reports whether a request is meant for the AWS services and not
// for another handler on the same address: it is signed, or names an operation
// as only AWS clients do, or is a form posted to where such clients post.
func IsAWSRequest(r *http.Request) bool {
	if r.Header.Get("X-Amz-Target") != "" || hasSignature(r) {
		return true
	}
	if !queryPath(r.URL.Path) {
		return false
	}
	return r.URL.Query().Has("Action") || r.Method == http.MethodPost && isForm(r)
}

// queuePath is where older SQS clients send the calls about one queue.
var queuePath = regexp.MustCompile(`^/[0-9]{12}/[A-Za-z0-9_.-]+/?$`)

func queryPath(path string) bool { return path == "/" || path == "" || queuePath.MatchString(path) }

func isForm(r *http.Request) bool {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	return err == nil && kind == "application/x-www-form-urlencoded"
}

// receive finds out which operation is called, in which protocol, with which key,
// and reads the body. What it returns decodes the input, once the caller is known.
func (x *exchange) receive() (decode func() (any, error), err error) {
	if target := x.r.Header.Get("X-Amz-Target"); target != "" {
		return x.receiveJSON(target)
	}
	return x.receiveQuery()
}

func (x *exchange) receiveJSON(target string) (func() (any, error), error) {
	x.protocol = JSON
	prefix, name := target, ""
	if dot := strings.LastIndexByte(target, '.'); dot >= 0 {
		prefix, name = target[:dot], target[dot+1:]
	}
	x.binding = x.h.byTarget[prefix]
	if x.binding == nil {
		return nil, UnknownOperation(shorten(prefix, 64), shorten(name, 64))
	}
	if x.r.Method != http.MethodPost {
		return nil, &Error{Code: "UnknownOperationException", Message: "The request must be sent with POST.", Status: http.StatusMethodNotAllowed}
	}
	if err := x.findOperation(name); err != nil {
		return nil, err
	}
	if err := x.identify(); err != nil {
		return nil, err
	}
	if err := x.readBody(x.binding.API.MaxBody); err != nil {
		return nil, err
	}
	return x.decodeJSON, nil
}

func (x *exchange) decodeJSON() (any, error) {
	if decode := x.binding.decoders[x.op.Name]; decode != nil {
		return decode(x.body)
	}
	in := x.op.New()
	return in, DecodeJSON(x.op.Input, x.body, in)
}

// maxUnknownBody bounds the body of a query request for a service that is not
// known from its signature.
const maxUnknownBody = 256 << 10

func (x *exchange) receiveQuery() (func() (any, error), error) {
	x.protocol = Query
	sig, err := parseSignature(x.r)
	if err != nil {
		if !queryPath(x.r.URL.Path) {
			x.protocol = RESTJSON // nobody else calls there
		}
		return nil, err
	}
	x.sig = sig
	if b := x.h.byName[sig.service]; b != nil && b.API.speaks(RESTJSON) {
		return x.receiveREST(b)
	}
	if x.h.byName[sig.service] == nil && !isForm(x.r) && !x.r.URL.Query().Has("Action") {
		x.protocol = JSON // of the services that are not here, those not called by form read JSON
		return nil, Errorf("UnknownOperationException", "The service %s is not available here.", shorten(sig.service, 64))
	}
	limit := int64(maxUnknownBody)
	if x.bindQuery(x.h.byName[sig.service]) {
		limit = x.binding.API.MaxBody
	}
	if err := x.identify(); err != nil {
		return nil, err
	}
	form, err := x.readForm(limit)
	if err != nil {
		return nil, err
	}
	if x.binding == nil {
		x.bindQuery(x.byAction(form.Get("Action"), form.Get("Version")))
	}
	switch {
	case !form.Has("Action"):
		return nil, Errorf("MissingAction", "The request must contain the parameter Action.")
	case x.binding == nil:
		return nil, UnknownOperation(shorten(sig.service, 64), shorten(form.Get("Action"), 64))
	}
	if err := x.findOperation(form.Get("Action")); err != nil {
		return nil, err
	}
	return func() (any, error) {
		in := x.op.New()
		return in, DecodeQuery(x.protocol, x.op.Input, form, in)
	}, nil
}

// bindQuery settles on a service, if it speaks query or ec2.
func (x *exchange) bindQuery(b *Binding) bool {
	if b == nil {
		return false
	}
	for _, protocol := range []Protocol{Query, EC2} {
		if b.API.speaks(protocol) {
			x.binding, x.protocol = b, protocol
			return true
		}
	}
	return false
}

// byAction finds the one service that has the operation in the version asked for.
func (x *exchange) byAction(action, version string) *Binding {
	for _, b := range x.h.byName {
		if b.API.Version == version && !b.API.speaksOnlyJSON() && b.API.operation(action) != nil {
			return b
		}
	}
	return nil
}

func (a *API) speaksOnlyJSON() bool { return !a.speaks(Query) && !a.speaks(EC2) }

func (x *exchange) findOperation(name string) error {
	x.op = x.binding.API.operation(name)
	if x.op == nil {
		return UnknownOperation(x.binding.API.Name, shorten(name, 64))
	}
	return nil
}

// maxReserved is the most memory that is set aside before a body has arrived.
const maxReserved = 64 << 10

func (x *exchange) readBody(limit int64) error {
	var body bytes.Buffer
	// The length is the caller's word, so memory is set aside for a usual one only.
	body.Grow(int(min(max(x.r.ContentLength, 0), limit, maxReserved)) + bytes.MinRead)
	_, err := body.ReadFrom(http.MaxBytesReader(x.w, x.r.Body, limit))
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		e := Errorf("RequestEntityTooLarge", "The request body is larger than the %d bytes that are accepted.", limit)
		e.Status = http.StatusRequestEntityTooLarge
		return e
	}
	if err != nil {
		return Errorf("IncompleteBody", "The request body could not be read to its end.")
	}
	x.body = body.Bytes()
	return nil
}

// readForm reads the parameters of a query request: those of the URL, and over
// them those of the body.
func (x *exchange) readForm(limit int64) (url.Values, error) {
	if err := x.readBody(limit); err != nil {
		return nil, err
	}
	form, err := url.ParseQuery(x.r.URL.RawQuery)
	if err != nil {
		return nil, Errorf("MalformedQueryString", "The query string contains a syntax error.")
	}
	if len(x.body) == 0 {
		return form, nil
	}
	posted, err := url.ParseQuery(string(x.body))
	if err != nil {
		return nil, Errorf("MalformedQueryString", "The form in the request body contains a syntax error.")
	}
	maps.Copy(form, posted)
	return form, nil
}

// setPathMember takes a queue's URL from the address that the request was sent
// to, where the request does not name it.
func (x *exchange) setPathMember(in any) {
	name := x.binding.API.PathMember
	if name == "" || !queuePath.MatchString(x.r.URL.Path) {
		return
	}
	i, ok := x.op.Input.member([]byte(name))
	if !ok {
		return
	}
	field := reflect.ValueOf(in).Elem().Field(i)
	if !field.IsNil() {
		return
	}
	scheme := "http://"
	if x.r.TLS != nil {
		scheme = "https://"
	}
	address := scheme + x.r.Host + x.r.URL.Path
	field.Set(reflect.ValueOf(&address))
}
