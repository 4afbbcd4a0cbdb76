package app

import (
	"testing"
	"time"

	"github.com/rialto-bus/rialto/internal/store/storetest"
)

// Two nodes are one server: what is set up at one holds at the other, and either
// goes on without the other.
func TestTwoNodesAreOneServer(t *testing.T) {
	t.Parallel()
	nats, database := startNATS(t), storetest.PostgresURL(t)
	node := func() *testServer {
		return startServer(t, func(c *Config) {
			c.Database, c.NATS, c.EventLogReplicas = database, nats, 1
			c.SecretKey = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
		})
	}
	one, two := node(), node()
	atOne, atTwo := one.caller("000000000000", "us-east-1"), two.caller("000000000000", "us-east-1")
	queue := atOne.ruleToQueue("orders", `{"source":["shop"]}`)
	id := atTwo.put("shop", "order", `{"n":1}`)[0]
	if e := atTwo.nextEvent(queue); e.ID != id {
		t.Errorf("put at one node and taken at it: %+v, want %s", e, id)
	}
	id = atOne.put("shop", "order", `{"n":2}`)[0]
	if e := atOne.nextEvent(queue); e.ID != id {
		t.Errorf("put at one node and taken at the other: %+v, want %s", e, id)
	}

	// The story goes by way of both.
	m := one.follow(t, "web", "000000000000", "us-east-1")
	if m.WebhookURL == "" {
		t.Fatal("no webhook")
	}
	token, _ := two.token(t, m.ClientID, m.ClientSecret)
	if a := one.rest(t, "POST", m.WebhookURL, token, stateChange("e-1", "000000000000", "us-east-1", noInstance, "pending", time.Now())); a.Status != 202 {
		t.Errorf("a token of one node at the other: %s", a)
	}

	one.stop()
	atTwo.putRule("", "more", `{"source":["more"]}`)
	id = atTwo.put("shop", "order", `{"n":3}`)[0]
	if e := atTwo.nextEvent(queue); e.ID != id {
		t.Errorf("after the other node stopped: %+v, want %s", e, id)
	}

	// The first admin key closes both.
	three := node()
	admin := three.key(t, "", "000000000000", "admin")
	for _, s := range []*testServer{two, three} {
		// A node may go on for a second with what it knew of another's keys.
		eventually(t, "the end of dev mode", func() bool { return listRules(s.caller("000000000000", "us-east-1")) != nil })
		refusedAs(t, listRules(s.caller("000000000000", "us-east-1")), "UnrecognizedClientException", "security token")
		if err := listRules(s.withKey("000000000000", "us-east-1", admin.ID, admin.Secret)); err != nil {
			t.Errorf("the key of the other node: %v", err)
		}
	}
}
