package template

// rule is a member of the Rules section: assertions about the parameters.
type rule struct {
	name       string
	condition  *node // nil: always
	assertions []assert
}

type assert struct {
	at          *node
	description string
}

func (t *Template) readRules(n *node) error {
	if err := section(n, "Rule", "rules", 0); err != nil {
		return err
	}
	for i, k := range n.keys {
		r := &rule{name: k.name}
		if err := t.readRule(r, n.items[i]); err != nil {
			return err
		}
		t.rules = append(t.rules, r)
	}
	return nil
}

func (t *Template) readRule(r *rule, n *node) error {
	if n.kind != object {
		return n.errorf("Template format error: Any Rules member must be an object; %s is %s.", r.name, n.kindName())
	}
	for i, k := range n.keys {
		v := n.items[i]
		var err error
		switch k.name {
		case "RuleCondition":
			r.condition = v
			err = t.readAssertion(v)
		case "Assertions":
			err = t.readAssertions(r, v)
		default:
			err = n.keyErrorf(i, "Invalid template rule property '%s'", k.name)
		}
		if err != nil {
			return err
		}
	}
	if len(r.assertions) == 0 {
		return n.errorf("Template format error: rule %s must contain Assertions.", r.name)
	}
	return nil
}

func (t *Template) readAssertions(r *rule, n *node) error {
	if n.kind != list || len(n.items) == 0 {
		return n.errorf("Template format error: Assertions must be a list with at least one assertion.")
	}
	for _, item := range n.items {
		if item.kind != object || item.get("Assert") == nil {
			return item.errorf("Template format error: every assertion must be an object with the key Assert.")
		}
		a := assert{at: item.get("Assert")}
		for i, k := range item.keys {
			var err error
			switch k.name {
			case "Assert":
				err = t.readAssertion(item.items[i])
			case "AssertDescription":
				a.description, err = item.items[i].textLiteral("AssertDescription")
			default:
				err = item.keyErrorf(i, "Invalid template rule property '%s'", k.name)
			}
			if err != nil {
				return err
			}
		}
		r.assertions = append(r.assertions, a)
	}
	return nil
}

func (t *Template) readAssertion(n *node) error {
	if err := t.compile(n, inRule); err != nil {
		return err
	}
	if !n.isCondition() {
		return n.errorf("Template format error: a rule needs a function that yields true or false here, not %s.", n.kindName())
	}
	return nil
}

// checkRules evaluates the assertions of rules whose condition holds.
func (e *evaluator) checkRules() error {
	for _, r := range e.t.rules {
		if r.condition != nil {
			holds, err := e.condition(r.condition)
			if err != nil {
				return err
			}
			if !holds {
				continue
			}
		}
		for _, a := range r.assertions {
			holds, err := e.condition(a.at)
			if err != nil {
				return err
			}
			if holds {
				continue
			}
			if a.description == "" {
				return a.at.errorf("Template validation error: rule %s is not satisfied by the parameters", r.name)
			}
			return a.at.errorf("Template validation error: rule %s is not satisfied by the parameters: %s", r.name, a.description)
		}
	}
	return nil
}
