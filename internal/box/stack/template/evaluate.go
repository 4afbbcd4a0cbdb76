package template

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
)

// noValue is what Ref of AWS::NoValue yields: the property or list item it stands for is left out.
type noValue struct{}

// unknown is what depends on resources when there is no Resolver: Bind looks for mistakes before anything exists.
type unknown struct{}

// evaluator evaluates nodes. It is used by one goroutine, for one resource, output or section.
type evaluator struct {
	*scope

	res   Resolver // nil: what resources yield is unknown
	left  int      // bytes that functions may still produce
	steps int      // values that may still be worked out
}

// scope is what names mean.
type scope struct {
	t          *Template
	parameters map[string]any // a string, or a list of strings
	secrets    []string       // values that no error may show
	pseudo     Pseudo
	conditions map[string]bool
	kept       map[string]bool // resources that no condition switches off
}

// eval returns the value of n: string, bool, json.Number, []any, *ordered, noValue or unknown.
func (e *evaluator) eval(n *node) (any, error) {
	if err := e.step(n, 1); err != nil {
		return nil, err
	}
	switch n.kind {
	case call:
		v, err := e.call(n)
		if err != nil {
			return nil, err
		}
		if e.left -= weight(v); e.left < 0 {
			return nil, n.errorf("Template error: the functions here produce more than %d bytes together.", MaxEvaluated)
		}
		return v, nil
	case list:
		return e.list(n)
	case object:
		return e.object(n)
	case number:
		return json.Number(n.text), nil
	case boolean:
		return n.text == "true", nil
	default:
		return n.text, nil
	}
}

// step counts values that are worked out at n.
func (e *evaluator) step(n *node, count int) error {
	if e.steps -= count; e.steps < 0 {
		return n.errorf("Template error: the functions of the template work out more than %d values together.", MaxSteps)
	}
	return nil
}

func (e *evaluator) list(n *node) (any, error) {
	values := make([]any, 0, len(n.items))
	for _, item := range n.items {
		v, err := e.eval(item)
		if err != nil {
			return nil, err
		}
		if v != (any)(noValue{}) {
			values = append(values, v)
		}
	}
	return values, nil
}

func (e *evaluator) object(n *node) (any, error) {
	o := &ordered{keys: make([]string, 0, len(n.keys)), values: make([]any, 0, len(n.keys))}
	for i, item := range n.items {
		v, err := e.eval(item)
		if err != nil {
			return nil, err
		}
		if v != (any)(noValue{}) {
			o.add(n.keys[i].name, v)
		}
	}
	return o, nil
}

// weight returns about how many bytes a value takes.
func weight(v any) int {
	const each = 16
	switch v := v.(type) {
	case string:
		return each + len(v)
	case json.Number:
		return each + len(v)
	case []any:
		n := each
		for i := range v {
			n += weight(v[i])
		}
		return n
	case *ordered:
		n := each
		for i := range v.values {
			n += len(v.keys[i]) + weight(v.values[i])
		}
		return n
	default:
		return each
	}
}

// isUnknown reports whether v is unknown or holds something that is.
func isUnknown(v any) bool {
	switch v := v.(type) {
	case unknown:
		return true
	case []any:
		return slices.ContainsFunc(v, isUnknown)
	case *ordered:
		return slices.ContainsFunc(v.values, isUnknown)
	}
	return false
}

func (e *evaluator) call(n *node) (any, error) {
	arg := n.items[0]
	switch n.text {
	case fnRef:
		return e.ref(n, arg.text)
	case fnGetAtt:
		return e.getAtt(n, arg)
	case fnSub:
		return e.sub(n)
	case fnJoin:
		return e.join(n, arg)
	case fnSplit:
		return e.split(arg)
	case fnSelect:
		return e.selectItem(n, arg)
	case fnFindInMap:
		return e.findInMap(n, arg)
	case fnIf:
		if e.conditions[arg.items[0].text] {
			return e.eval(arg.items[1])
		}
		return e.eval(arg.items[2])
	case fnBase64:
		return e.withText(arg, func(s string) (any, error) { return base64.StdEncoding.EncodeToString([]byte(s)), nil })
	case fnImportValue:
		return e.importValue(n, arg)
	case fnGetAZs:
		return e.zones(arg)
	case fnCidr:
		return e.cidr(n, arg)
	case fnLength:
		return e.length(n, arg)
	case fnToJSONString:
		return e.toJSONString(arg)
	default:
		return e.condition(n)
	}
}

// withText evaluates n, which must yield a string, and hands it to f.
func (e *evaluator) withText(n *node, f func(string) (any, error)) (any, error) {
	v, err := e.eval(n)
	if err != nil || isUnknown(v) {
		return v, err
	}
	s, ok := asText(v)
	if !ok {
		return nil, n.errorf("Template error: %s needs a string here; this is %s.", n.parentFunction(), valueName(v))
	}
	return f(s)
}

// parentFunction returns the function that n is an argument of.
func (n *node) parentFunction() string {
	for p := n.parent; p != nil; p = p.parent {
		if p.kind == call {
			return p.text
		}
	}
	return "the function"
}

func valueName(v any) string {
	switch v.(type) {
	case []any:
		return "a list"
	case *ordered:
		return "an object"
	case noValue:
		return "nothing (AWS::NoValue)"
	default:
		return "another value"
	}
}

func (e *evaluator) ref(n *node, name string) (any, error) {
	if v, ok := e.parameters[name]; ok {
		return v, nil
	}
	switch name {
	case "AWS::NoValue":
		return noValue{}, nil
	case "AWS::AccountId":
		return e.pseudo.AccountID, nil
	case "AWS::Region":
		return e.pseudo.Region, nil
	case "AWS::Partition":
		return e.pseudo.Partition, nil
	case "AWS::StackId":
		return e.pseudo.StackID, nil
	case "AWS::StackName":
		return e.pseudo.StackName, nil
	case "AWS::URLSuffix":
		return e.pseudo.URLSuffix, nil
	case "AWS::NotificationARNs":
		return fromJSON(append([]string{}, e.pseudo.NotificationARNs...)), nil
	}
	if err := e.checkKept(n, name); err != nil || e.res == nil {
		return unknown{}, err
	}
	return resolved(n)(e.res.Ref(name))
}

// resolved returns a Resolver's value, or its error with the place of n.
func resolved(n *node) func(any, error) (any, error) {
	return func(v any, err error) (any, error) {
		if err != nil {
			failed := n.errorf("%s", err)
			failed.cause = err
			return nil, failed
		}
		if v == nil {
			return nil, n.errorf("Template error: %s yields no value here.", n.text)
		}
		return fromJSON(v), nil
	}
}

func (e *evaluator) checkKept(n *node, name string) error {
	if e.kept[name] {
		return nil
	}
	block := "Resources"
	for p := n; p != nil; p = p.parent {
		if p.parent != nil && p.parent.parent == nil {
			block = p.parent.nameOf(p)
		}
	}
	return n.errorf("Template format error: Unresolved resource dependencies [%s] in the %s block of the template: the condition of %s is false", name, block, name)
}

func (e *evaluator) getAtt(n, arg *node) (any, error) {
	name := arg.items[0].text
	attribute, err := e.eval(arg.items[1])
	if err != nil {
		return nil, err
	}
	s, ok := asText(attribute)
	if !ok || s == "" {
		return nil, arg.items[1].errorf("Template error: every Fn::GetAtt object requires two non-empty parameters, the resource name and the resource attribute")
	}
	return e.attribute(n, name, s)
}

func (e *evaluator) attribute(n *node, name, attribute string) (any, error) {
	if err := e.checkKept(n, name); err != nil || e.res == nil {
		return unknown{}, err
	}
	return resolved(n)(e.res.GetAtt(name, attribute))
}

func (e *evaluator) sub(n *node) (any, error) {
	if err := e.step(n, len(n.sub.parts)); err != nil {
		return nil, err
	}
	var b strings.Builder
	known := true
	for _, p := range n.sub.parts {
		if p.variable == "" {
			b.WriteString(p.literal)
			continue
		}
		v, err := e.variable(n, p.variable)
		if err != nil {
			return nil, err
		}
		if isUnknown(v) {
			known = false
			continue
		}
		s, ok := asText(v)
		if !ok {
			return nil, n.errorf("Template error: variable %s in Fn::Sub expression does not resolve to a string", p.variable)
		}
		if e.left -= len(s); e.left < 0 {
			return nil, n.errorf("Template error: the functions here produce more than %d bytes together.", MaxEvaluated)
		}
		b.WriteString(s)
	}
	if !known {
		return unknown{}, nil
	}
	return n.composed(b.String())
}

// composed returns a string that a function put together.
func (n *node) composed(s string) (any, error) {
	if strings.Contains(s, dynamicReference) {
		return nil, n.errorf("Template error: %s yields a dynamic reference ({{resolve:…}}), which is not supported: there is no parameter store and no secrets manager here.", n.text)
	}
	return s, nil
}

func (e *evaluator) variable(n *node, name string) (any, error) {
	if v := n.sub.own[name]; v != nil {
		return e.eval(v)
	}
	if id, attribute, ok := strings.Cut(name, "."); ok {
		return e.attribute(n, id, attribute)
	}
	return e.ref(n, name)
}

func (e *evaluator) join(n, arg *node) (any, error) {
	v, err := e.eval(arg.items[1])
	if err != nil || v == (any)(unknown{}) {
		return v, err
	}
	values, ok := v.([]any)
	if !ok {
		return nil, n.joinError()
	}
	known, size := true, 0
	pieces := make([]string, len(values))
	for i := range values {
		if isUnknown(values[i]) {
			known = false
			continue
		}
		if pieces[i], ok = asText(values[i]); !ok {
			return nil, n.joinError()
		}
		size += len(pieces[i]) + len(arg.items[0].text)
	}
	if !known {
		return unknown{}, nil
	}
	if size > e.left {
		return nil, n.errorf("Template error: the functions here produce more than %d bytes together.", MaxEvaluated)
	}
	return n.composed(strings.Join(pieces, arg.items[0].text))
}

func (e *evaluator) split(arg *node) (any, error) {
	return e.withText(arg.items[1], func(s string) (any, error) {
		return fromJSON(strings.Split(s, arg.items[0].text)), nil
	})
}

func (e *evaluator) selectItem(n, arg *node) (any, error) {
	return e.withText(arg.items[0], func(index string) (any, error) {
		i, err := strconv.Atoi(index)
		if err != nil {
			return nil, arg.items[0].errorf("Template error: Fn::Select requires an integer index")
		}
		v, err := e.eval(arg.items[1])
		if err != nil || v == (any)(unknown{}) {
			return v, err
		}
		values, ok := v.([]any)
		if !ok {
			return nil, n.errorf("Template error: Fn::Select requires a list argument with two elements: an integer index and a list")
		}
		if i < 0 || i >= len(values) {
			return nil, n.errorf("Template error: Fn::Select cannot select nonexistent value at index %d", i)
		}
		return values[i], nil
	})
}

func (e *evaluator) findInMap(n, arg *node) (any, error) {
	var names [3]string
	for i := range names {
		v, err := e.eval(arg.items[i])
		if err != nil || isUnknown(v) {
			return v, err
		}
		var ok bool
		if names[i], ok = asText(v); !ok {
			return nil, n.errorf("Template error: every Fn::FindInMap object requires three parameters, the map name, map key and the attribute for return value")
		}
	}
	m := e.t.mappingNamed[names[0]]
	if m != nil {
		if v, ok := m.values[names[1]][names[2]]; ok {
			return v, nil
		}
	}
	switch {
	case len(arg.items) == 4:
		return e.eval(arg.items[3].items[0])
	case m == nil:
		return nil, n.errorf("Template error: Mapping named '%s' is not present in the 'Mappings' section of template.", e.show(names[0]))
	default:
		return nil, n.errorf("Template error: Unable to get mapping for %s::%s::%s", names[0], e.show(names[1]), e.show(names[2]))
	}
}

// show returns s without the values of parameters with NoEcho.
func (e *evaluator) show(s string) string {
	for _, secret := range e.secrets {
		s = strings.ReplaceAll(s, secret, "****")
	}
	return s
}

func (e *evaluator) importValue(n, arg *node) (any, error) {
	return e.withText(arg, func(name string) (any, error) {
		if name == "" {
			return nil, n.errorf("Template error: Fn::ImportValue needs the name of an export; it is empty here.")
		}
		if e.res == nil {
			return unknown{}, nil
		}
		v, err := e.res.Import(name)
		return resolved(n)(v, err)
	})
}

// zones returns the availability zones of a region; every region of the box has a, b and c.
func (e *evaluator) zones(arg *node) (any, error) {
	return e.withText(arg, func(region string) (any, error) {
		if region == "" {
			region = e.pseudo.Region
		}
		return []any{region + "a", region + "b", region + "c"}, nil
	})
}

func (e *evaluator) length(n, arg *node) (any, error) {
	v, err := e.eval(arg)
	if err != nil || v == (any)(unknown{}) {
		return v, err
	}
	values, ok := v.([]any)
	if !ok {
		return nil, n.errorf("Template error: every Fn::Length object requires a list; this is %s.", valueName(v))
	}
	return json.Number(strconv.Itoa(len(values))), nil
}

func (e *evaluator) toJSONString(arg *node) (any, error) {
	v, err := e.eval(arg)
	if err != nil {
		return nil, err
	}
	if isUnknown(v) {
		return unknown{}, nil
	}
	var b bytes.Buffer
	if err := encode(&b, v); err != nil {
		return nil, arg.errorf("Template error: Fn::ToJsonString cannot write this as JSON: %s", err)
	}
	return b.String(), nil
}
