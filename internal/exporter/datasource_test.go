package exporter

import (
	"slices"
	"testing"
	"time"

	"github.com/rialto-bus/rialto/internal/catalog"
	"github.com/rialto-bus/rialto/internal/store"
)

const regionsConfig = `{"resources": [{"kind": "AWS::Test::Thing", "selector": {"query": "true", "aws": {"regions": ["eu-west-1", "us-east-2"]}},
	"port": {"entity": {"mappings": [{"identifier": ".Name", "blueprint": "thing", "properties": {"size": ".Size"}}]}}}]}`

// put writes an entity of blueprint thing as somebody else, or as this one did in the past.
func (w *world) putThing(datasource, identifier string, size int) {
	w.t.Helper()
	change := catalog.EntityChange{Blueprint: "thing", Identifier: identifier, Upsert: true, Merge: true, Entity: catalog.EntityInput{
		Identifier: catalog.Given(identifier), Properties: map[string]any{"size": size},
	}}
	results, err := w.catalog.Apply(w.t.Context(), catalog.Writer{By: writer, Datasource: datasource}, []catalog.EntityChange{change}, catalog.ApplyOptions{})
	if err != nil || results[0].Err != nil {
		w.t.Fatal(err, results)
	}
}

func (w *world) wantDatasource(identifier, want string) {
	w.t.Helper()
	if e := w.entity("thing", identifier); e == nil || e.Datasource != want {
		w.t.Errorf("%s is %+v, want the datasource %q", identifier, e, want)
	}
}

func TestEntitiesAreWrittenUnderTheDatasourceOfTheirAccountAndRegion(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, w *world) {
		w.configure(regionsConfig)
		here, there := thing("here"), thing("there")
		there.Region = "us-east-2"
		for _, k := range []Key{here, there, thing("购物")} {
			w.cloud.set(k, map[string]any{"Name": k.Identifier, "Size": 1})
		}
		w.apply([]Read{w.look(there), w.look(here), w.look(thing("购物"))}, Created, Created, Created)
		w.wantDatasource("here", "rialto-exporter/1 (accountid/123456789012 region/eu-west-1)")
		w.wantDatasource("there", "rialto-exporter/1 (accountid/123456789012 region/us-east-2)")
		w.wantDatasource("购物", "rialto-exporter/1 (accountid/123456789012 region/eu-west-1)")
	})
}

func TestAnotherDatasourceOfOursAloneIsNoChange(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, w *world) {
		w.configure(regionsConfig)
		here, there := thing("both"), thing("both")
		there.Region = "us-east-2"
		w.putThing(product, "both", 1)
		w.putThing("curl/8", "theirs", 1)
		for _, k := range []Key{here, there, thing("theirs")} {
			w.cloud.set(k, map[string]any{"Name": k.Identifier, "Size": 1})
		}
		w.apply([]Read{w.look(here), w.look(there), w.look(thing("theirs"))}, Created, Created, Created)
		w.apply([]Read{w.look(here), w.look(there)}, Unchanged, Unchanged)
		w.wantDatasource("both", product)
		if e := w.entity("thing", "both"); e.Revision != 1 {
			t.Errorf("the entity was written again: it has revision %d", e.Revision)
		}
		w.wantDatasource("theirs", Datasource(testAccount, testRegion))
		w.cloud.set(there, map[string]any{"Name": "both", "Size": 2})
		w.apply([]Read{w.look(there)}, Updated)
		w.wantDatasource("both", Datasource(testAccount, "us-east-2"))
	})
}

func TestOwnedEntitiesAreThoseOfEachOfOurDatasourcesAndOfNoOther(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, w *world) {
		place := " (accountid/123456789012 region/eu-west-1)"
		for identifier, datasource := range map[string]string{
			"old": product, "new": product + place, "elsewhere": Datasource("210987654321", "us-east-2"),
			"ports": "port-aws-exporter/0.1" + place, "later": "rialto-exporter/10" + place, "similar": product + "-beta" + place, "hand": "curl/8",
		} {
			w.putThing(datasource, identifier, 1)
		}
		var got []string
		err := w.sink.Owned(t.Context(), w.now().Add(time.Minute), func(ref catalog.EntityRef) error {
			got = append(got, ref.Identifier)
			return nil
		})
		slices.Sort(got)
		if want := []string{"elsewhere", "new", "old"}; err != nil || !slices.Equal(got, want) {
			t.Errorf("ours are %v, %v; want %v", got, err, want)
		}
	})
}

func TestEveryPlaceThatIsWrittenForIsListed(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, w *world) {
		w.configure(regionsConfig)
		gone := thing("gone")
		gone.Region = "ap-south-1"
		err := w.db.Update(t.Context(), func(tx *store.Tx) error {
			return saveResources(t.Context(), tx, []*Resource{{Key: gone, Present: true, Ticket: 1}})
		})
		if err != nil {
			t.Fatal(err)
		}
		places, err := w.x.Places(t.Context())
		want := []ScopeKey{{Account: testAccount, Region: "ap-south-1"}, {Account: testAccount, Region: testRegion}, {Account: testAccount, Region: "us-east-2"}}
		if err != nil || !slices.Equal(places, want) {
			t.Errorf("places are %v, %v; want %v", places, err, want)
		}
	})
}
