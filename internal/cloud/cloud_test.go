package cloud

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"go.uber.org/goleak"

	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const account = "123456789012"

// xorSealer makes it visible in the database that secrets went through a sealer.
type xorSealer struct{}

func (xorSealer) Seal(purpose string, plain []byte) []byte {
	return append([]byte(purpose+"|"), xor(plain)...)
}

func (xorSealer) Open(purpose string, sealed []byte) ([]byte, error) {
	rest, ok := strings.CutPrefix(string(sealed), purpose+"|")
	if !ok {
		return nil, errors.New("sealed for another purpose")
	}
	return xor([]byte(rest)), nil
}

func xor(b []byte) []byte {
	out := make([]byte, len(b))
	for i := range b {
		out[i] = b[i] ^ 0x55
	}
	return out
}

// endpoint plays EC2 and STS and remembers how it was called.
type endpoint struct {
	*httptest.Server
	mu    sync.Mutex
	calls []call
}

type call struct{ action, auth, body string }

func newEndpoint(t *testing.T) *endpoint {
	e := &endpoint{}
	e.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		action, _, _ := strings.Cut(strings.TrimPrefix(string(body), "Action="), "&")
		e.mu.Lock()
		e.calls = append(e.calls, call{action, r.Header.Get("Authorization"), string(body)})
		e.mu.Unlock()
		switch action {
		case "AssumeRole":
			writeRole(w, time.Hour)
		case "GetCallerIdentity":
			io.WriteString(w, `<GetCallerIdentityResponse><GetCallerIdentityResult><Arn>arn:aws:iam::999999999999:user/a</Arn><Account>999999999999</Account></GetCallerIdentityResult></GetCallerIdentityResponse>`)
		default:
			io.WriteString(w, `<DescribeInstancesResponse><reservationSet/></DescribeInstancesResponse>`)
		}
	}))
	t.Cleanup(e.Close)
	return e
}

// writeRole answers AssumeRole with credentials that end after life.
func writeRole(w io.Writer, life time.Duration) {
	fmt.Fprintf(w, `<AssumeRoleResponse><AssumeRoleResult><Credentials><AccessKeyId>ASIAROLEROLEROLEROLE</AccessKeyId><SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken><Expiration>%s</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>`,
		time.Now().Add(life).UTC().Format(time.RFC3339))
}

func (e *endpoint) last(t *testing.T) call {
	t.Helper()
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.calls) == 0 {
		t.Fatal("no call was made")
	}
	return e.calls[len(e.calls)-1]
}

func open(t *testing.T, db *store.DB, box string) *Accounts {
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	t.Setenv("AWS_CONFIG_FILE", t.TempDir()+"/none")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", t.TempDir()+"/none")
	a := Open(db, Options{
		BoxEndpoint:    func() string { return box },
		BoxCredentials: func(account string) (string, string) { return "BOX" + account, "secret" },
		Sealer:         xorSealer{},
	})
	t.Cleanup(a.Close)
	return a
}

func describe(t *testing.T, a *Accounts, region string) error {
	t.Helper()
	c, err := a.EC2(t.Context(), account, region)
	if err != nil {
		return err
	}
	_, err = c.DescribeInstances(t.Context(), &ec2.DescribeInstancesInput{}, func(o *ec2.Options) { o.RetryMaxAttempts = 1 })
	return err
}

func TestAccountsAreReachedAsConfigured(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		box, real := newEndpoint(t), newEndpoint(t)
		a := open(t, db, box.URL)
		ctx := t.Context()

		if err := describe(t, a, "eu-west-1"); err != nil {
			t.Fatal(err)
		}
		if got := box.last(t); got.action != "DescribeInstances" || !strings.Contains(got.auth, "Credential=BOX"+account) || !strings.Contains(got.auth, "/eu-west-1/ec2/") {
			t.Errorf("an account that is not configured called the box with %+v", got)
		}

		s := Settings{AccountID: account, AccessKeyID: "AKIAEXAMPLEEXAMPLE00", EndpointURL: real.URL, Regions: []string{"eu-west-1", "us-east-1"}}
		if _, err := a.Put(ctx, s, "the secret"); err != nil {
			t.Fatal(err)
		}
		if err := describe(t, a, "eu-west-1"); err != nil {
			t.Fatal(err)
		}
		if got := real.last(t); !strings.Contains(got.auth, "Credential=AKIAEXAMPLEEXAMPLE00/") {
			t.Errorf("static keys: called with %+v", got)
		}
		if err := describe(t, a, "ap-south-1"); !errors.Is(err, ErrRegion) || !Unreadable(err) {
			t.Errorf("a region that is left out: %v", err)
		}
		if _, err := a.Identity(ctx, account); !errors.Is(err, ErrWrongAccount) {
			t.Errorf("credentials of another account: %v", err)
		}

		s.RoleARN = "arn:aws:iam::" + account + ":role/Rialto"
		saved, err := a.Put(ctx, s, "")
		if err != nil {
			t.Fatal(err)
		}
		if saved.ExternalID == "" {
			t.Error("a role got no external id")
		}
		if err := describe(t, a, "us-east-1"); err != nil {
			t.Fatal(err)
		}
		if got := real.last(t); !strings.Contains(got.auth, "Credential=ASIAROLEROLEROLEROLE/") {
			t.Errorf("role: called with %+v", got)
		}
		real.mu.Lock()
		assume := real.calls[len(real.calls)-2]
		real.mu.Unlock()
		if assume.action != "AssumeRole" || !strings.Contains(assume.body, "ExternalId="+saved.ExternalID) {
			t.Errorf("before it came %+v, want AssumeRole with the external id", assume)
		}
		again, err := a.Put(ctx, s, "")
		if err != nil || again.ExternalID != saved.ExternalID {
			t.Errorf("put again: external id %q, was %q, %v", again.ExternalID, saved.ExternalID, err)
		}

		if err := a.Delete(ctx, account); err != nil {
			t.Fatal(err)
		}
		if err := describe(t, a, "ap-south-1"); err != nil {
			t.Fatal(err)
		}
		if got := box.last(t); !strings.Contains(got.auth, "Credential=BOX") {
			t.Errorf("after delete: called with %+v", got)
		}
		if err := a.Delete(ctx, account); !errors.Is(err, ErrNotConfigured) {
			t.Errorf("delete twice: %v", err)
		}
	})
}

func TestOurOwnEndpointIsNotTakenFromTheEnvironment(t *testing.T) {
	box, other := newEndpoint(t), newEndpoint(t)
	a := open(t, storetest.SQLite(t), box.URL)
	t.Setenv("AWS_ENDPOINT_URL", box.URL)
	if _, err := a.Put(t.Context(), Settings{AccountID: account, AccessKeyID: "AKIAEXAMPLEEXAMPLE00"}, "s"); err != nil {
		t.Fatal(err)
	}
	cfg, err := a.Config(t.Context(), account, "us-east-1")
	if err != nil {
		t.Fatal(err)
	}
	if cfg.BaseEndpoint != nil {
		t.Errorf("a real account would be looked for at %s", *cfg.BaseEndpoint)
	}
	t.Setenv("AWS_ENDPOINT_URL", other.URL)
	if _, err := a.Put(t.Context(), Settings{AccountID: account, AccessKeyID: "AKIAEXAMPLEEXAMPLE00"}, "s"); err != nil {
		t.Fatal(err)
	}
	if cfg, err = a.Config(t.Context(), account, "us-east-1"); err != nil || aws.ToString(cfg.BaseEndpoint) != other.URL {
		t.Errorf("another endpoint of the environment is not used: %v, %v", cfg.BaseEndpoint, err)
	}
}

func TestRateBudgetIsSharedByRegions(t *testing.T) {
	real := newEndpoint(t)
	a := open(t, storetest.SQLite(t), "http://127.0.0.1:1")
	s := Settings{AccountID: account, AccessKeyID: "AKIAEXAMPLEEXAMPLE00", EndpointURL: real.URL, RequestsPerSecond: 0.001, Burst: 2}
	if _, err := a.Put(t.Context(), s, "s"); err != nil {
		t.Fatal(err)
	}
	for _, region := range []string{"us-east-1", "us-east-2"} {
		if err := describe(t, a, region); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	c, err := a.EC2(ctx, account, "us-west-2")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.DescribeInstances(ctx, &ec2.DescribeInstancesInput{}); err == nil || len(real.calls) != 2 {
		t.Errorf("a call beyond the budget: %v, %d calls arrived", err, len(real.calls))
	}
}

func TestMissingCredentialsAreUnreadable(t *testing.T) {
	a := open(t, storetest.SQLite(t), "http://127.0.0.1:1")
	for _, k := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_FULL_URI"} {
		t.Setenv(k, "")
	}
	if _, err := a.Put(t.Context(), Settings{AccountID: account, EndpointURL: "http://127.0.0.1:1"}, ""); err != nil {
		t.Fatal(err)
	}
	err := describe(t, a, "us-east-1")
	if !Unreadable(err) {
		t.Errorf("not seen as unreadable: %v", err)
	}
	if _, ok := errors.AsType[*CredentialsError](err); !ok {
		t.Errorf("not a credentials error: %v", err)
	}
}

func TestSettingsRefused(t *testing.T) {
	a := open(t, storetest.SQLite(t), "")
	tests := []struct {
		name   string
		s      Settings
		secret string
	}{
		{"account id", Settings{AccountID: "12"}, ""},
		{"role of another account", Settings{AccountID: account, RoleARN: "arn:aws:iam::210987654321:role/x"}, ""},
		{"role ARN's form", Settings{AccountID: account, RoleARN: "arn:aws:iam::" + account + ":user/x"}, ""},
		{"external id without role", Settings{AccountID: account, ExternalID: "abc"}, ""},
		{"profile and keys", Settings{AccountID: account, Profile: "p", AccessKeyID: "AKIAEXAMPLEEXAMPLE00"}, "s"},
		{"key without secret", Settings{AccountID: account, AccessKeyID: "AKIAEXAMPLEEXAMPLE00"}, ""},
		{"secret without key", Settings{AccountID: account}, "s"},
		{"endpoint", Settings{AccountID: account, EndpointURL: "ftp://x"}, ""},
		{"region", Settings{AccountID: account, Regions: []string{"mars"}}, ""},
		{"region twice", Settings{AccountID: account, Regions: []string{"us-east-1", "us-east-1"}}, ""},
		{"negative rate", Settings{AccountID: account, RequestsPerSecond: -1}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := a.Put(t.Context(), tt.s, tt.secret); !errors.Is(err, ErrInvalid) {
				t.Errorf("got %v, want a refusal", err)
			}
		})
	}
}

func TestSecretIsSealedAtRest(t *testing.T) {
	db := storetest.SQLite(t)
	a := open(t, db, "")
	s := Settings{AccountID: account, AccessKeyID: "AKIAEXAMPLEEXAMPLE00"}
	if _, err := a.Put(t.Context(), s, "a very secret key"); err != nil {
		t.Fatal(err)
	}
	var settings, secret string
	if err := db.QueryRow(t.Context(), `SELECT settings, CAST(secret AS TEXT) FROM cloud_accounts`).Scan(&settings, &secret); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(settings+secret, "very secret") {
		t.Error("the secret stands in the database in clear")
	}
}
