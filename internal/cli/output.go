package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// shown is a thing that a table shows the fields of row of, and JSON and YAML
// all that the API answered.
type shown[T any] struct {
	row T
	raw json.RawMessage
}

// UnmarshalJSON keeps the text beside what is read of it.
func (v *shown[T]) UnmarshalJSON(b []byte) error {
	var row T
	if err := json.Unmarshal(b, &row); err != nil {
		return err
	}
	v.row, v.raw = row, slices.Clone(b)
	return nil
}

// MarshalJSON returns the API's text.
func (v shown[T]) MarshalJSON() ([]byte, error) { return v.raw, nil }

// print writes v, whose JSON form is what the API answered: as it is for json
// and yaml, else as the table.
func (s *streams) print(v any, header []string, rows [][]string) error {
	switch s.format {
	case "json":
		return s.printJSON(v)
	case "yaml":
		return s.printYAML(v)
	}
	return s.printTable(header, rows)
}

func (s *streams) printJSON(v any) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("print JSON: %w", err)
	}
	_, err := s.out.Write(b.Bytes())
	return err
}

// printYAML goes by way of JSON, so that both forms have the same names.
func (s *streams) printYAML(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("print YAML: %w", err)
	}
	var node yaml.Node
	if err := yaml.Unmarshal(b, &node); err != nil {
		return fmt.Errorf("print YAML: %w", err)
	}
	blockStyle(&node)
	enc := yaml.NewEncoder(s.out)
	enc.SetIndent(2)
	if err := enc.Encode(&node); err != nil {
		return fmt.Errorf("print YAML: %w", err)
	}
	return enc.Close()
}

// blockStyle undoes the flow style that JSON text has in YAML's eyes.
func blockStyle(n *yaml.Node) {
	n.Style = 0
	for _, child := range n.Content {
		blockStyle(child)
	}
}

func (s *streams) printTable(header []string, rows [][]string) error {
	w := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, strings.Join(header, "\t"))
	for _, row := range rows {
		cells := make([]string, len(row))
		for i, cell := range row {
			cells[i] = plain(cell)
		}
		fmt.Fprintln(w, strings.Join(cells, "\t"))
	}
	return w.Flush()
}

// plain keeps what others wrote, in events, tags and names, from steering the
// terminal: control characters become U+FFFD.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return utf8.RuneError
		}
		return r
	}, s)
}

// plainLines is plain for text of several lines, which may have tabs.
func plainLines(text string) string {
	return strings.Map(func(r rune) rune {
		if r != '\n' && r != '\t' && unicode.IsControl(r) {
			return utf8.RuneError
		}
		return r
	}, text)
}

// counted is a number of things: "1 record", "2 records".
func counted[N int | int64](n N, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// or returns a dash for an empty cell.
func or(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
