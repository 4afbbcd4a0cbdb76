package config

import (
	"fmt"
	"slices"
)

// BlueprintKeys are what entities of a blueprint may be given.
type BlueprintKeys struct{ Properties, Relations []string }

// CheckBlueprints returns a warning for each blueprint, property and relation of a mapping
// that does not exist. keys returns what a blueprint has, nil where there is no such one; it
// is called once for each. After its first error, which is told, nothing more is checked.
func CheckBlueprints(cfg *Config, keys func(blueprint string) (*BlueprintKeys, error)) []Problem {
	var list []Problem
	warnf := func(path, format string, args ...any) {
		list = append(list, Problem{Path: path, Message: fmt.Sprintf(format, args...), Warning: true})
	}
	known := map[string]*BlueprintKeys{}
	for i := range cfg.Resources {
		for _, m := range cfg.Resources[i].Mappings {
			has, asked := known[m.Blueprint]
			if !asked {
				var err error
				if has, err = keys(m.Blueprint); err != nil {
					warnf(m.Path+".blueprint", "blueprint %q could not be looked up, and neither it nor what follows was checked: %s", m.Blueprint, err)
					return list
				}
				known[m.Blueprint] = has
			}
			if has == nil {
				warnf(m.Path+".blueprint", "blueprint %q does not exist: until it does, its entities are refused", m.Blueprint)
				continue
			}
			for _, f := range m.Properties {
				if !slices.Contains(has.Properties, f.Key) {
					warnf(m.Path+".properties."+f.Key, "blueprint %q has no such property of its own", m.Blueprint)
				}
			}
			for _, f := range m.Relations {
				if !slices.Contains(has.Relations, f.Key) {
					warnf(m.Path+".relations."+f.Key, "blueprint %q has no such relation: entities with it are refused", m.Blueprint)
				}
			}
		}
	}
	return list
}
