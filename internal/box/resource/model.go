package resource

import (
	"encoding/json"
	"fmt"
)

const (
	// MaxModel is how many bytes a model has at most as JSON. AWS: 256 KiB.
	MaxModel = 256 << 10
	// maxModelDepth is how deep it is nested at most.
	maxModelDepth = 64
)

// ParseModel reads a model from JSON.
func ParseModel(text string) (Model, error) {
	if len(text) > MaxModel {
		return nil, fmt.Errorf("it is %d bytes long; %d are allowed", len(text), MaxModel)
	}
	v, err := decodeJSON([]byte(text), maxModelDepth)
	if err != nil {
		return nil, err
	}
	m, ok := v.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("it is no JSON object")
	}
	return m, nil
}

// EncodeModel writes a model as compact JSON.
func EncodeModel(m Model) string {
	if m == nil {
		return "{}"
	}
	return encode(m)
}

// normalize returns the model as ParseModel would have read it: whatever Go values
// it was made of.
func normalize(m Model) (Model, error) {
	text, err := json.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("the model is no JSON: %w", err)
	}
	if m == nil {
		return Model{}, nil
	}
	return ParseModel(string(text))
}
