package kind

import (
	"bytes"
	"embed"
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/template"
)

//go:embed rules.tf.tmpl
var terraformFile embed.FS

// place is a region that a Terraform configuration has rules in.
type place struct {
	// Region is empty where the provider's own is meant.
	Region string
	// Label is what its resources are called in the configuration.
	Label string
	// Forwards: it sends its events on to the central region.
	Forwards bool
}

func (s RuleSet) places() []place {
	if s.Central == "" {
		return []place{{}}
	}
	list := []place{{Region: s.Central, Label: label(s.Central)}}
	for _, r := range s.Regions {
		list = append(list, place{Region: r, Label: label(r), Forwards: true})
	}
	return list
}

func label(name string) string { return strings.ReplaceAll(name, "-", "_") }

// hclRule is a rule as the configuration's template wants it.
type hclRule struct {
	Label, Name, About, Pattern, Template string
	Paths                                 []string
}

func (s RuleSet) terraform() ([]byte, error) {
	var rules []hclRule
	for _, k := range s.Kinds {
		for i := range k.Rules {
			r := &k.Rules[i]
			paths, text := r.Transformer(k.Name)
			rules = append(rules, hclRule{label(r.Name), r.FullName(), r.About, string(r.Pattern()), text, aligned(paths)})
		}
	}
	t, err := template.New("rules.tf.tmpl").Funcs(template.FuncMap{"json": quoted, "hcl": hcl, "indent": indent, "label": label}).ParseFS(terraformFile, "rules.tf.tmpl")
	if err != nil {
		return nil, fmt.Errorf("read the template of Terraform configurations: %w", err)
	}
	var b bytes.Buffer
	data := struct {
		RuleSet
		About  string
		Rules  []hclRule
		Places []place
	}{s, "Tells the exporter of changes of " + s.words() + ".", rules, s.places()}
	if err := t.Execute(&b, data); err != nil {
		return nil, fmt.Errorf("write the rules: %w", err)
	}
	return b.Bytes(), nil
}

// aligned are the lines of a map, as terraform fmt has them.
func aligned(m map[string]string) []string {
	keys := slices.Sorted(maps.Keys(m))
	longest := 0
	for _, key := range keys {
		longest = max(longest, len(key))
	}
	lines := make([]string, 0, len(keys))
	for _, key := range keys {
		lines = append(lines, fmt.Sprintf("%-*s = %s", longest+2, quoted(key), quoted(m[key])))
	}
	return lines
}

// hcl escapes what Terraform would take for a template of its own.
func hcl(text string) string {
	return strings.NewReplacer("${", "$${", "%{", "%%{").Replace(text)
}

func indent(text string) string { return strings.ReplaceAll(text, "\n", "\n    ") }
