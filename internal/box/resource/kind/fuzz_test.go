package kind

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/rialto-bus/rialto/internal/awsapi/gen/ec2"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/events"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/lambda"
	"github.com/rialto-bus/rialto/internal/box/resource"
)

// FuzzIdentifiers reads and deletes what identifiers name that anybody can send: there is no such thing, or they
// are told what is wrong with it.
func FuzzIdentifiers(f *testing.F) {
	for _, identifier := range []string{
		"", "|", "a|b", "arn:aws:events:eu-west-1:111122223333:rule/b/r", "arn:aws:events:eu-west-1:444455556666:rule/r", "arn:aws:events:::rule/",
		queueURL + "q", "http://x/", "QueuePolicy-A/", "QueuePolicy-A/q,r", "TopicPolicy-A/t", "arn:aws:sns:eu-west-1:111122223333:t",
		"arn:aws:sns:eu-west-1:111122223333:t:1b671a64-40d5-491e-99b0-da01ff1f3341", "1b671a64-40d5-491e-99b0-da01ff1f3341", "f|Permission-A", "i-0123456789abcdef0", "/a/b", "名|\x00",
	} {
		f.Add(identifier)
	}
	x := newSQLite(f)
	f.Fuzz(func(t *testing.T, identifier string) {
		x.t = t
		if len(identifier) > 2048 {
			return
		}
		for name := range x.types {
			have, err := x.read(name, identifier)
			if err == nil && name != "AWS::Events::EventBus" { // the default bus is always there
				t.Errorf("%s %q is %s", name, identifier, shown(have))
			}
			if err != nil && resource.CodeOf(err) == "" {
				t.Errorf("%s %q: %v", name, identifier, err)
			}
			if err := x.delete(name, identifier, false); resource.CodeOf(err) == "" {
				t.Errorf("delete %s %q: %v", name, identifier, err)
			}
		}
	})
}

// FuzzShape reads properties into the shapes of services.
func FuzzShape(f *testing.F) {
	for _, l := range lives {
		f.Add(l.create)
		for _, u := range l.updates {
			f.Add(u.to)
		}
	}
	f.Add(`{"Targets":[{"Id":{"a":[]},"RetryPolicy":[1e400]}],"StartingPositionTimestamp":"1e999"}`)
	f.Fuzz(func(t *testing.T, text string) {
		m, err := resource.ParseModel(text)
		if err != nil {
			return
		}
		for _, dst := range []any{&events.PutRuleInput{}, &events.CreateConnectionInput{}, &lambda.CreateFunctionInput{}, &lambda.CreateEventSourceMappingInput{}, &ec2.RunInstancesInput{}} {
			err := shape("", m, dst)
			if e, told := errors.AsType[*resource.Error](err); err != nil && (!told || e.Code != resource.InvalidRequest) {
				t.Errorf("%s: %v", text, err)
			}
			if _, err := json.Marshal(value(dst)); err != nil {
				t.Errorf("%s: %v", text, err)
			}
		}
		_, _ = tagsOf(m)
		_, _ = statementIn(m)
		if again, err := resource.ParseModel(text); err != nil || !same(m, again) {
			t.Errorf("%s is not the same as itself", text)
		}
	})
}
