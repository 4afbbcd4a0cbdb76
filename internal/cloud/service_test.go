package cloud

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"

	"github.com/rialto-bus/rialto/internal/awsapi/gen/sqs"
	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/store/storetest"
)

// counted serves every request with the handler and counts them.
func counted(t *testing.T, serve http.HandlerFunc) (url string, calls *atomic.Int32) {
	calls = &atomic.Int32{}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		serve(w, r)
	}))
	t.Cleanup(srv.Close)
	return srv.URL, calls
}

func configure(t *testing.T, a *Accounts, edit func(s *Settings)) {
	t.Helper()
	s := Settings{AccountID: account, AccessKeyID: "AKIAEXAMPLEEXAMPLE00"}
	edit(&s)
	if _, err := a.Put(t.Context(), s, "the secret"); err != nil {
		t.Fatal(err)
	}
}

func send(ctx context.Context, s *Services) error {
	_, err := s.Queues.SendMessage(ctx, &sqs.SendMessageInput{
		QueueUrl: new("https://sqs.us-east-1.amazonaws.com/" + account + "/q"), MessageBody: new("hi"),
	})
	return err
}

// An account's settings hold for deliveries as soon as they are saved.
func TestServicesFollowTheSettingsAtOnce(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		a := open(t, db, "http://127.0.0.1:1")
		services := func() *Services {
			s, err := a.Services(t.Context(), account, "us-east-1")
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
		is := func(want bool) {
			t.Helper()
			if got, err := a.Real(t.Context(), account); err != nil || got != want {
				t.Errorf("real: %v, %v", got, err)
			}
		}
		is(false)
		if services() != nil {
			t.Error("an account that is not configured has services")
		}
		one, ones := counted(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) })
		two, twos := counted(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) })
		configure(t, a, func(s *Settings) { s.EndpointURL = one })
		is(true)
		first := services()
		if first != services() {
			t.Error("clients are made anew at each call")
		}
		if err := send(t.Context(), first); err == nil {
			t.Error("a fault is no error")
		}
		configure(t, a, func(s *Settings) { s.EndpointURL = two })
		if err := send(t.Context(), services()); err == nil {
			t.Error("a fault is no error")
		}
		if ones.Load() != 1 || twos.Load() != 1 { // once each: deliveries try again, not the SDK
			t.Errorf("the endpoints were called %d and %d times", ones.Load(), twos.Load())
		}
		if err := a.Delete(t.Context(), account); err != nil {
			t.Fatal(err)
		}
		is(false)
		if services() != nil {
			t.Error("an account that was deleted has services")
		}
	})
}

func TestServicesKeepToTheSettings(t *testing.T) {
	a := open(t, storetest.SQLite(t), "http://127.0.0.1:1")
	elsewhere, strays := counted(t, func(http.ResponseWriter, *http.Request) {})
	url, calls := counted(t, func(w http.ResponseWriter, r *http.Request) {
		if !strings.Contains(r.Header.Get("Authorization"), "Credential=AKIAEXAMPLEEXAMPLE00/") || !strings.Contains(r.Header.Get("Authorization"), "/us-east-1/sqs/") {
			t.Errorf("signed with %s", r.Header.Get("Authorization"))
		}
		http.Redirect(w, r, elsewhere, http.StatusTemporaryRedirect)
	})
	configure(t, a, func(s *Settings) { s.EndpointURL, s.Regions = url, []string{"us-east-1"} })
	if _, err := a.Services(t.Context(), account, "eu-west-1"); !errors.Is(err, ErrRegion) {
		t.Errorf("a region that is left out: %v", err)
	}
	s, err := a.Services(t.Context(), account, "us-east-1")
	if err != nil {
		t.Fatal(err)
	}
	err = send(t.Context(), s)
	if resp, ok := errors.AsType[*awshttp.ResponseError](err); !ok || resp.HTTPStatusCode() != http.StatusTemporaryRedirect {
		t.Errorf("a redirect is answered with %v", err)
	}
	if calls.Load() != 1 || strays.Load() != 0 {
		t.Errorf("%d calls, %d of the redirect", calls.Load(), strays.Load())
	}
}

func TestDeliveriesAreNotHeldToTheRateBudget(t *testing.T) {
	a := open(t, storetest.SQLite(t), "http://127.0.0.1:1")
	url, calls := counted(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) })
	configure(t, a, func(s *Settings) { s.EndpointURL, s.RequestsPerSecond, s.Burst = url, 0.01, 1 })
	s, err := a.Services(t.Context(), account, "us-east-1")
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := send(t.Context(), s); err == nil {
			t.Error("an answer 500 is no error")
		}
	}
	if calls.Load() != 3 {
		t.Errorf("%d calls arrived, want 3", calls.Load())
	}
}

// Whoever waits for a role's credentials shares one call to STS. One that hangs
// must not keep the account from working again.
func TestAHangingSTSIsGivenUp(t *testing.T) {
	a := open(t, storetest.SQLite(t), "http://127.0.0.1:1")
	a.credentialsTime = 500 * time.Millisecond
	var hangs atomic.Bool
	hangs.Store(true)
	url, _ := counted(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		switch {
		case err != nil:
			t.Error(err)
		case hangs.Load():
			<-r.Context().Done()
		case strings.HasPrefix(string(body), "Action=AssumeRole"):
			writeRole(w, time.Hour)
		default:
			w.WriteHeader(http.StatusTeapot)
		}
	})
	configure(t, a, func(s *Settings) { s.EndpointURL, s.RoleARN = url, "arn:aws:iam::"+account+":role/rialto" })
	s, err := a.Services(t.Context(), account, "us-east-1")
	if err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := send(short, s); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a caller waits no longer than its time: %v", err)
	}
	hangs.Store(false)
	err = send(t.Context(), s)
	if _, ok := errors.AsType[*CredentialsError](err); !ok || !errors.Is(err, context.DeadlineExceeded) || Unreadable(err) {
		t.Errorf("the call that hung: %v", err)
	}
	err = send(t.Context(), s)
	if answer, ok := errors.AsType[*awshttp.ResponseError](err); !ok || answer.HTTPStatusCode() != http.StatusTeapot {
		t.Errorf("once STS answers: %v", err)
	}
}

func TestRoleCredentialsAreRenewedBeforeTheyEnd(t *testing.T) {
	for life, want := range map[time.Duration]int32{time.Hour: 1, 4 * time.Minute: 3} {
		a := open(t, storetest.SQLite(t), "http://127.0.0.1:1")
		var roles atomic.Int32
		url, _ := counted(t, func(w http.ResponseWriter, r *http.Request) {
			if body, err := io.ReadAll(r.Body); err != nil || !strings.HasPrefix(string(body), "Action=AssumeRole") {
				w.WriteHeader(http.StatusTeapot)
				return
			}
			roles.Add(1)
			writeRole(w, life)
		})
		configure(t, a, func(s *Settings) { s.EndpointURL, s.RoleARN = url, "arn:aws:iam::"+account+":role/rialto" })
		s, err := a.Services(t.Context(), account, "us-east-1")
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if err := send(t.Context(), s); err == nil {
				t.Error("an answer 418 is no error")
			}
		}
		if got := roles.Load(); got != want {
			t.Errorf("of credentials for %s: %d calls of AssumeRole, want %d", life, got, want)
		}
	}
}

// Targets name regions: what is none makes no host's name, and many take no more
// memory than those of a list.
func TestRegionsOfTargets(t *testing.T) {
	a := open(t, storetest.SQLite(t), "http://127.0.0.1:1")
	configure(t, a, func(*Settings) {})
	for _, region := range []string{"", "nowhere", "us-east-1.evil", "s3", "us-east-1/../x", "US-EAST-1", "us-east-1\n", "us-east-123"} {
		if _, err := a.Services(t.Context(), account, region); !errors.Is(err, ErrRegion) {
			t.Errorf("services in %q: %v", region, err)
		}
		if _, err := a.SQS(t.Context(), account, region); !errors.Is(err, ErrRegion) {
			t.Errorf("queues in %q: %v", region, err)
		}
	}
	for n := range 3 * maxRegions {
		region := fmt.Sprintf("us-%c%c-1", 'a'+n/26, 'a'+n%26)
		s, err := a.Services(t.Context(), account, region)
		if err != nil || s == nil {
			t.Fatal(err)
		}
		if again, err := a.Services(t.Context(), account, region); err != nil || again != s {
			t.Errorf("other services in %s: %v", region, err)
		}
		if _, err := a.SQS(t.Context(), account, region); err != nil {
			t.Fatal(err)
		}
	}
	if c := a.configs[account]; len(c.services) > maxRegions || len(c.sqs) > maxRegions {
		t.Errorf("clients of %d and %d regions are kept", len(c.services), len(c.sqs))
	}
}

// The variables by which the AWS CLI is sent elsewhere do not send an account whose
// endpoint an admin has set.
func TestAnAccountsEndpointComesBeforeTheEnvironments(t *testing.T) {
	a := open(t, storetest.SQLite(t), "http://127.0.0.1:1")
	elsewhere, wrong := counted(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })
	for _, name := range []string{"AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_SQS", "AWS_ENDPOINT_URL_EC2", "AWS_ENDPOINT_URL_STS"} {
		t.Setenv(name, elsewhere)
	}
	url, right := counted(t, func(w http.ResponseWriter, r *http.Request) {
		if body, err := io.ReadAll(r.Body); err == nil && strings.HasPrefix(string(body), "Action=AssumeRole") {
			writeRole(w, time.Hour)
			return
		}
		w.WriteHeader(http.StatusTeapot)
	})
	configure(t, a, func(s *Settings) { s.EndpointURL, s.RoleARN = url, "arn:aws:iam::"+account+":role/rialto" })
	s, err := a.Services(t.Context(), account, "us-east-1")
	if err != nil {
		t.Fatal(err)
	}
	if err := send(t.Context(), s); err == nil {
		t.Error("an answer 418 is no error")
	}
	if err := describe(t, a, "us-east-1"); err == nil {
		t.Error("an answer 418 is no error")
	}
	if _, err := a.Identity(t.Context(), account); err == nil {
		t.Error("an answer 418 is no error")
	}
	if wrong.Load() != 0 || right.Load() != 4 {
		t.Errorf("%d calls went elsewhere and %d to the endpoint, want 0 and 4", wrong.Load(), right.Load())
	}
}
