package template

import (
	"slices"
	"strings"
)

// pseudoParameters are the names that Ref knows in every template.
var pseudoParameters = map[string]bool{
	"AWS::AccountId": true, "AWS::NotificationARNs": true, "AWS::NoValue": true, "AWS::Partition": true,
	"AWS::Region": true, "AWS::StackId": true, "AWS::StackName": true, "AWS::URLSuffix": true,
}

// use is one use of a name: by Ref, Fn::GetAtt or a variable of Fn::Sub.
type use struct {
	at        *node
	name      string
	attribute string // "" for Ref
}

// uses visits what n and below refers to. Where branch is not nil it says which of the two branches of a Fn::If is
// visited: 1 or 2, or 0 for neither.
func uses(n *node, branch func(condition string) int, visit func(use)) {
	if n.kind == call {
		arg := n.items[0]
		switch n.text {
		case fnRef:
			visit(use{at: n, name: arg.text})
			return
		case fnGetAtt:
			visit(use{at: n, name: arg.items[0].text, attribute: arg.items[1].text})
			uses(arg.items[1], branch, visit)
			return
		case fnSub:
			subUses(n, visit)
		case fnIf:
			if branch == nil {
				break
			}
			if b := branch(arg.items[0].text); b != 0 {
				uses(arg.items[b], branch, visit)
			}
			return
		}
	}
	for _, item := range n.items {
		uses(item, branch, visit)
	}
}

func subUses(n *node, visit func(use)) {
	for _, p := range n.sub.parts {
		if p.variable == "" || n.sub.own[p.variable] != nil {
			continue
		}
		u := use{at: n, name: p.variable}
		if name, attribute, ok := strings.Cut(p.variable, "."); ok {
			u.name, u.attribute = name, attribute
		}
		visit(u)
	}
}

// dependent returns a function in n whose value is known only once resources exist, nil if there is none.
func (t *Template) dependent(n *node) *node {
	var found *node
	uses(n, nil, func(u use) {
		if found == nil && (u.attribute != "" || t.resourceNamed[u.name] != nil) {
			found = u.at
		}
	})
	if found == nil {
		found = find(n, fnImportValue, fnGetAZs)
	}
	return found
}

// find returns the first call of one of the functions in n.
func find(n *node, names ...string) *node {
	if n.kind == call && slices.Contains(names, n.text) {
		return n
	}
	for _, item := range n.items {
		if found := find(item, names...); found != nil {
			return found
		}
	}
	return nil
}

// checkReferences checks that everything named exists, in all branches, and what can be known of circles.
func (t *Template) checkReferences() error {
	for _, c := range t.conditions {
		if err := t.checkParameterUses(c.at, "the Conditions block of the template"); err != nil {
			return err
		}
	}
	for _, r := range t.rules {
		if err := t.checkRuleUses(r); err != nil {
			return err
		}
	}
	if err := t.checkConditions(); err != nil {
		return err
	}
	if err := t.checkResourceUses(); err != nil {
		return err
	}
	if err := t.checkOutputUses(); err != nil {
		return err
	}
	// A circle that no condition can open is one whatever the parameters are.
	return t.checkCircles(func(r *resource) bool { return r.condition == nil }, func(string) int { return 0 })
}

func (t *Template) checkRuleUses(r *rule) error {
	if r.condition != nil {
		if err := t.checkParameterUses(r.condition, "the Rules block of the template"); err != nil {
			return err
		}
	}
	for _, a := range r.assertions {
		if err := t.checkParameterUses(a.at, "the Rules block of the template"); err != nil {
			return err
		}
	}
	return nil
}

// checkParameterUses checks what stands where only parameters can be used.
func (t *Template) checkParameterUses(n *node, where string) error {
	var unresolved []use
	uses(n, nil, func(u use) {
		if u.attribute != "" || t.parameterNamed[u.name] == nil && !pseudoParameters[u.name] {
			unresolved = append(unresolved, u)
		}
	})
	if unresolved != nil {
		return unresolved[0].at.errorf("Template format error: Unresolved dependencies %s. Cannot reference resources in %s", names(unresolved), where)
	}
	return t.checkNamed(n, where)
}

// checkNamed checks that conditions and mappings which n names exist.
func (t *Template) checkNamed(n *node, where string) error {
	for _, c := range conditionReferences(n, nil) {
		if err := t.checkCondition(c, where); err != nil {
			return err
		}
	}
	return t.checkMappings(n)
}

func (t *Template) checkCondition(n *node, where string) error {
	if n == nil || t.conditionNamed[n.text] != nil {
		return nil
	}
	return n.errorf("Template format error: Unresolved condition dependency %s in %s", n.text, where)
}

func (t *Template) checkMappings(n *node) error {
	if n.kind == call && n.text == fnFindInMap {
		if err := t.checkFindInMap(n.items[0]); err != nil {
			return err
		}
	}
	for _, item := range n.items {
		if err := t.checkMappings(item); err != nil {
			return err
		}
	}
	return nil
}

func (t *Template) checkFindInMap(arg *node) error {
	for _, name := range arg.items[:3] {
		if found := t.dependent(name); found != nil {
			return found.errorf("Template error: the names in Fn::FindInMap must not depend on any resources, imported values, or Fn::GetAZs")
		}
		if name.kind == call && name.text != fnRef && name.text != fnFindInMap && !t.extended {
			return name.errorf("Template error: %s within the names of Fn::FindInMap needs the transform %s: add 'Transform: %s' at the top of the template.", name.text, languageExtensions, languageExtensions)
		}
	}
	if m := arg.items[0]; m.scalar() && t.mappingNamed[m.text] == nil {
		return m.errorf("Template error: Mapping named '%s' is not present in the 'Mappings' section of template.", m.text)
	}
	if len(arg.items) == 4 {
		return t.checkMapDefault(arg.items[3])
	}
	return nil
}

func (t *Template) checkMapDefault(n *node) error {
	if n.kind != object || len(n.keys) != 1 || n.keys[0].name != "DefaultValue" {
		return n.errorf("Template error: the fourth parameter of Fn::FindInMap must be an object with the one key DefaultValue.")
	}
	if !t.extended {
		return n.errorf("Template error: DefaultValue of Fn::FindInMap needs the transform %s: add 'Transform: %s' at the top of the template.", languageExtensions, languageExtensions)
	}
	return nil
}

func (t *Template) checkResourceUses() error {
	var unresolved []use
	for _, r := range t.resources {
		for _, d := range r.dependsOn {
			if t.resourceNamed[d.text] == nil {
				unresolved = append(unresolved, use{at: d, name: d.text})
			}
		}
		for _, n := range r.evaluated() {
			uses(n, nil, func(u use) {
				if t.unknown(u) {
					unresolved = append(unresolved, u)
				}
			})
		}
	}
	if unresolved != nil {
		return t.unresolvedError(unresolved, "Resources")
	}
	for _, r := range t.resources {
		if err := t.checkResourceNamed(r); err != nil {
			return err
		}
	}
	return nil
}

func (t *Template) checkResourceNamed(r *resource) error {
	if err := t.checkCondition(r.condition, "the Resources block of the template"); err != nil {
		return err
	}
	for _, n := range r.evaluated() {
		if err := t.checkNamed(n, "the Resources block of the template"); err != nil {
			return err
		}
		if err := t.checkImports(n); err != nil {
			return err
		}
	}
	for _, p := range []*node{r.deletionPolicy, r.updateReplacement} {
		if p == nil {
			continue
		}
		if err := t.checkParameterUses(p, "a policy attribute"); err != nil {
			return err
		}
	}
	return nil
}

// evaluated returns what of a resource is evaluated once others exist.
func (r *resource) evaluated() []*node {
	var nodes []*node
	if r.properties != nil {
		nodes = append(nodes, r.properties)
	}
	if r.metadata != nil {
		nodes = append(nodes, r.metadata)
	}
	return nodes
}

// unknown reports whether a name means nothing in a resource or an output.
func (t *Template) unknown(u use) bool {
	if u.attribute != "" {
		return t.resourceNamed[u.name] == nil
	}
	return t.resourceNamed[u.name] == nil && t.parameterNamed[u.name] == nil && !pseudoParameters[u.name]
}

// unresolvedError is AWS's error for names that mean nothing; it has one of its own for Fn::GetAtt.
func (t *Template) unresolvedError(unresolved []use, block string) error {
	first := unresolved[0]
	if first.at.kind == call && first.at.text == fnGetAtt {
		return first.at.errorf("Template error: instance of Fn::GetAtt references undefined resource %s", first.name)
	}
	return first.at.errorf("Template format error: Unresolved resource dependencies %s in the %s block of the template", names(unresolved), block)
}

// names returns the distinct names of uses in their order.
func names(unresolved []use) string {
	var distinct []string
	seen := map[string]bool{}
	for _, u := range unresolved {
		if !seen[u.name] {
			seen[u.name] = true
			distinct = append(distinct, u.name)
		}
	}
	return quoteNames(distinct)
}

func (t *Template) checkOutputUses() error {
	var unresolved []use
	for _, o := range t.outputs {
		uses(o.value, nil, func(u use) {
			if t.unknown(u) {
				unresolved = append(unresolved, u)
			}
		})
		if o.export != nil {
			uses(o.export, nil, func(u use) {
				if t.unknown(u) {
					unresolved = append(unresolved, u)
				}
			})
		}
	}
	if unresolved != nil {
		return t.unresolvedError(unresolved, "Outputs")
	}
	for _, o := range t.outputs {
		if err := t.checkCondition(o.condition, "the Outputs block of the template"); err != nil {
			return err
		}
		for _, n := range []*node{o.value, o.export} {
			if n == nil {
				continue
			}
			if err := t.checkNamed(n, "the Outputs block of the template"); err != nil {
				return err
			}
			if err := t.checkImports(n); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkImports refuses names of exports that depend on resources.
func (t *Template) checkImports(n *node) error {
	if n.kind == call && n.text == fnImportValue {
		if found := t.dependent(n.items[0]); found != nil {
			return found.errorf("Template error: the attribute in Fn::ImportValue must not depend on any resources, imported values, or Fn::GetAZs")
		}
	}
	for _, item := range n.items {
		if err := t.checkImports(item); err != nil {
			return err
		}
	}
	return nil
}

// checkCircles refuses circular dependencies among the resources that are kept.
func (t *Template) checkCircles(kept func(*resource) bool, branch func(string) int) error {
	_, err := t.sortResources(kept, branch)
	return err
}

// sortResources returns the resources that are kept, each after those it needs.
func (t *Template) sortResources(kept func(*resource) bool, branch func(string) int) ([]*resource, error) {
	var ids []string
	needs := map[string][]string{}
	for _, r := range t.resources {
		if !kept(r) {
			continue
		}
		ids = append(ids, r.name)
		need := func(name string) {
			if other := t.resourceNamed[name]; other != nil && kept(other) {
				needs[r.name] = append(needs[r.name], name)
			}
		}
		for _, d := range r.dependsOn {
			need(d.text)
		}
		for _, n := range r.evaluated() {
			uses(n, branch, func(u use) { need(u.name) })
		}
	}
	sorted, cycle := order(ids, needs)
	if cycle != nil {
		return nil, t.resourceNamed[cycle[0]].at.errorf("Circular dependency between resources: %s", quoteNames(cycle))
	}
	resources := make([]*resource, len(sorted))
	for i, id := range sorted {
		resources[i] = t.resourceNamed[id]
	}
	return resources, nil
}
