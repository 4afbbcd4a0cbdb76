package bus

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/store/storetest"
)

func oauthChange() ConnectionChange {
	return ConnectionChange{Type: AuthOAuth, OAuth: &OAuthChange{
		ClientID: new("client"), ClientSecret: new("hush-1"), Endpoint: new("https://example.com/token"), Method: new("POST"),
		Parameters: &ConnectionParameters{Body: []Parameter{{Key: "scope", Value: "读写"}, {Key: "k", Value: "hush-2", Secret: true}}},
	}, Invocation: &ConnectionParameters{Headers: []Parameter{{Key: "X-A", Value: "hush-3", Secret: true}}, Query: []Parameter{{Key: "q", Value: "v"}}}}
}

// destination creates a connection and an API destination that uses it.
func destination(t *testing.T, x *fixture, change ConnectionChange) (Connection, APIDestination) {
	t.Helper()
	c, err := x.CreateConnection(t.Context(), testCaller, "c", change)
	if err != nil {
		t.Fatal(err)
	}
	d, err := x.CreateAPIDestination(t.Context(), testCaller, "d", APIDestinationChange{
		ConnectionARN: new(c.ARN()), Endpoint: new("https://example.com/*"), Method: new("POST"),
	})
	if err != nil {
		t.Fatal(err)
	}
	return c, d
}

func TestInvocationCarriesTheCurrentCredentials(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, x *fixture) {
		c, d := destination(t, x, oauthChange())
		invocation := func() *Invocation {
			t.Helper()
			inv, err := x.Invocation(t.Context(), d.ARN())
			if err != nil {
				t.Fatal(err)
			}
			return inv
		}
		want := &Invocation{ARN: d.ARN(), Endpoint: "https://example.com/*", Method: "POST", RateLimit: 300, Credentials: Credentials{
			ConnectionARN: c.ARN(), Version: 1, Type: AuthOAuth,
			OAuth: &OAuthCredentials{
				ClientID: "client", ClientSecret: "hush-1", Endpoint: "https://example.com/token", Method: "POST",
				Parameters: &ConnectionParameters{Body: []Parameter{{Key: "scope", Value: "读写"}, {Key: "k", Value: "hush-2", Secret: true}}},
			},
			Invocation: &ConnectionParameters{Headers: []Parameter{{Key: "X-A", Value: "hush-3", Secret: true}}, Query: []Parameter{{Key: "q", Value: "v"}}},
		}}
		if diff := cmp.Diff(want, invocation()); diff != "" {
			t.Error(diff)
		}
		if _, err := x.UpdateConnection(t.Context(), testCaller, "c", ConnectionChange{OAuth: &OAuthChange{ClientSecret: new("hush-9")}}); err != nil {
			t.Fatal(err)
		}
		want.Credentials.OAuth.ClientSecret, want.Credentials.Version = "hush-9", 2
		if diff := cmp.Diff(want, invocation()); diff != "" {
			t.Error(diff)
		}
		basic := ConnectionChange{Type: AuthBasic, Basic: &BasicChange{Username: new("u"), Password: new("p")}, Invocation: &ConnectionParameters{}}
		if _, err := x.UpdateConnection(t.Context(), testCaller, "c", basic); err != nil {
			t.Fatal(err)
		}
		want.Credentials = Credentials{ConnectionARN: c.ARN(), Version: 3, Type: AuthBasic, Basic: &BasicCredentials{"u", "p"}, Invocation: &ConnectionParameters{}}
		if diff := cmp.Diff(want, invocation()); diff != "" {
			t.Error(diff)
		}
	})
}

func TestPrintingAnInvocationShowsNoSecret(t *testing.T) {
	t.Parallel()
	x := open(t, storetest.SQLite(t))
	_, d := destination(t, x, oauthChange())
	inv, err := x.Invocation(t.Context(), d.ARN())
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "credentials", inv.Credentials)
	for _, text := range []string{fmt.Sprintf("%v %+v", inv, *inv), log.String()} {
		if strings.Contains(text, "hush") || !strings.Contains(text, "credentials of arn:") {
			t.Error(text)
		}
	}
}

func TestInvocationWithoutCredentialsOrDestination(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, x *fixture) {
		_, d := destination(t, x, oauthChange())
		if _, err := x.Invocation(t.Context(), strings.Replace(d.ARN(), "/d/", "/other/", 1)); !errors.Is(err, ErrNoDestination) {
			t.Error(err)
		}
		if _, err := x.DeauthorizeConnection(t.Context(), testCaller, "c"); err != nil {
			t.Fatal(err)
		}
		if _, err := x.Invocation(t.Context(), d.ARN()); !errors.Is(err, ErrNotAuthorized) {
			t.Error(err)
		}
		if _, err := x.DeleteConnection(t.Context(), testCaller, "c"); err != nil {
			t.Fatal(err)
		}
		if _, err := x.Invocation(t.Context(), d.ARN()); !errors.Is(err, ErrNotAuthorized) {
			t.Error(err)
		}
		if err := x.DeleteAPIDestination(t.Context(), testCaller, "d"); err != nil {
			t.Fatal(err)
		}
		if _, err := x.Invocation(t.Context(), d.ARN()); !errors.Is(err, ErrNoDestination) {
			t.Error(err)
		}
	})
}

func TestSecretsAreEncryptedAtRest(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, x *fixture) {
		destination(t, x, oauthChange())
		var shown string
		var sealed []byte
		if err := x.db.QueryRow(t.Context(), `SELECT shown, sealed FROM connections`).Scan(&shown, &sealed); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(shown, "hush") || strings.Contains(string(sealed), "hush") {
			t.Error("a secret is stored in the clear")
		}
		if _, err := x.DeauthorizeConnection(t.Context(), testCaller, "c"); err != nil {
			t.Fatal(err)
		}
		var gone sql.NullString
		if err := x.db.QueryRow(t.Context(), `SELECT shown, CAST(sealed AS TEXT) FROM connections`).Scan(&shown, &gone); err != nil {
			t.Fatal(err)
		}
		if gone.Valid || shown != "" {
			t.Error("a deauthorized connection keeps its credentials")
		}
	})
}

func TestConnectionStatesFollowTheTokenRequests(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, x *fixture) {
		ctx := t.Context()
		c, _ := destination(t, x, oauthChange())
		expect := func(step string, state ConnectionState, reason string, active bool) {
			t.Helper()
			got, err := x.Connection(ctx, testCaller, "c")
			if err != nil {
				t.Fatal(err)
			}
			d, err := x.APIDestination(ctx, testCaller, "d")
			if err != nil {
				t.Fatal(err)
			}
			if got.State != state || got.StateReason != reason || d.Active != active || state == ConnectionAuthorized && !got.AuthorizedAt.Equal(testNow) {
				t.Errorf("%s: %s %q at %v, active %v", step, got.State, got.StateReason, got.AuthorizedAt, d.Active)
			}
		}
		must := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		expect("created", ConnectionAuthorizing, "", false)
		must(x.ConnectionFailed(ctx, c.ARN(), 1, "Could not connect to the specified endpoint.", false))
		expect("unreachable", ConnectionAuthorizing, "Could not connect to the specified endpoint.", false)
		must(x.ConnectionAuthorized(ctx, c.ARN(), 1))
		expect("token", ConnectionAuthorized, "", true)
		must(x.ConnectionFailed(ctx, c.ARN(), 1, strings.Repeat("订", 600), true))
		expect("rejected", ConnectionDeauthorized, strings.Repeat("订", 512), false)
		if inv, err := x.Invocation(ctx, mustDestination(t, x)); err != nil || inv.Credentials.OAuth == nil {
			t.Error("rejected credentials cannot be tried again:", err)
		}
		must(x.ConnectionAuthorized(ctx, c.ARN(), 1))
		expect("token after all", ConnectionAuthorized, "", true)
		_, err := x.UpdateConnection(ctx, testCaller, "c", ConnectionChange{OAuth: &OAuthChange{ClientSecret: new("new")}})
		must(err)
		expect("updated", ConnectionAuthorizing, "", false)
		must(x.ConnectionAuthorized(ctx, c.ARN(), 1))
		expect("a token of the older credentials", ConnectionAuthorizing, "", false)
		_, err = x.DeauthorizeConnection(ctx, testCaller, "c")
		must(err)
		must(x.ConnectionAuthorized(ctx, c.ARN(), 3))
		expect("deauthorized by its user", ConnectionDeauthorized, "", false)
		must(x.ConnectionAuthorized(ctx, "arn:aws:events:eu-west-1:111122223333:connection/x/missing", 1))
	})
}

func mustDestination(t *testing.T, x *fixture) string {
	t.Helper()
	d, err := x.APIDestination(t.Context(), testCaller, "d")
	if err != nil {
		t.Fatal(err)
	}
	return d.ARN()
}

// authorizer notes what it is asked and answers through the buses.
type authorizer struct {
	x     *fixture
	asked chan Credentials
	fail  int
}

func (a *authorizer) Authorize(ctx context.Context, c Credentials) error {
	if a.fail > 0 {
		a.fail--
		return errors.New("no answer")
	}
	err := a.x.ConnectionAuthorized(ctx, c.ConnectionARN, c.Version)
	a.asked <- c
	return err
}

func TestFirstTokensAreFetchedByAJob(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, x *fixture) {
		a := &authorizer{x: x, asked: make(chan Credentials, 10), fail: 1}
		x.HandleAuthorization(a)
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); x.jobs.Run(ctx) }()
		defer func() { stop(); <-ended }()
		destination(t, x, oauthChange())
		if c := <-a.asked; c.OAuth.ClientSecret != "hush-1" || c.Version != 1 {
			t.Errorf("%+v", c)
		}
		if c, err := x.Connection(t.Context(), testCaller, "c"); err != nil || c.State != ConnectionAuthorized {
			t.Error(c.State, err)
		}
		if _, err := x.UpdateConnection(t.Context(), testCaller, "c", ConnectionChange{OAuth: &OAuthChange{ClientSecret: new("hush-2")}}); err != nil {
			t.Fatal(err)
		}
		if c := <-a.asked; c.OAuth.ClientSecret != "hush-2" || c.Version != 2 {
			t.Errorf("%+v", c)
		}
	})
}

func TestATokenThatCannotBeRenewedIsAskedForAgain(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, x *fixture) {
		ctx := t.Context()
		c, _ := destination(t, x, oauthChange())
		jobs := func() int {
			t.Helper()
			queues, err := x.jobs.Counts(ctx)
			if err != nil {
				t.Fatal(err)
			}
			n := 0
			for _, q := range queues {
				n += q.Due + q.Later
			}
			return n
		}
		if err := x.db.Update(ctx, func(tx *store.Tx) error {
			_, err := x.jobs.Cancel(ctx, tx, authorizationQueue, c.ID)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		if err := x.ConnectionFailed(ctx, c.ARN(), 1, "no connection", false); err != nil || jobs() != 0 {
			t.Error("the job of a first token is doubled", err)
		}
		if err := x.ConnectionAuthorized(ctx, c.ARN(), 1); err != nil {
			t.Fatal(err)
		}
		if err := x.ConnectionFailed(ctx, c.ARN(), 1, "no connection", false); err != nil || jobs() != 1 {
			t.Error("no job", err)
		}
	})
}

func TestEndpointsThatMayNotBeCalledAreRefused(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, x *fixture) {
		checked := openNode(t, x.db, x.auth, func(o *Options) {
			o.CheckEndpoint = func(url string) error {
				if strings.HasPrefix(url, "http://") {
					return errors.New("http:// is not allowed for this host.")
				}
				return nil
			}
		})
		change := oauthChange()
		change.OAuth.Endpoint = new("http://10.0.0.1/token")
		if _, err := checked.CreateConnection(t.Context(), testCaller, "c", change); !refused(err) {
			t.Error(err)
		}
		if _, err := x.CreateConnection(t.Context(), testCaller, "c", change); err != nil {
			t.Error(err)
		}
	})
}
