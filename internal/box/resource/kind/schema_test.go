package kind

import (
	"io/fs"
	"slices"
	"strings"
	"testing"

	"github.com/rialto-bus/rialto/internal/box/resource"
)

func TestEachTypeHasASchemaAndALife(t *testing.T) {
	x := newSQLite(t)
	files, err := fs.Glob(schemas, "schemas/*.json")
	if err != nil || len(files) != len(x.types) {
		t.Errorf("there are %d types and the schemas %q, %v", len(x.types), files, err)
	}
	lived := map[string]bool{}
	for _, l := range lives {
		lived[l.typeName] = true
	}
	for name, typ := range x.types {
		if !lived[name] {
			t.Errorf("%s has no life in the tests", name)
		}
		if typ.Schema.TypeName != name {
			t.Errorf("the schema of %s is that of %s", name, typ.Schema.TypeName)
		}
		// What is asked of a handler is what it has.
		for _, operation := range []string{"create", "read", "delete"} {
			if !typ.Schema.Has(operation) {
				t.Errorf("%s has no %s", name, operation)
			}
		}
		if strings.HasSuffix(name, "::Permission") == typ.Schema.Has("update") {
			t.Errorf("%s: update is %v", name, typ.Schema.Has("update"))
		}
		if slices.Contains([]string{"AWS::SQS::QueuePolicy", "AWS::SNS::TopicPolicy"}, name) == typ.Schema.Has("list") {
			t.Errorf("%s: list is %v", name, typ.Schema.Has("list"))
		}
		for _, p := range typ.Schema.PrimaryIdentifier {
			readOnly := slices.ContainsFunc(typ.Schema.ReadOnly, func(q resource.Path) bool { return slices.Equal(p, q) })
			createOnly := slices.ContainsFunc(typ.Schema.CreateOnly, func(q resource.Path) bool { return slices.Equal(p, q) })
			if readOnly == createOnly {
				t.Errorf("%s: the identifier's %s is read-only %v and create-only %v", name, p, readOnly, createOnly)
			}
		}
	}
}
