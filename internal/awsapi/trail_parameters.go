package awsapi

import (
	"encoding/base64"
	"reflect"
	"strconv"
	"time"

	"github.com/rialto-bus/rialto/internal/event"
)

// hidden stands in place of a secret text. AWS: CloudTrail's word for it.
const hidden = "HIDDEN_DUE_TO_SECURITY_REASONS"

// veil is what becomes of a member that CloudTrail does not show and whose shape is
// not marked as sensitive.
type veil uint8

const (
	veiled  veil = iota + 1 // the word for it
	emptied                 // {}
	leftOut
)

// veils are such members, by structure.
var veils = map[string]map[string]veil{
	"CreateFunctionRequest":    {"Code": emptied},
	"SubscribeInput":           {"Endpoint": veiled}, // may be anybody's address or hold a password
	"ConfirmSubscriptionInput": {"Token": veiled},
	"Parameter":                {"ParameterValue": leftOut}, // of a stack
	"CreateStackInput":         {"TemplateBody": leftOut},
	"UpdateStackInput":         {"TemplateBody": leftOut},
	"CreateChangeSetInput":     {"TemplateBody": leftOut},
	"GetTemplateSummaryInput":  {"TemplateBody": leftOut},
	"ValidateTemplateInput":    {"TemplateBody": leftOut},
}

// requestParameters is what a call asks for as CloudTrail writes it, nil for nothing.
func requestParameters(call *Call) []byte {
	v := reflect.ValueOf(call.Input)
	if !v.IsValid() || v.IsNil() || call.Operation.Input == Empty {
		return nil
	}
	var b []byte
	if call.API.speaks(EC2) {
		b = ec2Parameters(call.Operation, v.Elem())
	} else {
		b = trailJSON{}.structure(nil, call.Operation.Input, v.Elem())
	}
	if string(b) == "{}" {
		return nil
	}
	return b
}

// responseElements is what a call answers as CloudTrail writes it, nil for nothing.
func responseElements(call *Call, out any) []byte {
	v := reflect.ValueOf(out)
	there := v.IsValid() && !v.IsNil() && call.Operation.Output != Empty
	if call.API.speaks(EC2) {
		d := object{b: []byte{'{'}}
		d.text("requestId", call.Caller.RequestID)
		switch {
		case there:
			d.b = trailJSON{ec2: true}.members(d.b, call.Operation.Output, v.Elem())
		case call.Operation.Output == Empty:
			d.raw("_return", []byte("true"))
		}
		return d.end()
	}
	if !there {
		return nil
	}
	b := trailJSON{}.structure(nil, call.Operation.Output, v.Elem())
	if string(b) == "{}" {
		return nil
	}
	return b
}

// trailJSON writes values as CloudTrail does: members begin in lower case, the keys of maps
// are as they are, secrets are blanked.
type trailJSON struct {
	// ec2 is EC2's way: the names of its XML, lists inside of items, times in milliseconds.
	ec2 bool
}

func (w trailJSON) structure(b []byte, shape *Shape, v reflect.Value) []byte {
	return append(w.members(append(b, '{'), shape, v), '}')
}

// members adds a structure's members to an object that is open.
func (w trailJSON) members(b []byte, shape *Shape, v reflect.Value) []byte {
	d := object{b: b}
	for i := range shape.Members {
		m, field := &shape.Members[i], v.Field(i)
		if absent(field) || m.Location == InStatus || secretBlock(m.Shape) {
			continue
		}
		name := w.memberName(m)
		switch veils[shape.Name][m.Name] {
		case leftOut:
		case emptied:
			d.raw(name, []byte("{}"))
		case veiled:
			d.text(name, hidden)
		default:
			d.name(name)
			d.b = w.value(d.b, m.Shape, field)
		}
	}
	return d.b
}

// secretBlock says of sensitive data other than texts, such as code and the variables of
// an environment, that it is left out as a whole.
func secretBlock(shape *Shape) bool {
	return shape.Sensitive && shape.Kind != String
}

func (w trailJSON) memberName(m *Member) string {
	if w.ec2 && m.Out != "" {
		return m.Out
	}
	return lowerFirst(m.Name)
}

func (w trailJSON) value(b []byte, shape *Shape, v reflect.Value) []byte {
	if v.Kind() == reflect.Pointer {
		v = v.Elem()
	}
	if shape.Sensitive {
		return event.AppendText(b, hidden)
	}
	switch shape.Kind {
	case Structure:
		return w.structure(b, shape, v)
	case List:
		return w.list(b, shape, v)
	case Map:
		return w.mapping(b, shape, v)
	case Integer, Long:
		return strconv.AppendInt(b, v.Int(), 10)
	case Double:
		return appendJSONFloat(b, v.Float())
	case Boolean:
		return strconv.AppendBool(b, v.Bool())
	case Timestamp:
		return w.time(b, v.Interface().(time.Time))
	case Blob:
		return event.AppendText(b, base64.StdEncoding.EncodeToString(v.Bytes()))
	}
	return event.AppendText(b, v.String())
}

func (w trailJSON) list(b []byte, shape *Shape, v reflect.Value) []byte {
	if w.ec2 {
		b = append(b, `{"items":`...)
	}
	b = append(b, '[')
	for i := range v.Len() {
		if i > 0 {
			b = append(b, ',')
		}
		b = w.value(b, shape.Elem, v.Index(i))
	}
	b = append(b, ']')
	if w.ec2 {
		b = append(b, '}')
	}
	return b
}

func (w trailJSON) mapping(b []byte, shape *Shape, v reflect.Value) []byte {
	d := object{b: append(b, '{')}
	for _, key := range sortedKeys(v) {
		d.name(key)
		d.b = w.value(d.b, shape.Elem, v.MapIndex(reflect.ValueOf(key)))
	}
	return d.end()
}

// time writes a time. AWS: as Java prints it for Americans, but for EC2.
func (w trailJSON) time(b []byte, t time.Time) []byte {
	if w.ec2 {
		return strconv.AppendInt(b, t.UnixMilli(), 10)
	}
	b = append(b, '"')
	b = t.UTC().AppendFormat(b, "Jan 2, 2006, 3:04:05 PM")
	return append(b, '"')
}
