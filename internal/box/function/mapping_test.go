package function

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/awsapi/awsapitest"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/lambda"
	"github.com/rialto-bus/rialto/internal/box/queue"
	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/store/storetest"
)

// mapping is a request for a mapping of the queue orders to the function ship.
func mapping(change ...func(*lambda.CreateEventSourceMappingInput)) *lambda.CreateEventSourceMappingInput {
	in := &lambda.CreateEventSourceMappingInput{FunctionName: new("ship"), EventSourceArn: new(queueRef("orders").ARN())}
	for _, c := range change {
		c(in)
	}
	return in
}

// newMapping makes a mapping and returns its id.
func (f *fixture) newMapping(change ...func(*lambda.CreateEventSourceMappingInput)) string {
	f.t.Helper()
	return *must[*lambda.CreateEventSourceMappingOutput](f, "CreateEventSourceMapping", mapping(change...)).UUID
}

func (f *fixture) mapping(id string) *lambda.GetEventSourceMappingOutput {
	f.t.Helper()
	return must[*lambda.GetEventSourceMappingOutput](f, "GetEventSourceMapping", &lambda.GetEventSourceMappingInput{UUID: &id})
}

// becomes waits for a mapping's state.
func (f *fixture) becomes(id, state string) {
	f.t.Helper()
	f.until("the mapping is "+state, func() bool { return *f.mapping(id).State == state })
}

// result waits until the mapping's last result begins like that.
func (f *fixture) result(id, begin string) {
	f.t.Helper()
	f.until("the mapping says "+begin, func() bool { return strings.HasPrefix(text(f.mapping(id).LastProcessingResult), begin) })
}

func TestAMappingsLife(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		f := newFixture(t, db)
		fn, source := f.newFunction("ship"), f.queue("orders", nil)
		made := must[*lambda.CreateEventSourceMappingOutput](f, "CreateEventSourceMapping", mapping())
		id := *made.UUID
		want := &lambda.CreateEventSourceMappingOutput{
			UUID: &id, EventSourceMappingArn: new("arn:aws:lambda:eu-west-1:111122223333:event-source-mapping:" + id), EventSourceArn: &source, FunctionArn: &fn,
			BatchSize: new(int32(10)), MaximumBatchingWindowInSeconds: new(int32(0)), FunctionResponseTypes: []string{},
			State: new("Creating"), StateTransitionReason: new("USER_INITIATED"), LastModified: made.LastModified,
		}
		if diff := cmp.Diff(want, made); diff != "" {
			t.Error(diff)
		}
		f.start()
		f.becomes(id, "Enabled")
		changed := must[*lambda.UpdateEventSourceMappingOutput](f, "UpdateEventSourceMapping", &lambda.UpdateEventSourceMappingInput{
			UUID: &id, BatchSize: new(int32(100)), MaximumBatchingWindowInSeconds: new(int32(1)), ScalingConfig: &lambda.ScalingConfig{MaximumConcurrency: new(int32(2))},
			FilterCriteria: &lambda.FilterCriteria{Filters: []lambda.Filter{{Pattern: new(`{"body":{"城市":["北京"]}}`)}}}, FunctionResponseTypes: []string{"ReportBatchItemFailures"},
		})
		if *changed.State != "Updating" || *changed.BatchSize != 100 || *changed.ScalingConfig.MaximumConcurrency != 2 || *changed.FilterCriteria.Filters[0].Pattern != `{"body":{"城市":["北京"]}}` ||
			changed.FunctionResponseTypes[0] != "ReportBatchItemFailures" {
			t.Errorf("the change answered %+v", changed)
		}
		f.becomes(id, "Enabled")
		// What is not mentioned stays, empty values take away.
		changed = must[*lambda.UpdateEventSourceMappingOutput](f, "UpdateEventSourceMapping", &lambda.UpdateEventSourceMappingInput{
			UUID: &id, Enabled: new(false), FilterCriteria: &lambda.FilterCriteria{}, ScalingConfig: &lambda.ScalingConfig{}, FunctionResponseTypes: []string{},
		})
		if *changed.State != "Disabling" || *changed.BatchSize != 100 || changed.ScalingConfig != nil || changed.FilterCriteria != nil || len(changed.FunctionResponseTypes) != 0 {
			t.Errorf("the second change answered %+v", changed)
		}
		f.becomes(id, "Disabled")
		must[*lambda.UpdateEventSourceMappingOutput](f, "UpdateEventSourceMapping", &lambda.UpdateEventSourceMappingInput{UUID: &id, BatchSize: new(int32(5))})
		f.becomes(id, "Disabled")
		if out := must[*lambda.UpdateEventSourceMappingOutput](f, "UpdateEventSourceMapping", &lambda.UpdateEventSourceMappingInput{UUID: &id, Enabled: new(true)}); *out.State != "Enabling" {
			t.Errorf("switched on it is %s", *out.State)
		}
		f.becomes(id, "Enabled")
		if out := must[*lambda.DeleteEventSourceMappingOutput](f, "DeleteEventSourceMapping", &lambda.DeleteEventSourceMappingInput{UUID: &id}); *out.State != "Deleting" {
			t.Errorf("deleted it is %s", *out.State)
		}
		f.until("it is gone", func() bool {
			_, err := call[*lambda.GetEventSourceMappingOutput](f, "GetEventSourceMapping", &lambda.GetEventSourceMappingInput{UUID: &id})
			return awsapi.HasCode(err, lambda.CodeResourceNotFoundException)
		})
	})
}

func TestAMappingThatCannotBeServedIsRefused(t *testing.T) {
	f := newSQLite(t)
	f.newFunction("ship", func(in *lambda.CreateFunctionInput) { in.Timeout = new(int32(31)) })
	f.newFunction("quick")
	f.queue("orders", nil)
	f.queue("orders.fifo", map[string]string{"FifoQueue": "true"})
	fifo := func(in *lambda.CreateEventSourceMappingInput) {
		in.FunctionName, in.EventSourceArn = new("quick"), new(queueRef("orders.fifo").ARN())
	}
	quick := func(in *lambda.CreateEventSourceMappingInput) { in.FunctionName = new("quick") }
	type change = func(*lambda.CreateEventSourceMappingInput)
	for name, tt := range map[string]struct {
		change []change
		want   string
	}{
		"a function that takes longer than messages are hidden": {nil, "InvalidParameterValueException: Queue visibility timeout: 30 seconds is less than Function timeout: 31 seconds"},
		"a missing function":    {[]change{func(in *lambda.CreateEventSourceMappingInput) { in.FunctionName = new("gone") }}, "InvalidParameterValueException: Function does not exist"},
		"a function of another": {[]change{func(in *lambda.CreateEventSourceMappingInput) { in.FunctionName = new("444455556666:ship") }}, "AccessDeniedException: "},
		"an alias":              {[]change{func(in *lambda.CreateEventSourceMappingInput) { in.FunctionName = new("quick:live") }}, "ResourceNotFoundException: Function not found"},
		"a missing queue":       {[]change{quick, func(in *lambda.CreateEventSourceMappingInput) { in.EventSourceArn = new(queueRef("gone").ARN()) }}, "InvalidParameterValueException: Error occurred while ReceiveMessage. SQS Error Code: AWS.SimpleQueueService.NonExistentQueue. SQS Error Message: "},
		"a queue of another": {[]change{quick, func(in *lambda.CreateEventSourceMappingInput) {
			in.EventSourceArn = new("arn:aws:sqs:eu-west-1:444455556666:q")
		}}, "InvalidParameterValueException: Error occurred while ReceiveMessage. "},
		"another region": {[]change{quick, func(in *lambda.CreateEventSourceMappingInput) {
			in.EventSourceArn = new("arn:aws:sqs:us-east-1:111122223333:orders")
		}}, "another region than the function"},
		"a stream": {[]change{quick, func(in *lambda.CreateEventSourceMappingInput) {
			in.EventSourceArn, in.StartingPosition = new("arn:aws:kinesis:eu-west-1:111122223333:stream/s"), new("LATEST")
		}}, "Event sources of service kinesis are not served"},
		"a broker without an ARN": {[]change{quick, func(in *lambda.CreateEventSourceMappingInput) {
			in.EventSourceArn, in.Queues = nil, []string{"q"}
		}}, "Queues is not supported by Rialto"},
		"no queue's ARN": {[]change{quick, func(in *lambda.CreateEventSourceMappingInput) {
			in.EventSourceArn = new("arn:aws:sqs:eu-west-1:111122223333:a/b")
		}}, "Unrecognized event source"},
		"no source":                {[]change{quick, func(in *lambda.CreateEventSourceMappingInput) { in.EventSourceArn = nil }}, "EventSourceArn is required"},
		"a large batch at once":    {[]change{quick, func(in *lambda.CreateEventSourceMappingInput) { in.BatchSize = new(int32(11)) }}, "InvalidParameterValueException: Maximum batch window in seconds must be greater than 0 if maximum batch size is greater than 10"},
		"too large a batch":        {[]change{quick, func(in *lambda.CreateEventSourceMappingInput) { in.BatchSize = new(int32(10_001)) }}, "ValidationException: "},
		"no batch":                 {[]change{quick, func(in *lambda.CreateEventSourceMappingInput) { in.BatchSize = new(int32(0)) }}, "ValidationException: "},
		"too long a window":        {[]change{quick, func(in *lambda.CreateEventSourceMappingInput) { in.MaximumBatchingWindowInSeconds = new(int32(301)) }}, "ValidationException: "},
		"a window of a FIFO queue": {[]change{fifo, func(in *lambda.CreateEventSourceMappingInput) { in.MaximumBatchingWindowInSeconds = new(int32(1)) }}, "Batching window is not supported for FIFO queues"},
		"a large batch of FIFO":    {[]change{fifo, func(in *lambda.CreateEventSourceMappingInput) { in.BatchSize = new(int32(11)) }}, "Batch size of a FIFO queue must be between 1 and 10"},
		"too little concurrency": {[]change{quick, func(in *lambda.CreateEventSourceMappingInput) {
			in.ScalingConfig = &lambda.ScalingConfig{MaximumConcurrency: new(int32(1))}
		}}, "ValidationException: "},
		"too many filters":            {[]change{quick, filters(`{"body":["a"]}`, `{"body":["b"]}`, `{"body":["c"]}`, `{"body":["d"]}`, `{"body":["e"]}`, `{"body":["f"]}`)}, "at most 5 filters, not 6"},
		"a filter that is no pattern": {[]change{quick, filters(`{"body":"订单"}`)}, "InvalidParameterValueException: Invalid filter pattern definition."},
		"a filter without a pattern": {[]change{quick, func(in *lambda.CreateEventSourceMappingInput) {
			in.FilterCriteria = &lambda.FilterCriteria{Filters: []lambda.Filter{{}}}
		}}, "Invalid filter pattern definition."},
		"too long a filter":   {[]change{quick, filters(`{"body":["` + strings.Repeat("x", 4096) + `"]}`)}, "ValidationException: "},
		"an unknown response": {[]change{quick, func(in *lambda.CreateEventSourceMappingInput) { in.FunctionResponseTypes = []string{"All"} }}, "ValidationException: "},
		"a starting position": {[]change{quick, func(in *lambda.CreateEventSourceMappingInput) { in.StartingPosition = new("LATEST") }}, "StartingPosition is not supported by Rialto"},
		"a destination": {[]change{quick, func(in *lambda.CreateEventSourceMappingInput) {
			in.DestinationConfig = &lambda.DestinationConfig{OnFailure: &lambda.OnFailure{Destination: new("arn:aws:sqs:eu-west-1:111122223333:orders")}}
		}}, "DestinationConfig is not supported by Rialto"},
		"retries":         {[]change{quick, func(in *lambda.CreateEventSourceMappingInput) { in.MaximumRetryAttempts = new(int32(1)) }}, "MaximumRetryAttempts is not supported by Rialto"},
		"parallel shards": {[]change{quick, func(in *lambda.CreateEventSourceMappingInput) { in.ParallelizationFactor = new(int32(2)) }}, "ParallelizationFactor is not supported by Rialto"},
		"a key": {[]change{quick, func(in *lambda.CreateEventSourceMappingInput) {
			in.KMSKeyArn = new("arn:aws:kms:eu-west-1:111122223333:key/k")
		}}, "KMSKeyArn is not supported by Rialto"},
		"a reserved tag": {[]change{quick, func(in *lambda.CreateEventSourceMappingInput) { in.Tags = map[string]string{"aws:x": "y"} }}, "aws:"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := call[*lambda.CreateEventSourceMappingOutput](f, "CreateEventSourceMapping", mapping(tt.change...))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
	if out := must[*lambda.ListEventSourceMappingsOutput](f, "ListEventSourceMappings", &lambda.ListEventSourceMappingsInput{}); len(out.EventSourceMappings) != 0 {
		t.Errorf("what was refused is there: %+v", out)
	}
}

func filters(patterns ...string) func(*lambda.CreateEventSourceMappingInput) {
	return func(in *lambda.CreateEventSourceMappingInput) {
		in.FilterCriteria = &lambda.FilterCriteria{}
		for _, p := range patterns {
			in.FilterCriteria.Filters = append(in.FilterCriteria.Filters, lambda.Filter{Pattern: &p})
		}
	}
}

func TestAFunctionHasOneMappingOfAQueue(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		f := newFixture(t, db)
		f.newFunction("ship")
		f.newFunction("count")
		f.queue("orders", nil)
		id := f.newMapping()
		want := `An event source mapping with SQS arn (" ` + queueRef("orders").ARN() + ` ") and function (" ship ") already exists. Please update or delete the existing mapping with UUID ` + id
		_, err := call[*lambda.CreateEventSourceMappingOutput](f, "CreateEventSourceMapping", mapping())
		if !awsapi.HasCode(err, lambda.CodeResourceConflictException) || !strings.Contains(err.Error(), want) {
			t.Errorf("a second: %v", err)
		}
		second := f.newMapping(func(in *lambda.CreateEventSourceMappingInput) { in.FunctionName = new("count") })
		_, err = call[*lambda.UpdateEventSourceMappingOutput](f, "UpdateEventSourceMapping", &lambda.UpdateEventSourceMappingInput{UUID: &second, FunctionName: new("ship")})
		if !awsapi.HasCode(err, lambda.CodeResourceConflictException) {
			t.Errorf("another that becomes the same: %v", err)
		}
		if fn := *f.mapping(second).FunctionArn; !strings.HasSuffix(fn, ":count") {
			t.Errorf("it is of %s", fn)
		}
		must[*lambda.DeleteEventSourceMappingOutput](f, "DeleteEventSourceMapping", &lambda.DeleteEventSourceMappingInput{UUID: &id})
		for operation, in := range map[string]any{
			"DeleteEventSourceMapping": &lambda.DeleteEventSourceMappingInput{UUID: &id},
			"UpdateEventSourceMapping": &lambda.UpdateEventSourceMappingInput{UUID: &id, Enabled: new(true)},
		} {
			if _, err := f.api.Invoke(t.Context(), admin(account), "lambda", operation, in); !awsapi.HasCode(err, lambda.CodeResourceInUseException) {
				t.Errorf("%s of one that is being deleted: %v", operation, err)
			}
		}
	})
}

func TestMappingsAreListedByFunctionAndQueue(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		f := newFixture(t, db)
		f.queue("orders", nil)
		f.queue("returns", nil)
		for _, name := range []string{"ship", "count", "bill"} {
			f.newFunction(name)
			for _, q := range []string{"orders", "returns"} {
				f.newMapping(func(in *lambda.CreateEventSourceMappingInput) {
					in.FunctionName, in.EventSourceArn = &name, new(queueRef(q).ARN())
				})
			}
		}
		list := func(in *lambda.ListEventSourceMappingsInput) *lambda.ListEventSourceMappingsOutput {
			return must[*lambda.ListEventSourceMappingsOutput](f, "ListEventSourceMappings", in)
		}
		for name, tt := range map[string]struct {
			in   *lambda.ListEventSourceMappingsInput
			want int
		}{
			"all":              {&lambda.ListEventSourceMappingsInput{}, 6},
			"a function's":     {&lambda.ListEventSourceMappingsInput{FunctionName: new("ship")}, 2},
			"a function's ARN": {&lambda.ListEventSourceMappingsInput{FunctionName: new("arn:aws:lambda:eu-west-1:111122223333:function:ship")}, 2},
			"a queue's":        {&lambda.ListEventSourceMappingsInput{EventSourceArn: new(queueRef("orders").ARN())}, 3},
			"both":             {&lambda.ListEventSourceMappingsInput{FunctionName: new("ship"), EventSourceArn: new(queueRef("orders").ARN())}, 1},
			"a stream's":       {&lambda.ListEventSourceMappingsInput{EventSourceArn: new("arn:aws:kinesis:eu-west-1:111122223333:stream/s")}, 0},
			"nobody's":         {&lambda.ListEventSourceMappingsInput{FunctionName: new("gone")}, 0},
			"another's":        {&lambda.ListEventSourceMappingsInput{FunctionName: new("444455556666:ship")}, 0},
		} {
			if got := list(tt.in); len(got.EventSourceMappings) != tt.want {
				t.Errorf("%s: %d, want %d", name, len(got.EventSourceMappings), tt.want)
			}
		}
		seen := map[string]bool{}
		in := &lambda.ListEventSourceMappingsInput{MaxItems: new(int32(4))}
		for pages := 1; ; pages++ {
			out := list(in)
			for _, m := range out.EventSourceMappings {
				seen[*m.UUID] = true
			}
			if in.Marker = out.NextMarker; in.Marker == nil {
				if pages != 2 || len(seen) != 6 {
					t.Errorf("%d pages have %d mappings", pages, len(seen))
				}
				break
			}
		}
		for _, marker := range []string{"x", "bm90IGEgdXVpZA"} {
			_, err := call[*lambda.ListEventSourceMappingsOutput](f, "ListEventSourceMappings", &lambda.ListEventSourceMappingsInput{Marker: &marker})
			if !awsapi.HasCode(err, lambda.CodeInvalidParameterValueException) {
				t.Errorf("marker %q: %v", marker, err)
			}
		}
		if out, err := callAs[*lambda.ListEventSourceMappingsOutput](f, t.Context(), admin(other), "ListEventSourceMappings", &lambda.ListEventSourceMappingsInput{}); err != nil || len(out.EventSourceMappings) != 0 {
			t.Errorf("another account sees %+v, %v", out, err)
		}
	})
}

func TestAMappingOfAnotherIsNotFound(t *testing.T) {
	f := newSQLite(t)
	f.newFunction("ship")
	f.queue("orders", nil)
	id := f.newMapping()
	for _, id := range []string{id, "00000000-0000-4000-8000-000000000000", "x", "\x00"} {
		for operation, in := range map[string]any{
			"GetEventSourceMapping":    &lambda.GetEventSourceMappingInput{UUID: &id},
			"UpdateEventSourceMapping": &lambda.UpdateEventSourceMappingInput{UUID: &id, Enabled: new(false)},
			"DeleteEventSourceMapping": &lambda.DeleteEventSourceMappingInput{UUID: &id},
		} {
			if _, err := f.api.Invoke(t.Context(), admin(other), "lambda", operation, in); !awsapi.HasCode(err, lambda.CodeResourceNotFoundException) {
				t.Errorf("%s %q: %v", operation, id, err)
			}
		}
	}
	if *f.mapping(strings.ToUpper(id)).UUID != id {
		t.Error("an id in capitals is not found")
	}
}

func TestAMappingHasTags(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		f := newFixture(t, db)
		f.newFunction("ship")
		f.queue("orders", nil)
		arn := mappingARN(account, region, f.newMapping(func(in *lambda.CreateEventSourceMappingInput) { in.Tags = map[string]string{"team": "运输"} }))
		must[*lambda.TagResourceOutput](f, "TagResource", &lambda.TagResourceInput{Resource: &arn, Tags: map[string]string{"stage": "test", "x": "y"}})
		must[*lambda.UntagResourceOutput](f, "UntagResource", &lambda.UntagResourceInput{Resource: &arn, TagKeys: []string{"x"}})
		got := must[*lambda.ListTagsOutput](f, "ListTags", &lambda.ListTagsInput{Resource: &arn}).Tags
		if diff := cmp.Diff(map[string]string{"team": "运输", "stage": "test"}, got); diff != "" {
			t.Error(diff)
		}
	})
}

// A mapping whose function or queue is gone can still be switched off and deleted.
func TestAMappingOutlivesItsFunctionAndQueue(t *testing.T) {
	f := newSQLite(t)
	f.newFunction("ship")
	f.queue("orders", nil)
	id := f.newMapping()
	must[*lambda.DeleteFunctionOutput](f, "DeleteFunction", &lambda.DeleteFunctionInput{FunctionName: new("ship")})
	if err := f.queues.Delete(t.Context(), queueRef("orders")); err != nil {
		t.Fatal(err)
	}
	f.start()
	f.result(id, "PROBLEM: Function not found: arn:aws:lambda:eu-west-1:111122223333:function:ship")
	_, err := call[*lambda.UpdateEventSourceMappingOutput](f, "UpdateEventSourceMapping", &lambda.UpdateEventSourceMappingInput{UUID: &id, BatchSize: new(int32(1))})
	if !awsapi.HasCode(err, lambda.CodeInvalidParameterValueException) {
		t.Errorf("a change that cannot work: %v", err)
	}
	must[*lambda.UpdateEventSourceMappingOutput](f, "UpdateEventSourceMapping", &lambda.UpdateEventSourceMappingInput{UUID: &id, Enabled: new(false)})
	f.becomes(id, "Disabled")
	must[*lambda.DeleteEventSourceMappingOutput](f, "DeleteEventSourceMapping", &lambda.DeleteEventSourceMappingInput{UUID: &id})
	f.until("it is gone", func() bool {
		m, err := mappingByUUID(t.Context(), f.db, id)
		return m == nil && err == nil
	})
}

// A mapping without its job, of which there is none to be, gets one at the next start.
func TestMappingsAreResumed(t *testing.T) {
	f := newSQLite(t)
	f.newFunction("ship")
	f.queue("orders", nil)
	id := f.newMapping()
	if err := f.db.Update(t.Context(), func(tx *store.Tx) error {
		_, err := f.jobs.Cancel(t.Context(), tx, mappingQueue, id)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := f.resumeMappings(ctx); err == nil {
		t.Error("a start that is stopped succeeds")
	}
	if err := f.resumeMappings(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.start()
	f.becomes(id, "Enabled")
}

// PostgreSQL keeps neither the character U+0000 nor what is not UTF-8, which URLs can hold.
func TestNoTextOfAMappingFailsTheDatabase(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		f := newFixture(t, db)
		f.newFunction("ship")
		f.queue("orders", nil)
		id := f.newMapping(func(in *lambda.CreateEventSourceMappingInput) { in.FunctionName = new("ship:$LATEST") })
		arn := mappingARN(account, region, id)
		for name, input := range map[string]string{
			"CreateEventSourceMapping": `{"FunctionName":"ship","EventSourceArn":"arn:aws:sqs:eu-west-1:111122223333:orders","FilterCriteria":{"Filters":[{"Pattern":"{\"body\":[\"x\"]}"}]},"Tags":{"k":"v"}}`,
			"UpdateEventSourceMapping": `{"UUID":"` + id + `","FunctionName":"ship:$LATEST","FilterCriteria":{"Filters":[{"Pattern":"{\"body\":[\"x\"]}"}]}}`,
			"GetEventSourceMapping":    `{"UUID":"` + id + `"}`,
			"ListEventSourceMappings":  `{"FunctionName":"ship","EventSourceArn":"arn:aws:sqs:eu-west-1:111122223333:orders","Marker":"bm9uZQ"}`,
			"DeleteEventSourceMapping": `{"UUID":"00000000-0000-4000-8000-000000000000"}`,
			"TagResource":              `{"Resource":"` + arn + `","Tags":{"k":"v"}}`,
			"UntagResource":            `{"Resource":"` + arn + `","TagKeys":["k"]}`,
			"ListTags":                 `{"Resource":"` + arn + `"}`,
		} {
			i := slices.IndexFunc(lambda.API.Operations, func(op awsapi.Operation) bool { return op.Name == name })
			for _, spoil := range []string{"\x00", "\xff"} {
				for what, in := range awsapitest.Spoiled(t, lambda.API.Operations[i], input, spoil) {
					_, err := call[any](f, name, in)
					if e, ok := errors.AsType[*awsapi.Error](err); err != nil && (!ok || e.Fault) {
						t.Errorf("%s: %v", what, err)
					}
				}
			}
		}
	})
}

// AWS: a queue of another account is a source if its policy lets the function's account.
func TestAQueueOfAnotherAccountIsASourceByItsPolicy(t *testing.T) {
	f := newSQLite(t)
	f.newFunction("ship")
	theirs := queue.Ref{Account: other, Region: region, Name: "orders"}
	if err := f.queues.Create(t.Context(), theirs, nil, nil); err != nil {
		t.Fatal(err)
	}
	of := func(in *lambda.CreateEventSourceMappingInput) { in.EventSourceArn = new(theirs.ARN()) }
	_, err := call[*lambda.CreateEventSourceMappingOutput](f, "CreateEventSourceMapping", mapping(of))
	if err == nil || !strings.Contains(err.Error(), "The function execution role does not have permissions to call ReceiveMessage on SQS") {
		t.Fatalf("without a policy: %v", err)
	}
	err = f.queues.SetAttributes(t.Context(), theirs, map[string]string{"Policy": `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"` + account + `"},
		"Action":["sqs:ReceiveMessage","sqs:DeleteMessage","sqs:GetQueueAttributes"],"Resource":"` + theirs.ARN() + `"}]}`})
	if err != nil {
		t.Fatal(err)
	}
	got := f.takes()
	f.newMapping(of)
	have, err := f.queues.Find(t.Context(), theirs)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.queues.Send(t.Context(), have, other, queue.Draft{Body: "跨账户"}); err != nil {
		t.Fatal(err)
	}
	f.start()
	f.until("the message is there and gone", func() bool {
		visible, inFlight := f.held("orders")
		return len(got.messages()) == 1 && visible+inFlight == 0
	})
}
