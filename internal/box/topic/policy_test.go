package topic

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/rialto-bus/rialto/internal/auth"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/sns"
	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/store/storetest"
)

func TestWhoMayPublish(t *testing.T) {
	f := newSQLite(t)
	topic := f.topic("t", nil)
	rule := "arn:aws:events:eu-west-1:111122223333:rule/orders"
	statement := func(effect, principal, condition string) string {
		return fmt.Sprintf(`{"Version":"2012-10-17","Statement":[{"Effect":%q,"Principal":%s,"Action":"sns:Publish","Resource":%q,"Condition":%s}]}`, effect, principal, topic, condition)
	}
	events := `{"Service":"events.amazonaws.com"}`
	type who struct{ account, source, owner string } // source and owner: of a rule
	for name, tt := range map[string]struct {
		policy string // empty: none
		who    who
		ok     bool
	}{
		"the owner, without a policy":            {"", who{account: account}, true},
		"others, without a policy":               {"", who{account: other}, false},
		"an own rule, without a policy":          {"", who{source: rule, owner: account}, true},
		"another's rule, without a policy":       {"", who{source: "arn:aws:events:eu-west-1:444455556666:rule/x", owner: other}, false},
		"an own rule, by AWS's own policy":       {defaultPolicy(Ref{account, region, "t"}), who{source: rule, owner: account}, true},
		"another's rule, by AWS's own policy":    {defaultPolicy(Ref{account, region, "t"}), who{source: rule, owner: other}, false},
		"others, by AWS's own policy":            {defaultPolicy(Ref{account, region, "t"}), who{account: other}, false},
		"a rule that is named":                   {statement("Allow", events, `{"ArnLike":{"aws:SourceArn":"arn:aws:events:*:*:rule/ord*"}}`), who{source: rule, owner: account}, true},
		"a rule that is not named":               {statement("Allow", events, `{"ArnEquals":{"aws:SourceArn":"arn:aws:events:eu-west-1:111122223333:rule/x"}}`), who{source: rule, owner: account}, false},
		"a rule of an account that is named":     {statement("Allow", events, `{"StringEquals":{"aws:SourceAccount":"444455556666"}}`), who{source: "arn:x", owner: other}, true},
		"a rule of an account that is not named": {statement("Allow", events, `{"StringEquals":{"aws:SourceAccount":"444455556666"}}`), who{source: rule, owner: account}, false},
		"a rule that is denied":                  {statement("Deny", events, `{"ArnEquals":{"aws:SourceArn":"`+rule+`"}}`), who{source: rule, owner: account}, false},
		"the owner, who is not spoken of":        {statement("Allow", events, `{}`), who{account: account}, true},
		"the owner, who is denied":               {statement("Deny", `"*"`, `{}`), who{account: account}, false},
		"an account that is named":               {statement("Allow", `{"AWS":"444455556666"}`, `{}`), who{account: other}, true},
	} {
		t.Run(name, func(t *testing.T) {
			have := mustFind(t, f)
			if tt.policy != "" {
				if err := checkPolicy(tt.policy); err != nil {
					t.Fatal(err)
				}
				have.policy, _ = auth.ParsePolicy(tt.policy)
			}
			ctx := as(t.Context(), tt.who.account)
			if tt.who.source != "" {
				ctx = auth.WithSource(as(t.Context(), tt.who.owner), auth.Source{Service: "events.amazonaws.com", ARN: tt.who.source, Account: tt.who.owner})
			}
			if err := authorize(ctx, have, "Publish", nil); (err == nil) != tt.ok {
				t.Errorf("got %v", err)
			}
		})
	}
}

// An owner who has denied everything can take it back; nobody else gets at the tags.
func TestWhatAPolicyCannotChange(t *testing.T) {
	f := newSQLite(t)
	topic := f.topic("t", nil)
	set := func(policy string) {
		t.Helper()
		if _, err := f.SetTopicAttributes(f.ctx, &sns.SetTopicAttributesInput{TopicArn: &topic, AttributeName: new("Policy"), AttributeValue: &policy}); err != nil {
			t.Fatal(err)
		}
	}
	set(`{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Principal":"*","Action":"*","Resource":"*"}]}`)
	_, err := f.GetTopicAttributes(f.ctx, &sns.GetTopicAttributesInput{TopicArn: &topic})
	refused(t, err, sns.CodeAuthorizationErrorException, "SNS:GetTopicAttributes on resource: "+topic+" with an explicit deny in a resource-based policy")
	set(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"sns:*","Resource":"*"}]}`)
	stranger := as(t.Context(), other)
	if _, err := f.GetTopicAttributes(stranger, &sns.GetTopicAttributesInput{TopicArn: &topic}); err != nil {
		t.Error(err)
	}
	_, err = f.TagResource(stranger, &sns.TagResourceInput{ResourceArn: &topic, Tags: []sns.Tag{{Key: new("a"), Value: new("b")}}})
	refused(t, err, sns.CodeAuthorizationErrorException, "SNS:TagResource")
	subscription := f.subscribe(topic, "sqs", f.queue("q"), nil)
	_, err = f.GetSubscriptionAttributes(stranger, &sns.GetSubscriptionAttributesInput{SubscriptionArn: &subscription})
	refused(t, err, sns.CodeAuthorizationErrorException, "SNS:GetSubscriptionAttributes")
	_, err = f.SetSubscriptionAttributes(stranger, &sns.SetSubscriptionAttributesInput{SubscriptionArn: &subscription, AttributeName: new("RawMessageDelivery"), AttributeValue: new("true")})
	refused(t, err, sns.CodeAuthorizationErrorException, "SNS:SetSubscriptionAttributes")
}

// All processes sign with one key, which is not readable in the database.
func TestTheSigningKeyIsKeptSealed(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		f := newFixture(t, db)
		signature, url, err := f.signer.sign(f.ctx, "1", "text")
		if err != nil {
			t.Fatal(err)
		}
		f.stop()
		first := f.signer.certificate
		f.start(db, f.opt)
		again, sameURL, err := f.signer.sign(f.ctx, "1", "text")
		if err != nil || again != signature || sameURL != url || !bytes.Equal(first, f.signer.certificate) {
			t.Errorf("another key signs after a restart: %v", err)
		}
		_, sealed, err := signingKey(f.ctx, db)
		if err != nil || len(sealed) < 1000 || bytes.Contains(sealed, f.signer.key.D.Bytes()) {
			t.Errorf("the key is stored readable: %v", err)
		}
		// Two processes that start at once end up with one.
		if err := db.Update(f.ctx, func(tx *store.Tx) error { return insertSigningKey(f.ctx, tx, "x", []byte("y"), 0) }); err != nil {
			t.Fatal(err)
		}
		if certificate, _, err := signingKey(f.ctx, db); err != nil || certificate != string(first) {
			t.Errorf("the key was replaced: %v", err)
		}
	})
}

// Tokens are kept so that nobody who reads the database can confirm.
func TestTokensAreNotKeptReadable(t *testing.T) {
	f := newSQLite(t)
	e := newEndpoint(t)
	e.answers(func(int) int { return 500 })
	topic := f.topic("t", nil)
	f.subscribe(topic, "http", e.URL, nil)
	token := parseDocument(t, e.next().body).Token
	for _, query := range []string{`SELECT token FROM topic_subscription`, `SELECT CAST(token AS TEXT) FROM topic_message`, `SELECT content FROM topic_message`} {
		var kept string
		if err := f.db.QueryRow(f.ctx, query).Scan(&kept); err != nil {
			t.Fatal(err)
		}
		if len(kept) < 2 || strings.Contains(kept, token) {
			t.Errorf("%s: %q", query, kept)
		}
	}
}
