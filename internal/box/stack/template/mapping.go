package template

// mapping is a member of the Mappings section: two levels of keys, then a value.
type mapping struct {
	name   string
	at     *node
	values map[string]map[string]any // string, bool, json.Number or a list of them
}

func (t *Template) readMappings(n *node) error {
	if err := section(n, "Mapping", "mappings", MaxMappings); err != nil {
		return err
	}
	for i, k := range n.keys {
		m := &mapping{name: k.name, at: n.items[i], values: map[string]map[string]any{}}
		if err := m.read(); err != nil {
			return err
		}
		t.mappings = append(t.mappings, m)
		t.mappingNamed[m.name] = m
	}
	return nil
}

func (m *mapping) read() error {
	if err := mappingLevel(m.at, m.name); err != nil {
		return err
	}
	for i, first := range m.at.keys {
		second := m.at.items[i]
		if err := mappingLevel(second, m.name); err != nil {
			return err
		}
		values := make(map[string]any, len(second.keys))
		for j, k := range second.keys {
			v := second.items[j]
			if err := mappingValue(v); err != nil {
				return err
			}
			values[k.name] = v.literal()
		}
		m.values[first.name] = values
	}
	return nil
}

func mappingLevel(n *node, name string) error {
	switch {
	case n.kind == call:
		return n.errorf("Template format error: functions cannot be used in Mappings; %s stands here.", n.text)
	case n.kind != object:
		return n.errorf("Template format error: Every Mappings attribute must be an object of objects: mapping %s has %s here.", name, n.kindName())
	case len(n.keys) > MaxMappingAttributes:
		return n.keyErrorf(MaxMappingAttributes, "Template format error: Number of attributes in a mapping, %d, is greater than maximum allowed, %d", len(n.keys), MaxMappingAttributes)
	}
	for i, k := range n.keys {
		if len(k.name) > MaxNameLength {
			return n.keyErrorf(i, "Template format error: a key of mapping %s is longer than %d characters.", name, MaxNameLength)
		}
		if isFunctionName(k.name) {
			return n.keyErrorf(i, "Template format error: functions cannot be used in Mappings; %s stands here.", k.name)
		}
	}
	return nil
}

func mappingValue(n *node) error {
	values := []*node{n}
	if n.kind == list {
		values = n.items
	}
	for _, v := range values {
		if v.kind == call || v.kind == object && len(v.keys) == 1 && isFunctionName(v.keys[0].name) {
			return v.errorf("Template format error: functions cannot be used in Mappings.")
		}
		if !v.scalar() {
			return v.errorf("Template format error: Every Mappings attribute must be a String or a List; this is %s.", v.kindName())
		}
	}
	return nil
}
