package app

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/google/uuid"

	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/event"
	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/store/storetest"
)

// trailed is a server that serves calls from inside only: nothing runs in the background, so
// that the database changes by calls alone and keeps their events in the outbox.
type trailed struct {
	*App
	outs map[string]any // the last answer of each operation
}

func openTrailed(t *testing.T, database string) *trailed {
	t.Helper()
	c := NewConfig()
	c.Listen, c.DataDir, c.EventLogBytes, c.Database = "127.0.0.1:0", t.TempDir(), 64<<20, database
	a := &App{config: c, logger: slog.New(slog.DiscardHandler), failed: make(chan error, 1), stopping: make(chan struct{})}
	if err := a.open(t.Context(), hooks{now: time.Now}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = a.listener.Close()
		if err := a.close(); err != nil {
			t.Error(err)
		}
	})
	return &trailed{App: a, outs: map[string]any{}}
}

// trailStep is a call that changes something, with what it needs first.
type trailStep struct {
	service, operation string
	// input is JSON with references such as ${CreateConnection.ConnectionArn} to answers.
	input string
	// prepare brings about what no call here can; may be nil.
	prepare func(t *testing.T, x *trailed)
	// idle says that the call succeeds without a transaction, still that its transaction
	// changes nothing.
	idle, still bool
	// prepared are the tables that it may change beforehand, in transactions of their own.
	prepared []string
}

// Every mutating operation of every service leaves exactly one event: with its change or, if
// it is refused, by itself; and where the event cannot be stored, the change is not made.
func TestEveryMutatingOperationLeavesOneEventWithItsChange(t *testing.T) {
	t.Parallel()
	t.Run("sqlite", func(t *testing.T) { testEveryMutatingOperation(t, "") })
	t.Run("postgres", func(t *testing.T) { testEveryMutatingOperation(t, storetest.PostgresURL(t)) })
}

func testEveryMutatingOperation(t *testing.T, database string) {
	x := openTrailed(t, database)
	missing := map[string]bool{}
	for _, api := range x.aws.APIs() {
		for _, op := range api.Operations {
			if !op.Data && (op.Access == awsapi.Write || op.Access == awsapi.Administer) {
				missing[api.Name+" "+op.Name] = true
			}
		}
	}
	for _, name := range trailNotServed {
		delete(missing, name)
		service, operation, _ := strings.Cut(name, " ")
		x.refusedStep(t, trailStep{service: service, operation: operation, input: "{}"})
	}
	for i, s := range trailSteps(t) {
		name := s.service + " " + s.operation
		delete(missing, name)
		if !t.Run(fmt.Sprintf("%02d %s", i, name), func(t *testing.T) { x.step(t, s) }) {
			return // what follows builds on it
		}
	}
	for name := range missing {
		t.Errorf("there is no step that calls %s", name)
	}
}

func (x *trailed) step(t *testing.T, s trailStep) {
	if s.prepare != nil {
		s.prepare(t, x)
	}
	s.input = x.resolved(t, s.input)
	x.refusedStep(t, s)

	// Without room for its event the call does nothing at all.
	x.breakTrail(t)
	before := x.dump(t)
	_, _, err := x.invoke(t, awsapi.RoleAdmin, s)
	if err == nil && !s.idle || err != nil && s.idle {
		t.Errorf("it was answered with %v although its event could not be stored", err)
	}
	after := x.dump(t)
	for _, table := range s.prepared {
		delete(after, table)
	}
	sameTables(t, "although its event could not be stored", before, after)
	x.mendTrail(t)

	requestID, out, err := x.invoke(t, awsapi.RoleAdmin, s)
	if err != nil {
		t.Fatalf("%s: %v", s.input, err)
	}
	x.outs[s.operation] = out
	after = x.dump(t)
	for _, table := range s.prepared {
		delete(before, table)
		delete(after, table)
	}
	if !s.idle && !s.still && maps.EqualFunc(before, after, slices.Equal) {
		t.Error("it changed nothing: the step shows nothing")
	}
	op := x.operation(t, s)
	x.sameTransaction(t, before, after)
	detail := x.onlyCall(t, op, requestID)
	if detail["errorCode"] != nil || detail["readOnly"] != false {
		t.Errorf("it is recorded as %v", detail)
	}
	missingFrom(t, op, out, detail["responseElements"])
}

// sameTransaction checks, where the database tells, that all that changed was written by the
// transaction that wrote the event.
func (x *trailed) sameTransaction(t *testing.T, before, after map[string][]string) {
	t.Helper()
	if x.db.Dialect() != store.Postgres {
		return
	}
	events := x.rows(t, `SELECT DISTINCT xmin FROM outbox`)
	if len(events) != 1 {
		t.Errorf("the events were written by transactions %v", events)
		return
	}
	for table, rows := range after {
		for _, row := range rows {
			if writer, _, _ := strings.Cut(row, " "); writer != strings.TrimSuffix(events[0], "]") && !slices.Contains(before[table], row) {
				t.Errorf("the event was written by transaction %s, and to table %s by another: %s", events[0], table, row)
			}
		}
	}
}

// refusedStep makes the call as one who may only read.
func (x *trailed) refusedStep(t *testing.T, s trailStep) {
	t.Helper()
	before := x.dump(t)
	requestID, _, err := x.invoke(t, awsapi.RoleReader, s)
	if err == nil {
		t.Errorf("a reader may call %s", s.operation)
	}
	sameTables(t, "for a reader", before, x.dump(t))
	detail := x.onlyCall(t, x.operation(t, s), requestID)
	if code := detail["errorCode"]; code != "AccessDenied" && code != "Client.UnauthorizedOperation" || detail["responseElements"] != nil {
		t.Errorf("the refusal is recorded as %v", detail)
	}
}

func (x *trailed) operation(t *testing.T, s trailStep) *awsapi.Operation {
	t.Helper()
	for _, api := range x.aws.APIs() {
		for i := range api.Operations {
			if op := &api.Operations[i]; api.Name == s.service && op.Name == s.operation {
				return op
			}
		}
	}
	t.Fatalf("there is no %s of %s", s.operation, s.service)
	return nil
}

func (x *trailed) invoke(t *testing.T, role string, s trailStep) (requestID string, out any, err error) {
	t.Helper()
	op := x.operation(t, s)
	in := op.New()
	if err := awsapi.DecodeJSON(op.Input, []byte(s.input), in); err != nil {
		t.Fatalf("%s: %v", s.input, err)
	}
	requestID = uuid.NewString()
	c := awsapi.Caller{AccessKeyID: "AKIDEXAMPLE", Account: testAccount, Region: testRegion, Role: role, RequestID: requestID, SourceIP: "203.0.113.10", UserAgent: "test/1"}
	out, err = x.aws.Invoke(t.Context(), c, s.service, s.operation, in)
	return requestID, out, err
}

var trailReference = regexp.MustCompile(`\$\{(\w+)\.([\w.]+)\}`)

// resolved puts answers in place of references.
func (x *trailed) resolved(t *testing.T, input string) string {
	t.Helper()
	return trailReference.ReplaceAllStringFunc(input, func(ref string) string {
		m := trailReference.FindStringSubmatch(ref)
		for _, api := range x.aws.APIs() {
			for _, op := range api.Operations {
				if op.Name != m[1] || x.outs[m[1]] == nil {
					continue
				}
				var value any
				if err := json.Unmarshal(awsapi.EncodeJSON(op.Output, x.outs[m[1]]), &value); err != nil {
					t.Fatal(err)
				}
				for name := range strings.SplitSeq(m[2], ".") {
					members, _ := value.(map[string]any)
					value = members[name]
				}
				if text, ok := value.(string); ok {
					quoted, _ := json.Marshal(text)
					return string(bytes.Trim(quoted, `"`))
				}
			}
		}
		t.Fatalf("there is no %s", ref)
		return ""
	})
}

// onlyCall takes the events out of the outbox and returns the one of the call, which must be
// the only one of a call.
func (x *trailed) onlyCall(t *testing.T, op *awsapi.Operation, requestID string) map[string]any {
	t.Helper()
	var found []map[string]any
	for _, rec := range storetest.TakeOutbox(t, x.db) {
		e, err := event.Parse(rec.JSON)
		if err != nil {
			t.Fatal(err)
		}
		if e.DetailType != "AWS API Call via CloudTrail" {
			continue
		}
		var detail map[string]any
		if err := json.Unmarshal(e.Detail, &detail); err != nil {
			t.Fatal(err)
		}
		found = append(found, detail)
		if rec.Bus != (event.BusRef{Account: testAccount, Region: testRegion, Name: event.DefaultBus}) {
			t.Errorf("it is on bus %s", rec.Bus.ARN())
		}
	}
	name := op.Name
	if op.TrailName != "" {
		name = op.TrailName
	}
	if len(found) != 1 || found[0]["eventName"] != name || found[0]["requestID"] != requestID {
		t.Fatalf("%d events of calls, want one of %s, request %s: %v", len(found), name, requestID, found)
	}
	return found[0]
}

// breakTrail makes the database refuse the events of calls.
func (x *trailed) breakTrail(t *testing.T) {
	t.Helper()
	if x.db.Dialect() == store.SQLite {
		x.exec(t, `CREATE TRIGGER no_trail BEFORE INSERT ON outbox WHEN instr(NEW.record, CAST('service trail' AS BLOB)) > 0
			BEGIN SELECT RAISE(ABORT, 'no room for events of calls'); END`)
		return
	}
	x.exec(t, `CREATE OR REPLACE FUNCTION no_trail() RETURNS trigger LANGUAGE plpgsql AS
		$$ BEGIN IF position('service trail'::bytea IN NEW.record) > 0 THEN RAISE EXCEPTION 'no room for events of calls'; END IF; RETURN NEW; END $$`)
	x.exec(t, `CREATE TRIGGER no_trail BEFORE INSERT ON outbox FOR EACH ROW EXECUTE FUNCTION no_trail()`)
}

func (x *trailed) mendTrail(t *testing.T) {
	t.Helper()
	if x.db.Dialect() == store.SQLite {
		x.exec(t, `DROP TRIGGER no_trail`)
		return
	}
	x.exec(t, `DROP TRIGGER no_trail ON outbox`)
}

func (x *trailed) exec(t *testing.T, statement string, args ...any) {
	t.Helper()
	if err := x.db.Update(t.Context(), func(tx *store.Tx) error {
		_, err := tx.Exec(t.Context(), statement, args...)
		return err
	}); err != nil {
		t.Fatal(err)
	}
}

// dump is all of the database but the outbox: the rows of each table, in one order.
func (x *trailed) dump(t *testing.T) map[string][]string {
	t.Helper()
	tables, columns := `SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'`, `*`
	if x.db.Dialect() == store.Postgres {
		columns = `xmin, *` // with the transaction that wrote the row
		tables = `SELECT table_name FROM information_schema.tables WHERE table_schema = current_schema() AND table_type = 'BASE TABLE'`
	}
	all := map[string][]string{}
	for _, name := range x.rows(t, tables) {
		name = strings.Trim(name, "[]")
		if name != "outbox" {
			all[name] = x.rows(t, `SELECT `+columns+` FROM `+name)
		}
	}
	if len(all) < 20 {
		t.Fatalf("the database has the tables %v", slices.Sorted(maps.Keys(all)))
	}
	return all
}

func (x *trailed) rows(t *testing.T, query string) (all []string) {
	t.Helper()
	rows, err := x.db.Query(t.Context(), query)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		t.Fatal(err)
	}
	for rows.Next() {
		values, into := make([]any, len(columns)), make([]any, len(columns))
		for i := range values {
			into[i] = &values[i]
		}
		if err := rows.Scan(into...); err != nil {
			t.Fatal(err)
		}
		all = append(all, fmt.Sprint(values))
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	slices.Sort(all)
	return all
}

func sameTables(t *testing.T, when string, before, after map[string][]string) {
	t.Helper()
	for table := range after {
		if !slices.Equal(before[table], after[table]) {
			t.Errorf("table %s changed %s:\nbefore %v\nafter  %v", table, when, before[table], after[table])
		}
	}
}

// missingFrom checks that what was answered is in the record of the call.
func missingFrom(t *testing.T, op *awsapi.Operation, out, recorded any) {
	t.Helper()
	if op.Output == awsapi.Empty || len(op.Output.Members) == 0 {
		return
	}
	var answered any
	if err := json.Unmarshal(awsapi.EncodeJSON(op.Output, out), &answered); err != nil {
		t.Fatal(err)
	}
	there := map[string]bool{}
	leaves("", recorded, func(path, text string) { there[text] = true; there[path] = true })
	leaves("", answered, func(path, text string) {
		if path == ".statusCode" || strings.Contains(path, ".variables") { // of HTTP; secrets
			return
		}
		// EC2 has names of its own and times in milliseconds; elsewhere they are texts.
		if seconds, err := strconv.ParseFloat(text, 64); err == nil && there[fmt.Sprint(seconds*1000)] {
			return
		}
		if !there[text] && !there[path] {
			t.Errorf("the answer has %s = %s, its record only %v", path, text, recorded)
		}
	})
}

// leaves tells of each text and number in a value, with its path in CloudTrail's casing.
func leaves(path string, v any, tell func(path, text string)) {
	switch v := v.(type) {
	case map[string]any:
		for name, value := range v {
			first := []rune(name)
			first[0] = unicode.ToLower(first[0])
			leaves(path+"."+string(first), value, tell)
		}
	case []any:
		for i, value := range v {
			leaves(fmt.Sprintf("%s[%d]", path, i), value, tell)
		}
	case nil:
	default:
		tell(path, fmt.Sprint(v))
	}
}

// A read leaves its event only where a rule wants it, and only that rule gets it.
func TestReadsReachOnlyRulesThatAskForThem(t *testing.T) {
	t.Parallel()
	x := openTrailed(t, "")
	must := func(operation, input string) {
		t.Helper()
		if _, _, err := x.invoke(t, awsapi.RoleAdmin, trailStep{service: "events", operation: operation, input: x.resolved(t, input)}); err != nil {
			t.Fatal(err)
		}
	}
	const pattern = `"EventPattern":"{\"detail-type\":[\"AWS API Call via CloudTrail\"]}"`
	const targets = `"Targets":[{"Id":"q","Arn":"arn:aws:sqs:us-east-1:000000000000:q"}]}`
	must("PutRule", `{"Name":"plain",`+pattern+`}`)
	must("PutTargets", `{"Rule":"plain",`+targets)
	read := func() []event.Record {
		t.Helper()
		storetest.TakeOutbox(t, x.db)
		must("ListRules", `{}`)
		return storetest.TakeOutbox(t, x.db)
	}
	if recs := read(); len(recs) != 0 {
		t.Errorf("no rule wants %s", recs[0].JSON)
	}
	must("PutRule", `{"Name":"reads","State":"ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS",`+pattern+`}`)
	if recs := read(); len(recs) != 0 {
		t.Errorf("a rule without targets takes nothing, and there is %s", recs[0].JSON)
	}
	must("PutTargets", `{"Rule":"reads",`+targets)
	recs := read()
	if len(recs) != 1 {
		t.Fatalf("%d events of a read", len(recs))
	}
	got, err := x.buses.Match(&recs[0], nil)
	if err != nil || len(got) != 1 || got[0].RuleName != "reads" {
		t.Errorf("it goes to %v: %v", got, err)
	}
	must("DisableRule", `{"Name":"reads"}`)
	if recs := storetest.TakeOutbox(t, x.db); len(recs) != 1 {
		t.Fatalf("%d events of a change", len(recs))
	} else if got, err := x.buses.Match(&recs[0], nil); err != nil || len(got) != 1 || got[0].RuleName != "plain" {
		t.Errorf("a change goes to %v: %v", got, err)
	}
	if recs := read(); len(recs) != 0 {
		t.Errorf("the rule is disabled, and there is %s", recs[0].JSON)
	}
}

// Calls whose changes are many transactions leave one event, with the last.
func TestACallOfManyTransactionsLeavesOneEvent(t *testing.T) {
	t.Parallel()
	x := openTrailed(t, "")
	invoke := func(operation, input string) (any, map[string]any) {
		t.Helper()
		s := trailStep{service: "ec2", operation: operation, input: input}
		requestID, out, err := x.invoke(t, awsapi.RoleAdmin, s)
		if err != nil {
			t.Fatal(err)
		}
		return out, x.onlyCall(t, x.operation(t, s), requestID)
	}
	var ids []string
	for range 2 {
		_, detail := invoke("RunInstances", `{"ImageId":"ami-0abcdef1234567890","MinCount":200,"MaxCount":200}`)
		if omitted, _ := detail["responseElements"].(map[string]any); omitted["omitted"] != true {
			t.Errorf("200 instances are recorded as %.200v", detail["responseElements"])
		}
	}
	for _, row := range x.rows(t, `SELECT id FROM instance`) {
		ids = append(ids, `"`+strings.Trim(row, "[]")+`"`)
	}
	list := "[" + strings.Join(ids, ",") + "]"
	invoke("CreateTags", `{"Resources":`+list+`,"Tags":[{"Key":"Name","Value":"web"}]}`)
	_, detail := invoke("TerminateInstances", `{"InstanceIds":`+list+`}`)
	elements, _ := detail["responseElements"].(map[string]any)
	set, _ := elements["instancesSet"].(map[string]any)
	if items, _ := set["items"].([]any); len(items) != 400 {
		t.Errorf("%d instances are recorded as terminated", len(items))
	}
}

// The events of deliveries do not feed themselves: what Rialto delivers makes no calls.
func TestATrailThatIsDeliveredGrowsNoFurther(t *testing.T) {
	t.Parallel()
	s := startServer(t, nil)
	c := s.caller(testAccount, testRegion)
	topic := c.topic("t")
	c.subscribe(topic, "sqs", c.queueARN("q"), map[string]string{"RawMessageDelivery": "true"})
	url := c.queue("q")
	client := newAWSClient(func(context.Context) (string, error) { return s.LocalURL(), nil })
	client.must(t, "events", "CreateEventBus", map[string]any{"Name": "other"})
	client.must(t, "events", "CreateArchive", map[string]any{"ArchiveName": "all", "EventSourceArn": defaultBusARN})
	client.must(t, "events", "PutRule", map[string]any{
		"Name": "calls", "EventPattern": `{"detail-type":["AWS API Call via CloudTrail"]}`, "State": "ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS",
	})
	client.must(t, "events", "PutTargets", map[string]any{"Rule": "calls", "Targets": []map[string]string{
		{"Id": "queue", "Arn": c.queueARN("q")}, {"Id": "topic", "Arn": topic}, {"Id": "bus", "Arn": c.busARN("other"), "RoleArn": c.role()},
	}})
	if err := listRules(c); err != nil {
		t.Fatal(err)
	}
	// Two of each come, by the queue and by the topic, and the last call is of a reader.
	names := map[string]int{}
	c.awaitEvents(url, func(e arrivedEvent) bool {
		var d struct{ EventName string }
		if err := json.Unmarshal(e.Detail, &d); err != nil {
			t.Fatal(err)
		}
		names[d.EventName]++
		return names["ListRules"] == 2
	})
	marker := c.put("shop", "last", `{}`)[0]
	eventually(t, "the marker to be archived", func() bool {
		found := false
		for _, rec := range s.logged(t) {
			found = found || rec.ID == marker
		}
		return found
	})
	calls := map[string]int{}
	for _, rec := range s.logged(t) {
		if rec.Bus.Name == event.DefaultBus && rec.ID != marker {
			var e struct{ Detail struct{ EventName string } }
			if err := json.Unmarshal(rec.JSON, &e); err != nil {
				t.Fatal(err)
			}
			calls[e.Detail.EventName]++
		}
	}
	want := map[string]int{"CreateTopic": 1, "Subscribe": 1, "CreateQueue": 1, "CreateEventBus": 1, "CreateArchive": 1, "PutRule": 1, "PutTargets": 1, "ListRules": 1}
	if !maps.Equal(calls, want) {
		t.Errorf("the default bus got %v, want %v", calls, want)
	}
}
