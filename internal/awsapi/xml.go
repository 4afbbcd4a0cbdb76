package awsapi

import (
	"bytes"
	"encoding/base64"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// iso8601 is how query and ec2 answers write times.
const iso8601 = "2006-01-02T15:04:05.000Z"

// encodeXML writes the answer of a query or ec2 operation.
func encodeXML(protocol Protocol, api *API, op *Operation, requestID string, out any) []byte {
	b := &xmlBuffer{ec2: protocol == EC2}
	b.WriteString(`<?xml version="1.0" encoding="UTF-8"?>` + "\n")
	b.WriteString("<" + op.Name + `Response xmlns="` + api.xmlNamespace() + `">`)
	if b.ec2 {
		b.text("requestId", requestID)
	}
	b.result(op, reflect.ValueOf(out))
	if !b.ec2 {
		b.open("ResponseMetadata")
		b.text("RequestId", requestID)
		b.shut("ResponseMetadata")
	}
	b.shut(op.Name + "Response")
	return b.Bytes()
}

// xmlNamespace is the namespace of answers: EC2's ends in a slash there, and
// in its model it does not.
func (a *API) xmlNamespace() string {
	if a.speaks(EC2) {
		return a.XMLNamespace + "/"
	}
	return a.XMLNamespace
}

type xmlBuffer struct {
	bytes.Buffer
	ec2 bool
}

func (b *xmlBuffer) open(name string) { b.WriteString("<" + name + ">") }
func (b *xmlBuffer) shut(name string) { b.WriteString("</" + name + ">") }

func (b *xmlBuffer) text(name, value string) {
	b.open(name)
	b.escape(value)
	b.shut(name)
}

var xmlEscapes = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", "\r", "&#xD;")

// escape writes character data. Characters that XML cannot hold become U+FFFD.
func (b *xmlBuffer) escape(value string) {
	value = strings.Map(func(r rune) rune {
		if r == '\t' || r == '\n' || r == '\r' || r >= 0x20 && r != 0xFFFE && r != 0xFFFF {
			return r
		}
		return utf8.RuneError
	}, value)
	b.WriteString(xmlEscapes.Replace(value))
}

// result writes the members of an answer. An ec2 operation without any says
// that it returns true.
func (b *xmlBuffer) result(op *Operation, out reflect.Value) {
	if b.ec2 && op.Output == Empty {
		b.text("return", "true")
		return
	}
	if !b.ec2 && op.Wrapper != "" {
		b.open(op.Wrapper)
		defer b.shut(op.Wrapper)
	}
	if out.IsValid() && !out.IsNil() {
		b.structure(op.Output, out.Elem())
	}
}

func (b *xmlBuffer) structure(shape *Shape, v reflect.Value) {
	for i := range shape.Members {
		if field := v.Field(i); !absent(field) {
			b.value(shape.Members[i].OutName(), shape.Members[i].Shape, field)
		}
	}
}

// value writes one element, or several where the shape is flattened.
func (b *xmlBuffer) value(name string, shape *Shape, v reflect.Value) {
	if v.Kind() == reflect.Pointer {
		v = v.Elem()
	}
	switch shape.Kind {
	case Structure:
		b.open(name)
		b.structure(shape, v)
		b.shut(name)
	case List:
		b.list(name, shape, v)
	case Map:
		b.mapping(name, shape, v)
	default:
		b.text(name, xmlScalar(shape.Kind, v))
	}
}

func (b *xmlBuffer) list(name string, shape *Shape, v reflect.Value) {
	item := name
	if !shape.Flattened {
		item = shape.ElemName
		if item == "" {
			item = "member"
		}
		b.open(name)
		defer b.shut(name)
	}
	for i := range v.Len() {
		b.value(item, shape.Elem, v.Index(i))
	}
}

func (b *xmlBuffer) mapping(name string, shape *Shape, v reflect.Value) {
	entry := name
	if !shape.Flattened {
		entry = "entry"
		b.open(name)
		defer b.shut(name)
	}
	for _, key := range sortedKeys(v) {
		b.open(entry)
		b.text(orDefault(shape.KeyName, "key"), key)
		b.value(orDefault(shape.ElemName, "value"), shape.Elem, v.MapIndex(reflect.ValueOf(key)))
		b.shut(entry)
	}
}

func xmlScalar(kind Kind, v reflect.Value) string {
	switch kind {
	case Integer, Long:
		return strconv.FormatInt(v.Int(), 10)
	case Double:
		return strconv.FormatFloat(v.Float(), 'g', -1, 64)
	case Boolean:
		return strconv.FormatBool(v.Bool())
	case Timestamp:
		return v.Interface().(time.Time).UTC().Format(iso8601)
	case Blob:
		return base64.StdEncoding.EncodeToString(v.Bytes())
	}
	return v.String()
}
