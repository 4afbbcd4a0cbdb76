package awsapi

import (
	"bytes"
	"encoding/base64"
	"errors"
	"math"
	"reflect"
	"strconv"
	"time"
)

// DecodeJSON decodes the body of a JSON request into the struct that in points
// to, whose fields are in the order of the shape's members. Unknown members are
// ignored and null is the same as absent, as in AWS. A value of the wrong type
// gives a SerializationException, a null in a list a ValidationException.
func DecodeJSON(shape *Shape, body []byte, in any) error {
	if len(bytes.TrimSpace(body)) == 0 {
		return nil
	}
	d := &jsonDecoder{scanner: scanner{data: body}}
	if d.peek() != '{' {
		return serialization("The request body must be a JSON object.")
	}
	err := d.structure(shape, reflect.ValueOf(in).Elem())
	if null, ok := errors.AsType[*nullItem](err); ok {
		return ValidationException("1 validation error detected: Value null at '%s' failed to satisfy constraint: %s", null.path, notNull)
	}
	if err == nil && !d.end() {
		return errNotJSON
	}
	return err
}

func serialization(message string) *Error {
	return Errorf("SerializationException", "%s", message)
}

// nullItem is the null in a list at path, which grows on the way out.
type nullItem struct{ path string }

// Error names the path.
func (n *nullItem) Error() string { return "null at " + n.path }

// within puts the member or the item that holds a null in front of its path.
func within(err error, outer string) error {
	if null, ok := errors.AsType[*nullItem](err); ok {
		return &nullItem{path: outer + "." + null.path}
	}
	return err
}

// jsonDecoder fills Go values from JSON as shapes say.
type jsonDecoder struct{ scanner }

func (d *jsonDecoder) structure(shape *Shape, into reflect.Value) error {
	if d.peek() != '{' {
		return d.mismatch("a structure")
	}
	return d.object(func(key []byte) error {
		i, ok := shape.member(key)
		if !ok || d.peek() == 'n' {
			return d.skip()
		}
		member := &shape.Members[i]
		if err := d.value(member.Shape, into.Field(i)); err != nil {
			return within(err, lowerFirst(member.Name))
		}
		return nil
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

// maxListItems bounds what a small body can grow to: two bytes of JSON may stand
// for a large structure.
const maxListItems = 10_000

func (d *jsonDecoder) list(shape *Shape, into reflect.Value) error {
	if d.peek() != '[' {
		return d.mismatch("a list")
	}
	into.Set(reflect.MakeSlice(into.Type(), 0, 4))
	return d.array(func(i int) error {
		if i == maxListItems {
			return serialization("A list has more than " + strconv.Itoa(maxListItems) + " items.")
		}
		if d.peek() == 'n' {
			return &nullItem{path: strconv.Itoa(i+1) + ".member"}
		}
		into.Grow(1)
		into.SetLen(i + 1)
		into.Index(i).SetZero()
		if err := d.value(shape.Elem, into.Index(i)); err != nil {
			return within(err, strconv.Itoa(i+1)+".member")
		}
		return nil
	})
}

func (d *jsonDecoder) mapping(shape *Shape, into reflect.Value) error {
	if d.peek() != '{' {
		return d.mismatch("a map")
	}
	into.Set(reflect.MakeMap(into.Type()))
	item := reflect.New(into.Type().Elem()).Elem()
	return d.object(func(key []byte) error {
		if d.peek() == 'n' {
			return d.skip()
		}
		name := string(key)
		item.SetZero()
		if err := d.value(shape.Elem, item); err != nil {
			return within(err, name+".member")
		}
		into.SetMapIndex(reflect.ValueOf(name), item)
		return nil
	})
}

func (d *jsonDecoder) scalar(shape *Shape, into reflect.Value) error {
	switch shape.Kind {
	case String, Blob:
		return d.text(shape.Kind, into)
	case Boolean:
		return d.boolean(into)
	case Integer, Long:
		return d.integer(shape.Kind, into)
	}
	return d.float(shape.Kind, into)
}

func (d *jsonDecoder) text(kind Kind, into reflect.Value) error {
	if d.peek() != '"' {
		if kind == Blob {
			return d.mismatch("a Blob")
		}
		return d.mismatch("a String")
	}
	raw, err := d.string()
	if err != nil {
		return err
	}
	if kind == String {
		into.SetString(string(raw))
		return nil
	}
	blob, err := base64.StdEncoding.AppendDecode(nil, raw)
	if err != nil {
		return serialization("A blob is not valid base64.")
	}
	if blob == nil {
		blob = []byte{}
	}
	into.SetBytes(blob)
	return nil
}

func (d *jsonDecoder) boolean(into reflect.Value) error {
	switch d.peek() {
	case 't':
		into.SetBool(true)
		return d.literal("true")
	case 'f':
		into.SetBool(false)
		return d.literal("false")
	}
	return d.mismatch("a Boolean")
}

func (d *jsonDecoder) integer(kind Kind, into reflect.Value) error {
	name, bits := "an Integer", 32
	if kind == Long {
		name, bits = "a Long", 64
	}
	if c := d.peek(); c != '-' && (c < '0' || c > '9') {
		return d.mismatch(name)
	}
	number, err := d.number()
	if err != nil {
		return err
	}
	n, err := strconv.ParseInt(string(number), 10, bits)
	if err != nil {
		return unfit(number, name)
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
	number, err := d.number()
	if err != nil {
		return err
	}
	f, err := strconv.ParseFloat(string(number), 64)
	if err != nil {
		return unfit(number, name)
	}
	if kind == Double {
		into.SetFloat(f)
		return nil
	}
	t, ok := fromEpoch(f)
	if !ok {
		return unfit(number, name)
	}
	into.Set(reflect.ValueOf(t))
	return nil
}

// unfit is the error of a number that its type cannot hold.
func unfit(number []byte, name string) error {
	return serialization("The number " + shorten(string(number), 64) + " can not be converted to " + name)
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
	case '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9':
		return serialization("NUMBER_VALUE can not be converted to " + want)
	}
	return errNotJSON
}
