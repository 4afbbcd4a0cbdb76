package inputtransform

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"
)

// template is a compiled Template.
type template struct {
	object    bool // a JSON object; else text
	parts     []part
	variables []variable // by slot
	root      *node      // of the variables' paths
	slots     int
}

// part is a piece of the template's text and the placeholder after it.
type part struct {
	text   string
	slot   int  // none after the last piece
	quoted bool // the placeholder stands within a string
}

const none = -1

// variable is what a placeholder stands for: a path or a reserved variable.
type variable struct {
	path     *Path
	reserved string
}

func compileTemplate(in Template) (*template, error) {
	if in.Text == "" {
		return nil, &Error{before: "InputTemplate", after: " is empty."}
	}
	if n := utf8.RuneCountInString(in.Text); n > MaxTemplate {
		return nil, tooLong("InputTemplate", n, MaxTemplate)
	}
	paths, err := compilePaths(in.Paths)
	if err != nil {
		return nil, err
	}
	text := strings.ToValidUTF8(in.Text, "\uFFFD")
	c := templateCompiler{
		template: &template{object: strings.HasPrefix(strings.TrimLeft(text, " \t\r\n"), "{"), root: &node{}},
		text:     text, paths: paths, slots: map[string]int{},
	}
	if err := c.compile(); err != nil {
		return nil, err
	}
	return c.template, nil
}

func compilePaths(in map[string]string) (map[string]*Path, error) {
	if in == nil {
		return nil, nil
	}
	if len(in) > MaxPaths {
		return nil, &Error{before: "InputPathsMap", after: fmt.Sprintf(" has %d paths, the most is %d.", len(in), MaxPaths)}
	}
	paths := make(map[string]*Path, len(in))
	for _, name := range slices.Sorted(maps.Keys(in)) {
		if !isVariableName(name) {
			return nil, &Error{before: "InputPathsMap", after: fmt.Sprintf(" contains invalid key %s. "+
				`Map keys must satisfy constraint: [Member must have length less than or equal to 256, Member must have length greater than or equal to 1, `+
				`Member must satisfy regular expression pattern: [A-Za-z0-9\_\-]+]`, name)}
		}
		path, err := ParsePath(in[name])
		if err != nil {
			e := invalidPath(err)
			e.Detail = "<" + name + ">: " + e.Detail
			return nil, e
		}
		paths[name] = path
	}
	return paths, nil
}

// isVariableName reports whether a path may have that name. The reserved names have dots, so that no path can take them.
func isVariableName(name string) bool {
	return name != "" && len(name) <= 256 && !strings.Contains(name, ".") && placeholderRun(name) == len(name)
}

// placeholderRun returns how many bytes at the start of text can be part of a placeholder's name.
func placeholderRun(text string) int {
	for i := range len(text) {
		c := text[i]
		if (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && c != '_' && c != '-' && c != '.' {
			return i
		}
	}
	return len(text)
}

type templateCompiler struct {
	*template
	text  string
	paths map[string]*Path // nil if there is no map
	slots map[string]int   // of the variables so far
}

func (c *templateCompiler) compile() error {
	var piece, nulled strings.Builder
	quoted := false
	for i := 0; i < len(c.text); {
		name := placeholder(c.text[i:])
		if name == "" {
			n := c.literal(i, &quoted)
			piece.WriteString(c.text[i : i+n])
			nulled.WriteString(c.text[i : i+n])
			i += n
			continue
		}
		from := i
		i += len(name) + len("<>")
		nulled.WriteString("null") // AWS: what it checks
		if err := c.checkPlaceholder(name, i, quoted); err != nil {
			return err
		}
		slot, ok := c.slot(name)
		if !ok {
			piece.WriteString(c.text[from:i])
			continue
		}
		c.parts = append(c.parts, part{text: piece.String(), slot: slot, quoted: quoted})
		piece.Reset()
	}
	c.parts = append(c.parts, part{text: piece.String(), slot: none})
	c.number()
	if s, ok := checkJSON([]byte(nulled.String()), !c.object, MaxDepth); !ok {
		return syntaxError("Invalid InputTemplate", " : ", ".", nulled.String(), &s)
	}
	return nil
}

// placeholder returns the name in the placeholder that text starts with, or "".
func placeholder(text string) string {
	if text[0] != '<' {
		return ""
	}
	n := 1 + placeholderRun(text[1:])
	if n < len(text) && text[n] == '>' {
		return text[1:n]
	}
	return ""
}

// literal returns how many bytes to take as they are, and notes whether a string starts or ends there.
func (c *templateCompiler) literal(at int, quoted *bool) int {
	switch {
	case c.text[at] == '"':
		*quoted = !*quoted
	case c.text[at] == '\\' && *quoted && at+1 < len(c.text) && c.text[at+1] != '<':
		return 2
	}
	return 1
}

// checkPlaceholder refuses what AWS refuses of a placeholder that ends at the given place.
func (c *templateCompiler) checkPlaceholder(name string, end int, quoted bool) error {
	if c.paths != nil && c.paths[name] == nil && !isReserved(name) {
		return &Error{before: "InputTemplate", after: fmt.Sprintf(" contains invalid placeholder %s.", name)}
	}
	if !c.object && isObjectOnly(name) {
		return &Error{before: "InputTemplate", after: fmt.Sprintf(" contains placeholder %s valid only for JSON template.", name)}
	}
	if c.object && isKey(c.text[end:], quoted) {
		return &Error{before: "InputTemplate placeholder present as a JSON object key", after: ".", Detail: "<" + name + ">"}
	}
	return nil
}

// isKey reports whether a colon follows the placeholder, or the string that it stands in.
func isKey(after string, quoted bool) bool {
	if quoted {
		end := stringEnd([]byte("\""+after), 0) - 1
		after = after[min(end, len(after)):]
	}
	return strings.HasPrefix(strings.TrimLeft(after, " \t\r\n"), ":")
}

// slot returns the slot of a placeholder's variable, false if it stands for none.
func (c *templateCompiler) slot(name string) (int, bool) {
	if slot, ok := c.slots[name]; ok {
		return slot, true
	}
	v := variable{path: c.paths[name]}
	if v.path == nil {
		if !isReserved(name) {
			return none, false
		}
		v.reserved = name
	}
	slot := len(c.variables)
	c.variables = append(c.variables, v)
	c.slots[name] = slot
	return slot, true
}

// number gives the paths of all variables their slots, and those of the event's head theirs.
func (c *templateCompiler) number() {
	for slot, v := range c.variables {
		switch {
		case v.path != nil:
			c.root.add(v.path.steps, slot)
		case v.reserved == eventJSON:
			c.root.add(nil, slot)
		case v.reserved == eventHead:
			for i, member := range headMembers {
				c.root.add([]step{{field: member.field}}, len(c.variables)+i)
			}
		}
	}
	c.template.slots = len(c.variables) + len(headMembers)
}
