package template

import "encoding/json"

// output is a member of the Outputs section.
type output struct {
	name, description string
	at                *node
	value, export     *node // export is the name, nil without
	condition         *node // nil: always
}

func (t *Template) readOutputs(n *node) error {
	if err := section(n, "Output", "outputs", MaxOutputs); err != nil {
		return err
	}
	for i, k := range n.keys {
		o := &output{name: k.name, at: n.items[i]}
		if err := t.readOutput(o); err != nil {
			return err
		}
		t.outputs = append(t.outputs, o)
	}
	return nil
}

func (t *Template) readOutput(o *output) error {
	n := o.at
	if n.kind != object {
		return n.errorf("Template format error: Any Outputs member must be an object; %s is %s.", o.name, n.kindName())
	}
	for i, k := range n.keys {
		v := n.items[i]
		var err error
		switch k.name {
		case "Value":
			o.value = v
			err = t.compile(v, inOutput)
		case "Description":
			if o.description, err = v.textLiteral("Description"); err == nil && len(o.description) > MaxDescriptionBytes {
				err = v.errorf("Template format error: 'Description' length is greater than %d.", MaxDescriptionBytes)
			}
		case "Export":
			err = t.readExport(o, v)
		case "Condition":
			if o.condition = v; !v.name() {
				err = v.errorf("Template format error: Every Condition member must be a string.")
			}
		default:
			err = n.keyErrorf(i, "Invalid template output property '%s'", k.name)
		}
		if err != nil {
			return err
		}
	}
	switch {
	case o.value == nil:
		return n.errorf("Template format error: Every Outputs member must contain a Value object")
	case o.value.kind == list || o.value.kind == object:
		return o.value.errorf("Template format error: The Value field of every Outputs member must evaluate to a String and not a %s.", map[kind]string{list: "List", object: "Map"}[o.value.kind])
	}
	return nil
}

func (t *Template) readExport(o *output, n *node) error {
	if n.kind != object || len(n.keys) != 1 || n.keys[0].name != "Name" {
		return n.errorf("Template format error: Export of output %s must be an object with the one key Name.", o.name)
	}
	o.export = n.items[0]
	if err := t.compile(o.export, inOutput); err != nil {
		return err
	}
	if !o.export.textOrCall() {
		return o.export.errorf("Template format error: the Name of the Export of output %s must be a string, not %s.", o.name, o.export.kindName())
	}
	if found := t.dependent(o.export); found != nil {
		return found.errorf("Template error: the Name property in Export must not depend on any resources, imported values, or Fn::GetAZs")
	}
	return nil
}

// Output is an output of a bound template. Its methods may be called from many goroutines.
type Output struct {
	Name, Description string
	// Export is the name under which other stacks can import the value; "" for none.
	Export string

	bound    *Bound
	declared *output
}

// Value evaluates the output. AWS: it is a string; numbers and booleans become their text.
func (o *Output) Value(res Resolver) (string, error) {
	v, err := o.bound.evaluator(res).eval(o.declared.value)
	if err != nil {
		return "", err
	}
	s, ok := asText(v)
	if !ok {
		return "", o.declared.value.notAString(v)
	}
	return s, nil
}

// notAString is AWS's text for an output that evaluates to something else.
func (n *node) notAString(v any) error {
	what := "Map"
	switch v.(type) {
	case []any:
		what = "List"
	case noValue:
		return n.errorf("Template format error: The Value field of every Outputs member must evaluate to a String; AWS::NoValue is nothing.")
	}
	return n.errorf("Template format error: The Value field of every Outputs member must evaluate to a String and not a %s.", what)
}

// asText returns the text of a scalar value.
func asText(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case json.Number:
		return v.String(), true
	case bool:
		if v {
			return "true", true
		}
		return "false", true
	default:
		return "", false
	}
}
