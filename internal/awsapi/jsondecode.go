package awsapi

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"
	"unicode/utf8"
)

// DecodeJSON decodes the body of a JSON request into the struct that in points
// to, whose fields are in the order of the shape's members. Unknown members are
// ignored and null is the same as absent, as in AWS. A value of the wrong type
// gives a SerializationException.
func DecodeJSON(shape *Shape, body []byte, in any) error {
	if len(bytes.TrimSpace(body)) == 0 {
		return nil
	}
	if !json.Valid(body) {
		return serialization("The request body is not valid JSON.")
	}
	d := &jsonDecoder{data: body}
	if d.peek() != '{' {
		return serialization("The request body must be a JSON object.")
	}
	err := d.structure(shape, reflect.ValueOf(in).Elem())
	if null, ok := err.(*nullItem); ok {
		return ValidationException("1 validation error detected: Value null at '%s' failed to satisfy constraint: %s", null.path, notNull)
	}
	return err
}

// nullItem is the null in a list at path, which grows on the way out.
type nullItem struct{ path string }

func (n *nullItem) Error() string { return "null at " + n.path }

// within puts the member or the item that holds a null in front of its path.
func within(err error, outer string) error {
	if null, ok := err.(*nullItem); ok {
		return &nullItem{path: outer + "." + null.path}
	}
	return err
}

func serialization(message string) *Error {
	return Errorf("SerializationException", "%s", message)
}

// jsonDecoder walks JSON that is known to be valid.
type jsonDecoder struct {
	data []byte
	pos  int
}

// peek moves to the next token and returns its first byte.
func (d *jsonDecoder) peek() byte {
	for {
		switch c := d.data[d.pos]; c {
		case ' ', '\t', '\r', '\n':
			d.pos++
		default:
			return c
		}
	}
}

// object calls each with every key of the object that comes next, at its value.
func (d *jsonDecoder) object(each func(key []byte) error) error {
	d.peek()
	d.pos++
	for {
		switch d.peek() {
		case '}':
			d.pos++
			return nil
		case ',':
			d.pos++
		}
		d.peek()
		key := d.text()
		d.peek() // the colon
		d.pos++
		if err := each(key); err != nil {
			return err
		}
	}
}

// array calls each at every item of the list that comes next.
func (d *jsonDecoder) array(each func(i int) error) error {
	d.peek()
	d.pos++
	for i := 0; ; i++ {
		switch d.peek() {
		case ']':
			d.pos++
			return nil
		case ',':
			d.pos++
		}
		if err := each(i); err != nil {
			return err
		}
	}
}

func (d *jsonDecoder) structure(shape *Shape, into reflect.Value) error {
	if err := d.expect('{', "a structure"); err != nil {
		return err
	}
	return d.object(func(key []byte) error {
		i, ok := shape.member(key)
		if !ok || d.peek() == 'n' {
			d.skip()
			return nil
		}
		member := &shape.Members[i]
		return within(d.value(member.Shape, into.Field(i)), lowerFirst(member.Name))
	})
}

// value decodes what comes next, which is not null, into a member, an item or a
// map's value: into is the pointer field or the plain value.
func (d *jsonDecoder) value(shape *Shape, into reflect.Value) error {
	if into.Kind() == reflect.Pointer {
		fresh := reflect.New(into.Type().Elem())
		into.Set(fresh)
		into = fresh.Elem()
	}
	switch shape.Kind {
	case Structure:
		return d.structure(shape, into)
	case List:
		return d.list(shape, into)
	case Map:
		return d.mapping(shape, into)
	default:
		return d.scalar(shape, into)
	}
}

func (d *jsonDecoder) list(shape *Shape, into reflect.Value) error {
	if err := d.expect('[', "a list"); err != nil {
		return err
	}
	list := reflect.MakeSlice(into.Type(), 0, 4)
	item := reflect.New(into.Type().Elem()).Elem()
	err := d.array(func(i int) error {
		if d.peek() == 'n' {
			return &nullItem{path: strconv.Itoa(i+1) + ".member"}
		}
		item.SetZero()
		if err := d.value(shape.Elem, item); err != nil {
			return within(err, strconv.Itoa(i+1)+".member")
		}
		list = reflect.Append(list, item)
		return nil
	})
	if err != nil {
		return err
	}
	into.Set(list)
	return nil
}

func (d *jsonDecoder) mapping(shape *Shape, into reflect.Value) error {
	if err := d.expect('{', "a map"); err != nil {
		return err
	}
	entries := reflect.MakeMap(into.Type())
	item := reflect.New(into.Type().Elem()).Elem()
	err := d.object(func(key []byte) error {
		name := string(key)
		if d.peek() == 'n' {
			d.skip()
			return nil
		}
		item.SetZero()
		if err := d.value(shape.Elem, item); err != nil {
			return within(err, name+".member")
		}
		entries.SetMapIndex(reflect.ValueOf(name), item)
		return nil
	})
	if err != nil {
		return err
	}
	into.Set(entries)
	return nil
}

func (d *jsonDecoder) scalar(shape *Shape, into reflect.Value) error {
	start := d.peek()
	switch shape.Kind {
	case String:
		if start != '"' {
			return d.mismatch("a String")
		}
		into.SetString(string(d.text()))
	case Blob:
		if start != '"' {
			return d.mismatch("a Blob")
		}
		raw, err := base64.StdEncoding.DecodeString(string(d.text()))
		if err != nil {
			return serialization("A blob is not valid base64.")
		}
		into.SetBytes(raw)
	case Boolean:
		if start != 't' && start != 'f' {
			return d.mismatch("a Boolean")
		}
		into.SetBool(start == 't')
		d.skip()
	case Integer, Long:
		return d.integer(shape.Kind, into)
	case Double, Timestamp:
		return d.float(shape.Kind, into)
	}
	return nil
}

func (d *jsonDecoder) integer(kind Kind, into reflect.Value) error {
	name, bits := "an Integer", 32
	if kind == Long {
		name, bits = "a Long", 64
	}
	if c := d.peek(); c != '-' && (c < '0' || c > '9') {
		return d.mismatch(name)
	}
	number := string(d.skip())
	n, err := strconv.ParseInt(number, 10, bits)
	if err != nil {
		return serialization("The number " + number + " can not be converted to " + name)
	}
	into.SetInt(n)
	return nil
}

func (d *jsonDecoder) float(kind Kind, into reflect.Value) error {
	name := "a Double"
	if kind == Timestamp {
		name = "a Timestamp"
	}
	if c := d.peek(); c != '-' && (c < '0' || c > '9') {
		return d.mismatch(name)
	}
	number := string(d.skip())
	f, err := strconv.ParseFloat(number, 64)
	if err != nil {
		return serialization("The number " + number + " can not be converted to " + name)
	}
	if kind == Double {
		into.SetFloat(f)
		return nil
	}
	t, ok := fromEpoch(f)
	if !ok {
		return serialization("The number " + number + " can not be converted to a Timestamp")
	}
	into.Set(reflect.ValueOf(t))
	return nil
}

// fromEpoch turns epoch seconds into a time with milliseconds; it fails outside
// the years that RFC 3339 can write.
func fromEpoch(seconds float64) (time.Time, bool) {
	const first, last = -62135596800, 253402300799
	if math.IsNaN(seconds) || seconds < first || seconds > last {
		return time.Time{}, false
	}
	return time.UnixMilli(int64(math.Round(seconds * 1000))).UTC(), true
}

func (d *jsonDecoder) expect(start byte, what string) error {
	if d.peek() != start {
		return d.mismatch(what)
	}
	return nil
}

// mismatch words the error of a value of the wrong type as AWS does.
func (d *jsonDecoder) mismatch(want string) error {
	switch d.peek() {
	case '{':
		return serialization("Start of structure or map found where not expected.")
	case '[':
		return serialization("Start of list found where not expected")
	case '"':
		return serialization("STRING_VALUE can not be converted to " + want)
	case 't':
		return serialization("TRUE_VALUE can not be converted to " + want)
	case 'f':
		return serialization("FALSE_VALUE can not be converted to " + want)
	}
	return serialization("NUMBER_VALUE can not be converted to " + want)
}

// skip passes over one value and returns its text.
func (d *jsonDecoder) skip() []byte {
	c := d.peek()
	start, depth := d.pos, 0
	for {
		switch c = d.data[d.pos]; c {
		case '"':
			d.passString()
		case '{', '[':
			depth++
			d.pos++
		case '}', ']':
			depth--
			d.pos++
		case ',', ':', ' ', '\t', '\r', '\n':
			d.pos++
		default:
			for d.pos < len(d.data) && !strings.ContainsRune(",:]} \t\r\n", rune(d.data[d.pos])) {
				d.pos++
			}
		}
		if depth == 0 {
			return d.data[start:d.pos]
		}
	}
}

// passString moves behind the string that starts here and reports whether it
// holds an escape.
func (d *jsonDecoder) passString() (escaped bool) {
	for d.pos++; ; d.pos++ {
		switch d.data[d.pos] {
		case '"':
			d.pos++
			return escaped
		case '\\':
			escaped = true
			d.pos++
		}
	}
}

// text decodes the string that starts here. What it returns is valid UTF-8 and
// may share the body's memory.
func (d *jsonDecoder) text() []byte {
	start := d.pos + 1
	escaped := d.passString()
	raw := d.data[start : d.pos-1]
	if escaped {
		raw = unescape(raw)
	}
	if !utf8.Valid(raw) {
		raw = bytes.ToValidUTF8(raw, []byte("\uFFFD"))
	}
	return raw
}

var escapes = [256]byte{'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}

func unescape(raw []byte) []byte {
	out := make([]byte, 0, len(raw))
	for {
		i := bytes.IndexByte(raw, '\\')
		if i < 0 {
			return append(out, raw...)
		}
		out = append(out, raw[:i]...)
		if raw[i+1] != 'u' {
			out = append(out, escapes[raw[i+1]])
			raw = raw[i+2:]
			continue
		}
		r := hexRune(raw[i+2:])
		raw = raw[i+6:]
		if utf16.IsSurrogate(r) {
			low := rune(-1)
			if len(raw) >= 6 && raw[0] == '\\' && raw[1] == 'u' {
				low = hexRune(raw[2:])
			}
			if r = utf16.DecodeRune(r, low); r != utf8.RuneError {
				raw = raw[6:]
			}
		}
		out = utf8.AppendRune(out, r)
	}
}

// hexRune reads the four digits of an escape.
func hexRune(digits []byte) rune {
	n, err := strconv.ParseUint(string(digits[:4]), 16, 32)
	if err != nil {
		return utf8.RuneError
	}
	return rune(n)
}
