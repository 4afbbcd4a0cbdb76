package exporter

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/rialto-bus/rialto/internal/exporter/port"
	"github.com/rialto-bus/rialto/internal/store/storetest"
)

var (
	_ Blueprints = catalogSink{}
	_ Blueprints = (*port.Sink)(nil)
)

const unknownKeysConfig = `{"config": {"resources": [{"kind": "AWS::Test::Thing", "port": {"entity": {"mappings": [
	{"identifier": ".Name", "blueprint": "thing", "properties": {"size": ".Size", "grosse": ".Size"}, "relations": {"owner": ".Owner"}},
	{"identifier": ".Name", "blueprint": "\"nothing\"", "properties": {"size": ".Size"}},
	{"identifier": ".Name", "blueprint": "thing", "properties": {"arn": ".Arn"}}]}}}]}}`

// warnings are those that putting a configuration in force answers with.
func (w *world) warnings(body string) (list []string) {
	w.t.Helper()
	var conf struct {
		Revision int64
		Warnings []struct {
			Path, Message string
			Warning       bool
		}
	}
	w.call("PUT", "/v1/exporter/config", body, 200, &conf)
	for _, p := range conf.Warnings {
		if !p.Warning {
			w.t.Errorf("%s is no warning", p.Path)
		}
		list = append(list, p.Path+": "+p.Message)
	}
	return list
}

func TestAConfigurationThatMapsToWhatIsNotThereIsInForceWithWarnings(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, w *world) {
		const mappings = "resources[0].port.entity.mappings"
		want := []string{
			mappings + `[0].properties.grosse: blueprint "thing" has no such property of its own`,
			mappings + `[0].relations.owner: blueprint "thing" has no such relation: entities with it are refused`,
			mappings + `[1].blueprint: blueprint "nothing" does not exist: until it does, its entities are refused`,
		}
		if got := w.warnings(unknownKeysConfig); !slices.Equal(got, want) {
			t.Errorf("warnings: %q\nwant %q", got, want)
		}
		if c, err := w.x.Config(t.Context()); err != nil || c.Revision != 2 {
			t.Errorf("in force is %+v, %v", c, err)
		}
		w.blueprint(`{"identifier": "nothing", "title": "Nothing", "schema": {"properties": {"size": {"type": "number"}}}}`)
		if got := w.warnings(unknownKeysConfig); !slices.Equal(got, want[:2]) {
			t.Errorf("once the blueprint is there: %q\nwant %q", got, want[:2])
		}
	})
}

// speechless is a sink that does not answer about blueprints.
type speechless struct {
	Sink
	asked int
}

func (s *speechless) BlueprintKeys(context.Context, string) (properties, relations []string, err error) {
	s.asked++
	return nil, nil, errors.New("it is asleep")
}

func TestBlueprintsThatCannotBeLookedUpAreSaidNotToBeChecked(t *testing.T) {
	t.Parallel()
	w := newWorld(t, storetest.SQLite(t))
	s := &speechless{Sink: w.x.o.Sink}
	w.x.o.Sink = s
	want := []string{`resources[0].port.entity.mappings[0].blueprint: blueprint "thing" could not be looked up, and neither it nor what follows was checked: it is asleep`}
	if got := w.warnings(unknownKeysConfig); !slices.Equal(got, want) || s.asked != 1 {
		t.Errorf("warnings after %d questions: %q\nwant %q", s.asked, got, want)
	}
}
