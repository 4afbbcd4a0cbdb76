package httpapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"reflect"
	"strings"
	"unicode/utf8"
)

// DefaultMaxBody is the size limit in bytes of a REST request's body where a
// handler sets no other.
const DefaultMaxBody = 1 << 20

// maxDepth bounds how deep a JSON body may nest.
const maxDepth = 64

// JSON answers with v as JSON. A v that cannot be encoded answers 500.
func JSON(w http.ResponseWriter, status int, v any) {
	var body bytes.Buffer
	enc := json.NewEncoder(&body)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		status = http.StatusInternalServerError
		body.Reset()
		body.WriteString(`{"error":{"code":"unknown_error","message":"The answer could not be encoded."}}` + "\n")
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	if h.Get("Cache-Control") == "" {
		h.Set("Cache-Control", "no-store")
	}
	w.WriteHeader(status)
	_, _ = w.Write(body.Bytes()) // a caller who hung up is nobody's error
}

// NoContent answers 204.
func NoContent(w http.ResponseWriter) { w.WriteHeader(http.StatusNoContent) }

// Decode reads r's body, one JSON value of at most maxBytes (0 stands for
// DefaultMaxBody), into v. It is strict: another content type, a larger body, an
// unknown or repeated field, deep nesting, invalid UTF-8 and anything after the
// value are refused with an *Error.
func Decode(w http.ResponseWriter, r *http.Request, v any, maxBytes int64) error {
	if !IsJSON(r.Header.Get("Content-Type")) {
		return unsupportedContentType(r.Header.Get("Content-Type"))
	}
	if maxBytes <= 0 {
		maxBytes = DefaultMaxBody
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBytes))
	if err != nil {
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			return err
		}
		return Invalid("The request body could not be read: %v.", err)
	}
	return decodeStrict(body, v)
}

// IsJSON reports whether a Content-Type header names JSON: application/json, or
// a type that ends in +json.
func IsJSON(contentType string) bool {
	mediaType, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		return false
	}
	return mediaType == "application/json" ||
		strings.HasPrefix(mediaType, "application/") && strings.HasSuffix(mediaType, "+json")
}

// IsJSONLines reports whether a Content-Type header names JSON lines:
// application/x-ndjson or application/jsonl.
func IsJSONLines(contentType string) bool {
	mediaType, _, err := mime.ParseMediaType(contentType)
	return err == nil && (mediaType == "application/x-ndjson" || mediaType == "application/jsonl")
}

func unsupportedContentType(have string) *Error {
	msg := "The request needs the header Content-Type: application/json."
	if have != "" {
		msg = fmt.Sprintf("Content-Type %q is not supported; send application/json.", have)
	}
	return &Error{Status: http.StatusUnsupportedMediaType, Code: CodeUnsupportedContentType, Message: msg}
}

func decodeStrict(body []byte, v any) error {
	if len(bytes.TrimSpace(body)) == 0 {
		return Invalid("The request body is empty; send a JSON object.")
	}
	if !utf8.Valid(body) {
		return Invalid("The request body is not valid UTF-8.")
	}
	if err := CheckJSON(body); err != nil {
		return Invalid("The request body is not valid JSON: %v.", err)
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return decodeError(err)
	}
	return nil
}

// decodeError words what encoding/json says in the terms of the request.
func decodeError(err error) *Error {
	if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		if e.Field == "" {
			return Invalid("The request body must be a JSON %s, not a %s.", jsonKind(e.Type), e.Value)
		}
		return Invalid("Field %q must be a %s, not a %s.", e.Field, jsonKind(e.Type), e.Value)
	}
	if field, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		return Invalid("Field %s is not known here.", field)
	}
	return Invalid("The request body is not valid: %s.", strings.TrimPrefix(err.Error(), "json: "))
}

// jsonKind is JSON's word for what a Go type is decoded from.
func jsonKind(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Pointer:
		return jsonKind(t.Elem())
	case reflect.Bool:
		return "boolean"
	case reflect.String:
		return "string"
	case reflect.Slice, reflect.Array:
		return "list"
	case reflect.Struct, reflect.Map:
		return "object"
	case reflect.Float32, reflect.Float64:
		return "number"
	default:
		return "whole number"
	}
}

// CheckJSON checks that data is exactly one JSON value, that it nests at most 64
// deep and that no object in it names a member twice: which of two a reader
// takes differs between readers, so such a text can mean two things.
func CheckJSON(data []byte) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	if err := checkValue(dec, 0); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return errors.New("it ends too early")
		}
		return err
	}
	if _, err := dec.Token(); err != io.EOF {
		return errors.New("something follows its end")
	}
	return nil
}

func checkValue(dec *json.Decoder, depth int) error {
	tok, err := dec.Token()
	if err != nil {
		return err
	}
	delim, ok := tok.(json.Delim)
	if !ok {
		return nil
	}
	if depth == maxDepth {
		return fmt.Errorf("it nests deeper than %d", maxDepth)
	}
	seen := map[string]bool{}
	for dec.More() {
		if delim == '{' {
			key, err := dec.Token()
			if err != nil {
				return err
			}
			name, _ := key.(string)
			if seen[name] {
				return fmt.Errorf("member %q is there twice", name)
			}
			seen[name] = true
		}
		if err := checkValue(dec, depth+1); err != nil {
			return err
		}
	}
	_, err = dec.Token()
	return err
}
