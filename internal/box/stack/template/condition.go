package template

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
