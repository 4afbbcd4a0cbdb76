package resource

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"

	jsonpatch "github.com/evanphx/json-patch/v5"
)

// maxPatchOperations is how many operations a patch document has at most. AWS says no number.
const maxPatchOperations = 1000

// applyPatch applies a JSON Patch (RFC 6902) to a model, which is left as it is. The error says
// what is wrong with the patch, or which operation cannot be made.
func applyPatch(m Model, document string) (Model, error) {
	operations, err := checkPatch(document)
	if err != nil {
		return nil, err
	}
	text := []byte(EncodeModel(m))
	o := jsonpatch.NewApplyOptions()
	o.SupportNegativeIndices = false
	o.AccumulatedCopySizeLimit = MaxModel
	o.EscapeHTML = false
	for i, one := range operations {
		if text, err = apply(one, text, o); err != nil {
			return nil, fmt.Errorf("operation %d: %w", i, err)
		}
		if len(text) > 2*MaxModel {
			return nil, fmt.Errorf("operation %d: the model becomes larger than %d bytes", i, MaxModel)
		}
	}
	patched, err := ParseModel(string(text))
	if err != nil {
		return nil, fmt.Errorf("the patched model: %w", err)
	}
	return patched, nil
}

// apply makes one operation.
func apply(one json.RawMessage, text []byte, o *jsonpatch.ApplyOptions) (out []byte, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("it cannot be made: %v", v) // the library trusts its input in places
		}
	}()
	p, err := jsonpatch.DecodePatch([]byte("[" + string(one) + "]"))
	if err != nil {
		return nil, err
	}
	return p.ApplyWithOptions(text, o)
}

// patchOperation is an operation of a patch, as far as it is checked here.
type patchOperation struct {
	Op    *string          `json:"op"`
	Path  *string          `json:"path"`
	From  *string          `json:"from"`
	Value *json.RawMessage `json:"value"`
}

// checkPatch takes a patch apart and checks the form of its operations.
func checkPatch(document string) ([]json.RawMessage, error) {
	v, err := decodeJSON([]byte(document), maxModelDepth+2)
	if err != nil {
		return nil, err
	}
	list, ok := v.([]any)
	if !ok || len(list) == 0 {
		return nil, errors.New("it must be a JSON array of operations, at least one")
	}
	if len(list) > maxPatchOperations {
		return nil, fmt.Errorf("it has %d operations; %d are allowed", len(list), maxPatchOperations)
	}
	operations := make([]json.RawMessage, len(list))
	for i := range list {
		object, ok := list[i].(map[string]any)
		if !ok {
			return nil, fmt.Errorf("operation %d is no JSON object", i)
		}
		operations[i] = json.RawMessage(encode(object))
		_, hasValue := object["value"]
		if err := checkOperation(operations[i], hasValue); err != nil {
			return nil, fmt.Errorf("operation %d: %w", i, err)
		}
	}
	return operations, nil
}

func checkOperation(text json.RawMessage, hasValue bool) error {
	var op patchOperation
	if err := json.Unmarshal(text, &op); err != nil {
		return err
	}
	if op.Op == nil || op.Path == nil {
		return errors.New("op and path must be given")
	}
	if err := checkPointer("path", *op.Path); err != nil {
		return err
	}
	switch *op.Op {
	case "add", "replace", "test":
		if !hasValue {
			return fmt.Errorf("%s needs a value", *op.Op)
		}
	case "remove":
	case "move", "copy":
		if op.From == nil {
			return fmt.Errorf("%s needs from", *op.Op)
		}
		if err := checkPointer("from", *op.From); err != nil {
			return err
		}
		if *op.Op == "move" && strings.HasPrefix(*op.Path, *op.From+"/") {
			return errors.New("a value cannot be moved into itself")
		}
	default:
		return fmt.Errorf("there is no op %q: there are add, remove, replace, move, copy and test", *op.Op)
	}
	return nil
}

// badTilde finds a ~ that escapes nothing.
var badTilde = regexp.MustCompile(`~([^01]|$)`)

func checkPointer(member, pointer string) error {
	switch {
	case pointer == "":
		return fmt.Errorf("%s must name a property: the model as a whole cannot be replaced", member)
	case pointer[0] != '/':
		return fmt.Errorf("%s %q must begin with /", member, shorten(pointer))
	case badTilde.MatchString(pointer):
		return fmt.Errorf("%s %q: ~ stands before 0 or 1 only", member, shorten(pointer))
	}
	return nil
}
