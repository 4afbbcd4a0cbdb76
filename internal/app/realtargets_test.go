package app

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	ebtypes "github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/aws/aws-sdk-go-v2/service/sns"
)

// realAccountAt has a server reach an account as a real one of AWS at another
// server, with a key of its own there, and returns a caller of it.
func (s *testServer) realAccountAt(t *testing.T, elsewhere *testServer, account string) *caller {
	t.Helper()
	admin := elsewhere.key(t, "", "000000000000", "admin")
	bearer := elsewhere.login(t, admin.ID, admin.Secret)
	key := elsewhere.key(t, bearer, account, "operator")
	s.do(t, "PUT", "/v1/cloud/accounts/"+account, map[string]any{
		"access_key_id": key.ID, "secret_access_key": key.Secret, "endpoint_url": elsewhere.LocalURL(),
		"requests_per_second": 1000, "burst": 1000,
	}, nil)
	return elsewhere.withKey(account, home, key.ID, key.Secret)
}

// Targets of every kind, and dead-letter queues, are invoked in the account that
// they belong to: here or in AWS, for which another server stands that checks
// signatures.
func TestTargetsInARealAccount(t *testing.T) {
	t.Parallel()
	const account = "444455556666"
	s, elsewhere := startServer(t, nil), startServer(t, nil)
	there := s.realAccountAt(t, elsewhere, account)
	here := s.caller("000000000000", home)
	to := func(name, arn string) {
		here.putRule("", name, `{"detail-type":["`+name+`"]}`, ebtypes.Target{
			Id: aws.String("t"), Arn: &arn, RoleArn: roleFor(here, arn), DeadLetterConfig: &ebtypes.DeadLetterConfig{Arn: aws.String(there.queueARN("dead"))},
		})
	}
	dead := there.queue("dead")
	deadLetter := func(rule, arn, id, code, message string) {
		t.Helper()
		there.deadLetter(dead, id, map[string]string{"RULE_ARN": ruleARN(here, rule), "TARGET_ARN": arn, "ERROR_CODE": code, "ERROR_MESSAGE": message})
	}

	// A queue, and one that is missing there.
	queue := there.queue("orders")
	to("queue", there.queueARN("orders"))
	id := here.put("shop", "queue", `{"text":"订单 🛒"}`)[0]
	if e := there.nextEvent(queue); e.ID != id || string(e.Detail) != `{"text":"订单 🛒"}` {
		t.Errorf("the queue got %+v", e)
	}
	to("missing", there.queueARN("missing"))
	deadLetter("missing", there.queueARN("missing"), here.put("shop", "missing", "{}")[0], "NO_RESOURCE", "Service: AmazonSQS; Status Code: 400; Error Code: AWS.SimpleQueueService.NonExistentQueue; Request ID: ")

	// A log group, of which AWS has that the rule is of the same account.
	group := there.logGroup("/aws/events/orders")
	mine := s.caller(account, home)
	mine.putRule("", "log", `{"source":["shop"]}`, ebtypes.Target{Id: aws.String("t"), Arn: &group})
	id = mine.put("shop", "log", "{}")[0]
	if got := there.logged("/aws/events/orders", 1); len(got["default/log"]) != 1 || !strings.Contains(got["default/log"][0], id) {
		t.Errorf("the log group got %q", got)
	}

	// A bus: the event is a new one there, of the account that put it.
	arrived := there.ruleToQueue("forwarded", `{"detail-type":["bus"]}`)
	to("bus", there.busARN("default"))
	id = here.put("shop", "bus", `{"n":1}`)[0]
	if e := there.nextEvent(arrived); e.ID == id || e.Account != account || e.Source != "shop" || string(e.Detail) != `{"n":1}` {
		t.Errorf("the bus got %+v", e)
	}
	id = s.inject(t, `{"source":"aws.ec2","detail-type":"bus","detail":{}}`)
	deadLetter("bus", there.busARN("default"), id, "NO_PERMISSIONS", "Error Code: NotAuthorizedForSourceException")

	// Rules of other accounts do not get in.
	other := s.caller("777788889999", home)
	otherDead := other.queue("dead")
	other.putRule("", "intruder", `{"source":["shop"]}`, ebtypes.Target{Id: aws.String("t"), Arn: aws.String(there.queueARN("orders")), DeadLetterConfig: other.deadLetters("dead")})
	other.deadLetter(otherDead, other.put("shop", "queue", "{}")[0], map[string]string{
		"RULE_ARN": ruleARN(other, "intruder"), "TARGET_ARN": there.queueARN("orders"), "ERROR_CODE": "NO_PERMISSIONS", "ERROR_MESSAGE": "Rules of account 777788889999 cannot reach the real account",
	})

	// Once the account is one of the box again, so are its targets.
	s.do(t, "DELETE", "/v1/cloud/accounts/"+account, nil, nil)
	boxed := s.caller(account, home)
	url := boxed.queue("orders")
	boxed.allowRules(url)
	id = here.put("shop", "queue", "{}")[0]
	if e := boxed.nextEvent(url); e.ID != id {
		t.Errorf("the box's queue got %+v", e)
	}
}

func roleFor(c *caller, arn string) *string {
	if strings.Contains(arn, ":event-bus/") {
		return aws.String(c.role())
	}
	return nil
}

// inject puts an event as it is on the default bus of the installation's account,
// and returns its id.
func (s *testServer) inject(t *testing.T, event string) string {
	t.Helper()
	var out struct {
		Events []struct {
			ID string `json:"id"`
		} `json:"events"`
	}
	s.do(t, "POST", "/v1/events?region="+home, event, &out)
	return out.Events[0].ID
}

// A function of a real account is invoked as Lambda's API has it.
func TestAFunctionInARealAccount(t *testing.T) {
	t.Parallel()
	const account = "444455556666"
	arn := "arn:aws:lambda:us-east-1:" + account + ":function:resize:live"
	invoked := make(chan *http.Request, 10)
	bodies := make(chan string, 10)
	answers := []func(w http.ResponseWriter){
		func(w http.ResponseWriter) { w.WriteHeader(http.StatusAccepted) },
		func(w http.ResponseWriter) {
			w.Header().Set("X-Amzn-ErrorType", "ResourceNotFoundException")
			w.Header().Set("X-Amzn-RequestId", "req-2")
			w.WriteHeader(http.StatusNotFound)
			_, _ = io.WriteString(w, `{"Type":"User","Message":"Function not found: `+arn+`"}`)
		},
	}
	lambda := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		answer := answers[0] // one call at a time
		answers = answers[1:]
		answer(w)
		invoked <- r
		bodies <- string(body)
	}))
	defer lambda.Close()
	s := startServer(t, nil)
	s.do(t, "PUT", "/v1/cloud/accounts/"+account, map[string]any{"access_key_id": "AKIAEXAMPLEEXAMPLE00", "secret_access_key": "hush hush", "endpoint_url": lambda.URL}, nil)
	here := s.caller("000000000000", home)
	dead := here.queue("dead")
	here.putRule("", "fn", `{"source":["shop"]}`, ebtypes.Target{Id: aws.String("t"), Arn: &arn, DeadLetterConfig: here.deadLetters("dead")})
	id := here.put("shop", "image", `{"key":"机器.png"}`)[0]
	r, body := <-invoked, <-bodies
	if r.Method != http.MethodPost || r.URL.EscapedPath() != "/2015-03-31/functions/arn%3Aaws%3Alambda%3Aus-east-1%3A444455556666%3Afunction%3Aresize%3Alive/invocations" ||
		r.Header.Get("X-Amz-Invocation-Type") != "Event" || !strings.Contains(r.Header.Get("Authorization"), "Credential=AKIAEXAMPLEEXAMPLE00/") {
		t.Errorf("invoked with %s %s %v", r.Method, r.URL.EscapedPath(), r.Header)
	}
	if !strings.Contains(body, id) || !strings.Contains(body, "机器.png") {
		t.Errorf("the payload is %s", body)
	}
	id = here.put("shop", "image", "{}")[0]
	here.deadLetter(dead, id, map[string]string{
		"RULE_ARN": ruleARN(here, "fn"), "TARGET_ARN": arn, "ERROR_CODE": "NO_RESOURCE",
		"ERROR_MESSAGE": "Function not found: " + arn + " (Service: AWSLambda; Status Code: 404; Error Code: ResourceNotFoundException; Request ID: req-2; Proxy: null)",
	})
}

// A topic of a real account publishes what it gets to its subscribers.
func TestATopicInARealAccount(t *testing.T) {
	t.Parallel()
	const account = "444455556666"
	s, elsewhere := startServer(t, nil), startServer(t, nil)
	there, here := s.realAccountAt(t, elsewhere, account), s.caller("000000000000", home)
	topics := sns.New(sns.Options{Region: home, BaseEndpoint: &there.url, Credentials: there.key, RetryMaxAttempts: 1})
	topic, err := topics.CreateTopic(t.Context(), &sns.CreateTopicInput{Name: aws.String("orders")})
	if err != nil {
		t.Fatal(err)
	}
	queue := there.queue("subscriber")
	if _, err := topics.Subscribe(t.Context(), &sns.SubscribeInput{
		TopicArn: topic.TopicArn, Protocol: aws.String("sqs"), Endpoint: aws.String(there.queueARN("subscriber")), Attributes: map[string]string{"RawMessageDelivery": "true"},
	}); err != nil {
		t.Fatal(err)
	}
	here.putRule("", "topic", `{"source":["shop"]}`, ebtypes.Target{Id: aws.String("t"), Arn: topic.TopicArn})
	id := here.put("shop", "order", "{}")[0]
	if e := there.nextEvent(queue); e.ID != id {
		t.Errorf("the subscriber got %+v", e)
	}
}

// What keeps the server from using an account at all has codes of its own.
func TestAnAccountThatCannotBeUsed(t *testing.T) {
	t.Parallel()
	s := startServer(t, nil)
	here := s.caller("000000000000", home)
	dead := here.queue("dead")
	denying := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, `<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>not authorized to perform sts:AssumeRole</Message></Error><RequestId>r</RequestId></ErrorResponse>`)
	}))
	defer denying.Close()
	failing := httptest.NewServer(http.HandlerFunc(status(http.StatusInternalServerError)))
	defer failing.Close()
	for i, test := range []struct {
		settings      map[string]any
		code, message string
		exhausted     bool
	}{
		{map[string]any{"role_arn": "arn:aws:iam::111100000000:role/rialto", "endpoint_url": denying.URL}, "FAILED_TO_ASSUME_ROLE", "not authorized to perform sts:AssumeRole", false},
		{map[string]any{"role_arn": "arn:aws:iam::111100000001:role/rialto", "endpoint_url": failing.URL}, "TRANSIENT_ASSUME_ROLE", "500", true},
		{map[string]any{"regions": []string{"eu-west-1"}, "endpoint_url": failing.URL}, "NO_PERMISSIONS", "us-east-1 is not one of eu-west-1", false},
		{map[string]any{"requests_per_second": 0.001, "burst": 1, "endpoint_url": failing.URL}, "ERROR_FROM_TARGET", "Status Code: 500", true},
	} {
		account := fmt.Sprintf("11110000000%d", i)
		test.settings["access_key_id"], test.settings["secret_access_key"] = "AKIAEXAMPLEEXAMPLE00", "hush hush"
		s.do(t, "PUT", "/v1/cloud/accounts/"+account, test.settings, nil)
		name, arn := fmt.Sprint("rule", i), "arn:aws:sqs:us-east-1:"+account+":orders"
		here.putRule("", name, `{"detail-type":["`+name+`"]}`, ebtypes.Target{
			Id: aws.String("t"), Arn: &arn, DeadLetterConfig: here.deadLetters("dead"), RetryPolicy: &ebtypes.RetryPolicy{MaximumRetryAttempts: aws.Int32(0)},
		})
		want := map[string]string{"RULE_ARN": ruleARN(here, name), "TARGET_ARN": arn, "ERROR_CODE": test.code, "ERROR_MESSAGE": test.message}
		if test.exhausted {
			want["EXHAUSTED_RETRY_CONDITION"], want["RETRY_ATTEMPTS"] = "MaximumRetryAttempts", "0"
		}
		here.deadLetter(dead, here.put("shop", name, "{}")[0], want)
	}
	// Again at once: the rate budget, here of one call, is for reads.
	want := map[string]string{
		"RULE_ARN": ruleARN(here, "rule3"), "TARGET_ARN": "arn:aws:sqs:us-east-1:111100000003:orders", "ERROR_CODE": "ERROR_FROM_TARGET",
		"ERROR_MESSAGE": "Status Code: 500", "EXHAUSTED_RETRY_CONDITION": "MaximumRetryAttempts", "RETRY_ATTEMPTS": "0",
	}
	here.deadLetter(dead, here.put("shop", "rule3", "{}")[0], want)
}
