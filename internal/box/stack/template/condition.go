package template

import "reflect"

// condition is a member of the Conditions section.
type condition struct {
	name string
	at   *node
}

func (t *Template) readConditions(n *node) error {
	if err := section(n, "Condition", "conditions", 0); err != nil {
		return err
	}
	for i, k := range n.keys {
		c := &condition{name: k.name, at: n.items[i]}
		if err := t.compile(c.at, inCondition); err != nil {
			return err
		}
		if !c.at.isCondition() {
			return c.at.errorf("Template format error: condition %s must be one of Fn::And, Fn::Equals, Fn::Not, Fn::Or and Condition, not %s.", c.name, c.at.kindName())
		}
		t.conditions = append(t.conditions, c)
		t.conditionNamed[c.name] = c
	}
	return nil
}

// conditionReferences returns the conditions that n names by Condition and Fn::If.
func conditionReferences(n *node, found []*node) []*node {
	if n.kind == call && n.text == fnCondition {
		return append(found, n.items[0])
	}
	if n.kind == call && n.text == fnIf {
		found = append(found, n.items[0].items[0])
	}
	for _, item := range n.items {
		found = conditionReferences(item, found)
	}
	return found
}

// checkConditions refuses conditions that lead back to themselves.
func (t *Template) checkConditions() error {
	names := make([]string, len(t.conditions))
	needs := map[string][]string{}
	for i, c := range t.conditions {
		names[i] = c.name
		for _, ref := range conditionReferences(c.at, nil) {
			needs[c.name] = append(needs[c.name], ref.text)
		}
	}
	if _, cycle := order(names, needs); cycle != nil {
		return t.conditionNamed[cycle[0]].at.errorf("Circular dependency between conditions: %s", quoteNames(cycle))
	}
	return nil
}

// evaluateConditions evaluates all conditions. They do not lead in circles: Parse saw to it.
func (e *evaluator) evaluateConditions() error {
	for _, c := range e.t.conditions {
		if _, err := e.named(c.name); err != nil {
			return err
		}
	}
	return nil
}

func (e *evaluator) named(name string) (bool, error) {
	if holds, done := e.conditions[name]; done {
		return holds, nil
	}
	holds, err := e.condition(e.t.conditionNamed[name].at)
	if err == nil {
		e.conditions[name] = holds
	}
	return holds, err
}

// condition evaluates a function that yields true or false.
func (e *evaluator) condition(n *node) (bool, error) {
	arg := n.items[0]
	switch n.text {
	case fnCondition:
		return e.named(arg.text)
	case fnNot:
		holds, err := e.condition(arg.items[0])
		return !holds, err
	case fnAnd, fnOr:
		result := n.text == fnAnd
		for _, item := range arg.items {
			holds, err := e.condition(item)
			if err != nil {
				return false, err
			}
			if holds != (n.text == fnAnd) {
				result = holds
			}
		}
		return result, nil
	}
	left, err := e.eval(arg.items[0])
	if err != nil {
		return false, err
	}
	right, err := e.eval(arg.items[1])
	if err != nil {
		return false, err
	}
	switch n.text {
	case fnEquals:
		return equal(left, right), nil
	case fnEachMemberIn:
		return eachMember(n, left, func(v any) (bool, error) { return e.anyMember(n, right, v) })
	case fnEachMemberEquals:
		return eachMember(n, left, func(v any) (bool, error) { return equal(v, right), nil })
	default:
		return e.anyMember(n, left, right)
	}
}

// equal compares as AWS does: by text, so that "true" is true and "1" is 1.
func equal(a, b any) bool {
	s, scalar := asText(a)
	t, other := asText(b)
	if scalar || other {
		return scalar && other && s == t
	}
	return reflect.DeepEqual(plain(a), plain(b))
}

func eachMember(n *node, v any, holds func(any) (bool, error)) (bool, error) {
	values, ok := v.([]any)
	if !ok {
		return false, n.errorf("Template error: every %s object requires a list of strings.", n.text)
	}
	for _, v := range values {
		if ok, err := holds(v); err != nil || !ok {
			return false, err
		}
	}
	return true, nil
}

func (e *evaluator) anyMember(n *node, v, member any) (bool, error) {
	values, ok := v.([]any)
	if !ok {
		return false, n.errorf("Template error: every %s object requires a list of strings.", n.text)
	}
	if err := e.step(n, len(values)); err != nil {
		return false, err
	}
	for _, v := range values {
		if equal(v, member) {
			return true, nil
		}
	}
	return false, nil
}
