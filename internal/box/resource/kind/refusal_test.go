package kind

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/events"
	"github.com/rialto-bus/rialto/internal/box/resource"
)

func TestWhatCannotBeHonouredIsRefusedByName(t *testing.T) {
	x := newSQLite(t)
	needQueue("q")(x)
	needTopic(x)
	needBus(x)
	const rule = `"Name":"r","EventPattern":{"source":["a"]}`
	const fn = `"Role":"arn:aws:iam::111122223333:role/r","Handler":"index.handler"`
	for name, c := range map[string]struct {
		typeName, desired string
		code              resource.ErrorCode
		says              string
	}{
		"neither pattern nor schedule":  {"AWS::Events::Rule", `{"Name":"r"}`, resource.InvalidRequest, "EventPattern or ScheduleExpression"},
		"a pattern that is none":        {"AWS::Events::Rule", `{"EventPattern":{"source":"a"}}`, resource.InvalidRequest, "Event pattern is not valid"},
		"a bus that is missing":         {"AWS::Events::Rule", `{` + rule + `,"EventBusName":"nowhere"}`, resource.NotFound, "Event bus nowhere does not exist"},
		"a target of a kind not served": {"AWS::Events::Rule", `{` + rule + `,"Targets":[{"Id":"t","Arn":"arn:aws:ecs:eu-west-1:111122223333:cluster/c","EcsParameters":{"TaskDefinitionArn":"a","PlacementStrategies":[{"Type":"spread"}],"TagList":[{"Key":"a","Value":"b"}]}}]}`, resource.InvalidRequest, "service ecs"},
		"an input with a transformer":   {"AWS::Events::Rule", `{` + rule + `,"Targets":[{"Id":"t","Arn":"arn:aws:sqs:eu-west-1:111122223333:q","Input":"{","InputPath":"$"}]}`, resource.InvalidRequest, "t"},
		"too many targets":              {"AWS::Events::Rule", `{` + rule + `,"Targets":[` + targets(6) + `]}`, resource.ServiceLimitExceeded, "exceeds the maximum"},
		"a tag twice":                   {"AWS::Events::Rule", `{` + rule + `,"Tags":[{"Key":"a","Value":"1"},{"Key":"a","Value":"2"}]}`, resource.InvalidRequest, "Tags"},
		"a partner's bus":               {"AWS::Events::EventBus", `{"Name":"aws.partner/a/b","EventSourceName":"aws.partner/a/b"}`, resource.NotFound, "aws.partner/a/b"},
		"a key of KMS":                  {"AWS::Events::EventBus", `{"Name":"b","KmsKeyIdentifier":"k"}`, resource.InvalidRequest, "KmsKeyIdentifier"},
		"a policy that is none":         {"AWS::Events::EventBus", `{"Name":"b","Policy":{"Statement":[{"Effect":"Perhaps"}]}}`, resource.InvalidRequest, "policy"},
		"a statement of both forms":     {"AWS::Events::EventBusPolicy", `{"StatementId":"s","Action":"events:PutEvents","Principal":"*","Statement":{}}`, resource.InvalidRequest, "Statement"},
		"a statement of no form":        {"AWS::Events::EventBusPolicy", `{"StatementId":"s"}`, resource.InvalidRequest, "Statement"},
		"a statement that is a text":    {"AWS::Events::EventBusPolicy", `{"StatementId":"s","Statement":"allow"}`, resource.InvalidRequest, "Statement"},
		"a Sid of its own":              {"AWS::Events::EventBusPolicy", `{"StatementId":"s","Statement":` + strings.Replace(allowPut, "{", `{"Sid":"t",`, 1) + `}`, resource.InvalidRequest, "Sid"},
		"a condition that is none":      {"AWS::Events::EventBusPolicy", `{"StatementId":"s","Action":"events:PutEvents","Principal":"*","Condition":{"Key":"aws:PrincipalOrgID","Type":"StringEquals"}}`, resource.InvalidRequest, "condition.value"},
		"no authorization":              {"AWS::Events::Connection", `{"Name":"c"}`, resource.InvalidRequest, "authorizationType"},
		"a private endpoint":            {"AWS::Events::Connection", `{"Name":"c","AuthorizationType":"API_KEY","AuthParameters":` + apiKey + `,"InvocationConnectivityParameters":{"ResourceParameters":{"ResourceConfigurationArn":"arn:aws:vpc-lattice:eu-west-1:111122223333:resourceconfiguration/rcfg-0123456789abcdef0"}}}`, resource.InvalidRequest, "InvocationConnectivityParameters"},
		"a connection that is missing":  {"AWS::Events::ApiDestination", `{"ConnectionArn":"arn:aws:events:eu-west-1:111122223333:connection/c/1b671a64-40d5-491e-99b0-da01ff1f3341","InvocationEndpoint":"https://example.com","HttpMethod":"GET"}`, resource.NotFound, "connection/c"},
		"an archive of another account": {"AWS::Events::Archive", `{"SourceArn":"arn:aws:events:eu-west-1:444455556666:event-bus/orders"}`, resource.NotFound, "orders"},
		"a name that no queue has":      {"AWS::SQS::Queue", `{"QueueName":"a b"}`, resource.InvalidRequest, "alphanumeric"},
		"a FIFO queue's name":           {"AWS::SQS::Queue", `{"QueueName":"q.fifo"}`, resource.InvalidRequest, "1 to 80"},
		"a queue's key":                 {"AWS::SQS::Queue", `{"KmsMasterKeyId":"alias/aws/sqs"}`, resource.InvalidRequest, "KmsMasterKeyId"},
		"a redrive without a queue":     {"AWS::SQS::Queue", `{"RedrivePolicy":{"maxReceiveCount":3}}`, resource.InvalidRequest, "deadLetterTargetArn"},
		"a dead-letter queue not there": {"AWS::SQS::Queue", `{"RedrivePolicy":{"deadLetterTargetArn":"arn:aws:sqs:eu-west-1:111122223333:x","maxReceiveCount":3}}`, resource.InvalidRequest, "RedrivePolicy"},
		"a policy of no queue":          {"AWS::SQS::QueuePolicy", `{"Queues":[],"PolicyDocument":{}}`, resource.InvalidRequest, "Queues"},
		"a policy of a missing queue":   {"AWS::SQS::QueuePolicy", `{"Queues":["` + queueURL + `q","` + queueURL + `x"],"PolicyDocument":` + queueStatement("Allow") + `}`, resource.NotFound, "does not exist"},
		"what is no URL":                {"AWS::SQS::QueuePolicy", `{"Queues":["q"],"PolicyDocument":` + queueStatement("Allow") + `}`, resource.InvalidRequest, "address q"},
		"what is no policy":             {"AWS::SQS::QueueInlinePolicy", `{"Queue":"` + queueURL + `q","PolicyDocument":"no"}`, resource.InvalidRequest, "Policy"},
		"a FIFO topic":                  {"AWS::SNS::Topic", `{"TopicName":"t.fifo","FifoTopic":true}`, resource.InvalidRequest, "FIFO topics"},
		"a topic's key":                 {"AWS::SNS::Topic", `{"KmsMasterKeyId":"k"}`, resource.InvalidRequest, "KmsMasterKeyId"},
		"a topic's log":                 {"AWS::SNS::Topic", `{"DeliveryStatusLogging":[{"Protocol":"http/s","SuccessFeedbackRoleArn":"r"}]}`, resource.InvalidRequest, "HTTPSuccessFeedbackRoleArn"},
		"a topic's data protection":     {"AWS::SNS::Topic", `{"DataProtectionPolicy":{"Name":"n"}}`, resource.InvalidRequest, "DataProtectionPolicy"},
		"an endpoint that is none":      {"AWS::SNS::Topic", `{"TopicName":"t","Subscription":[{"Protocol":"sqs","Endpoint":"q"}]}`, resource.InvalidRequest, "SQS endpoint ARN"},
		"a topic that is missing":       {"AWS::SNS::Subscription", `{"TopicArn":"arn:aws:sns:eu-west-1:111122223333:x","Protocol":"sqs","Endpoint":"arn:aws:sqs:eu-west-1:111122223333:q"}`, resource.NotFound, "Topic does not exist"},
		"a filter that is none":         {"AWS::SNS::Subscription", `{"TopicArn":"arn:aws:sns:eu-west-1:111122223333:news","Protocol":"sqs","Endpoint":"arn:aws:sqs:eu-west-1:111122223333:q","FilterPolicy":{"a":"b"}}`, resource.InvalidRequest, "FilterPolicy"},
		"a replay":                      {"AWS::SNS::Subscription", `{"TopicArn":"arn:aws:sns:eu-west-1:111122223333:news","Protocol":"sqs","Endpoint":"arn:aws:sqs:eu-west-1:111122223333:q","ReplayPolicy":{"a":"b"}}`, resource.InvalidRequest, "ReplayPolicy"},
		"code in S3":                    {"AWS::Lambda::Function", `{` + fn + `,"Runtime":"python3.13","Code":{"S3Bucket":"code","S3Key":"k"}}`, resource.InvalidRequest, "Code.S3Bucket"},
		"an image":                      {"AWS::Lambda::Function", `{` + fn + `,"PackageType":"Image","Code":{"ImageUri":"u"}}`, resource.InvalidRequest, "Image"},
		"a source of a binary":          {"AWS::Lambda::Function", `{` + fn + `,"Runtime":"provided.al2023","Code":{"ZipFile":"x"}}`, resource.InvalidRequest, "Code/ZipFile"},
		"a runtime that is missing":     {"AWS::Lambda::Function", `{` + fn + `,"Runtime":"ruby3.4","Code":{"ZipFile":"x"}}`, resource.InvalidRequest, "ZipFile"},
		"reserved runs":                 {"AWS::Lambda::Function", `{` + fn + `,"Runtime":"python3.13","Code":{"ZipFile":"x"},"ReservedConcurrentExecutions":0}`, resource.InvalidRequest, "ReservedConcurrentExecutions"},
		"a VPC":                         {"AWS::Lambda::Function", `{` + fn + `,"Runtime":"python3.13","Code":{"ZipFile":"x"},"VpcConfig":{"SubnetIds":["subnet-1"]}}`, resource.InvalidRequest, "VpcConfig"},
		"found loops":                   {"AWS::Lambda::Function", `{` + fn + `,"Runtime":"python3.13","Code":{"ZipFile":"x"},"RecursiveLoop":"Terminate"}`, resource.InvalidRequest, "RecursiveLoop"},
		"a fixed runtime":               {"AWS::Lambda::Function", `{` + fn + `,"Runtime":"python3.13","Code":{"ZipFile":"x"},"RuntimeManagementConfig":{"UpdateRuntimeOn":"Manual"}}`, resource.InvalidRequest, "RuntimeManagementConfig"},
		"signed code":                   {"AWS::Lambda::Function", `{` + fn + `,"Runtime":"python3.13","Code":{"ZipFile":"x"},"CodeSigningConfigArn":"arn"}`, resource.InvalidRequest, "CodeSigningConfigArn"},
		"a stream":                      {"AWS::Lambda::EventSourceMapping", `{"FunctionName":"f","EventSourceArn":"arn:aws:kinesis:eu-west-1:111122223333:stream/s","StartingPosition":"LATEST"}`, resource.InvalidRequest, "kinesis"},
		"no function":                   {"AWS::Lambda::EventSourceMapping", `{"FunctionName":"nobody","EventSourceArn":"arn:aws:sqs:eu-west-1:111122223333:q"}`, resource.InvalidRequest, "Function does not exist"},
		"a permission of no function":   {"AWS::Lambda::Permission", `{"FunctionName":"nobody","Action":"lambda:InvokeFunction","Principal":"events.amazonaws.com"}`, resource.NotFound, "nobody"},
		"a log group's tags":            {"AWS::Logs::LogGroup", `{"Tags":[{"Key":"a","Value":"b"}]}`, resource.InvalidRequest, "tags"},
		"a log group's class":           {"AWS::Logs::LogGroup", `{"LogGroupClass":"INFREQUENT_ACCESS"}`, resource.InvalidRequest, "logGroupClass"},
		"a log group's fields":          {"AWS::Logs::LogGroup", `{"FieldIndexPolicies":[{"Fields":["a"]}]}`, resource.InvalidRequest, "FieldIndexPolicies"},
		"no image":                      {"AWS::EC2::Instance", `{"InstanceType":"t3.micro"}`, resource.InvalidRequest, "ImageId"},
		"a volume":                      {"AWS::EC2::Instance", `{"ImageId":"ami-0abcdef1234567890","BlockDeviceMappings":[{"DeviceName":"/dev/sda1","Ebs":{"VolumeSize":8}}]}`, resource.InvalidRequest, "BlockDeviceMappings"},
		"a script":                      {"AWS::EC2::Instance", `{"ImageId":"ami-0abcdef1234567890","UserData":"aGk="}`, resource.InvalidRequest, "UserData"},
		"a router":                      {"AWS::EC2::Instance", `{"ImageId":"ami-0abcdef1234567890","SourceDestCheck":false}`, resource.InvalidRequest, "SourceDestCheck"},
		"a dedicated host":              {"AWS::EC2::Instance", `{"ImageId":"ami-0abcdef1234567890","Tenancy":"host","HostId":"h-1"}`, resource.InvalidRequest, "Placement.HostId"},
		"a launch template":             {"AWS::EC2::Instance", `{"LaunchTemplate":{"LaunchTemplateId":"lt-1","Version":"1"}}`, resource.InvalidRequest, "LaunchTemplate"},
	} {
		t.Run(name, func(t *testing.T) {
			x.t = t
			_, err := x.create(c.typeName, c.desired)
			if resource.CodeOf(err) != c.code || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%s is not %s with %q", err, c.code, c.says)
			}
		})
	}
	x.t = t
	for _, typeName := range []string{"AWS::Events::Rule", "AWS::Events::Connection", "AWS::Events::ApiDestination", "AWS::Events::Archive", "AWS::SNS::Subscription", "AWS::Lambda::Function", "AWS::Logs::LogGroup", "AWS::EC2::Instance"} {
		if ids := x.list(typeName); len(ids) != 0 {
			t.Errorf("refused creates left %q", ids)
		}
	}
	if ids := x.list("AWS::SQS::QueueInlinePolicy"); len(ids) != 0 {
		t.Errorf("refused creates left policies of %q", ids)
	}
}

func targets(n int) string {
	var list []string
	for i := range n {
		list = append(list, `{"Id":"t`+string(rune('a'+i))+`","Arn":"arn:aws:sqs:eu-west-1:111122223333:q"}`)
	}
	return strings.Join(list, ",")
}

func TestPropertiesOfTheWrongTypeAreNamed(t *testing.T) {
	for name, c := range map[string]struct {
		property string
		value    string
		says     string
	}{
		"a text for a list":         {"Targets", `{"v":"a"}`, "Targets must be a list"},
		"a list for an object":      {"Targets", `{"v":[["a"]]}`, "Targets/0 must be an object"},
		"an unknown member":         {"Targets", `{"v":[{"Id":"a","Where":"b"}]}`, "Targets/0/Where is unknown"},
		"an object for a text":      {"Targets", `{"v":[{"Id":{}}]}`, "Targets/0/Id must be a string"},
		"a text for a number":       {"Targets", `{"v":[{},{"RetryPolicy":{"MaximumRetryAttempts":"many"}}]}`, `Targets/1/RetryPolicy/MaximumRetryAttempts must be an integer, not "many"`},
		"half a number":             {"Targets", `{"v":[{"RetryPolicy":{"MaximumRetryAttempts":1.5}}]}`, "must be an integer, not \"1.5\""},
		"a number that is too long": {"Targets", `{"v":[{"RetryPolicy":{"MaximumRetryAttempts":99999999999}}]}`, "must be an integer"},
		"a number for a map":        {"Targets", `{"v":[{"HttpParameters":{"HeaderParameters":1}}]}`, "Targets/0/HttpParameters/HeaderParameters must be an object"},
		"a list in a map":           {"Targets", `{"v":[{"HttpParameters":{"HeaderParameters":{"a":[]}}}]}`, "Targets/0/HttpParameters/HeaderParameters/a must be a string"},
		"a text for a boolean":      {"Targets", `{"v":[{"RedshiftDataParameters":{"WithEvent":"perhaps"}}]}`, "must be true or false"},
		"a text for a double":       {"Targets", `{"v":[{"EcsParameters":{"TaskCount":{}}}]}`, "TaskCount must be a number"},
	} {
		t.Run(name, func(t *testing.T) {
			var list []events.Target
			err := shape(c.property, model(t, c.value)["v"], &list)
			if !is(err, resource.InvalidRequest) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v does not say %q", err, c.says)
			}
		})
	}
}

func TestTextBecomesWhatAPIsTake(t *testing.T) {
	var list []events.Target
	v := model(t, `{"v":[{"Id":7,"Arn":true,"RetryPolicy":{"MaximumRetryAttempts":"3","MaximumEventAgeInSeconds":6e1},"EcsParameters":{"TagList":[{"Key":"a"}],"EnableExecuteCommand":"true"},"Input":null}]}`)
	if err := shape("Targets", v["v"], &list); err != nil {
		t.Fatal(err)
	}
	got := list[0]
	if *got.Id != "7" || *got.Arn != "true" || *got.RetryPolicy.MaximumRetryAttempts != 3 || *got.RetryPolicy.MaximumEventAgeInSeconds != 60 ||
		*got.EcsParameters.Tags[0].Key != "a" || !*got.EcsParameters.EnableExecuteCommand || got.Input != nil {
		t.Errorf("%+v", got)
	}
}

func TestWhatIsTheSame(t *testing.T) {
	for name, c := range map[string]struct {
		a, b string
		want bool
	}{
		"a number and its text":              {`5`, `"5"`, true},
		"numbers by value":                   {`1e2`, `100`, true},
		"texts by letter":                    {`"1e2"`, `"100"`, false},
		"a boolean and its text":             {`true`, `"true"`, true},
		"an object and its text":             {`{"a":[1,2]}`, `"{ \"a\": [1, 2] }"`, true},
		"texts that are JSON by letter":      {`"{\"a\":1}"`, `"{ \"a\":1}"`, false},
		"objects without order":              {`{"a":1,"b":"2"}`, `{"b":2,"a":"1"}`, true},
		"lists with order":                   {`["a","b"]`, `["b","a"]`, false},
		"tags without order":                 {`[{"Key":"a","Value":"1"},{"Key":"b","Value":"2"}]`, `[{"Key":"b","Value":"2"},{"Key":"a","Value":"1"}]`, true},
		"nothing and an empty list":          {`null`, `[]`, true},
		"nothing and an empty text":          {`null`, `""`, true},
		"nothing and zero":                   {`null`, `0`, false},
		"nothing and false":                  {`null`, `false`, false},
		"a member and none":                  {`{"a":1}`, `{"a":1,"b":2}`, false},
		"a member that is empty and none":    {`{"a":1}`, `{"a":1,"b":{}}`, true},
		"a text and an object of other kind": {`"a"`, `{"a":1}`, false},
		"a list and an object":               {`[1]`, `{"a":1}`, false},
	} {
		t.Run(name, func(t *testing.T) {
			a, b := object(c.a), object(c.b)
			if same(a, b) != c.want || same(b, a) != c.want {
				t.Errorf("same(%s, %s) is not %v", c.a, c.b, c.want)
			}
		})
	}
}

func TestDocumentsKeepTheirNumbers(t *testing.T) {
	const pattern = `{"detail":{"n":[{"numeric":["=",1.50,"<",12345678901234567890,">",1E-7]}],"s":["<&>","名"]}}`
	if got := document(object(pattern)); got != pattern {
		t.Errorf("%s became %s", pattern, got)
	}
}

func TestServiceErrorsBecomeErrorsOfHandlers(t *testing.T) {
	for code, want := range map[string]resource.ErrorCode{
		"ResourceNotFoundException": resource.NotFound, "QueueDoesNotExist": resource.NotFound, "InvalidInstanceID.NotFound": resource.NotFound,
		"ResourceAlreadyExistsException": resource.AlreadyExists, "QueueNameExists": resource.AlreadyExists,
		"AccessDeniedException": resource.AccessDenied, "AuthorizationErrorException": resource.AccessDenied,
		"ThrottlingException": resource.Throttling, "TooManyRequestsException": resource.Throttling,
		"LimitExceededException": resource.ServiceLimitExceeded, "TagLimitExceeded": resource.ServiceLimitExceeded, "InstanceLimitExceeded": resource.ServiceLimitExceeded,
		"ResourceConflictException": resource.ResourceConflict, "ConcurrentModificationException": resource.ResourceConflict,
		"ValidationException": resource.InvalidRequest, "InvalidEventPatternException": resource.InvalidRequest, "MissingParameter": resource.InvalidRequest,
		"UnknownOperationException": resource.GeneralService,
	} {
		err := told("Op", awsapi.Errorf(code, "said %s", code))
		if resource.CodeOf(err) != want || !strings.HasPrefix(err.Error(), "said "+code) {
			t.Errorf("%s became %v", code, err)
		}
	}
	if err := told("Op", &awsapi.Error{Code: "ServiceException", Status: 500, Fault: true}); resource.CodeOf(err) != resource.ServiceInternalError {
		t.Errorf("a fault became %v", err)
	}
	if cause := errors.New("disk"); !errors.Is(told("Op", cause), cause) || resource.CodeOf(told("Op", cause)) != "" {
		t.Error("a failure of ours was told to the caller")
	}
}

// scripted answers calls as a test says.
type scripted func(operation string, in any) (any, error)

func (s scripted) Invoke(_ context.Context, _ awsapi.Caller, _, operation string, in any) (any, error) {
	return s(operation, in)
}

func TestTargetsArePutInPagesAndFailedOnesAreErrors(t *testing.T) {
	var pages []int
	put := func(operation string, in any) (any, error) {
		p := in.(*events.PutTargetsInput)
		pages = append(pages, len(p.Targets))
		out := &events.PutTargetsOutput{}
		for _, target := range p.Targets {
			if *target.Id == "bad" {
				out.FailedEntries = []events.PutTargetsResultEntry{{TargetId: target.Id, ErrorCode: new("ConcurrentModificationException"), ErrorMessage: new("changed meanwhile")}}
			}
		}
		return out, nil
	}
	list := make([]events.Target, 230)
	for i := range list {
		list[i].Id = new("t")
	}
	h := rule{api{scripted(put)}}
	if err := h.putTargets(t.Context(), resource.Request{}, ruleName{name: "r"}, list); err != nil || len(pages) != 3 || pages[0] != 100 || pages[2] != 30 {
		t.Errorf("pages %v, %v", pages, err)
	}
	list[150].Id = new("bad")
	err := h.putTargets(t.Context(), resource.Request{}, ruleName{name: "r"}, list)
	if !is(err, resource.ResourceConflict) || !strings.Contains(err.Error(), "Target bad: changed meanwhile (ConcurrentModificationException)") {
		t.Error(err)
	}
}

func TestConnectionsThatAreRefusedDoNotStabilize(t *testing.T) {
	x := newSQLite(t)
	x.deny.Store("密码错误 (401)")
	oauth := strings.ReplaceAll(lives["connection with OAuth"].create, "\n", "")
	_, err := x.create("AWS::Events::Connection", oauth)
	if !is(err, resource.NotStabilized) || !strings.Contains(err.Error(), "密码错误 (401)") {
		t.Error(err)
	}
	if ids := x.list("AWS::Events::Connection"); len(ids) != 0 {
		t.Errorf("left %q", ids)
	}
	x.must("AWS::Events::Connection", `{"Name":"c","AuthorizationType":"API_KEY","AuthParameters":`+apiKey+`}`)
	_, err = x.update("AWS::Events::Connection", "c", `{"Name":"c","AuthorizationType":"API_KEY","AuthParameters":`+apiKey+`}`, oauth)
	if !is(err, resource.NotStabilized) {
		t.Error(err)
	}
}

func TestWhatDoesNotBecomeReadyInTimeIsNotStabilized(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	err := until(ctx, func() (bool, string, error) { return false, "It is AUTHORIZING.", nil })
	if !is(err, resource.NotStabilized) || !strings.Contains(err.Error(), "It is AUTHORIZING.") {
		t.Error(err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if err := until(gone, func() (bool, string, error) { return false, "", nil }); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestWhatCannotBeTakenBackIsSaid(t *testing.T) {
	var u undo
	u.add(func(context.Context) error { return errors.New("the service is gone") })
	err := u.after(t.Context(), resource.Errorf(resource.InvalidRequest, "refused"))
	if !is(err, resource.ServiceInternalError) || !strings.Contains(err.Error(), "refused") || !strings.Contains(err.Error(), "could not be taken back: the service is gone") {
		t.Error(err)
	}
	if err := u.after(t.Context(), nil); err != nil {
		t.Error(err)
	}
}
