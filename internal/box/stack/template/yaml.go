package template

import (
	"bytes"
	"errors"
	"io"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// readYAML reads one YAML document into nodes: short tags become calls, plain scalars are told apart as YAML 1.1 does, with the exceptions
// that plainScalar names. AWS: aliases, merges and the types binary, omap, pairs, set and timestamp are not supported.
func readYAML(s string) (*node, error) {
	d := yaml.NewDecoder(strings.NewReader(s))
	var document yaml.Node
	if err := d.Decode(&document); errors.Is(err, io.EOF) {
		return &node{kind: null, line: 1, column: 1}, nil
	} else if err != nil {
		return nil, brokenYAML(s)
	}
	n, err := fromYAML(document.Content[0], 1)
	if err != nil {
		return nil, err
	}
	var second yaml.Node
	if err := d.Decode(&second); err == nil {
		at := node{line: second.Line, column: second.Column}
		return nil, at.errorf("Template format error: YAML not well-formed: a template is one document, and a second one begins here.")
	} else if !errors.Is(err, io.EOF) {
		return nil, brokenYAML(s)
	}
	return n, nil
}

var yamlError = regexp.MustCompile(`^yaml: (?:line (\d+): |offset \d+: )?`)

// problem returns the YAML reader's words without the line.
func problem(err error) string { return yamlError.ReplaceAllString(err.Error(), "") }

// brokenYAML returns the error for text that the YAML reader refused. The line that the reader names is often the one where the
// construct begins that could not be finished; the one of interest is where the text began to be refused. So the
// text is read again line by line, and the answer is among the last lines that the reader asked for.
func brokenYAML(s string) error {
	lines := &lineReader{rest: s, ends: []int{0}}
	err := unreadable(lines)
	if err == nil {
		return (&node{line: 1, column: 1}).errorf("Template format error: YAML not well-formed")
	}
	refused := func(n int) bool {
		other := unreadable(strings.NewReader(s[:lines.ends[n]]))
		return other != nil && problem(other) == problem(err)
	}
	line := len(lines.ends) - 1
	if strings.Contains(problem(err), "end of stream") {
		// A quote that is never closed: the line is right unless it is the first, which the reader does not tell.
		if m := yamlError.FindStringSubmatch(err.Error()); m[1] != "" {
			line, _ = strconv.Atoi(m[1])
			line = min(line, len(lines.ends)-1)
		}
		if refused(1) {
			line = 1
		}
	} else {
		const lookahead = 3
		for i := 0; i < lookahead && line > 1 && refused(line-1); i++ {
			line--
		}
	}
	last := s[lines.ends[line-1]:lines.ends[line]]
	at := node{line: line, column: 1 + len(last) - len(strings.TrimLeft(last, " "))}
	return at.errorf("Template format error: YAML not well-formed: %s", problem(err))
}

func unreadable(r io.Reader) error {
	d := yaml.NewDecoder(r)
	for {
		var n yaml.Node
		if err := d.Decode(&n); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// lineReader hands out a text line by line and remembers how far it came.
type lineReader struct {
	rest string
	ends []int // where the lines that were handed out end, after a 0
	line string
}

// Read hands out the next line, or what is left of it.
func (r *lineReader) Read(p []byte) (int, error) {
	if r.line == "" {
		if r.rest == "" {
			return 0, io.EOF
		}
		end := strings.IndexByte(r.rest, '\n') + 1
		if end == 0 {
			end = len(r.rest)
		}
		r.line, r.rest = r.rest[:end], r.rest[end:]
		r.ends = append(r.ends, r.ends[len(r.ends)-1]+end)
	}
	n := copy(p, r.line)
	r.line = r.line[n:]
	return n, nil
}

func fromYAML(y *yaml.Node, depth int) (*node, error) {
	n := &node{line: y.Line, column: y.Column}
	if depth > MaxDepth {
		return nil, n.errorf("Template format error: objects and lists are nested more than %d levels deep.", MaxDepth)
	}
	switch y.Kind {
	case yaml.AliasNode:
		return nil, n.errorf("Template error: YAML aliases are not allowed in CloudFormation templates")
	case yaml.MappingNode:
		if err := n.fromMapping(y, depth); err != nil {
			return nil, err
		}
	case yaml.SequenceNode:
		n.kind = list
		for _, c := range y.Content {
			item, err := fromYAML(c, depth+1)
			if err != nil {
				return nil, err
			}
			n.items = append(n.items, item)
		}
	default:
		n.kind, n.text, n.source = text, y.Value, y.Value
		if y.Style&^yaml.FlowStyle == 0 {
			n.kind, n.text = plainScalar(y.Value)
		}
	}
	if y.Style&yaml.TaggedStyle == 0 {
		return n, nil
	}
	return n.tagged(y.Tag, y.Value)
}

func (n *node) fromMapping(y *yaml.Node, depth int) error {
	n.kind = object
	seen := make(map[string]bool, len(y.Content)/2)
	for i := 0; i+1 < len(y.Content); i += 2 {
		k := y.Content[i]
		at := node{line: k.Line, column: k.Column}
		switch {
		case k.Kind == yaml.AliasNode || k.Tag == "!!merge":
			return at.errorf("Template error: YAML aliases are not allowed in CloudFormation templates")
		case k.Kind != yaml.ScalarNode || k.Style&yaml.TaggedStyle != 0:
			return at.errorf("Template format error: YAML not well-formed: a key must be a plain or quoted string.")
		case seen[k.Value]:
			return duplicateKey(key{name: k.Value, line: k.Line, column: k.Column})
		}
		seen[k.Value] = true
		v, err := fromYAML(y.Content[i+1], depth+1)
		if err != nil {
			return err
		}
		n.keys = append(n.keys, key{name: k.Value, line: k.Line, column: k.Column})
		n.items = append(n.items, v)
	}
	return nil
}

// tagged returns n as its tag has it: a call for a short tag.
func (n *node) tagged(tag, value string) (*node, error) {
	if name, ok := functionOfTag(tag); ok {
		if n.kind != object && n.kind != list {
			n.kind, n.text = text, value // "!Ref 123" refers to the name 123
		}
		return &node{kind: call, text: name, items: []*node{n}, line: n.line, column: n.column}, nil
	}
	if n.kind == object || n.kind == list {
		if tag == "!!map" && n.kind == object || tag == "!!seq" && n.kind == list {
			return n, nil
		}
		return nil, n.unknownTag(tag)
	}
	k, normal := plainScalar(value)
	switch {
	case tag == "!!str":
		n.kind, n.text = text, value
	case tag == "!!int" && k == number, tag == "!!float" && k == number, tag == "!!bool" && k == boolean, tag == "!!null" && k == null:
		n.kind, n.text = k, normal
	default:
		return nil, n.unknownTag(tag)
	}
	return n, nil
}

func (n *node) unknownTag(tag string) error {
	if strings.HasPrefix(tag, "!!") {
		return n.errorf("Template format error: the YAML type %s is not supported, or the value is none.", tag)
	}
	return n.errorf("Template format error: unknown tag %s. CloudFormation knows these short forms of its functions: %s.", tag, strings.Join(shortTags(), ", "))
}

var (
	yamlBoolean  = regexp.MustCompile(`^(?:yes|Yes|YES|no|No|NO|true|True|TRUE|false|False|FALSE|on|On|ON|off|Off|OFF)$`)
	yamlInteger  = regexp.MustCompile(`^[-+]?(?:0|[1-9][0-9_]*)$`)
	yamlFraction = regexp.MustCompile(`^([-+]?)(0|[1-9][0-9_]*)?(?:\.([0-9_]*))?([eE][-+]?[0-9]+)?$`)
	jsonNumber   = regexp.MustCompile(`^-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?$`)
)

func isJSONNumber(s string) bool { return jsonNumber.MatchString(s) }

// plainScalar tells what an unquoted scalar is: YAML 1.1's null, booleans (yes, no, on and off too) and numbers, whose text is made JSON's
// and otherwise kept, so that 1.0 stays 1.0. Everything else is a string, and so are, unlike YAML 1.1, what is commonly meant as one: dates
// (2012-10-17), what begins with a superfluous zero (account ids, file modes), 10:30, and 0x and 0b numbers.
func plainScalar(s string) (kind, string) {
	switch {
	case s == "" || s == "~" || s == "null" || s == "Null" || s == "NULL":
		return null, "null"
	case yamlBoolean.MatchString(s):
		if strings.EqualFold(s, "true") || strings.EqualFold(s, "yes") || strings.EqualFold(s, "on") {
			return boolean, "true"
		}
		return boolean, "false"
	case yamlInteger.MatchString(s):
		return number, strings.TrimPrefix(strings.ReplaceAll(s, "_", ""), "+")
	}
	m := yamlFraction.FindStringSubmatch(s)
	digits := strings.ReplaceAll(s, "_", "")
	if m == nil || !strings.ContainsAny(digits, "0123456789") || m[2] == "" && strings.Trim(m[3], "_") == "" {
		return text, s
	}
	var b bytes.Buffer
	if m[1] == "-" {
		b.WriteByte('-')
	}
	whole, fraction := strings.ReplaceAll(m[2], "_", ""), strings.ReplaceAll(m[3], "_", "")
	if whole == "" {
		whole = "0"
	}
	b.WriteString(whole)
	if strings.Contains(s, ".") {
		if fraction == "" {
			fraction = "0"
		}
		b.WriteString("." + fraction)
	}
	b.WriteString(m[4])
	return number, b.String()
}
