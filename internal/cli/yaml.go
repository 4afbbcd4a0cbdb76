package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"go.yaml.in/yaml/v3"
)

// yamlDocuments reads the documents of YAML text, of which JSON is a part, as JSON
// values. Dates are text, as they are in JSON; empty documents are left out.
func yamlDocuments(text []byte) ([]any, error) {
	dec := yaml.NewDecoder(bytes.NewReader(text))
	var docs []any
	for n := 1; ; n++ {
		var node yaml.Node
		err := dec.Decode(&node)
		if errors.Is(err, io.EOF) {
			return docs, nil
		}
		if err != nil {
			return nil, fmt.Errorf("document %d is not valid YAML: %w", n, err)
		}
		plainDates(&node)
		var v any
		if err := node.Decode(&v); err != nil {
			return nil, fmt.Errorf("document %d is not valid YAML: %w", n, err)
		}
		if v == nil {
			continue
		}
		if v, err = asJSON(v); err != nil {
			return nil, fmt.Errorf("document %d: %w", n, err)
		}
		docs = append(docs, v)
	}
}

// plainDates makes dates the text that they are written as.
func plainDates(n *yaml.Node) {
	if n.Kind == yaml.ScalarNode && n.ShortTag() == "!!timestamp" {
		n.Tag = "!!str"
	}
	for _, child := range n.Content {
		plainDates(child)
	}
}

// asJSON is a YAML value as it is read from JSON; one that JSON does not have is an
// error.
func asJSON(v any) (any, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("it cannot be written as JSON: %w", err)
	}
	var out any
	err = json.Unmarshal(text, &out)
	return out, err
}
