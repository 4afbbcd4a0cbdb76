package app

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"mime/quotedprintable"
	"net"
	"net/http"
	"net/http/httptest"
	"net/mail"
	"regexp"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	ebtypes "github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	snstypes "github.com/aws/aws-sdk-go-v2/service/sns/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"
)

func (c *caller) topics() *sns.Client {
	return sns.New(sns.Options{Region: c.region, BaseEndpoint: &c.url, Credentials: c.key, HTTPClient: c.httpClient(), RetryMaxAttempts: 1})
}

func (c *caller) topic(name string) (arn string) {
	c.t.Helper()
	out, err := c.topics().CreateTopic(c.t.Context(), &sns.CreateTopicInput{Name: &name})
	if err != nil {
		c.t.Fatal(err)
	}
	return *out.TopicArn
}

func (c *caller) subscribe(topic, protocol, endpoint string, attributes map[string]string) (arn string) {
	c.t.Helper()
	out, err := c.topics().Subscribe(c.t.Context(), &sns.SubscribeInput{TopicArn: &topic, Protocol: &protocol, Endpoint: &endpoint, Attributes: attributes})
	if err != nil {
		c.t.Fatal(err)
	}
	return *out.SubscriptionArn
}

// message takes the next message off a queue, with its trace header.
func (c *caller) message(queueURL string) (body, trace string, attributes map[string]string) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	for {
		out, err := c.queues().ReceiveMessage(ctx, &sqs.ReceiveMessageInput{
			QueueUrl: &queueURL, WaitTimeSeconds: 10, MessageAttributeNames: []string{"All"}, MessageSystemAttributeNames: []sqstypes.MessageSystemAttributeName{"AWSTraceHeader"},
		})
		if err != nil {
			c.t.Fatalf("waiting for a message in %s: %v", queueURL, err)
		}
		for _, m := range out.Messages {
			if _, err := c.queues().DeleteMessage(ctx, &sqs.DeleteMessageInput{QueueUrl: &queueURL, ReceiptHandle: m.ReceiptHandle}); err != nil {
				c.t.Fatal(err)
			}
			attributes = map[string]string{}
			for name, v := range m.MessageAttributes {
				attributes[name] = *v.StringValue
			}
			return *m.Body, m.Attributes["AWSTraceHeader"], attributes
		}
	}
}

// From a rule by a topic to queues: as a document, raw, filtered, and refused.
func TestARulePublishesToATopic(t *testing.T) {
	t.Parallel()
	s := startServer(t, nil)
	c := s.caller("111122223333", "eu-west-1")
	topic := c.topic("orders")
	documents, raw, big, dead := c.queue("documents"), c.queue("raw"), c.queue("big"), c.queue("dead")
	c.subscribe(topic, "sqs", c.queueARN("documents"), nil)
	c.subscribe(topic, "sqs", c.queueARN("raw"), map[string]string{"RawMessageDelivery": "true"})
	c.subscribe(topic, "sqs", c.queueARN("big"), map[string]string{
		"RawMessageDelivery": "true", "FilterPolicyScope": "MessageBody", "FilterPolicy": `{"detail":{"total":[{"numeric":[">",100]}]}}`,
	})
	c.putRule("", "publish", `{"source":["shop"]}`, ebtypes.Target{Id: aws.String("topic"), Arn: &topic, DeadLetterConfig: c.deadLetters("dead")})

	small := c.put("shop", "order", `{"total":10,"城市":"上海 🏙"}`)[0]
	body, _, _ := c.message(documents)
	var document struct{ Type, Message, TopicArn, Subject, SigningCertURL string }
	if err := json.Unmarshal([]byte(body), &document); err != nil || document.Type != "Notification" || document.TopicArn != topic || strings.Contains(body, "Subject") {
		t.Errorf("%v in %s", err, body)
	}
	var e arrivedEvent
	if err := json.Unmarshal([]byte(document.Message), &e); err != nil || e.ID != small || !strings.Contains(string(e.Detail), "上海 🏙") {
		t.Errorf("%v in %s", err, body)
	}
	if e := c.nextEvent(raw); e.ID != small {
		t.Errorf("raw got %+v", e)
	}
	large := c.put("shop", "order", `{"total":101}`)[0]
	if e := c.nextEvent(big); e.ID != large {
		t.Errorf("big got %+v", e)
	}
	c.nextEvent(raw)
	const header = "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1"
	_, err := c.events().PutEvents(t.Context(), &eventbridge.PutEventsInput{Entries: []ebtypes.PutEventsRequestEntry{
		{Source: aws.String("shop"), DetailType: aws.String("order"), Detail: aws.String("{}"), TraceHeader: aws.String(header)},
	}})
	if err != nil {
		t.Fatal(err)
	}
	if _, trace, _ := c.message(raw); trace != header {
		t.Errorf("the trace header is %q", trace)
	}

	refusedBy := func(id, code, message string) {
		t.Helper()
		c.deadLetter(dead, id, map[string]string{"RULE_ARN": ruleARN(c, "publish"), "TARGET_ARN": topic, "ERROR_CODE": code, "ERROR_MESSAGE": message})
	}
	policy := func(source string) {
		t.Helper()
		text := fmt.Sprintf(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"events.amazonaws.com"},"Action":"sns:Publish","Resource":%q,"Condition":{"ArnEquals":{"aws:SourceArn":%q}}}]}`, topic, source)
		if _, err := c.topics().SetTopicAttributes(t.Context(), &sns.SetTopicAttributesInput{TopicArn: &topic, AttributeName: aws.String("Policy"), AttributeValue: &text}); err != nil {
			t.Fatal(err)
		}
	}
	policy(ruleARN(c, "another"))
	refusedBy(c.put("shop", "order", `{}`)[0], "NO_PERMISSIONS", "User: events.amazonaws.com is not authorized to perform: SNS:Publish on resource: "+topic+
		" because no resource-based policy allows the SNS:Publish action (Service: AmazonSNS; Status Code: 403; Error Code: AuthorizationError; Request ID: ")
	policy(ruleARN(c, "publish"))
	allowed := c.put("shop", "order", `{"n":1}`)[0]
	c.awaitEvents(raw, func(e arrivedEvent) bool { return e.ID == allowed })
	if _, err := c.topics().DeleteTopic(t.Context(), &sns.DeleteTopicInput{TopicArn: &topic}); err != nil {
		t.Fatal(err)
	}
	refusedBy(c.put("shop", "order", `{}`)[0], "NO_RESOURCE", "Topic does not exist (Service: AmazonSNS; Status Code: 404; Error Code: NotFound; Request ID: ")
}

// A topic of another account takes what its policy lets in; a publisher's trace reaches the queue.
func TestTopicsOfOtherAccounts(t *testing.T) {
	t.Parallel()
	s := startServer(t, nil)
	owner, other := s.caller("111122223333", "eu-west-1"), s.caller("444455556666", "eu-west-1")
	topic := owner.topic("shared")
	url := owner.queue("q")
	owner.subscribe(topic, "sqs", owner.queueARN("q"), map[string]string{"RawMessageDelivery": "true"})
	publish := func(c *caller) error {
		_, err := c.topics().Publish(t.Context(), &sns.PublishInput{TopicArn: &topic, Message: aws.String("from " + c.account)})
		return err
	}
	refusedAs(t, publish(other), "AuthorizationError", "User: arn:aws:iam::444455556666:root is not authorized to perform: SNS:Publish on resource: "+topic)
	_, err := other.topics().Subscribe(t.Context(), &sns.SubscribeInput{TopicArn: &topic, Protocol: aws.String("sqs"), Endpoint: aws.String(other.queueARN("q"))})
	refusedAs(t, err, "AuthorizationError", "SNS:Subscribe")
	text := fmt.Sprintf(`{"Version":"2012-10-17","Statement":[
		{"Effect":"Allow","Principal":{"AWS":"444455556666"},"Action":"SNS:Publish","Resource":%[1]q},
		{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::444455556666:root"},"Action":"SNS:Subscribe","Resource":%[1]q,"Condition":{"StringEquals":{"sns:Protocol":"sqs"}}}]}`, topic)
	if _, err := owner.topics().SetTopicAttributes(t.Context(), &sns.SetTopicAttributesInput{TopicArn: &topic, AttributeName: aws.String("Policy"), AttributeValue: &text}); err != nil {
		t.Fatal(err)
	}
	if err := publish(other); err != nil {
		t.Fatal(err)
	}
	if body, _, _ := owner.message(url); body != "from 444455556666" {
		t.Errorf("got %s", body)
	}
	_, err = other.topics().Subscribe(t.Context(), &sns.SubscribeInput{TopicArn: &topic, Protocol: aws.String("https"), Endpoint: aws.String("https://example.com/")})
	refusedAs(t, err, "AuthorizationError", "SNS:Subscribe")

	// Their own queue needs no confirmation, but its policy must let the topic in.
	theirs := other.queue("theirs")
	if arn := other.subscribe(topic, "sqs", other.queueARN("theirs"), map[string]string{"RawMessageDelivery": "true"}); !strings.HasPrefix(arn, topic+":") {
		t.Fatalf("subscribed as %s", arn)
	}
	policy := fmt.Sprintf(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"sns.amazonaws.com"},"Action":"sqs:SendMessage","Resource":"*","Condition":{"ArnEquals":{"aws:SourceArn":%q}}}]}`, topic)
	if _, err := other.queues().SetQueueAttributes(t.Context(), &sqs.SetQueueAttributesInput{QueueUrl: &theirs, Attributes: map[string]string{"Policy": policy}}); err != nil {
		t.Fatal(err)
	}
	if err := publish(owner); err != nil {
		t.Fatal(err)
	}
	if body, _, _ := other.message(theirs); body != "from 111122223333" {
		t.Errorf("got %s", body)
	}
	// A queue of somebody else is asked first.
	answer := owner.subscribe(topic, "sqs", other.queueARN("theirs2"), nil)
	if answer != "pending confirmation" {
		t.Errorf("another account's queue is subscribed: %s", answer)
	}
	// A rule of another account needs the policy to name the service.
	dead := other.queue("dead")
	other.putRule("", "publish", `{"source":["shop"]}`, ebtypes.Target{Id: aws.String("t"), Arn: &topic, DeadLetterConfig: other.deadLetters("dead")})
	other.deadLetter(dead, other.put("shop", "order", "{}")[0], map[string]string{
		"RULE_ARN": ruleARN(other, "publish"), "TARGET_ARN": topic, "ERROR_CODE": "NO_PERMISSIONS", "ERROR_MESSAGE": "SNS:Publish",
	})
}

// What the SDK sends in a batch and asks for in lists, as the SDK reads it.
func TestTopicsSpeakToTheSDK(t *testing.T) {
	t.Parallel()
	s := startServer(t, nil)
	c := s.caller("111122223333", "eu-west-1")
	api, ctx := c.topics(), t.Context()
	topic, url := c.topic("t"), c.queue("q")
	subscription := c.subscribe(topic, "sqs", c.queueARN("q"), map[string]string{"RawMessageDelivery": "true", "FilterPolicy": `{"kind":["a","b"]}`})
	out, err := api.PublishBatch(ctx, &sns.PublishBatchInput{TopicArn: &topic, PublishBatchRequestEntries: []snstypes.PublishBatchRequestEntry{
		{Id: aws.String("1"), Message: aws.String("one"), MessageAttributes: map[string]snstypes.MessageAttributeValue{"kind": {DataType: aws.String("String.Array"), StringValue: aws.String(`["x","b"]`)}}},
		{Id: aws.String("2"), Message: aws.String("two"), MessageAttributes: map[string]snstypes.MessageAttributeValue{"kind": {DataType: aws.String("String"), StringValue: aws.String("c")}}},
		{Id: aws.String("3"), Message: aws.String("three"), Subject: aws.String("line\nbreak")},
	}})
	if err != nil || len(out.Successful) != 2 || len(out.Failed) != 1 || *out.Failed[0].Code != "InvalidParameter" || *out.Failed[0].Message != "Invalid parameter: Subject" || !out.Failed[0].SenderFault {
		t.Fatalf("%+v, %v", out, err)
	}
	body, _, attributes := c.message(url)
	if body != "one" || attributes["kind"] != `["x","b"]` {
		t.Errorf("got %s %v", body, attributes)
	}
	got, err := api.GetSubscriptionAttributes(ctx, &sns.GetSubscriptionAttributesInput{SubscriptionArn: &subscription})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"Protocol": "sqs", "Endpoint": c.queueARN("q"), "Owner": "111122223333", "TopicArn": topic, "SubscriptionArn": subscription, "RawMessageDelivery": "true",
		"PendingConfirmation": "false", "ConfirmationWasAuthenticated": "true", "FilterPolicy": `{"kind":["a","b"]}`, "FilterPolicyScope": "MessageAttributes",
	} {
		if got.Attributes[name] != want {
			t.Errorf("%s is %q, want %q", name, got.Attributes[name], want)
		}
	}
	var topics []string
	for p := sns.NewListTopicsPaginator(api, &sns.ListTopicsInput{}); p.HasMorePages(); {
		page, err := p.NextPage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, topic := range page.Topics {
			topics = append(topics, *topic.TopicArn)
		}
	}
	if len(topics) != 1 || topics[0] != topic {
		t.Errorf("topics %v", topics)
	}
	if _, err := api.TagResource(ctx, &sns.TagResourceInput{ResourceArn: &topic, Tags: []snstypes.Tag{{Key: aws.String("团队"), Value: aws.String("仓库")}}}); err != nil {
		t.Fatal(err)
	}
	tags, err := api.ListTagsForResource(ctx, &sns.ListTagsForResourceInput{ResourceArn: &topic})
	if err != nil || len(tags.Tags) != 1 || *tags.Tags[0].Value != "仓库" {
		t.Errorf("%+v, %v", tags, err)
	}
	_, err = api.Publish(ctx, &sns.PublishInput{TopicArn: aws.String(topic + "x"), Message: aws.String("m")})
	refusedAs(t, err, "NotFound", "Topic does not exist")
	if _, err := api.Unsubscribe(ctx, &sns.UnsubscribeInput{SubscriptionArn: &subscription}); err != nil {
		t.Fatal(err)
	}
	_, err = api.GetSubscriptionAttributes(ctx, &sns.GetSubscriptionAttributesInput{SubscriptionArn: &subscription})
	refusedAs(t, err, "NotFound", "Subscription does not exist")
}

// An endpoint of the web confirms by the link, in a program or a browser.
func TestAWebEndpointOfATopic(t *testing.T) {
	t.Parallel()
	s := startServer(t, nil)
	bodies := make(chan string, 10)
	endpoint := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		bodies <- string(b)
	}))
	defer endpoint.Close()
	c := s.caller("111122223333", "eu-west-1")
	topic := c.topic("t")
	if answer := c.subscribe(topic, "http", endpoint.URL+"/hook", nil); answer != "pending confirmation" {
		t.Fatal(answer)
	}
	var d struct{ Type, Message, SubscribeURL, UnsubscribeURL, SigningCertURL string }
	read := func() {
		t.Helper()
		select {
		case body := <-bodies:
			if err := json.Unmarshal([]byte(body), &d); err != nil {
				t.Fatal(err)
			}
		case <-t.Context().Done():
			t.Fatal("the endpoint got nothing")
		}
	}
	read()
	// A page of another site cannot fetch the link; somebody who clicks on it can visit it.
	foreign := s.request(t, "GET", d.SubscribeURL, nil)
	foreign.Header.Set("Sec-Fetch-Site", "cross-site")
	if a := s.send(t, foreign); a.Status != http.StatusForbidden {
		t.Errorf("a foreign page fetched the link: %s", a)
	}
	foreign.Header.Set("Sec-Fetch-Mode", "navigate")
	foreign.Header.Set("Sec-Fetch-Dest", "document")
	if a := s.send(t, foreign); a.Status != http.StatusOK {
		t.Errorf("following the link: %s", a)
	}
	if _, err := c.topics().Publish(t.Context(), &sns.PublishInput{TopicArn: &topic, Message: aws.String("你好")}); err != nil {
		t.Fatal(err)
	}
	read()
	if d.Message != "你好" {
		t.Errorf("got %+v", d)
	}
	if a := s.send(t, s.request(t, "GET", d.SigningCertURL, nil)); a.Status != http.StatusOK || !strings.HasPrefix(string(a.Body), "-----BEGIN CERTIFICATE-----") {
		t.Errorf("the certificate: %s", a)
	}
	if a := s.send(t, s.request(t, "GET", d.UnsubscribeURL, nil)); a.Status != http.StatusOK {
		t.Errorf("unsubscribe: %s", a)
	}
	read()
	if d.Type != "UnsubscribeConfirmation" {
		t.Errorf("got %+v", d)
	}
	// Addresses that are closed are refused when they are subscribed.
	_, err := c.topics().Subscribe(t.Context(), &sns.SubscribeInput{TopicArn: &topic, Protocol: aws.String("https"), Endpoint: aws.String("https://169.254.169.254/latest")})
	refusedAs(t, err, "InvalidParameter", "to which calls are refused")
}

// smtpServer takes e-mail as RFC 5321 has it, and hands out each as it came.
func smtpServer(t *testing.T) (address string, mails <-chan string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	got := make(chan string, 10)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go serveSMTP(conn, got)
		}
	}()
	return l.Addr().String(), got
}

func serveSMTP(conn net.Conn, got chan<- string) {
	defer conn.Close()
	r := bufio.NewReader(conn)
	say := func(line string) { fmt.Fprintf(conn, "%s\r\n", line) }
	say("220 mail.test ESMTP")
	envelope := ""
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimRight(line, "\r\n")
		switch verb := strings.ToUpper(strings.SplitN(line, " ", 2)[0]); verb {
		case "EHLO":
			say("250-mail.test")
			say("250 8BITMIME")
		case "MAIL", "RCPT":
			envelope += line + "\n"
			say("250 ok")
		case "DATA":
			say("354 go on")
			var text strings.Builder
			for {
				line, err := r.ReadString('\n')
				if err != nil {
					return
				}
				if line == ".\r\n" {
					break
				}
				text.WriteString(strings.TrimPrefix(line, "."))
			}
			got <- envelope + "\n" + text.String()
			envelope = ""
			say("250 taken")
		case "QUIT":
			say("221 bye")
			return
		default:
			say("502 not known")
		}
	}
}

// readMail returns an e-mail in plain words: the envelope, sender, subject and text.
func readMail(t *testing.T, mails <-chan string) (envelope, from, subject, body string) {
	t.Helper()
	var raw string
	select {
	case raw = <-mails:
	case <-t.Context().Done():
		t.Fatal("no e-mail came")
	}
	envelope, rest, _ := strings.Cut(raw, "\n\n")
	m, err := mail.ReadMessage(strings.NewReader(rest))
	if err != nil {
		t.Fatal(err)
	}
	word := new(mime.WordDecoder)
	if subject, err = word.DecodeHeader(m.Header.Get("Subject")); err != nil {
		t.Fatal(err)
	}
	if from, err = word.DecodeHeader(m.Header.Get("From")); err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(quotedprintable.NewReader(m.Body))
	if err != nil {
		t.Fatal(err)
	}
	return envelope, from, subject, strings.ReplaceAll(string(b), "\r\n", "\n")
}

func TestATopicSendsEMail(t *testing.T) {
	t.Parallel()
	server, mails := smtpServer(t)
	s := startServer(t, func(c *Config) { c.SMTP, c.SMTPFrom = server, "rialto@example.com" })
	c := s.caller("111122223333", "eu-west-1")
	topic := c.topic("alarms")
	if _, err := c.topics().SetTopicAttributes(t.Context(), &sns.SetTopicAttributesInput{TopicArn: &topic, AttributeName: aws.String("DisplayName"), AttributeValue: aws.String("警报")}); err != nil {
		t.Fatal(err)
	}
	if answer := c.subscribe(topic, "email", "ops@example.com", nil); answer != "pending confirmation" {
		t.Fatal(answer)
	}
	envelope, from, subject, body := readMail(t, mails)
	if !strings.Contains(envelope, "FROM:<rialto@example.com>") || !strings.Contains(envelope, "TO:<ops@example.com>") || from != `警报 <rialto@example.com>` ||
		subject != "AWS Notification - Subscription Confirmation" {
		t.Errorf("%s\nfrom %s: %s", envelope, from, subject)
	}
	link := regexp.MustCompile(`http://\S+Action=ConfirmSubscription\S+`).FindString(body)
	if a := s.send(t, s.request(t, "GET", link, nil)); a.Status != http.StatusOK {
		t.Fatalf("%s: %s", link, a)
	}
	if _, err := c.topics().Publish(t.Context(), &sns.PublishInput{TopicArn: &topic, Subject: aws.String("磁盘满 🔥"), Message: aws.String("第一行\n.dot\n" + strings.Repeat("long ", 50))}); err != nil {
		t.Fatal(err)
	}
	_, _, subject, body = readMail(t, mails)
	if subject != "磁盘满 🔥" || !strings.HasPrefix(body, "第一行\n.dot\nlong long ") || !strings.Contains(body, "?Action=Unsubscribe&SubscriptionArn="+topic+":") {
		t.Errorf("%s\n%s", subject, body)
	}
}

func TestWithoutAMailServerNobodyIsWrittenTo(t *testing.T) {
	t.Parallel()
	c := startServer(t, nil).caller("111122223333", "eu-west-1")
	topic := c.topic("t")
	_, err := c.topics().Subscribe(t.Context(), &sns.SubscribeInput{TopicArn: &topic, Protocol: aws.String("email"), Endpoint: aws.String("ops@example.com")})
	refusedAs(t, err, "InvalidParameter", "--smtp")
}
