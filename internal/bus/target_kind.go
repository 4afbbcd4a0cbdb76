package bus

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/rialto-bus/rialto/inputtransform"
	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/event"
)

// checkTargetKind sets the target's kind and checks what only that kind may have.
func checkTargetKind(ref event.BusRef, t *RuleTarget) error {
	arn, ok := parseARN(t.ARN)
	switch service := serviceOf(t.ARN); {
	case service == "":
		return invalidARN(t.ARN)
	case !slices.Contains([]string{"sqs", "sns", "lambda", "logs", "events"}, service):
		return kindNotServed("service "+service, t.ID)
	case !ok:
		return invalidARN(t.ARN)
	}
	switch {
	case arn.service == "sqs":
		t.Kind = KindQueue
		return checkQueueTarget(ref, t, arn)
	case arn.service == "sns":
		t.Kind = KindTopic
		return checkTopicTarget(ref, t, arn)
	case arn.service == "lambda":
		t.Kind = KindFunction
		return checkFunctionTarget(ref, t, arn)
	case arn.service == "logs":
		t.Kind = KindLogGroup
		return checkLogGroupTarget(ref, t, arn)
	case strings.HasPrefix(arn.resource, "api-destination/"):
		t.Kind = KindAPIDestination
		return checkAPIDestinationTarget(ref, t, arn)
	case strings.HasPrefix(arn.resource, "event-bus/"):
		t.Kind = KindBus
		return checkBusTarget(ref, t, arn)
	}
	return kindNotServed("service events that are no event bus and no API destination", t.ID)
}

// kindNotServed refuses a kind of target that AWS has and we do not.
func kindNotServed(kind, id string) error {
	return awsapi.ValidationException("Targets of %s are not served by Rialto (target %s). Targets can be SQS queues, SNS topics, Lambda functions, CloudWatch Logs log groups, event buses and API destinations.", kind, id)
}

// checkParameters refuses parameters that belong to targets of other kinds.
func (t *RuleTarget) checkParameters() error {
	for _, p := range []struct {
		name  string
		given bool
	}{
		{"HttpParameters", t.HTTPParameters != nil && t.Kind != KindAPIDestination},
		{"SqsParameters", t.MessageGroupID != "" && t.Kind != KindQueue},
		{"RetryPolicy", t.HasRetryPolicy && t.Kind == KindBus},
		{"RoleArn", t.RoleARN != "" && t.Kind == KindLogGroup},
		{"Input", t.Input.Text != nil && (t.Kind == KindBus || t.Kind == KindLogGroup)},
		{"InputPath", t.Input.Path != nil && (t.Kind == KindBus || t.Kind == KindLogGroup)},
		{"InputTransformer", t.Input.Template != nil && t.Kind == KindBus},
		{t.foreign, t.foreign != ""},
	} {
		if p.given {
			return unsupported(p.name, t.ARN)
		}
	}
	return nil
}

// inRegion refuses a target of another region. AWS: event buses are the only
// targets that another region may have.
func (t *RuleTarget) inRegion(ref event.BusRef, arn arn, what string) error {
	if arn.region == ref.Region {
		return nil
	}
	return awsapi.ValidationException("Target %s is not valid. Reason: the %s is in %s, and a rule in %s reaches only those of its own region.", t.ID, what, arn.region, ref.Region)
}

// inAccount refuses a target of another account. AWS: queues, topics, functions
// and event buses of other accounts can be targets, others cannot.
func (t *RuleTarget) inAccount(ref event.BusRef, arn arn) error {
	if arn.account == ref.Account {
		return nil
	}
	return awsapi.ValidationException("Adding cross-account target is not permitted.")
}

// maxMessageGroup is AWS's limit for a target's message group, in characters.
const maxMessageGroup = 100

var queueName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,80}(\.fifo)?$`)

func checkQueueTarget(ref event.BusRef, t *RuleTarget, arn arn) error {
	if !queueName.MatchString(arn.resource) || len(arn.resource) > 80 {
		return invalidARN(t.ARN)
	}
	if err := t.inRegion(ref, arn, "queue"); err != nil {
		return err
	}
	if strings.HasSuffix(arn.resource, ".fifo") && t.MessageGroupID == "" {
		return awsapi.ValidationException("Parameter(s) SqsParameters must be specified for target: %s.", t.ID)
	}
	if utf8.RuneCountInString(t.MessageGroupID) > maxMessageGroup {
		return awsapi.ValidationException("Parameter SqsParameters.MessageGroupId of target %s is longer than %d characters.", t.ID, maxMessageGroup)
	}
	if err := checkText("SqsParameters.MessageGroupId", &t.MessageGroupID); err != nil {
		return err
	}
	return checkDynamic("SqsParameters.MessageGroupId", t.ID, t.MessageGroupID)
}

var topicName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,256}$`)

// checkTopicTarget checks a topic. AWS: FIFO topics cannot be targets.
func checkTopicTarget(ref event.BusRef, t *RuleTarget, arn arn) error {
	if name, fifo := strings.CutSuffix(arn.resource, ".fifo"); fifo && topicName.MatchString(name) {
		return awsapi.ValidationException("Target %s is not valid. Reason: a FIFO topic cannot be a target.", t.ID)
	}
	if !topicName.MatchString(arn.resource) {
		return invalidARN(t.ARN)
	}
	return t.inRegion(ref, arn, "topic")
}

// functionResource has the function's name and, after another colon, a version
// or an alias.
var functionResource = regexp.MustCompile(`^function:[A-Za-z0-9_-]{1,64}(:(\$LATEST|[A-Za-z0-9_-]{1,128}))?$`)

func checkFunctionTarget(ref event.BusRef, t *RuleTarget, arn arn) error {
	if !functionResource.MatchString(arn.resource) {
		return invalidARN(t.ARN)
	}
	return t.inRegion(ref, arn, "function")
}

var logGroupResource = regexp.MustCompile(`^log-group:[\.\-_/#A-Za-z0-9]{1,512}(:\*)?$`)

func checkLogGroupTarget(ref event.BusRef, t *RuleTarget, arn arn) error {
	if !logGroupResource.MatchString(arn.resource) {
		return invalidARN(t.ARN)
	}
	if err := t.inRegion(ref, arn, "log group"); err != nil {
		return err
	}
	return t.inAccount(ref, arn)
}

// sampleEvent stands for any event where a template is tried.
const sampleEvent = `{"version":"0","id":"00000000-0000-0000-0000-000000000000","detail-type":"t","source":"s","account":"000000000000","time":"2026-01-01T00:00:00Z","region":"us-east-1","resources":[],"detail":{}}`

// checkLogEntry checks that the template makes what a log group takes. AWS: an
// object of a timestamp and a message.
func checkLogEntry(id string, transform *inputtransform.Transform) error {
	rendered, err := transform.Render([]byte(sampleEvent), inputtransform.Variables{Ingestion: time.Unix(0, 0).UTC()})
	var members map[string]json.RawMessage
	if err == nil && json.Unmarshal(rendered, &members) == nil && len(members) == 2 && members["timestamp"] != nil && members["message"] != nil {
		return nil
	}
	return awsapi.ValidationException(`InputTemplate for target %s is not valid. Reason: a log group takes {"timestamp":<timestamp>,"message":<message>}.`, id)
}

var apiDestinationResource = regexp.MustCompile(`^api-destination/[\.\-_A-Za-z0-9]{1,64}/[\-A-Za-z0-9]+$`)

func checkAPIDestinationTarget(ref event.BusRef, t *RuleTarget, arn arn) error {
	if !apiDestinationResource.MatchString(arn.resource) {
		return invalidARN(t.ARN)
	}
	if err := t.inRegion(ref, arn, "API destination"); err != nil {
		return err
	}
	if err := t.inAccount(ref, arn); err != nil {
		return err
	}
	if t.RoleARN == "" {
		return roleRequired(t.ARN)
	}
	return checkHTTPParameters(t)
}

var busName = regexp.MustCompile(`^[\.\-_A-Za-z0-9]{1,256}$`)

func checkBusTarget(ref event.BusRef, t *RuleTarget, arn arn) error {
	if !busName.MatchString(arn.bus()) {
		return invalidARN(t.ARN)
	}
	if t.ARN == ref.ARN() {
		return awsapi.ValidationException("Target %s is not valid. Reason: an event bus cannot be a target of its own rules.", t.ID)
	}
	if t.RoleARN == "" {
		return roleRequired(t.ARN)
	}
	return nil
}

func invalidARN(arn string) error {
	return awsapi.ValidationException("Parameter %s is not valid. Reason: Provided Arn is not in correct format.", arn)
}

func unsupported(parameter, arn string) error {
	return awsapi.ValidationException("%s is not supported for target %s.", parameter, arn)
}

func roleRequired(arn string) error {
	return awsapi.ValidationException("RoleArn is required for target %s.", arn)
}
