package topic

import (
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rialto-bus/rialto/internal/auth"
	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/sns"
	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/store/storetest"
)

// verify checks a document's signature as a subscriber does, by AWS's guide: with
// the certificate from the URL, over the members in the order of their names.
func verify(t testing.TB, d receivedDocument) {
	t.Helper()
	status, body := get(t, d.SigningCertURL)
	block, _ := pem.Decode([]byte(body))
	if status != 200 || block == nil {
		t.Fatalf("%s is no certificate: %d %s", d.SigningCertURL, status, body)
	}
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	if err := certificate.CheckSignature(certificate.SignatureAlgorithm, certificate.RawTBSCertificate, certificate.Signature); err != nil {
		t.Errorf("the certificate is not signed by itself: %v", err)
	}
	lines := []string{"Message", d.Message, "MessageId", d.MessageId}
	if d.Type == "Notification" {
		if d.Subject != nil {
			lines = append(lines, "Subject", *d.Subject)
		}
		lines = append(lines, "Timestamp", d.Timestamp, "TopicArn", d.TopicArn, "Type", d.Type)
	} else {
		lines = append(lines, "SubscribeURL", d.SubscribeURL, "Timestamp", d.Timestamp, "Token", d.Token, "TopicArn", d.TopicArn, "Type", d.Type)
	}
	text := []byte(strings.Join(lines, "\n") + "\n")
	signature, err := base64.StdEncoding.DecodeString(d.Signature)
	if err != nil {
		t.Fatal(err)
	}
	key := certificate.PublicKey.(*rsa.PublicKey)
	if d.SignatureVersion == "2" {
		sum := sha256.Sum256(text)
		err = rsa.VerifyPKCS1v15(key, crypto.SHA256, sum[:], signature)
	} else {
		sum := sha1.Sum(text)
		err = rsa.VerifyPKCS1v15(key, crypto.SHA1, sum[:], signature)
	}
	if err != nil {
		t.Errorf("the signature of version %s is wrong: %v", d.SignatureVersion, err)
	}
}

func TestAQueueGetsASignedDocument(t *testing.T) {
	onBoth(t, func(t *testing.T, f *fixture) {
		topic := f.topic("orders", nil)
		subscription := f.subscribe(topic, "sqs", f.queue("q"), nil)
		ctx := awsapi.WithCaller(f.ctx, awsapi.Caller{Account: account, Region: region, TraceHeader: "Root=1-5759e988-bd862e3fe1be46a994272793"})
		out, err := f.Publish(ctx, &sns.PublishInput{
			TargetArn: &topic, Message: new("订单 \"1\" <&> 🏙\n"), Subject: new("neu & 新"), MessageGroupId: new("tenant-1"),
			MessageAttributes: map[string]sns.MessageAttributeValue{
				"price": {DataType: new("Number"), StringValue: new("12.50")},
				"store": {DataType: new("String"), StringValue: new("上海")},
				"raw":   {DataType: new("Binary"), BinaryValue: []byte{0, 255}},
				"tags":  {DataType: new("String.Array"), StringValue: new(`["a",1,true]`)},
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		got := f.receive("q")
		d := parseDocument(t, got.Body)
		if d.Type != "Notification" || d.MessageId != *out.MessageId || d.TopicArn != topic || d.Message != "订单 \"1\" <&> 🏙\n" || *d.Subject != "neu & 新" || d.SignatureVersion != "1" {
			t.Errorf("got %s", got.Body)
		}
		if at, err := time.Parse("2006-01-02T15:04:05.000Z", d.Timestamp); err != nil || time.Since(at) > time.Minute || time.Since(at) < 0 {
			t.Errorf("timestamp %s: %v", d.Timestamp, err)
		}
		if d.UnsubscribeURL != f.url+"/?Action=Unsubscribe&SubscriptionArn="+subscription {
			t.Errorf("unsubscribe at %s", d.UnsubscribeURL)
		}
		if a := d.MessageAttributes; len(a) != 4 || a["price"].Value != "12.50" || a["store"].Value != "上海" || a["raw"].Value != "AP8=" || a["tags"].Type != "String.Array" {
			t.Errorf("attributes %+v", a)
		}
		if got.Trace != "Root=1-5759e988-bd862e3fe1be46a994272793" || got.GroupID != "tenant-1" || len(got.Attributes) != 0 || got.Sender != account {
			t.Errorf("received %+v", got)
		}
		verify(t, d)
		if _, err := f.SetTopicAttributes(f.ctx, &sns.SetTopicAttributesInput{TopicArn: &topic, AttributeName: new("SignatureVersion"), AttributeValue: new("2")}); err != nil {
			t.Fatal(err)
		}
		f.publish(topic, "second")
		d = parseDocument(t, f.receive("q").Body)
		if d.SignatureVersion != "2" || d.Subject != nil {
			t.Errorf("got %+v", d)
		}
		verify(t, d)
		f.quiet()
	})
}

// The document is laid out as AWS lays it out: some subscribers read it so.
func TestTheDocumentIsLaidOutAsAWS(t *testing.T) {
	e := envelope{
		Type: "Notification", MessageID: "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324", TopicARN: "arn:aws:sns:us-west-2:111122223333:MyTopic",
		Subject: new("My First Message"), Message: "Hello <world> 世界!", Timestamp: "2012-05-02T00:54:06.655Z", SignatureVersion: "1",
		Signature: "EXAMPLE", CertificateURL: "https://rialto.example.com/SimpleNotificationService-1.pem", UnsubscribeURL: "https://rialto.example.com/?Action=Unsubscribe&SubscriptionArn=x",
		Attributes: map[string]Value{"b": {Type: "Number", Text: "1"}, "a": {Type: "String", Text: `"q"`}},
	}
	const want = `{
  "Type" : "Notification",
  "MessageId" : "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324",
  "TopicArn" : "arn:aws:sns:us-west-2:111122223333:MyTopic",
  "Subject" : "My First Message",
  "Message" : "Hello <world> 世界!",
  "Timestamp" : "2012-05-02T00:54:06.655Z",
  "SignatureVersion" : "1",
  "Signature" : "EXAMPLE",
  "SigningCertURL" : "https://rialto.example.com/SimpleNotificationService-1.pem",
  "UnsubscribeURL" : "https://rialto.example.com/?Action=Unsubscribe&SubscriptionArn=x",
  "MessageAttributes" : {
    "a" : {"Type":"String","Value":"\"q\""},
    "b" : {"Type":"Number","Value":"1"}
  }
}`
	if got := e.JSON(); got != want {
		t.Errorf("got %s", got)
	}
}

func TestRawDeliveryHandsTheMessageItself(t *testing.T) {
	onBoth(t, func(t *testing.T, f *fixture) {
		topic := f.topic("raw", nil)
		f.subscribe(topic, "sqs", f.queue("q"), map[string]string{"RawMessageDelivery": "true", "RedrivePolicy": redriveTo(f.queue("dead"))})
		in := &sns.PublishInput{TopicArn: &topic, Message: new("plain 文"), Subject: new("s"), MessageAttributes: map[string]sns.MessageAttributeValue{
			"n": {DataType: new("Number.int"), StringValue: new("3")}, "b": {DataType: new("Binary"), BinaryValue: []byte("x")},
		}}
		if _, err := f.Publish(f.ctx, in); err != nil {
			t.Fatal(err)
		}
		got := f.receive("q")
		if got.Body != "plain 文" || len(got.Attributes) != 2 || got.Attributes["n"].Text != "3" || got.Attributes["n"].Type != "Number.int" || string(got.Attributes["b"].Data) != "x" {
			t.Errorf("received %+v", got)
		}
		// AWS: more than ten attributes are a client-side error.
		for i := range 11 {
			in.MessageAttributes[fmt.Sprint("a", i)] = sns.MessageAttributeValue{DataType: new("String"), StringValue: new("v")}
		}
		if _, err := f.Publish(f.ctx, in); err != nil {
			t.Fatal(err)
		}
		if dead := f.receive("dead"); dead.Body != "plain 文" || dead.Attributes["ErrorCode"].Text != "InvalidParameterValue" {
			t.Errorf("dead letter %+v", dead)
		}
	})
}

func redriveTo(arn string) string { return fmt.Sprintf(`{"deadLetterTargetArn":%q}`, arn) }

// However large the messages, a lane holds few of them, and delivers all.
func TestLargeMessagesAreDeliveredFewAtATime(t *testing.T) {
	onBoth(t, func(t *testing.T, f *fixture) {
		topic := f.topic("t", nil)
		f.subscribe(topic, "sqs", f.queue("q"), nil)
		for i := range 12 {
			f.publish(topic, fmt.Sprint(i, strings.Repeat("文", 87_000))) // close to 256 KiB
		}
		seen := map[string]bool{}
		for range 12 {
			seen[parseDocument(t, f.receive("q").Body).MessageId] = true
		}
		f.quiet()
		if s := f.Stats(); len(seen) != 12 || s.Published != 12 || s.Delivered != 12 || s.Attempts != 12 || s.Failed != 0 {
			t.Errorf("%d arrived, counted %+v", len(seen), s)
		}
	})
}

func TestTheMessageStructureChoosesByProtocol(t *testing.T) {
	onBoth(t, func(t *testing.T, f *fixture) {
		topic := f.topic("structure", nil)
		f.subscribe(topic, "sqs", f.queue("q"), map[string]string{"FilterPolicy": `{"a":["1"]}`, "FilterPolicyScope": "MessageBody"})
		in := &sns.PublishInput{TopicArn: &topic, MessageStructure: new("json"), Message: new(`{"default":"d","sqs":"{\"a\":\"1\"}","email":"e","lambda":3}`),
			MessageAttributes: map[string]sns.MessageAttributeValue{"x": {DataType: new("String"), StringValue: new("y")}}}
		if _, err := f.Publish(f.ctx, in); err != nil {
			t.Fatal(err)
		}
		d := parseDocument(t, f.receive("q").Body)
		if d.Message != `{"a":"1"}` || d.MessageAttributes != nil {
			t.Errorf("got %+v", d)
		}
		verify(t, d)
	})
}

func TestWhatCannotBeDeliveredGoesToTheDeadLetterQueue(t *testing.T) {
	onBoth(t, func(t *testing.T, f *fixture) {
		topic := f.topic("t", nil)
		dead := f.queue("dead")
		gone := f.subscribe(topic, "sqs", queueRef("absent").ARN(), map[string]string{"RedrivePolicy": redriveTo(dead)})
		id := f.publish(topic, "to nowhere")
		got := f.receive("dead")
		d := parseDocument(t, got.Body)
		if d.Message != "to nowhere" || d.MessageId != id || got.Attributes["ErrorCode"].Text != "AWS.SimpleQueueService.NonExistentQueue" ||
			!strings.Contains(got.Attributes["ErrorMessage"].Text, "does not exist") || got.Attributes["RequestID"].Text == "" {
			t.Errorf("dead letter %s %+v", got.Body, got.Attributes)
		}
		// The queue is made later: its policy must allow the topic.
		f.queue("absent")
		policy := func(effect, source string) {
			t.Helper()
			text := fmt.Sprintf(`{"Version":"2012-10-17","Statement":[{"Effect":%q,"Principal":{"Service":"sns.amazonaws.com"},"Action":"sqs:SendMessage","Resource":"*","Condition":{"ArnEquals":{"aws:SourceArn":%q}}}]}`, effect, source)
			if err := f.queues.SetAttributes(f.ctx, queueRef("absent"), map[string]string{"Policy": text}); err != nil {
				t.Fatal(err)
			}
		}
		policy("Allow", "arn:aws:sns:eu-west-1:111122223333:another")
		f.publish(topic, "denied")
		if got := f.receive("dead"); got.Attributes["ErrorCode"].Text != "AccessDenied" || !strings.Contains(got.Attributes["ErrorMessage"].Text, "sns.amazonaws.com is not authorized") {
			t.Errorf("dead letter %+v", got.Attributes)
		}
		policy("Allow", topic)
		f.publish(topic, "allowed")
		if d := parseDocument(t, f.receive("absent").Body); d.Message != "allowed" {
			t.Errorf("got %+v", d)
		}
		// Without a dead-letter queue it is dropped, and said so.
		if _, err := f.SetSubscriptionAttributes(f.ctx, &sns.SetSubscriptionAttributesInput{SubscriptionArn: &gone, AttributeName: new("RedrivePolicy")}); err != nil {
			t.Fatal(err)
		}
		policy("Deny", topic)
		id = f.publish(topic, "lost")
		f.quiet()
		if !strings.Contains(f.logs.String(), id) {
			t.Errorf("nothing is logged of %s: %s", id, f.logs)
		}
	})
}

func TestADeadLetterKeepsTheAttributesOfARawMessage(t *testing.T) {
	f := newSQLite(t)
	topic := f.topic("t", nil)
	f.subscribe(topic, "sqs", queueRef("absent").ARN(), map[string]string{"RawMessageDelivery": "true", "RedrivePolicy": redriveTo(f.queue("dead"))})
	for own, errors := range map[int]int{0: 3, 7: 3, 9: 1, 10: 0, 11: 2} {
		in := &sns.PublishInput{TopicArn: &topic, Message: new("m"), MessageAttributes: map[string]sns.MessageAttributeValue{}}
		for i := range own {
			in.MessageAttributes[fmt.Sprint("a", i)] = sns.MessageAttributeValue{DataType: new("String"), StringValue: new("值")}
		}
		if _, err := f.Publish(f.ctx, in); err != nil {
			t.Fatal(err)
		}
		if own > maxQueueAttributes {
			own = 0
		}
		got := f.receive("dead").Attributes
		kept := 0
		for name := range got {
			if strings.HasPrefix(name, "a") {
				kept++
			}
		}
		if kept != own || len(got)-kept != errors {
			t.Errorf("of %d attributes %d are kept, beside %d of the error; want %d", own, kept, len(got)-kept, errors)
		}
	}
}

func TestFilterPoliciesChooseMessages(t *testing.T) {
	onBoth(t, func(t *testing.T, f *fixture) {
		topic := f.topic("t", nil)
		subscription := f.subscribe(topic, "sqs", f.queue("some"), map[string]string{"RawMessageDelivery": "true", "FilterPolicy": `{"store":[{"prefix":"上"}],"price":[{"numeric":[">=",100]}]}`})
		f.subscribe(topic, "sqs", f.queue("body"), map[string]string{"RawMessageDelivery": "true", "FilterPolicyScope": "MessageBody", "FilterPolicy": `{"order":{"state":["new"]}}`})
		f.subscribe(topic, "sqs", f.queue("all"), map[string]string{"RawMessageDelivery": "true", "FilterPolicy": "{}"})
		publish := func(message, store, price string) {
			t.Helper()
			in := &sns.PublishInput{TopicArn: &topic, Message: &message, MessageAttributes: map[string]sns.MessageAttributeValue{}}
			if store != "" {
				in.MessageAttributes["store"] = sns.MessageAttributeValue{DataType: new("String"), StringValue: &store}
				in.MessageAttributes["price"] = sns.MessageAttributeValue{DataType: new("Number"), StringValue: &price}
			}
			if _, err := f.Publish(f.ctx, in); err != nil {
				t.Fatal(err)
			}
		}
		publish("cheap", "上海", "99.99")
		publish("elsewhere", "北京", "200")
		publish("not JSON {", "", "")
		publish(`{"order":{"state":"old"}}`, "", "")
		publish(`{"order":{"state":"new"}}`, "上海", "1e2")
		if got := f.receive("some"); got.Body != `{"order":{"state":"new"}}` {
			t.Errorf("some got %s", got.Body)
		}
		if got := f.receive("body"); got.Body != `{"order":{"state":"new"}}` {
			t.Errorf("body got %s", got.Body)
		}
		for range 5 {
			f.receive("all")
		}
		// A change holds for the next message.
		if _, err := f.SetSubscriptionAttributes(f.ctx, &sns.SetSubscriptionAttributesInput{SubscriptionArn: &subscription, AttributeName: new("FilterPolicy"), AttributeValue: new(`{"store":["北京"]}`)}); err != nil {
			t.Fatal(err)
		}
		publish("shanghai", "上海", "500")
		publish("beijing", "北京", "1")
		if got := f.receive("some"); got.Body != "beijing" {
			t.Errorf("some got %s", got.Body)
		}
		f.receive("all")
		f.receive("all")
		f.quiet() // what nobody wants is not kept
	})
}

func TestABatchTakesAndRefusesEachEntryByItself(t *testing.T) {
	onBoth(t, func(t *testing.T, f *fixture) {
		topic := f.topic("t", nil)
		f.subscribe(topic, "sqs", f.queue("q"), map[string]string{"RawMessageDelivery": "true"})
		out, err := f.PublishBatch(f.ctx, &sns.PublishBatchInput{TopicArn: &topic, PublishBatchRequestEntries: []sns.PublishBatchRequestEntry{
			{Id: new("a"), Message: new("one")}, {Id: new("b"), Message: new("")}, {Id: new("c"), Message: new("three")},
			{Id: new("d"), Message: new("x"), MessageAttributes: map[string]sns.MessageAttributeValue{"n": {DataType: new("Number"), StringValue: new("many")}}},
		}})
		if err != nil || len(out.Successful) != 2 || len(out.Failed) != 2 {
			t.Fatalf("%+v, %v", out, err)
		}
		if b := out.Failed[0]; *b.Id != "b" || *b.Code != "InvalidParameter" || *b.Message != "Invalid parameter: Empty message" || !*b.SenderFault {
			t.Errorf("failed %+v", b)
		}
		if d := out.Failed[1]; *d.Code != "ParameterValueInvalid" || !strings.Contains(*d.Message, "Could not cast message attribute 'n' value to number.") {
			t.Errorf("failed %+v", d)
		}
		got := []string{f.receive("q").Body, f.receive("q").Body}
		if strings.Join(got, " ") != "one three" && strings.Join(got, " ") != "three one" {
			t.Errorf("received %v", got)
		}
	})
}

// functions note what they are invoked with.
type functions struct {
	mu       sync.Mutex
	err      error
	payloads []string
	source   auth.Source
}

func (f *functions) Invoke(ctx context.Context, arn string, payload []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.source, _ = auth.SourceFrom(ctx)
	f.payloads = append(f.payloads, arn+" "+string(payload))
	return f.err
}

func (f *functions) first() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.payloads) == 0 {
		return ""
	}
	return f.payloads[0]
}

func TestAFunctionGetsAWSsEvent(t *testing.T) {
	service := &functions{}
	onBoth(t, func(t *testing.T, f *fixture) {
		service.payloads = nil
		topic := f.topic("t", nil)
		function := "arn:aws:lambda:eu-west-1:111122223333:function:resize:live"
		subscription := f.subscribe(topic, "lambda", function, nil)
		if _, err := f.Publish(f.ctx, &sns.PublishInput{TopicArn: &topic, Message: new("hello"), MessageAttributes: map[string]sns.MessageAttributeValue{"n": {DataType: new("Number"), StringValue: new("1")}}}); err != nil {
			t.Fatal(err)
		}
		f.until("the function is invoked", func() bool { return service.first() != "" })
		arn, payload, _ := strings.Cut(service.first(), " ")
		var event struct {
			Records []struct {
				EventSource, EventVersion, EventSubscriptionArn string
				Sns                                             map[string]any
			}
		}
		if err := json.Unmarshal([]byte(payload), &event); err != nil || arn != function || len(event.Records) != 1 {
			t.Fatalf("%v in %s", err, service.first())
		}
		r := event.Records[0]
		if r.EventSource != "aws:sns" || r.EventVersion != "1.0" || r.EventSubscriptionArn != subscription || r.Sns["Message"] != "hello" || r.Sns["Subject"] != nil ||
			r.Sns["SigningCertUrl"] == nil || r.Sns["MessageAttributes"].(map[string]any)["n"].(map[string]any)["Type"] != "String" {
			t.Errorf("the event is %s", payload)
		}
		if service.source.Service != "sns.amazonaws.com" || service.source.ARN != topic {
			t.Errorf("invoked by %+v", service.source)
		}
	}, func(o *Options) { o.Functions = service })
}

// A message that was acknowledged arrives, though the process that took it stopped.
func TestMessagesSurviveTheProcess(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		service := &functions{err: errors.New("not now")}
		f := newFixture(t, db, func(o *Options) { o.Functions = service })
		topic := f.topic("t", nil)
		f.subscribe(topic, "lambda", "arn:aws:lambda:eu-west-1:111122223333:function:f", nil)
		f.stop()
		for i := range 30 {
			f.publish(topic, fmt.Sprint("message ", i))
		}
		opt := f.opt
		taken := &functions{}
		opt.Functions = taken
		f.start(db, opt)
		f.quiet()
		seen := map[string]bool{}
		for _, p := range taken.payloads {
			seen[p] = true
		}
		if len(seen) != 30 {
			t.Errorf("%d of 30 messages arrived", len(seen))
		}
	})
}

// However many subscriptions a topic has, each gets the message, and no
// transaction holds up others for long.
func TestAMessageFansOutInChunks(t *testing.T) {
	onBoth(t, func(t *testing.T, f *fixture) {
		topic := f.topic("t", nil)
		const n = 1234
		have, err := f.Find(f.ctx, Ref{account, region, "t"})
		if err != nil {
			t.Fatal(err)
		}
		// Each queue once; the subscriptions are made in few transactions, for speed.
		err = f.db.Update(f.ctx, func(tx *store.Tx) error {
			for i := range n {
				s := &Subscription{Topic: have, UUID: fmt.Sprintf("00000000-0000-4000-8000-%012d", i), Owner: account, Protocol: "lambda",
					Endpoint: fmt.Sprintf("arn:aws:lambda:eu-west-1:111122223333:function:f%d", i), state: stateConfirmed}
				if i%2 == 1 {
					s.attrs = map[string]string{"FilterPolicy": `{"kind":["odd"]}`}
				}
				if err := f.insertSubscription(f.ctx, tx, s); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		service := f.opt.Functions.(*functions)
		service.mu.Lock()
		service.payloads = nil
		service.mu.Unlock()
		start := time.Now()
		f.publish(topic, "to all")
		t.Logf("published in %s", time.Since(start))
		f.quiet()
		t.Logf("delivered to %d in %s", n/2, time.Since(start))
		if len(service.payloads) != n/2 {
			t.Errorf("%d of %d got the message", len(service.payloads), n/2)
		}
	}, func(o *Options) { o.Functions = &functions{} })
}
