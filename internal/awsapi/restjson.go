package awsapi

import (
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// receiveREST finds the operation by method and path. What it returns decodes
// path, query string, headers and body into the input.
func (x *exchange) receiveREST(b *Binding) (func() (any, error), error) {
	x.binding, x.protocol = b, RESTJSON
	op, labels := b.API.route(x.r.Method, x.r.URL.EscapedPath())
	if op == nil {
		e := UnknownOperation(b.API.Name, x.r.Method+" "+shorten(x.r.URL.Path, 256))
		e.Status = http.StatusNotFound
		return nil, e
	}
	x.op = op
	if err := x.identify(); err != nil {
		return nil, err
	}
	limit := b.API.MaxBody
	if op.MaxBody > 0 {
		limit = op.MaxBody
	}
	if err := x.readBody(limit); err != nil {
		return nil, err
	}
	return func() (any, error) {
		in := op.New()
		return in, x.decodeREST(in, labels)
	}, nil
}

// route finds the operation of a method and an escaped path, and the values of the
// labels in its URI. A slash at the end makes no difference: older clients send one.
func (a *API) route(method, escaped string) (*Operation, map[string]string) {
	path := strings.Split(strings.TrimSuffix(escaped, "/"), "/")
	for i := range a.Operations {
		op := &a.Operations[i]
		if op.Method != method {
			continue
		}
		if labels, ok := matchURI(op.URI, path); ok {
			return op, labels
		}
	}
	return nil, nil
}

// matchURI compares a URI such as /functions/{FunctionName} with the segments of a
// path.
func matchURI(uri string, path []string) (labels map[string]string, ok bool) {
	want := strings.Split(strings.TrimSuffix(uri, "/"), "/")
	if len(want) != len(path) {
		return nil, false
	}
	labels = map[string]string{}
	for i, segment := range want {
		if !strings.HasPrefix(segment, "{") {
			if segment != path[i] {
				return nil, false
			}
			continue
		}
		value, err := url.PathUnescape(path[i])
		if err != nil || value == "" {
			return nil, false
		}
		labels[strings.Trim(segment, "{}")] = value
	}
	return labels, true
}

func (x *exchange) decodeREST(in any, labels map[string]string) error {
	shape, into := x.op.Input, reflect.ValueOf(in).Elem()
	query, err := url.ParseQuery(x.r.URL.RawQuery)
	if err != nil {
		return serialization("The query string contains a syntax error.")
	}
	if err := x.decodeBody(shape, in); err != nil {
		return err
	}
	for i := range shape.Members {
		m := &shape.Members[i]
		if m.Location == InBody {
			continue
		}
		into.Field(i).SetZero() // whatever the body had by this name
		if err := setLocated(m, into.Field(i), x.located(m, query, labels)); err != nil {
			return err
		}
	}
	return nil
}

func (x *exchange) decodeBody(shape *Shape, in any) error {
	if !hasBody(shape) {
		return nil // AWS: what a client sends all the same is not looked at
	}
	if shape.Payload == "" {
		return DecodeJSON(shape, x.body, in)
	}
	i, _ := shape.member([]byte(shape.Payload))
	if len(x.body) > 0 {
		reflect.ValueOf(in).Elem().Field(i).SetBytes(x.body)
	}
	return nil
}

// located is the values that the request has for a member outside its body.
func (x *exchange) located(m *Member, query url.Values, labels map[string]string) []string {
	switch m.Location {
	case InURI:
		return []string{labels[m.LocationName]}
	case InHeader:
		return x.r.Header.Values(m.LocationName)
	case InQuery:
		return query[m.LocationName]
	}
	return nil
}

// setLocated sets a member to what a path, a query string or a header has for it.
func setLocated(m *Member, into reflect.Value, values []string) error {
	if len(values) == 0 {
		return nil
	}
	if m.Shape.Kind == List {
		if len(values) > maxListItems {
			return serialization("A list has more than " + strconv.Itoa(maxListItems) + " items.")
		}
		into.Set(reflect.ValueOf(slices.Clone(values)))
		return nil
	}
	fresh := reflect.New(into.Type().Elem())
	if err := parseText(m.Shape.Kind, fresh.Elem(), values[0]); err != nil {
		return err
	}
	into.Set(fresh)
	return nil
}

// parseText reads a scalar that stands as text outside a body.
func parseText(kind Kind, into reflect.Value, text string) error {
	switch kind {
	case String:
		into.SetString(text)
		return nil
	case Boolean:
		if text != "true" && text != "false" {
			return serialization("STRING_VALUE can not be converted to a Boolean")
		}
		into.SetBool(text == "true")
		return nil
	case Timestamp:
		t, err := time.Parse(time.RFC3339, text)
		if err != nil {
			return serialization("STRING_VALUE can not be converted to a Timestamp")
		}
		into.Set(reflect.ValueOf(t.UTC()))
		return nil
	}
	bits := 32
	if kind == Long {
		bits = 64
	}
	n, err := strconv.ParseInt(text, 10, bits)
	if err != nil {
		return serialization("STRING_VALUE can not be converted to an Integer")
	}
	into.SetInt(n)
	return nil
}

// answerREST writes an output: its members in the status, the headers and the body.
func (x *exchange) answerREST(out any) {
	status, body := x.op.Status, []byte(nil)
	if v := reflect.ValueOf(out); x.op.Output != Empty && !v.IsNil() {
		status = x.setLocatedAnswer(v.Elem())
		body = restBody(x.op.Output, out)
	}
	if status == http.StatusNoContent {
		body = nil
	}
	x.write("application/json", status, body)
}

// setLocatedAnswer sets the headers that hold members of an output, and returns the
// HTTP status.
func (x *exchange) setLocatedAnswer(out reflect.Value) (status int) {
	status = x.op.Status
	for i, m := range x.op.Output.Members {
		field := out.Field(i)
		switch {
		case m.Location == InBody || absent(field):
		case m.Location == InStatus:
			status = int(field.Elem().Int())
		case m.Location == InHeader:
			x.w.Header().Set(m.LocationName, field.Elem().String())
		}
	}
	return status
}

func restBody(shape *Shape, out any) []byte {
	if shape.Payload != "" {
		i, _ := shape.member([]byte(shape.Payload))
		return reflect.ValueOf(out).Elem().Field(i).Bytes()
	}
	if !hasBody(shape) {
		return nil
	}
	return EncodeJSON(shape, out)
}

// hasBody says whether any member of a shape stands in the body.
func hasBody(shape *Shape) bool {
	return slices.ContainsFunc(shape.Members, func(m Member) bool { return m.Location == InBody })
}
