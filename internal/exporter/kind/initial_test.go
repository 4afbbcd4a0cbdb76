package kind

import (
	"encoding/json"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rialto-bus/rialto/internal/exporter/config"
	"github.com/rialto-bus/rialto/internal/jq"
)

var update = flag.Bool("update", false, "write the entities of testdata/resources")

func initial(t *testing.T, kinds []*Kind, regions ...string) (blueprints []json.RawMessage, conf *config.Config) {
	t.Helper()
	files, err := Initial(kinds, regions)
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != 2 || files[0].Name != BlueprintsFile || files[1].Name != ConfigFile {
		t.Fatalf("there are %d files", len(files))
	}
	if err := json.Unmarshal(files[0].Text, &blueprints); err != nil {
		t.Fatal(err)
	}
	conf, err = config.Parse(files[1].Text)
	if err != nil {
		t.Fatalf("%v\n%s", err, files[1].Text)
	}
	for _, w := range conf.Warnings {
		t.Errorf("warning: %s", w)
	}
	return blueprints, conf
}

func find(t testing.TB, names ...string) []*Kind {
	t.Helper()
	var list []*Kind
	for _, name := range names {
		k, ok := Find(name)
		if !ok {
			t.Fatalf("there is no kind %s", name)
		}
		list = append(list, k)
	}
	return list
}

func TestInitialConfigurationIsOfTheKinds(t *testing.T) {
	_, conf := initial(t, All())
	if got, want := len(conf.Resources), len(All()); got != want {
		t.Errorf("it has %d resources, want %d", got, want)
	}
	for _, k := range All() {
		passes := conf.Of(k.Name)
		if len(passes) != 1 || passes[0].Regions != nil {
			t.Errorf("%s has %d passes, regions %v", k.Name, len(passes), passes[0].Regions)
		}
	}
	_, conf = initial(t, find(t, "AWS::SQS::Queue"), "eu-west-1", "us-east-1")
	if d := cmp.Diff([]string{"eu-west-1", "us-east-1"}, conf.Resources[0].Regions); d != "" {
		t.Error(d)
	}
	if _, err := Initial(nil, nil); err == nil {
		t.Error("it is written for no kinds")
	}
}

// A relation is there only where its target is, and its target comes before it.
func TestInitialRelationsAreToKindsThatAreThere(t *testing.T) {
	read := func(text json.RawMessage) (b blueprint, relations []string) {
		if err := json.Unmarshal(text, &b); err != nil {
			t.Fatal(err)
		}
		return b, slices.Collect(maps.Keys(b.Relations))
	}
	blueprints, conf := initial(t, find(t, "AWS::ECS::Service", "AWS::ECS::Service"))
	if _, relations := read(blueprints[0]); len(blueprints) != 1 || len(relations) > 0 || len(conf.Resources[0].Mappings[0].Relations) > 0 {
		t.Errorf("a service alone has relations: %s", blueprints[0])
	}
	blueprints, conf = initial(t, find(t, "AWS::ECS::Service", "AWS::ECS::Cluster", "AWS::Lambda::Function"))
	var names []string
	for _, text := range blueprints {
		b, relations := read(text)
		names = append(names, b.Identifier)
		if b.Identifier == "ecs_service" && !slices.Equal(relations, []string{"cluster"}) || b.Identifier != "ecs_service" && len(relations) > 0 {
			t.Errorf("%s has the relations %v", b.Identifier, relations)
		}
	}
	if len(names) != 3 || slices.Index(names, "ecs_cluster") > slices.Index(names, "ecs_service") {
		t.Errorf("the blueprints are in the order %v", names)
	}
	if conf.Resources[len(conf.Resources)-1].Mappings == nil {
		t.Error("a pass has no mappings")
	}
}

type sampleEntity struct {
	Blueprint  string         `json:"blueprint"`
	Identifier string         `json:"identifier"`
	Title      *string        `json:"title"`
	Properties map[string]any `json:"properties"`
	Relations  map[string]any `json:"relations"`
}

// resourceSample is a resource as AWS answers it, and its entity.
type resourceSample struct {
	Properties map[string]any `json:"properties"`
	Entity     sampleEntity   `json:"entity"`
}

func sampleFile(k *Kind) string { return filepath.Join("testdata", "resources", k.Slug()+".json") }

func sample(t *testing.T, k *Kind) resourceSample {
	t.Helper()
	text, err := os.ReadFile(sampleFile(k))
	if err != nil {
		t.Fatal(err)
	}
	var s resourceSample
	if err := json.Unmarshal(text, &s); err != nil {
		t.Fatalf("%s: %v", sampleFile(k), err)
	}
	return s
}

// Each kind's mapping makes an entity of a resource with every property; none is null, and
// a resource with nothing but what identifies it has an entity too.
func TestMappingsMakeEntitiesOfResources(t *testing.T) {
	ev := evaluator(t)
	_, conf := initial(t, All())
	for _, k := range All() {
		t.Run(k.Slug(), func(t *testing.T) {
			s := sample(t, k)
			got := mapped(t, ev, conf.Of(k.Name)[0], s.Properties)
			for name, v := range got.Properties {
				if v == nil {
					t.Errorf("property %s is null", name)
				}
			}
			for name, v := range got.Relations {
				if v == nil {
					t.Errorf("relation %s is null", name)
				}
			}
			if *update {
				writeSample(t, k, s, got)
			}
			if d := cmp.Diff(s.Entity, got); d != "" && !*update {
				t.Errorf("the entity (-want +got):\n%s", d)
			}
			bare := map[string]any{}
			for name, v := range s.Properties {
				if strings.Contains(k.Entity.Identifier+k.Entity.Name, "."+name) && name != "Tags" {
					bare[name] = v
				}
			}
			if again := mapped(t, ev, conf.Of(k.Name)[0], bare); again.Identifier != got.Identifier {
				t.Errorf("the bare resource's entity is %q", again.Identifier)
			}
		})
	}
}

func mapped(t *testing.T, ev *jq.Evaluator, r *config.Resource, properties map[string]any) sampleEntity {
	t.Helper()
	m, err := r.Map(t.Context(), ev, properties)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range m.Problems {
		t.Errorf("problem: %s", p)
	}
	if !m.Selected || len(m.Entities) != 1 {
		t.Fatalf("selected %v, %d entities", m.Selected, len(m.Entities))
	}
	text, err := json.Marshal(m.Entities[0])
	if err != nil {
		t.Fatal(err)
	}
	var e sampleEntity
	if err := json.Unmarshal(text, &e); err != nil {
		t.Fatal(err)
	}
	return e
}

func writeSample(t *testing.T, k *Kind, s resourceSample, e sampleEntity) {
	t.Helper()
	s.Entity = e
	text, err := indented(s)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(sampleFile(k), text, 0o600); err != nil {
		t.Fatal(err)
	}
}
