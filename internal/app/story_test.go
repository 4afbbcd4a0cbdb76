package app

import (
	"context"
	"encoding/json"
	"errors"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	ebtypes "github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/nats-io/nats-server/v2/server"

	"github.com/rialto-bus/rialto/internal/inventory"
	"github.com/rialto-bus/rialto/internal/store/storetest"
)

// The README's story and what follows it, on every pair of engines.
func TestTheInventoryFollowsTheCloud(t *testing.T) {
	t.Parallel()
	for name, engines := range map[string]func(*testing.T, *Config){
		"SQLite":     func(*testing.T, *Config) {},
		"PostgreSQL": func(t *testing.T, c *Config) { c.Database = storetest.PostgresURL(t) },
		"PostgreSQL and NATS": func(t *testing.T, c *Config) {
			c.Database, c.NATS, c.EventLogReplicas = storetest.PostgresURL(t), startNATS(t), 1
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := NewConfig()
			c.Listen, c.DataDir, c.EventLogBytes = "127.0.0.1:0", t.TempDir(), 64<<20
			engines(t, &c)
			var clock clock
			newStory(t, startServerAt(t, c, clock.now), &clock).play()
		})
	}
}

// clock is a server's clock, which can be put forward.
type clock struct{ ahead atomic.Int64 }

func (c *clock) now() time.Time { return time.Now().Add(time.Duration(c.ahead.Load())) }

func (c *clock) forward(d time.Duration) { c.ahead.Add(int64(d)) }

// startNATS runs a NATS server of its own, as an operator would.
func startNATS(t *testing.T) string {
	t.Helper()
	ns, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: -1, NoSigs: true, NoLog: true,
		JetStream: true, StoreDir: t.TempDir(), SyncAlways: true, MaxPayload: 8 << 20,
	})
	if err != nil {
		t.Fatal(err)
	}
	go ns.Start()
	t.Cleanup(func() {
		ns.Shutdown()
		ns.WaitForShutdown()
	})
	if !ns.ReadyForConnections(patience) {
		t.Fatal("NATS did not start")
	}
	return ns.ClientURL()
}

const (
	stateChanges = `{"source":["aws.ec2"],"detail-type":["EC2 Instance State-change Notification"],"detail":{"state":["pending","terminated"]}}`
	recordEvents = `{"source":["rialto"]}`

	home      = "us-east-1"      // has its own rule
	second    = "eu-west-1"      // too
	forwarder = "ap-northeast-1" // forwards to home
)

var storyRegions = []string{home, second, forwarder}

// story is one playing of the story.
type story struct {
	t        *testing.T
	s        *testServer
	clock    *clock
	callers  map[string]*caller
	records  map[string]string // queue of the records' events, by region
	changes  map[string]string // queue of the state changes that reach the webhook, by region
	instance map[string][]string
	rows     map[string]string // id of the row, by instance
}

func newStory(t *testing.T, s *testServer, c *clock) *story {
	y := &story{
		t: t, s: s, clock: c, callers: map[string]*caller{}, records: map[string]string{}, changes: map[string]string{},
		instance: map[string][]string{}, rows: map[string]string{},
	}
	for _, region := range storyRegions {
		y.callers[region] = s.caller("000000000000", region)
		y.records[region] = y.callers[region].ruleToQueue("records", recordEvents)
	}
	return y
}

func (y *story) play() {
	y.connect()
	for _, region := range storyRegions {
		y.launch(region)
	}
	for _, region := range storyRegions {
		y.terminate(region)
	}
	y.restart()
	y.enroll()
	y.drift()
}

// connect leads the state changes of all regions to the webhook.
func (y *story) connect() {
	m := y.s.follow(y.t, "web", "000000000000", storyRegions...)
	for _, region := range []string{home, second} {
		c := y.callers[region]
		destination := c.destination("inventory", m.WebhookURL, oauth(m.TokenURL, m.ClientID, m.ClientSecret))
		c.putRule("", "ec2", stateChanges, ebtypes.Target{Id: aws.String("inventory"), Arn: &destination, RoleArn: aws.String(c.role())})
		y.changes[region] = c.ruleToQueue("changes", stateChanges)
	}
	c := y.callers[forwarder]
	c.putRule("", "forward", stateChanges, ebtypes.Target{Id: aws.String("home"), Arn: aws.String(y.callers[home].busARN("default")), RoleArn: aws.String(c.role())})
	y.changes[forwarder] = y.changes[home]
}

// recordChange is the detail of server.added and its like.
type recordChange struct {
	Server listedServer `json:"server"`
	Cause  struct {
		Kind    string `json:"kind"`
		EventID string `json:"event_id"`
		RunID   string `json:"run_id"`
		Reason  string `json:"reason"`
	} `json:"cause"`
}

// awaitRecords waits for an event of the type about each of the instances.
func (y *story) awaitRecords(region, detailType string, instances []string) map[string]recordChange {
	y.t.Helper()
	found := map[string]recordChange{}
	y.callers[region].awaitEvents(y.records[region], func(e arrivedEvent) bool {
		var d recordChange
		if e.DetailType != detailType {
			return false
		}
		if err := json.Unmarshal(e.Detail, &d); err != nil {
			y.t.Fatal(err)
		}
		if !slices.Contains(instances, d.Server.InstanceID) {
			return false
		}
		if e.Source != "rialto" || e.Region != region || e.Account != "000000000000" || d.Server.InstanceDetails.Region != region {
			y.t.Errorf("%s came from %s in %s of %s: %s", detailType, e.Source, e.Region, e.Account, e.Detail)
		}
		found[d.Server.InstanceID] = d
		return len(found) == len(instances)
	})
	return found
}

// awaitChanges waits for the state changes of the instances to reach the bus that
// calls the webhook, and returns their event ids.
func (y *story) awaitChanges(region, state string, instances []string) map[string]string {
	y.t.Helper()
	c := y.callers[region]
	if region == forwarder {
		c = y.callers[home]
	}
	found := map[string]string{}
	c.awaitEvents(y.changes[region], func(e arrivedEvent) bool {
		var d struct {
			InstanceID string `json:"instance-id"`
			State      string `json:"state"`
		}
		if err := json.Unmarshal(e.Detail, &d); err != nil {
			y.t.Fatal(err)
		}
		if slices.Contains(instances, d.InstanceID) && d.State == state {
			found[d.InstanceID] = e.ID
		}
		return len(found) == len(instances)
	})
	return found
}

func (y *story) launch(region string) {
	y.t.Helper()
	ids := y.run(region, 3)
	y.instance[region] = ids
	caused := y.awaitChanges(region, "pending", ids)
	added := y.awaitRecords(region, "server.added", ids)
	listed := y.s.servers(y.t, "web")
	for _, id := range ids {
		sv, ok := listed[id]
		if !ok || sv.State != "INACTIVE" || sv.InstanceDetails.Region != region {
			y.t.Fatalf("%s: instance %s is listed as %+v", region, id, sv)
		}
		if got := added[id]; got.Server.ID != sv.ID || got.Cause.Kind != "event" || got.Cause.EventID != caused[id] {
			y.t.Errorf("%s: server.added of %s (event %s) says %+v", region, id, caused[id], got)
		}
		y.historyNames(sv.ID, "added", caused[id])
		y.rows[id] = sv.ID
	}
}

func (y *story) run(region string, n int32) []string {
	y.t.Helper()
	out, err := y.callers[region].ec2().RunInstances(y.t.Context(), &ec2.RunInstancesInput{
		ImageId: aws.String("ami-0abcdef1234567890"), MinCount: &n, MaxCount: &n,
	})
	if err != nil {
		y.t.Fatal(err)
	}
	var ids []string
	for _, i := range out.Instances {
		ids = append(ids, *i.InstanceId)
	}
	return ids
}

// historyNames checks that a server's history has a change made by the event.
func (y *story) historyNames(server, change, eventID string) {
	y.t.Helper()
	var out struct {
		List []struct {
			Change string
			Cause  struct {
				Kind    string `json:"kind"`
				EventID string `json:"event_id"`
			}
		}
	}
	y.s.do(y.t, "GET", apiRoot+"/servers/"+server+"/history", nil, &out)
	for _, e := range out.List {
		if e.Change == change && e.Cause.Kind == "event" && e.Cause.EventID == eventID {
			return
		}
	}
	y.t.Errorf("the history of server %s names no event %s for %s: %+v", server, eventID, change, out.List)
}

func (y *story) terminate(region string) {
	y.t.Helper()
	gone := y.instance[region][:1]
	if _, err := y.callers[region].ec2().TerminateInstances(y.t.Context(), &ec2.TerminateInstancesInput{InstanceIds: gone}); err != nil {
		y.t.Fatal(err)
	}
	caused := y.awaitChanges(region, "terminated", gone)
	removed := y.awaitRecords(region, "server.removed", gone)
	if cause := removed[gone[0]].Cause; cause.EventID != caused[gone[0]] || cause.Reason != "terminated" {
		y.t.Errorf("%s: the removal of %s (event %s) is put down to %+v", region, gone[0], caused[gone[0]], cause)
	}
	y.historyNames(y.rows[gone[0]], "removed", caused[gone[0]])
	listed := y.s.servers(y.t, "web")
	if _, ok := listed[gone[0]]; ok {
		y.t.Errorf("%s: terminated instance %s is listed", region, gone[0])
	}
	y.instance[region] = y.instance[region][1:]
	for _, id := range y.instance[region] {
		if _, ok := listed[id]; !ok {
			y.t.Errorf("%s: instance %s is missing since another was terminated", region, id)
		}
	}
}

// restart stops and starts an instance: it stays the same row, which shows what
// was changed meanwhile.
func (y *story) restart() {
	y.t.Helper()
	id := y.instance[home][0]
	cloud := y.callers[home].ec2()
	before := y.s.servers(y.t, "web")[id]
	if _, err := cloud.StopInstances(y.t.Context(), &ec2.StopInstancesInput{InstanceIds: []string{id}}); err != nil {
		y.t.Fatal(err)
	}
	stopped := ec2.NewInstanceStoppedWaiter(cloud, func(o *ec2.InstanceStoppedWaiterOptions) { o.MinDelay, o.MaxDelay = 20*time.Millisecond, time.Second })
	if err := stopped.Wait(y.t.Context(), &ec2.DescribeInstancesInput{InstanceIds: []string{id}}, patience); err != nil {
		y.t.Fatal(err)
	}
	if _, err := cloud.CreateTags(y.t.Context(), &ec2.CreateTagsInput{Resources: []string{id}, Tags: []ec2types.Tag{
		{Key: aws.String("team"), Value: aws.String("订单 🛒")},
	}}); err != nil {
		y.t.Fatal(err)
	}
	// An event's time has whole seconds; two of one instance and state in the same
	// second are the same event.
	y.clock.forward(time.Second)
	if _, err := cloud.StartInstances(y.t.Context(), &ec2.StartInstancesInput{InstanceIds: []string{id}}); err != nil {
		y.t.Fatal(err)
	}
	caused := y.awaitChanges(home, "pending", []string{id})
	updated := y.awaitRecords(home, "server.updated", []string{id})[id]
	if updated.Cause.EventID != caused[id] {
		y.t.Errorf("the update after the restart (event %s) is put down to %+v", caused[id], updated.Cause)
	}
	after := y.s.servers(y.t, "web")[id]
	if after.ID != before.ID || after.Labels["aws.tag.team"] != "订单 🛒" {
		y.t.Errorf("since its instance was stopped and started, server %+v is %+v", before, after)
	}
}

// enroll runs an agent on a discovered instance, which becomes ACTIVE.
func (y *story) enroll() {
	y.t.Helper()
	id := y.instance[second][0]
	var token struct{ Token string }
	y.s.do(y.t, "POST", apiRoot+"/projects/web/server_enrollment_tokens", map[string]string{"description": "代理 🤖"}, &token)
	agent := &inventory.Agent{
		StateFile: filepath.Join(y.t.TempDir(), "agent.json"),
		Identify: func(context.Context) (inventory.InstanceIdentity, error) {
			return inventory.InstanceIdentity{AccountID: "000000000000", Region: second, InstanceID: id}, nil
		},
		Facts: func(context.Context) (inventory.AgentFacts, error) {
			return inventory.AgentFacts{Hostname: "app-1", OSType: "linux"}, nil
		},
	}
	ctx, stop := context.WithCancel(y.t.Context())
	ended := make(chan error, 1)
	go func() { ended <- agent.Run(ctx, token.Token) }()
	y.awaitRecords(second, "server.enrolled", []string{id})
	stop()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		y.t.Errorf("the agent ended with: %v", err)
	}
	sv := y.s.servers(y.t, "web")[id]
	if sv.State != "ACTIVE" || sv.ID != y.rows[id] {
		y.t.Errorf("server %s is %+v since the agent enrolled", y.rows[id], sv)
	}
}

// drift launches an instance while the rule is disabled: the full sync finds it.
func (y *story) drift() {
	y.t.Helper()
	c := y.callers[second]
	if _, err := c.events().DisableRule(y.t.Context(), &eventbridge.DisableRuleInput{Name: aws.String("ec2")}); err != nil {
		y.t.Fatal(err)
	}
	id := y.run(second, 1)
	y.awaitChanges(second, "pending", id) // the event went by
	y.clock.forward(3 * time.Minute)      // or it might still be on its way
	var run struct{ ID string }
	runs := apiRoot + "/projects/web/cloud_accounts/000000000000/sync_runs"
	y.s.do(y.t, "POST", runs, map[string]bool{"dry_run": false}, &run)
	added := y.awaitRecords(second, "server.added", id)[id[0]]
	if added.Cause.Kind != "sync" || added.Cause.RunID != run.ID {
		y.t.Errorf("the server of which no event told is put down to %+v, want run %s", added.Cause, run.ID)
	}
	y.callers[home].awaitEvents(y.records[home], func(e arrivedEvent) bool {
		var d struct {
			RunID  string `json:"run_id"`
			Status string `json:"status"`
			Added  int    `json:"added"`
			Drift  int    `json:"drift"`
		}
		if e.DetailType != "sync.finished" {
			return false
		}
		if err := json.Unmarshal(e.Detail, &d); err != nil {
			y.t.Fatal(err)
		}
		if d.RunID != run.ID {
			return false // a scheduled one
		}
		if d.Status != "succeeded" || d.Added != 1 || d.Drift != 1 {
			y.t.Errorf("the run ended with %s", e.Detail)
		}
		return true
	})
	var health struct {
		List []struct {
			Region, Status string
			Drift          int
		}
	}
	y.s.do(y.t, "GET", apiRoot+"/projects/web/cloud_accounts/000000000000/health", nil, &health)
	for _, r := range health.List {
		want := "live"
		if r.Region == second {
			want = "silent"
		}
		if r.Status != want {
			y.t.Errorf("region %s is %s after the sync, want %s: %+v", r.Region, r.Status, want, health.List)
		}
	}
	if len(health.List) != len(storyRegions) {
		y.t.Errorf("the health of %d regions is known: %+v", len(health.List), health.List)
	}
}
