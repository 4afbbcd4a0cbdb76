package awsapi

import (
	"encoding/base64"
	"fmt"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Limits of a query request's parameters: names with more parts, or more
// parameters, than any model can use are refused before anything is built.
const (
	maxQueryParams = 20_000
	maxQueryDepth  = 16
)

// param is a part of a query request: Tag.1.Key=a is the param Tag, in it 1, in
// it Key, whose value is a.
type param struct {
	value    string
	set      bool // has a value of its own, even an empty one
	used     bool // a member was found for it
	children map[string]*param
}

// DecodeQuery decodes the parameters of a query request, or an ec2 one, into the
// struct that in points to. In ec2 requests a parameter that the shape lacks is
// refused with UnknownParameter; in query ones it is ignored, as in AWS.
func DecodeQuery(protocol Protocol, shape *Shape, form url.Values, in any) error {
	root, err := paramTree(form)
	if err != nil {
		return err
	}
	q := queryDecoder{ec2: protocol == EC2}
	if err := q.structure(root, shape, reflect.ValueOf(in).Elem(), ""); err != nil {
		return err
	}
	if q.ec2 {
		return unknownParam(root, "")
	}
	return nil
}

// paramTree splits the names of parameters at their dots. Those that belong to
// the protocol and not to an operation are left out.
func paramTree(form url.Values) (*param, error) {
	if len(form) > maxQueryParams {
		return nil, Errorf("MalformedQueryString", "The request has more than %d parameters.", maxQueryParams)
	}
	root := &param{}
	for name, values := range form {
		if protocolParam(name) {
			continue
		}
		parts := strings.Split(name, ".")
		if len(parts) > maxQueryDepth {
			return nil, Errorf("MalformedQueryString", "The name of a parameter has more than %d parts.", maxQueryDepth)
		}
		at := root
		for _, part := range parts {
			next := at.children[part]
			if next == nil {
				next = &param{}
				if at.children == nil {
					at.children = make(map[string]*param)
				}
				at.children[part] = next
			}
			at = next
		}
		at.value, at.set = values[0], true
	}
	return root, nil
}

// protocolParam reports whether a parameter says how the request was made.
func protocolParam(name string) bool {
	switch name {
	case "Action", "Version", "AWSAccessKeyId", "Signature", "SignatureMethod", "SignatureVersion", "Timestamp", "Expires", "SecurityToken":
		return true
	}
	return strings.HasPrefix(name, "X-Amz-")
}

// unknownParam is the error for the first parameter that no member was found for.
func unknownParam(at *param, name string) error {
	if at.set && !at.used {
		return Errorf("UnknownParameter", "The parameter %s is not recognized", name)
	}
	keys := make([]string, 0, len(at.children))
	for key := range at.children {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	for _, key := range keys {
		if err := unknownParam(at.children[key], join(name, key)); err != nil {
			return err
		}
	}
	return nil
}

func join(prefix, part string) string {
	if prefix == "" {
		return part
	}
	return prefix + "." + part
}

type queryDecoder struct{ ec2 bool }

// structure fills the members that have a parameter.
func (q queryDecoder) structure(at *param, shape *Shape, into reflect.Value, name string) error {
	for i := range shape.Members {
		member := &shape.Members[i]
		child := at.children[member.InName()]
		if child == nil && !q.ec2 && member.Shape.Kind == List {
			child = at.children[member.Name].empty()
		}
		if child == nil {
			continue
		}
		if err := q.value(child, member.Shape, into.Field(i), join(name, member.InName())); err != nil {
			return err
		}
	}
	return nil
}

func (q queryDecoder) value(at *param, shape *Shape, into reflect.Value, name string) error {
	if into.Kind() == reflect.Pointer {
		fresh := reflect.New(into.Type().Elem())
		if err := q.value(at, shape, fresh.Elem(), name); err != nil {
			return err
		}
		into.Set(fresh)
		return nil
	}
	switch shape.Kind {
	case Structure:
		return q.structure(at, shape, into, name)
	case List:
		return q.list(at, shape, into, name)
	case Map:
		return q.mapping(at, shape, into, name)
	}
	at.used = true
	return q.scalar(at, shape, into, name)
}

// list decodes Name.N, or Name.member.N where the list is not flattened; a
// flattened list of one item may also be written without a number.
func (q queryDecoder) list(at *param, shape *Shape, into reflect.Value, name string) error {
	list := reflect.MakeSlice(into.Type(), 0, len(at.children))
	at.used = at.value == "" // says that the list is empty
	items := at
	if !q.ec2 && !shape.Flattened {
		items, name = at.child(orDefault(shape.ElemName, "member"), name)
	}
	item := reflect.New(into.Type().Elem()).Elem()
	for _, n := range items.numbers() {
		item.SetZero()
		key := strconv.Itoa(n)
		if err := q.value(items.children[key], shape.Elem, item, join(name, key)); err != nil {
			return err
		}
		list = reflect.Append(list, item)
	}
	if list.Len() == 0 && at.set && at.value != "" {
		item.SetZero()
		if err := q.value(at, shape.Elem, item, name); err != nil {
			return err
		}
		list = reflect.Append(list, item)
	}
	into.Set(list)
	return nil
}

// mapping decodes Name.N.Key and Name.N.Value, or Name.entry.N.…; a flattened
// map of one entry may also be written without a number.
func (q queryDecoder) mapping(at *param, shape *Shape, into reflect.Value, name string) error {
	entries := reflect.MakeMap(into.Type())
	at.used = at.value == ""
	items := at
	if !shape.Flattened {
		items, name = at.child("entry", name)
	}
	if items.children[orDefault(shape.KeyName, "key")] != nil {
		if err := q.entry(items, shape, entries, name); err != nil {
			return err
		}
	}
	for _, n := range items.numbers() {
		key := strconv.Itoa(n)
		if err := q.entry(items.children[key], shape, entries, join(name, key)); err != nil {
			return err
		}
	}
	into.Set(entries)
	return nil
}

func (q queryDecoder) entry(at *param, shape *Shape, into reflect.Value, name string) error {
	keyName, valueName := orDefault(shape.KeyName, "key"), orDefault(shape.ElemName, "value")
	key := at.children[keyName]
	if key == nil {
		return Errorf("MissingParameter", "The request must contain the parameter %s.", join(name, keyName))
	}
	key.used = true
	value := reflect.New(into.Type().Elem()).Elem()
	if child := at.children[valueName]; child != nil {
		if err := q.value(child, shape.Elem, value, join(name, valueName)); err != nil {
			return err
		}
	}
	into.SetMapIndex(reflect.ValueOf(key.value), value)
	return nil
}

// child steps into a part of a name; where it is absent it yields an empty one.
func (p *param) child(part, name string) (*param, string) {
	if c := p.children[part]; c != nil {
		return c, join(name, part)
	}
	return &param{}, name
}

// empty returns p if it has an empty value and nothing else, or else nil. SDKs
// write a flattened list without items so, under the name that the member itself
// has.
func (p *param) empty() *param {
	if p == nil || !p.set || p.value != "" || p.children != nil {
		return nil
	}
	return p
}

// numbers lists the item numbers below p in order. Numbers that are left out do
// not make empty items.
func (p *param) numbers() []int {
	var ns []int
	for key := range p.children {
		if n, err := strconv.Atoi(key); err == nil && n >= 0 && strconv.Itoa(n) == key {
			ns = append(ns, n)
		}
	}
	slices.Sort(ns)
	return ns
}

func orDefault(name, otherwise string) string {
	if name == "" {
		return otherwise
	}
	return name
}

func (q queryDecoder) scalar(at *param, shape *Shape, into reflect.Value, name string) error {
	text := at.value
	switch shape.Kind {
	case String:
		into.SetString(strings.ToValidUTF8(text, "\uFFFD"))
	case Integer, Long:
		n, err := strconv.ParseInt(text, 10, into.Type().Bits())
		if err != nil {
			return q.invalid(name, text, "an integer")
		}
		into.SetInt(n)
	case Double:
		f, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return q.invalid(name, text, "a number")
		}
		into.SetFloat(f)
	case Boolean:
		switch strings.ToLower(text) {
		case "true", "1":
			into.SetBool(true)
		case "false", "0":
			into.SetBool(false)
		default:
			return q.invalid(name, text, "true or false")
		}
	case Timestamp:
		t, err := time.Parse(time.RFC3339, text)
		if err != nil {
			return q.invalid(name, text, "an ISO 8601 time")
		}
		into.Set(reflect.ValueOf(t.UTC()))
	case Blob:
		raw, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return q.invalid(name, text, "base64")
		}
		into.SetBytes(raw)
	}
	return nil
}

// invalid words the error of a parameter that cannot be read, as EC2 does or as
// the query services do.
func (q queryDecoder) invalid(name, text, want string) error {
	shown := shorten(text, 100)
	if q.ec2 {
		return Errorf("InvalidParameterValue", "Invalid value '%s' for %s. Expecting %s.", shown, name, want)
	}
	return Errorf("InvalidParameterValue", "Value %s for parameter %s is invalid. Reason: Must be %s.", shown, name, want)
}

// shorten cuts text that is repeated to a caller, at a rune.
func shorten(text string, most int) string {
	if len(text) <= most {
		return text
	}
	return fmt.Sprintf("%s…", strings.ToValidUTF8(text[:most], ""))
}
