package app

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rialto-bus/rialto/internal/store/storetest"
)

const (
	// crashTables are the resources that a full sync finds.
	crashTables = 2500
	// crashLatency is that of an answer of the cloud.
	crashLatency = 25 * time.Millisecond
	// later is when nothing is put off any more: what a killed server had received comes again
	// after 90 s, a resource may not be found for 5 min after a record said that it lives, and
	// may be found for an hour after one said that it was deleted.
	later = 2 * time.Hour
)

// onKillableServers runs a test on each database, on PostgreSQL with half of the kills.
func onKillableServers(t *testing.T, test func(t *testing.T, s serverSettings, rounds int)) {
	t.Parallel()
	rounds := crashRounds(t)
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		test(t, serverSettings{DataDir: t.TempDir()}, rounds)
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		c := NewConfig()
		c.Listen, c.DataDir, c.Database, c.EventLogBytes = "127.0.0.1:0", t.TempDir(), storetest.PostgresURL(t), 64<<20
		test(t, serverSettings{DataDir: c.DataDir, Config: &c}, (rounds+1)/2)
	})
}

// A full sync that is killed goes on where it was, and what events tell meanwhile is not
// lost: in the end the catalog is as the cloud is, and nothing is half written.
func TestAKilledFullSyncGoesOnWhereItWas(t *testing.T) { onKillableServers(t, testKilledSync) }

func testKilledSync(t *testing.T, s serverSettings, rounds int) {
	c := newExporterCrash(t, s, crashTables)
	c.changes(2, 5*time.Millisecond)
	for range rounds {
		c.killDuringSync(t)
	}
	c.settle(t)
	c.goneOn(t)
	c.check(t)
	reads := 0
	for id := range c.tables {
		reads += c.cloud.reads(id)
	}
	t.Logf("%d kills, of which a full sync went on after %d; %d resources were read %d times", rounds, c.resumed, crashTables, reads)
	if c.resumed == 0 {
		t.Errorf("no full sync was killed")
	}
}

// Records that a queue has acknowledged are followed, whenever the server is killed: with
// no full sync, the catalog is as the cloud is in the end.
func TestAKilledExporterLosesNoRecord(t *testing.T) { onKillableServers(t, testKilledBurst) }

func testKilledBurst(t *testing.T, s serverSettings, rounds int) {
	c := newExporterCrash(t, s, 0)
	c.changes(6, 0)
	for range rounds {
		before := c.acked.Load()
		await(t, "records on the queue", func() bool { return c.acked.Load() >= before+250 })
		c.kill()
		c.restart(t)
	}
	c.settle(t)
	c.check(t)
	for id, table := range c.tables {
		if table.created < c.audited[id]["CREATE"] || table.deleted < c.audited[id]["DELETE"] {
			t.Errorf("%s was created %d times and deleted %d times; its entity %v", id, table.created, table.deleted, c.audited[id])
		}
	}
	t.Logf("%d kills; %d records acknowledged, %d calls cut off", rounds, c.acked.Load(), c.cut.Load())
}

// exporterCrash is a server whose exporter follows a cloud that changes, and which is
// killed.
type exporterCrash struct {
	*mortal
	client *awsClient
	cloud  *cloudAccount
	scope  cloudScope

	mu     sync.Mutex
	tables map[string]*crashTable

	acked, cut atomic.Int64
	load       sync.WaitGroup
	end        context.CancelFunc

	run     string // the full sync that is open
	resumed int
	// read is how often tables had been read that a full sync need not read again.
	read    map[string]int
	audited map[string]map[string]int // how many changes of each action, by entity
}

// crashTable is the truth about a table.
type crashTable struct {
	present          bool
	version          int
	created, deleted int
}

func newExporterCrash(t *testing.T, s serverSettings, tables int) *exporterCrash {
	c := &exporterCrash{
		mortal: newMortal(s), cloud: newCloudAccount(t, "111122223333"), scope: cloudScope{home, tableKind},
		tables: map[string]*crashTable{}, read: map[string]int{}, audited: map[string]map[string]int{},
	}
	c.cloud.latency = crashLatency
	c.client = newAWSClient(c.url)
	for i := range tables {
		id := fmt.Sprintf("table-%05d", i)
		c.tables[id] = &crashTable{present: true, created: 1}
		c.cloud.put(c.scope, id, c.tables[id].properties(id))
	}
	c.restart(t)
	c.client.createQueue(t, "records", 30)
	c.client.createQueue(t, "told", 600)
	c.client.must(t, "events", "PutRule", map[string]any{"Name": "told", "EventPattern": `{"source":["rialto"],"detail-type":[{"prefix":"entity."}]}`})
	c.client.must(t, "events", "PutTargets", map[string]any{"Rule": "told", "Targets": []map[string]string{{"Id": "told", "Arn": queueARN("told")}}})
	c.rest(t, "PUT", "/v1/cloud/accounts/"+c.cloud.id, c.cloud.settings(home), nil)
	c.rest(t, "PUT", "/v1/exporter/sync_settings", map[string]any{"interval": "0s"}, nil)
	c.rest(t, "POST", "/v1/blueprints", map[string]any{
		"identifier": "table", "title": "表", "schema": map[string]any{"properties": map[string]any{"label": map[string]any{"type": "string"}, "version": map[string]any{"type": "number"}}},
	}, nil)
	c.rest(t, "PUT", "/v1/exporter/config", map[string]any{"config": json.RawMessage(`{"resources":[{"kind":"AWS::DynamoDB::Table","port":{"entity":{"mappings":[
		{"identifier":".TableName","title":".TableName","blueprint":"table","properties":{"label":".Label","version":".Version"}}]}}}]}`)}, nil)
	c.rest(t, "PUT", "/v1/exporter/accounts/"+c.cloud.id, map[string]any{"home_region": home}, nil)
	c.rest(t, "PUT", "/v1/exporter/accounts/"+testAccount, map[string]any{"home_region": second}, nil)
	c.rest(t, "PUT", "/v1/exporter/accounts/"+testAccount+"/queues", map[string]any{"queue": queueARN("records")}, nil)
	return c
}

func (c *crashTable) properties(id string) map[string]any {
	return map[string]any{"TableName": id, "Version": c.version, "Label": c.label(id)}
}

func (c *crashTable) label(id string) string { return fmt.Sprintf("%s 第%d版", id, c.version) }

func (c *exporterCrash) rest(t *testing.T, method, path string, in, out any) {
	t.Helper()
	if _, err := c.server.rest(t.Context(), method, path, in, out); err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
}

// changes has the cloud change, and records told of it, until the load is to end.
func (c *exporterCrash) changes(clients int, between time.Duration) {
	ctx, cancel := context.WithCancel(context.Background())
	c.end = cancel
	for i := range clients {
		c.load.Go(func() {
			for ctx.Err() == nil {
				c.change(clients, i)
				pause(ctx, between)
			}
		})
	}
}

// change changes one of a client's own tables, and sends a record until it is acknowledged, as
// a rule's delivery is: now and then twice, or an older one after it.
func (c *exporterCrash) change(clients, client int) {
	// A few tables change often, any of the others rarely.
	n := rand.N(20)
	if rand.N(4) == 0 {
		n = rand.N(crashTables / clients)
	}
	id := fmt.Sprintf("table-%05d", n*clients+client)
	action := c.mutate(id)
	records := []string{c.cloud.record(c.scope, id, action)}
	switch rand.N(12) {
	case 0:
		records = append(records, records[0])
	case 1:
		records = append(records, c.cloud.record(c.scope, id, "upsert"))
	case 2:
		records = append(records, c.cloud.record(c.scope, id, "delete"))
	}
	for _, body := range records {
		// Not under the load's context: a change without its record would be a lost event.
		for {
			err := c.client.call(context.Background(), "sqs", "SendMessage", map[string]any{"QueueUrl": queueURL("records"), "MessageBody": body}, nil)
			if err == nil {
				break
			}
			c.cut.Add(1)
			pause(context.Background(), crashPause)
		}
		c.acked.Add(1)
	}
}

func (c *exporterCrash) mutate(id string) (action string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	table := c.tables[id]
	if table == nil {
		table = &crashTable{}
		c.tables[id] = table
	}
	table.version++
	switch {
	case table.present && rand.N(3) == 0:
		table.present = false
		table.deleted++
		c.cloud.remove(c.scope, id)
		return "delete"
	case !table.present:
		table.present = true
		table.created++
	}
	c.cloud.put(c.scope, id, table.properties(id))
	return "upsert"
}

type crashRun struct {
	ID, Status string
	Listed     int
}

func (c *exporterCrash) syncRun(t *testing.T) (run crashRun) {
	t.Helper()
	c.rest(t, "GET", "/v1/exporter/sync_runs/"+c.run, nil, &run)
	return run
}

func (r crashRun) open() bool { return r.Status == "waiting" || r.Status == "running" }

// killDuringSync kills the server once a full sync has written down how far it has come, and
// checks that it goes on from there.
func (c *exporterCrash) killDuringSync(t *testing.T) {
	t.Helper()
	if c.run == "" || !c.syncRun(t).open() {
		c.goneOn(t)
		var run crashRun
		c.rest(t, "POST", "/v1/exporter/sync_runs", map[string]any{"grace_seconds": 0}, &run)
		c.run = run.ID
	}
	first := c.syncRun(t).Listed
	var run crashRun
	await(t, "a full sync to get on", func() bool {
		run = c.syncRun(t)
		return run.Listed > first || !run.open()
	})
	<-time.After(rand.N(300 * time.Millisecond))
	c.kill()
	asked := len(c.cloud.asked(0))
	c.restart(t)
	if !run.open() {
		return
	}
	await(t, "the full sync to go on", func() bool { return len(c.cloud.asked(asked)) > 0 || !c.syncRun(t).open() })
	tokens := c.cloud.asked(asked)
	if len(tokens) == 0 {
		return // all was listed
	}
	c.resumed++
	if from := c.cloud.listedTo(tokens[0]); from < run.Listed {
		t.Errorf("a full sync that had stored %d resources goes on after %d", run.Listed, from)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for id := range c.tables {
		if _, noted := c.read[id]; id <= tokens[0] && !noted {
			c.read[id] = c.cloud.reads(id)
		}
	}
}

// goneOn checks that a full sync has read nothing again that was stored before it was killed.
func (c *exporterCrash) goneOn(t *testing.T) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	again := 0
	for id, n := range c.read {
		if c.tables[id].version == 0 && c.cloud.reads(id) != n {
			again++
		}
	}
	if again > 0 {
		t.Errorf("%d of %d tables were read again that were stored before the kill", again, len(c.read))
	}
	clear(c.read)
}

// settle ends the load, and waits until all is done that was asked for, with the clock put
// forward to when it is due.
func (c *exporterCrash) settle(t *testing.T) {
	t.Helper()
	c.end()
	c.load.Wait()
	c.kill()
	c.settings.ClockAhead = later
	c.restart(t)
	if c.run != "" {
		await(t, "the full sync to end", func() bool { return !c.syncRun(t).open() })
		if run := c.syncRun(t); run.Status != "succeeded" {
			t.Errorf("the full sync is %s", run.Status)
		}
	}
	await(t, "the records' queue to be empty", func() bool { return c.left(t, "records") == 0 })
	await(t, "the tables to be read again that were to be", func() bool { return c.rechecks(t) == 0 })
}

// rechecks is how many tables are to be read again of those that the exporter takes to exist.
func (c *exporterCrash) rechecks(t *testing.T) (n int) {
	t.Helper()
	for path := "/v1/exporter/resources"; path != ""; {
		var page struct {
			List []struct {
				RecheckAt *time.Time `json:"recheck_at"`
			}
		}
		header, err := c.server.rest(t.Context(), "GET", path, nil, &page)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range page.List {
			if r.RecheckAt != nil {
				n++
			}
		}
		path = ""
		if link := header.Get("Link"); link != "" {
			path = link[1:strings.IndexByte(link, '>')]
		}
	}
	return n
}

// await waits as long as much may take.
func await(t *testing.T, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(2 * time.Minute); !cond(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// left is how many messages a queue holds, hidden ones too.
func (c *exporterCrash) left(t *testing.T, queue string) (n int) {
	t.Helper()
	out := c.client.must(t, "sqs", "GetQueueAttributes", map[string]any{
		"QueueUrl": queueURL(queue), "AttributeNames": []string{"ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible", "ApproximateNumberOfMessagesDelayed"},
	})
	for _, v := range out["Attributes"].(map[string]any) {
		var some int
		if _, err := fmt.Sscan(v.(string), &some); err != nil {
			t.Fatal(err)
		}
		n += some
	}
	return n
}

type crashEntity struct {
	Identifier string
	Properties struct {
		Label   string
		Version int
	}
}

// check compares the catalog with the cloud, and all that is written about a change with
// the rest of it.
func (c *exporterCrash) check(t *testing.T) {
	t.Helper()
	var out struct{ Entities []crashEntity }
	c.rest(t, "GET", "/v1/blueprints/table/entities", nil, &out)
	entities := map[string]crashEntity{}
	for _, e := range out.Entities {
		entities[e.Identifier] = e
	}
	wrong := 0
	for id, table := range c.tables {
		e, there := entities[id]
		if there == table.present && (!there || e.Properties.Version == table.version && e.Properties.Label == table.label(id)) {
			continue
		}
		if wrong++; wrong <= 5 {
			t.Errorf("%s is %+v; its entity is there: %v, %+v\nthe exporter has of it %s", id, *table, there, e.Properties, c.known(t, id))
		}
	}
	if wrong > 5 {
		t.Errorf("… and %d more", wrong-5)
	}
	if truth := c.cloud.truth(c.scope); len(entities) != len(truth) {
		t.Errorf("%d entities of %d resources", len(entities), len(truth))
	}
	var dead struct{ List []any }
	if c.rest(t, "GET", "/v1/exporter/records", nil, &dead); len(dead.List) > 0 {
		t.Errorf("%d dead records: %v", len(dead.List), dead.List[0])
	}
	c.checkSearch(t, entities)
	c.checkHistory(t, entities)
	c.checkEvents(t)
}

// known is what the exporter knows of a table.
func (c *exporterCrash) known(t *testing.T, id string) []byte {
	t.Helper()
	var out struct{ List json.RawMessage }
	c.rest(t, "GET", "/v1/exporter/resources?gone=true&identifier="+id, nil, &out)
	return out.List
}

// checkSearch: a search by a property finds what has it, and nothing else.
func (c *exporterCrash) checkSearch(t *testing.T, entities map[string]crashEntity) {
	t.Helper()
	byVersion := map[int][]string{}
	labels := 0
	for id, table := range c.tables {
		if table.version == 0 {
			continue
		}
		byVersion[table.version] = nil // also versions that nothing has now
		if labels++; labels > 150 {
			continue
		}
		var want []string
		if table.present {
			want = []string{id}
		}
		if got := c.search(t, "label", table.label(id)); !slices.Equal(got, want) {
			t.Errorf("a search for the label of %s finds %v, want %v", id, got, want)
		}
	}
	for id, e := range entities {
		byVersion[e.Properties.Version] = append(byVersion[e.Properties.Version], id)
	}
	for version, want := range byVersion {
		slices.Sort(want)
		if got := c.search(t, "version", version); !slices.Equal(got, want) {
			t.Errorf("a search for version %d finds %d entities, %d have it", version, len(got), len(want))
		}
	}
}

func (c *exporterCrash) search(t *testing.T, property string, value any) []string {
	t.Helper()
	var out struct{ Entities []crashEntity }
	c.rest(t, "POST", "/v1/entities/search?include=identifier", map[string]any{"combinator": "and", "rules": []any{
		map[string]any{"property": "$blueprint", "operator": "=", "value": "table"}, map[string]any{"property": property, "operator": "=", "value": value},
	}}, &out)
	var ids []string
	for _, e := range out.Entities {
		ids = append(ids, e.Identifier)
	}
	slices.Sort(ids)
	return ids
}

// checkHistory: the changes of each entity, one after the other, come to what it is now.
func (c *exporterCrash) checkHistory(t *testing.T, entities map[string]crashEntity) {
	t.Helper()
	type change struct {
		Action  string
		Context struct{ Entity string }

		AdditionalData struct {
			Fields map[string]struct{ Before, After any }
		}
	}
	var all []change
	for before := ""; ; {
		var page struct {
			Audits []change
			Next   *string
		}
		c.rest(t, "GET", "/v1/audit-log?resources=entity&blueprint=table&limit=1000"+before, nil, &page)
		all = append(all, page.Audits...)
		if page.Next == nil {
			break
		}
		before = "&before=" + url.QueryEscape(*page.Next)
	}
	slices.Reverse(all)
	now := map[string]map[string]any{}
	for _, a := range all {
		id := a.Context.Entity
		if c.audited[id] == nil {
			c.audited[id] = map[string]int{}
		}
		c.audited[id][a.Action]++
		if (a.Action == "CREATE") == (now[id] != nil) {
			t.Errorf("%s of %s, which is %v", a.Action, id, now[id])
		}
		if now[id] == nil {
			now[id] = map[string]any{}
		}
		for field, f := range a.AdditionalData.Fields {
			if had := now[id][field]; strings.HasPrefix(field, "properties.") && fmt.Sprint(had) != fmt.Sprint(f.Before) {
				t.Errorf("%s of %s: %s was %v, and the history has %v before it", a.Action, id, field, had, f.Before)
			}
			now[id][field] = f.After
		}
		if a.Action == "DELETE" {
			delete(now, id)
		}
	}
	if len(now) != len(entities) {
		t.Errorf("by their history there are %d entities, there are %d", len(now), len(entities))
	}
	for id, fields := range now {
		e := entities[id]
		if fields["properties.label"] != e.Properties.Label || fields["properties.version"] != float64(e.Properties.Version) {
			t.Errorf("by its history %s is %v, it is %+v", id, fields, e.Properties)
		}
	}
}

// checkEvents: each change in the history was told, and none besides.
func (c *exporterCrash) checkEvents(t *testing.T) {
	t.Helper()
	actions := map[string]string{"created": "CREATE", "updated": "UPDATE", "deleted": "DELETE"}
	var mu sync.Mutex
	seen := map[string]bool{}
	told := map[string]map[string]int{}
	want := 0
	for _, n := range c.audited {
		want += n["CREATE"] + n["UPDATE"] + n["DELETE"]
	}
	count := func() int {
		mu.Lock()
		defer mu.Unlock()
		return len(seen)
	}
	take := func(m message) {
		var e struct {
			ID     string
			Detail struct{ Change, Identifier string }
		}
		if err := json.Unmarshal([]byte(m.Body), &e); err != nil {
			t.Errorf("%s: %v", m.Body, err)
		}
		mu.Lock()
		defer mu.Unlock()
		if seen[e.ID] {
			return // an event may come twice, with the same id
		}
		seen[e.ID] = true
		if told[e.Detail.Identifier] == nil {
			told[e.Detail.Identifier] = map[string]int{}
		}
		told[e.Detail.Identifier][actions[e.Detail.Change]]++
	}
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for ctx.Err() == nil {
				messages, _ := c.client.receive(ctx, "told")
				for _, m := range messages {
					take(m)
				}
				_, _ = c.client.remove(ctx, "told", messages) // what stays is hidden
			}
		})
	}
	await(t, fmt.Sprintf("the events of %d changes", want), func() bool { return count() >= want })
	cancel()
	all.Wait()
	for id, n := range c.audited {
		if !maps.Equal(n, told[id]) {
			t.Errorf("of %s the history has %v, and events told of %v", id, n, told[id])
		}
	}
	for id := range told {
		if c.audited[id] == nil {
			t.Errorf("events told of %s, and the history does not", id)
		}
	}
}
