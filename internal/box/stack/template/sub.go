package template

import (
	"regexp"
	"strings"
)

// substitution is what a Fn::Sub says.
type substitution struct {
	parts []part
	own   map[string]*node // the variables of the second form
}

// part is a piece of a Fn::Sub template: literal text, or a variable by name.
type part struct {
	literal  string
	variable string // "" for a literal
}

var subVariable = regexp.MustCompile(`^[A-Za-z0-9_.:]+$`)

// parseSub splits the template of a Fn::Sub at its variables. ${!Literal} stands for ${Literal}; a $ or ${ that
// begins no variable is itself.
func parseSub(n *node) ([]part, error) {
	var parts []part
	var literal strings.Builder
	rest := n.text
	for {
		before, after, found := strings.Cut(rest, "${")
		name, tail, closed := strings.Cut(after, "}")
		if !found || !closed {
			literal.WriteString(rest)
			break
		}
		literal.WriteString(before)
		rest = tail
		if strings.HasPrefix(name, "!") {
			literal.WriteString("${" + name[1:] + "}")
			continue
		}
		if !subVariable.MatchString(name) {
			return nil, n.errorf("Template error: variable names in Fn::Sub syntax must contain only alphanumeric characters, underscores, periods, and colons: ${%s} does not. Write ${!%s} if you mean the text itself.", name, name)
		}
		if literal.Len() > 0 {
			parts = append(parts, part{literal: literal.String()})
			literal.Reset()
		}
		parts = append(parts, part{variable: name})
	}
	if literal.Len() > 0 {
		parts = append(parts, part{literal: literal.String()})
	}
	return parts, nil
}

// readSub reads the argument of a Fn::Sub: a template, or a list of a template and an object of variables.
func readSub(arg *node) (*substitution, error) {
	template := arg
	s := &substitution{}
	if arg.kind == list {
		template = arg.items[0]
		own := arg.items[1]
		s.own = make(map[string]*node, len(own.keys))
		for i, k := range own.keys {
			s.own[k.name] = own.items[i]
		}
	}
	var err error
	s.parts, err = parseSub(template)
	return s, err
}
