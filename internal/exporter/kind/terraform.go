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
	t, err := template.New("rules.tf.tmpl").Funcs(template.FuncMap{"json": quoted, "hcl": hcl, "indent": indent}).ParseFS(terraformFile, "rules.tf.tmpl")
	if err != nil {
		return nil, fmt.Errorf("read the template of Terraform configurations: %w", err)
	}
	var b bytes.Buffer
	data := struct {
		RuleSet
		About string
		Rules []hclRule
	}{s, "Tells the exporter of changes of " + s.words() + ".", rules}
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
