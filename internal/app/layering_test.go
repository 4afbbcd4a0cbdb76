package app

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"path"
	"strings"
	"testing"
)

const module = "github.com/rialto-bus/rialto/"

// free may be imported by any package in internal.
var free = []string{"event", "store", "work", "auth", "awsapi", "awsapi/gen/*", "httpapi"}

// allowed says what else each package may import of ours. docs/architecture.md
// has it in words. What is not listed is not allowed.
var allowed = map[string][]string{
	"cmd/rialto":     {"cli", "jq"},
	"cli":            {"app", "inventory", "eventpattern", "inputtransform", "intake/template", "exporter/config", "exporter/kind", "jq", "examples/exporter"},
	"app":            {"*", "*/*", "*/*/*"},
	"eventpattern":   nil,
	"inputtransform": nil,
	"event":          nil,
	"eventlog":       nil,
	"schedule":       nil,

	"bus":      {"eventlog", "eventpattern", "inputtransform", "schedule"},
	"delivery": {"bus", "eventlog", "target", "eventpattern", "inputtransform"},
	"trace":    {"bus", "delivery", "eventlog", "eventpattern", "target"},
	"target":   {"bus"}, // for the subscription and the invocation that an attempt is made of
	"intake":   {"cloud", "eventpattern"},

	"inventory":         {"cloud"},
	"jq":                nil,
	"catalog":           {"jq"},
	"exporter":          {"catalog", "cloud", "jq", "exporter/*", "examples/exporter"}, // for the template of the queue
	"exporter/config":   {"jq"},
	"exporter/kind":     {"exporter/config", "jq", "eventpattern", "inputtransform"}, // to check rules
	"exporter/reader":   {"cloud"},
	"exporter/port":     {"catalog"},
	"box/stack":         {"box/resource", "box/stack/template"},
	"box/resource/kind": {"box/resource"},
	"box/topic":         {"eventpattern"},                         // for filter policies
	"box/function":      {"box/function/runtime", "eventpattern"}, // eventpattern for filter criteria
}

// base packages know no domain: they may import one another and event.
var base = map[string]bool{"store": true, "work": true, "auth": true, "awsapi": true, "httpapi": true, "event": true}

func TestPackagesImportOnlyWhatTheArchitectureAllows(t *testing.T) {
	for _, p := range modulePackages(t) {
		name := short(p.ImportPath)
		if strings.HasPrefix(name, "awsapi/gen") || strings.HasPrefix(name, "bench") || strings.HasSuffix(name, "test") || strings.HasPrefix(name, "examples") {
			continue
		}
		for _, imported := range p.Imports {
			if strings.HasPrefix(imported, module) && !mayImport(name, short(imported)) {
				t.Errorf("%s imports %s: the architecture does not allow it", name, short(imported))
			}
		}
	}
}

func TestPublicPackagesUseTheStandardLibraryOnly(t *testing.T) {
	for _, p := range modulePackages(t) {
		name := short(p.ImportPath)
		if name != "eventpattern" && name != "inputtransform" {
			continue
		}
		for _, imported := range p.Imports {
			if strings.Contains(strings.SplitN(imported, "/", 2)[0], ".") {
				t.Errorf("%s imports %s", name, imported)
			}
		}
	}
}

func mayImport(from, to string) bool {
	rules := allowed[from]
	switch {
	case from == "eventpattern" || from == "inputtransform":
		return false
	case from == "event":
		return false
	case from == "cmd/rialto":
		return to == "cli" || to == "jq" // jq for its worker processes
	case base[from]:
		return base[to] || strings.HasPrefix(to, "awsapi/gen/")
	}
	return matchAny(free, to) || matchAny(rules, to)
}

func matchAny(patterns []string, name string) bool {
	for _, p := range patterns {
		if ok, err := path.Match(p, name); err == nil && ok {
			return true
		}
	}
	return false
}

func short(importPath string) string {
	return strings.TrimPrefix(strings.TrimPrefix(importPath, module), "internal/")
}

type listedPackage struct {
	ImportPath string
	Imports    []string
}

func modulePackages(t *testing.T) []listedPackage {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports", module+"...")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []listedPackage
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listedPackage
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("go list: %v", err)
		}
		all = append(all, p)
	}
	if len(all) < 10 {
		t.Fatalf("go list found only %d packages", len(all))
	}
	return all
}
