package app

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	lambdatypes "github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"github.com/rialto-bus/rialto/internal/exporter/kind"
	"github.com/rialto-bus/rialto/internal/store/storetest"
)

const (
	functionKind = "AWS::Lambda::Function"
	functionRule = "exporter-lambda-functions" // of the example template
)

// exported is a server whose exporter follows something.
type exported struct {
	*testServer
	clock *clock
}

func startExported(t *testing.T) *exported {
	t.Helper()
	c := NewConfig()
	c.Listen, c.DataDir, c.EventLogBytes = "127.0.0.1:0", t.TempDir(), 64<<20
	clock := &clock{}
	return &exported{startServerAt(t, c, clock.now), clock}
}

// age has all that is there be older than what may not be found yet, as it was just made.
func (x *exported) age() { x.clock.forward(6 * time.Minute) }

// entities are the properties of a blueprint's entities.
func (x *exported) entities(blueprint string) map[string]map[string]any {
	x.t.Helper()
	var out struct {
		Entities []struct {
			Identifier string
			Properties map[string]any
		}
	}
	x.do(x.t, "GET", "/v1/blueprints/"+blueprint+"/entities", nil, &out)
	all := map[string]map[string]any{}
	for _, e := range out.Entities {
		all[e.Identifier] = e.Properties
	}
	return all
}

// becomes waits until a property of an entity has a value; nil stands for no entity.
func (x *exported) becomes(blueprint, id, property string, want any) {
	x.t.Helper()
	eventually(x.t, fmt.Sprintf("%s of %s to be %v", property, id, want), func() bool {
		e, there := x.entities(blueprint)[id]
		return there == (want != nil) && (!there || e[property] == want)
	})
}

type exportedRun struct {
	ID, Status                                     string
	Listed, Created, Updated, Removed, Held, Drift int

	ScopesFailed int `json:"scopes_failed"`
	DriftPending int `json:"drift_pending"`
}

// run waits for the end of a full sync that was asked for.
func (x *exported) run(path string, in any) (run exportedRun) {
	x.t.Helper()
	x.do(x.t, "POST", path, in, &run)
	await(x.t, "the full sync", func() bool {
		x.do(x.t, "GET", "/v1/exporter/sync_runs/"+run.ID, nil, &run)
		return run.Status != "waiting" && run.Status != "running"
	})
	return run
}

func (x *exported) sync() exportedRun {
	x.t.Helper()
	return x.run("/v1/exporter/sync_runs", map[string]any{"grace_seconds": 0})
}

type drifted struct{ Run, Account, Region, Kind, Identifier, Missed string }

func (x *exported) drift(run string) (list []drifted) {
	x.t.Helper()
	var out struct{ List []drifted }
	x.do(x.t, "GET", "/v1/exporter/drift?run="+run, nil, &out)
	return out.List
}

// install deploys the queue as 'exporter install' does, and returns its ARN.
func (x *exported) install(account, region string) string {
	x.t.Helper()
	var out struct {
		State, Why string
		QueueARN   string `json:"queue_arn"`
	}
	eventually(x.t, "the exporter's queue to be installed", func() bool {
		x.do(x.t, "POST", "/v1/exporter/accounts/"+account+"/install", map[string]string{"region": region}, &out)
		return out.State == "installed"
	})
	return out.QueueARN
}

// configure puts in force what 'exporter init' writes for a kind.
func (x *exported) configure(name string, regions ...string) *kind.Kind {
	x.t.Helper()
	k, ok := kind.Find(name)
	if !ok {
		x.t.Fatalf("there is no kind %s", name)
	}
	files, err := kind.Initial([]*kind.Kind{k}, regions)
	if err != nil {
		x.t.Fatal(err)
	}
	for _, f := range files {
		if f.Name == kind.ConfigFile {
			x.do(x.t, "PUT", "/v1/exporter/config", map[string]any{"config": json.RawMessage(f.Text)}, nil)
			continue
		}
		var blueprints []json.RawMessage
		if err := json.Unmarshal(f.Text, &blueprints); err != nil {
			x.t.Fatal(err)
		}
		for _, b := range blueprints {
			x.do(x.t, "POST", "/v1/blueprints", b, nil)
		}
	}
	x.do(x.t, "PUT", "/v1/exporter/sync_settings", map[string]any{"interval": "0s"}, nil)
	return k
}

func (c *caller) functionOf(name string, memory int32) {
	c.t.Helper()
	_, err := c.functions().CreateFunction(c.t.Context(), &lambda.CreateFunctionInput{
		FunctionName: &name, Runtime: lambdatypes.RuntimeProvidedal2023, Handler: aws.String("bootstrap"), MemorySize: &memory,
		Role: aws.String("arn:aws:iam::" + c.account + ":role/functions"), Code: &lambdatypes.FunctionCode{ZipFile: zipped(c.t, map[string][]byte{"bootstrap": []byte("#!/bin/sh\n")})},
	})
	if err != nil {
		c.t.Fatal(err)
	}
}

func (c *caller) remember(name string, memory int32) {
	c.t.Helper()
	if _, err := c.functions().UpdateFunctionConfiguration(c.t.Context(), &lambda.UpdateFunctionConfigurationInput{FunctionName: &name, MemorySize: &memory}); err != nil {
		c.t.Fatal(err)
	}
}

func (c *caller) forget(name string) {
	c.t.Helper()
	if _, err := c.functions().DeleteFunction(c.t.Context(), &lambda.DeleteFunctionInput{FunctionName: &name}); err != nil {
		c.t.Fatal(err)
	}
}

func (c *caller) functionARN(name string) string {
	return "arn:aws:lambda:" + c.region + ":" + c.account + ":function:" + name
}

// silence has the rule tell of nothing, or of all again.
func (c *caller) silence(silent bool) {
	c.t.Helper()
	var err error
	if silent {
		_, err = c.events().DisableRule(c.t.Context(), &eventbridge.DisableRuleInput{Name: aws.String(functionRule)})
	} else {
		_, err = c.events().EnableRule(c.t.Context(), &eventbridge.EnableRuleInput{Name: aws.String(functionRule)})
	}
	if err != nil {
		c.t.Fatal(err)
	}
}

// functionRecord is an event record of a call at a time.
func functionRecord(region, name, action string, at time.Time) string {
	text, _ := json.Marshal(map[string]string{
		"resource_type": functionKind, "region": fmt.Sprintf("%q", region), "identifier": fmt.Sprintf("%q", name), "action": fmt.Sprintf("%q", action),
		"eventTime": at.UTC().Format(time.RFC3339),
	})
	return string(text)
}

// The exporter is installed in two regions, with the event rule of the example as it is,
// and the catalog follows the functions of the account in the box.
func TestTheCatalogFollowsFunctions(t *testing.T) {
	t.Parallel()
	x := startExported(t)
	k := x.configure(functionKind, home, second)
	rule, err := os.ReadFile("../../examples/exporter/lambda-rule.yaml")
	if err != nil {
		t.Fatal(err)
	}
	callers := map[string]*caller{}
	queues := map[string]string{}
	for _, region := range []string{home, second} {
		c := x.caller(testAccount, region)
		arn := x.install(testAccount, region)
		c.mustDeploy("exporter-lambda-rule", string(rule))
		out := c.stackOutputs(kind.QueueStack)
		if out["EventsQueueARN"] != arn {
			t.Errorf("the stack's queue is %s, the installation's %s", out["EventsQueueARN"], arn)
		}
		callers[region], queues[region] = c, out["EventsQueueURL"]
	}
	entity := k.Entity.Blueprint
	if run := x.sync(); run.Status != "succeeded" {
		t.Fatalf("the first full sync: %+v", run)
	}

	// A function of the same name in each region is two.
	for region, c := range callers {
		c.functionOf("orders-1", 128)
		x.becomes(entity, c.functionARN("orders-1"), "memory", 128.0)
		c.remember("orders-1", 256)
		x.becomes(entity, c.functionARN("orders-1"), "memory", 256.0)
		c.awaitEmpty(queues[region])
	}
	if n := len(x.entities(entity)); n != 2 {
		t.Errorf("%d entities", n)
	}
	atHome := callers[home]
	atHome.forget("orders-1")
	x.becomes(entity, atHome.functionARN("orders-1"), "memory", nil)
	x.becomes(entity, callers[second].functionARN("orders-1"), "memory", 256.0)
	if run := x.sync(); run.Status != "succeeded" || run.Created+run.Updated+run.Removed+run.Drift+run.DriftPending > 0 {
		t.Errorf("after events alone a full sync finds %+v", run)
	}

	t.Run("records in any order", func(t *testing.T) { x.anyOrder(t, atHome.on(t), queues[home], entity) })
	t.Run("a lost event", func(t *testing.T) { x.lostEvents(t, atHome.on(t), entity) })
}

// anyOrder: records of one function, out of order and several times, end in the truth.
func (x *exported) anyOrder(t *testing.T, c *caller, queue, entity string) {
	c.functionOf("cart", 128)
	arn := c.functionARN("cart")
	x.becomes(entity, arn, "memory", 128.0)
	c.silence(true)
	began := time.Now()
	var records []string
	told := func(action string) {
		for range 1 + rand.N(4) {
			records = append(records, functionRecord(c.region, "cart", action, time.Now()))
		}
	}
	burst := func(want any) {
		t.Helper()
		rand.Shuffle(len(records), func(i, j int) { records[i], records[j] = records[j], records[i] })
		c.send(queue, records...)
		c.awaitEmpty(queue)
		if e := x.entities(entity)[arn]; (e == nil) != (want == nil) || e != nil && e["memory"] != want {
			t.Errorf("after %d records since %v the entity is %v, want memory %v", len(records), began, e, want)
		}
	}
	for i := range 3 {
		c.remember("cart", int32(200+i))
		told("upsert")
		c.forget("cart")
		told("delete")
		c.functionOf("cart", int32(300+i))
		told("upsert")
	}
	burst(302.0)
	// The record of the delete before it was made again comes late, alone.
	records = []string{functionRecord(c.region, "cart", "delete", began)}
	burst(302.0)
	// And it may say nothing of when that was.
	records = []string{`{"resource_type":"AWS::Lambda::Function","region":"\"us-east-1\"","identifier":"\"cart\"","action":"\"delete\""}`}
	burst(302.0)
	records = nil
	c.remember("cart", 512)
	told("upsert")
	c.forget("cart")
	told("delete")
	burst(nil)
	records = []string{functionRecord(c.region, "cart", "upsert", began)}
	burst(nil)
	c.silence(false)
}

// lostEvents: what events did not tell is found by a full sync, and told as drift.
func (x *exported) lostEvents(t *testing.T, c *caller, entity string) {
	for _, name := range []string{"kept", "changed", "deleted"} {
		c.functionOf(name, 128)
		x.becomes(entity, c.functionARN(name), "memory", 128.0)
	}
	if run := x.sync(); run.Status != "succeeded" || run.Drift > 0 {
		t.Errorf("before events are lost: %+v, %v", run, x.drift(run.ID))
	}
	x.age()
	if run := x.sync(); run.Drift > 0 {
		t.Errorf("before events are lost: %+v", run)
	}
	c.silence(true)
	c.remember("changed", 1024)
	c.forget("deleted")
	c.functionOf("created", 128)
	run := x.sync()
	c.silence(false) // not before: events are routed a moment after the call
	if run.Status != "succeeded" || run.Created != 1 || run.Updated != 1 || run.Removed != 1 {
		t.Errorf("the full sync: %+v", run)
	}
	x.becomes(entity, c.functionARN("changed"), "memory", 1024.0)
	x.becomes(entity, c.functionARN("created"), "memory", 128.0)
	x.becomes(entity, c.functionARN("deleted"), "memory", nil)
	missed := map[string]string{}
	for _, d := range x.drift(run.ID) {
		missed[d.Identifier] = d.Missed
	}
	if want := map[string]string{"created": "create", "changed": "update", "deleted": "delete"}; !maps.Equal(missed, want) {
		t.Errorf("the drift is %v, want %v; %+v", missed, want, run)
	}
	var fresh struct {
		List []struct {
			Region, Status string
			Drift          int
		}
	}
	x.do(t, "GET", "/v1/exporter/freshness", nil, &fresh)
	for _, f := range fresh.List {
		if (f.Drift == 3) != (f.Region == c.region) {
			t.Errorf("the freshness is %+v", f)
		}
	}
}

// followCloud has the exporter follow tables and log groups of a cloud.
func (x *exported) followCloud(a *cloudAccount, regions ...string) {
	x.t.Helper()
	x.do(x.t, "PUT", "/v1/cloud/accounts/"+a.id, a.settings(regions...), nil)
	x.do(x.t, "PUT", "/v1/exporter/sync_settings", map[string]any{"interval": "0s"}, nil)
	resources := []any{}
	for kind, blueprint := range map[string]string{tableKind: "table", groupKind: "group"} {
		x.do(x.t, "POST", "/v1/blueprints", map[string]any{
			"identifier": blueprint, "title": blueprint, "schema": map[string]any{"properties": map[string]any{"size": map[string]any{"type": "number"}}},
		}, nil)
		resources = append(resources, map[string]any{
			"kind": kind, "selector": map[string]any{"aws": map[string]any{"regions": regions}},
			"port": map[string]any{"entity": map[string]any{"mappings": []any{map[string]any{
				"identifier": ".Name", "title": ".Name", "blueprint": blueprint, "properties": map[string]any{"size": ".Size"},
			}}}},
		})
	}
	x.do(x.t, "PUT", "/v1/exporter/config", map[string]any{"config": map[string]any{"resources": resources}}, nil)
	x.do(x.t, "PUT", "/v1/exporter/accounts/"+a.id, map[string]any{"home_region": regions[0]}, nil)
}

func thing(id string, size int) map[string]any { return map[string]any{"Name": id, "Size": size} }

// ids are the identifiers of a blueprint's entities.
func (x *exported) ids(blueprint string) []string {
	x.t.Helper()
	return slices.Sorted(maps.Keys(x.entities(blueprint)))
}

// A region and a kind that may not be read keep what they have, and hold up nothing
// elsewhere.
func TestWhatIsDeniedHoldsNothingUpElsewhere(t *testing.T) {
	t.Parallel()
	x := startExported(t)
	a := newCloudAccount(t, "111122223333")
	x.followCloud(a, home, second)
	for _, region := range []string{home, second} {
		for _, kind := range []string{tableKind, groupKind} {
			a.put(cloudScope{region, kind}, region+"-stays", thing(region+"-stays", 1))
			a.put(cloudScope{region, kind}, region+"-goes", thing(region+"-goes", 1))
		}
	}
	if run := x.sync(); run.Status != "succeeded" || run.Created != 8 {
		t.Fatalf("the first full sync: %+v", run)
	}
	x.age()
	for _, region := range []string{home, second} {
		for _, kind := range []string{tableKind, groupKind} {
			a.remove(cloudScope{region, kind}, region+"-goes")
			a.put(cloudScope{region, kind}, region+"-stays", thing(region+"-stays", 2))
		}
	}
	denied := []cloudScope{{second, tableKind}, {second, groupKind}, {home, groupKind}}
	for _, s := range denied {
		a.deny(s, true)
	}
	run := x.sync()
	if run.Status != "partial" || run.ScopesFailed != 3 || run.Removed != 1 || run.Updated != 1 {
		t.Errorf("with what is denied: %+v", run)
	}
	if got, want := x.ids("table"), []string{"eu-west-1-goes", "eu-west-1-stays", "us-east-1-stays"}; !slices.Equal(got, want) {
		t.Errorf("tables are %v, want %v", got, want)
	}
	if got, want := x.ids("group"), []string{"eu-west-1-goes", "eu-west-1-stays", "us-east-1-goes", "us-east-1-stays"}; !slices.Equal(got, want) {
		t.Errorf("groups are %v, want %v", got, want)
	}
	var scopes struct {
		List []struct{ Region, Kind, Status, Error string }
	}
	x.do(t, "GET", "/v1/exporter/sync_runs/"+run.ID+"/scopes?status=failed", nil, &scopes)
	for _, s := range scopes.List {
		if !slices.Contains(denied, cloudScope{s.Region, s.Kind}) || s.Error == "" {
			t.Errorf("a scope that failed: %+v", s)
		}
	}
	if len(scopes.List) != 3 {
		t.Errorf("%d scopes failed", len(scopes.List))
	}
	for _, s := range denied {
		a.deny(s, false)
	}
	if run := x.sync(); run.Status != "succeeded" || run.Removed != 3 || run.Updated != 3 {
		t.Errorf("once it is allowed: %+v", run)
	}
	if got, want := append(x.ids("table"), x.ids("group")...), append(a.both(tableKind), a.both(groupKind)...); !slices.Equal(got, want) {
		t.Errorf("entities are %v, want %v", got, want)
	}
}

func (a *cloudAccount) both(kind string) []string {
	return slices.Sorted(slices.Values(append(a.truth(cloudScope{home, kind}), a.truth(cloudScope{second, kind})...)))
}

// A full sync that would remove much is held; once it is confirmed, what came back
// since stays.
func TestManyRemovalsWaitForConfirmation(t *testing.T) {
	t.Parallel()
	x := startExported(t)
	a := newCloudAccount(t, "111122223333")
	x.followCloud(a, home)
	tables := cloudScope{home, tableKind}
	var all []string
	for i := range 30 {
		all = append(all, fmt.Sprintf("t-%02d", i))
		a.put(tables, all[i], thing(all[i], i))
	}
	x.sync()
	x.age()
	for _, id := range all[:15] {
		a.remove(tables, id)
	}
	held := x.sync()
	if held.Status != "held" || held.Held != 15 || held.Removed != 0 || !slices.Equal(x.ids("table"), all) {
		t.Errorf("the run that would remove half: %+v; there are %v", held, x.ids("table"))
	}
	a.put(tables, all[3], thing(all[3], 333))
	if run := x.run("/v1/exporter/sync_runs/"+held.ID+"/confirm", map[string]any{}); run.Status != "succeeded" || run.Removed != 14 {
		t.Errorf("the run that was confirmed: %+v", run)
	}
	if got, want := x.ids("table"), a.truth(tables); !slices.Equal(got, want) {
		t.Errorf("there are %v, want %v", got, want)
	}
	if got := x.entities("table")[all[3]]; got["size"] != 333.0 {
		t.Errorf("what came back is %v", got)
	}
	if again := x.rest(t, http.MethodPost, "/v1/exporter/sync_runs/"+held.ID+"/confirm", "", map[string]any{}); again.Status == http.StatusAccepted {
		// The same removals are looked for once more, and none is found.
		if run := x.sync(); run.Removed != 0 {
			t.Errorf("confirmed twice: %+v", run)
		}
	}
}

// A node is killed in the middle of a full sync and of records: another one goes on where it
// was, and what was acknowledged is followed there.
func TestAnotherNodeTakesTheExporterOver(t *testing.T) {
	t.Parallel()
	nats, database := startNATS(t), storetest.PostgresURL(t)
	node := func() Config {
		c := NewConfig()
		c.Listen, c.DataDir, c.EventLogBytes = "127.0.0.1:0", t.TempDir(), 64<<20
		c.Database, c.NATS, c.EventLogReplicas, c.SecretKey = database, nats, 1, "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
		return c
	}
	first := node()
	one := startProcess(t, serverSettings{Config: &first})
	a := newCloudAccount(t, "111122223333")
	a.latency = crashLatency
	tables := cloudScope{home, tableKind}
	for i := range 1200 {
		id := fmt.Sprintf("t-%04d", i)
		a.put(tables, id, thing(id, 1))
	}
	// What the first had received is hidden for a minute, so the other's clock is ahead.
	ahead := &clock{}
	ahead.forward(90 * time.Second)
	x := &exported{startServerAt(t, node(), ahead.now), ahead}
	x.followCloud(a, home)
	c := x.caller(testAccount, home)
	queue := c.queue("records")
	x.do(t, "PUT", "/v1/exporter/accounts/"+testAccount, map[string]any{"home_region": home}, nil)
	x.do(t, "PUT", "/v1/exporter/accounts/"+testAccount+"/queues", map[string]any{"queue": c.queueARN("records")}, nil)

	var run exportedRun
	x.do(t, "POST", "/v1/exporter/sync_runs", map[string]any{"grace_seconds": 0}, &run)
	await(t, "the first node to get on", func() bool {
		x.do(t, "GET", "/v1/exporter/sync_runs/"+run.ID, nil, &run)
		return run.Listed > 0
	})
	burst := func(n, size int) {
		var records []string
		for range n {
			id := fmt.Sprintf("t-%04d", rand.N(1200))
			if rand.N(3) == 0 {
				a.remove(tables, id)
				records = append(records, a.record(tables, id, "delete"))
				continue
			}
			a.put(tables, id, thing(id, size))
			records = append(records, a.record(tables, id, "upsert"))
		}
		c.send(queue, records...)
	}
	burst(60, 2)
	asked := len(a.asked(0))
	one.kill()
	if run.Status != "running" {
		t.Fatalf("the full sync was over before the node was killed: %+v", run)
	}
	burst(60, 3)
	await(t, "the full sync to end at the other node", func() bool {
		x.do(t, "GET", "/v1/exporter/sync_runs/"+run.ID, nil, &run)
		return run.Status != "running"
	})
	if run.Status != "succeeded" {
		t.Errorf("the full sync: %+v", run)
	}
	if lists := a.asked(asked); len(lists) > 0 && a.listedTo(lists[0]) == 0 {
		t.Errorf("the other node began anew")
	}
	await(t, "the records' queue to be empty", func() bool {
		visible, inFlight := c.left(queue)
		return visible == "0" && inFlight == "0"
	})
	sizes := map[string]any{}
	for id, e := range x.entities("table") {
		sizes[id] = e["size"]
	}
	want := map[string]any{}
	for _, id := range a.truth(tables) {
		want[id] = float64(a.resources[tables][id]["Size"].(int))
	}
	if !maps.Equal(sizes, want) {
		t.Errorf("%d entities of %d tables, or they differ:\n%v\n%v", len(sizes), len(want), sizes, want)
	}
}
