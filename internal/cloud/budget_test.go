package cloud

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/cloudcontrol"
	"github.com/aws/aws-sdk-go-v2/service/elasticloadbalancingv2"

	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/store/storetest"
)

// within is close enough where a rate's fractions of a nanosecond are rounded.
func within(got, want time.Duration) bool {
	return got >= want-time.Millisecond && got <= want+10*time.Millisecond
}

func TestABudgetLetsABurstGoAndThenItsRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(10, 5)
		began := time.Now()
		for range 5 + 20 {
			if _, err := b.wait(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(began); !within(took, 2*time.Second) {
			t.Errorf("25 calls took %s, want 2s", took)
		}
		time.Sleep(time.Hour) // it fills up to its burst, no further
		began = time.Now()
		for range 6 {
			b.wait(t.Context())
		}
		if took := time.Since(began); !within(took, 100*time.Millisecond) {
			t.Errorf("6 calls after an hour took %s", took)
		}
	})
}

func TestACallTellsHowLongItWasHeldBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(10, 2)
		for i, want := range []time.Duration{0, 0, 100 * time.Millisecond, 100 * time.Millisecond} {
			ctx, held := HeldBack(t.Context())
			if _, err := b.wait(ctx); err != nil || !within(held(), want) {
				t.Errorf("call %d was held back for %s, %v; want %s", i, held(), err, want)
			}
		}
		ctx, held := HeldBack(t.Context())
		began := time.Now()
		if _, err := newRetryer(nil, nil, 3).(aws.RetryerV2).GetRetryToken(ctx, errors.New("no")); err != nil || held() != time.Since(began) || held() == 0 {
			t.Errorf("a call that is made again was held back for %s of %s, %v", held(), time.Since(began), err)
		}
	})
}

func TestABudgetServesThoseThatWaitInTheirOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(10, 1)
		var mu sync.Mutex
		var order []int
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() {
				b.wait(t.Context())
				mu.Lock()
				order = append(order, i)
				mu.Unlock()
			})
			synctest.Wait() // it stands in line before the next comes
		}
		wg.Wait()
		for i, n := range order {
			if i != n {
				t.Fatalf("served in the order %v", order)
			}
		}
	})
}

// Urgent calls do not stand behind a full sync's, nor do they hold it up for good.
func TestUrgentCallsGoBeforeOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(10, 1)
		b.wait(t.Context())
		var mu sync.Mutex
		var order []byte
		var wg sync.WaitGroup
		stand := func(ctx context.Context, name byte) {
			wg.Go(func() {
				if _, err := b.wait(ctx); err != nil {
					t.Error(err)
				}
				mu.Lock()
				order = append(order, name)
				mu.Unlock()
			})
			synctest.Wait()
		}
		for range 12 {
			stand(t.Context(), 'o')
		}
		soon, cancel := context.WithTimeout(t.Context(), 900*time.Millisecond)
		defer cancel()
		for range 6 {
			stand(Urgent(soon), 'u')
		}
		began := time.Now()
		wg.Wait()
		if got, want := string(order), "uuuouuuooooooooooo"; got != want {
			t.Errorf("served in the order %s, want %s", got, want)
		}
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("18 calls took %s", took)
		}
	})
}

func TestAnUrgentCallWithoutTimeIsToldAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(1, 1)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() { b.wait(ctx) })
		}
		synctest.Wait()
		for seconds, want := range map[int]error{0: ErrBudget, 5: nil} {
			short, done := context.WithTimeout(Urgent(t.Context()), time.Duration(seconds)*time.Second+500*time.Millisecond)
			if _, err := b.wait(short); !errors.Is(err, want) {
				t.Errorf("with %d seconds: %v", seconds, err)
			}
			done()
		}
		cancel()
		wg.Wait()
	})
}

func TestACallThatCannotGoInTimeIsToldAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(1, 1)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				if _, err := b.wait(ctx); err != nil {
					t.Error(err)
				}
			})
			synctest.Wait()
		}
		short, cancelShort := context.WithTimeout(t.Context(), 3500*time.Millisecond)
		defer cancelShort()
		began := time.Now()
		if _, err := b.wait(short); !errors.Is(err, ErrBudget) || time.Since(began) != 0 {
			t.Errorf("behind three others: %v after %s", err, time.Since(began))
		}
		wg.Wait()
		gone, leave := context.WithCancel(t.Context())
		leave()
		if _, err := b.wait(gone); !errors.Is(err, context.Canceled) {
			t.Errorf("a caller that has left: %v", err)
		}
	})
}

func TestACallerThatLeavesTheLineTakesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(1, 1)
		b.wait(t.Context())
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				if _, err := b.wait(ctx); !errors.Is(err, context.Canceled) {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		cancel()
		wg.Wait()
		began := time.Now()
		if _, err := b.wait(t.Context()); err != nil || !within(time.Since(began), time.Second) {
			t.Errorf("the next goes after %s, %v", time.Since(began), err)
		}
	})
}

func TestThrottlingHalvesTheRateOnceAndItComesBackSlowly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(64, 64)
		at, err := b.wait(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		for range 10 { // all of them went at the rate before
			b.throttled(at)
		}
		if b.rate != 32 || b.tokens != 0 {
			t.Fatalf("the rate is %v, tokens %v", b.rate, b.tokens)
		}
		for want := 16.0; want >= 1; want /= 2 {
			time.Sleep(time.Millisecond)
			b.throttled(time.Now())
			if b.rate < want || b.rate > want+1.1 {
				t.Errorf("the rate is %v, want %v", b.rate, want)
			}
		}
		time.Sleep(time.Millisecond)
		b.throttled(time.Now())
		if b.rate != 1 { // a 64th of the full rate
			t.Errorf("the slowest rate is %v", b.rate)
		}
		time.Sleep(30 * time.Second)
		b.take(time.Now(), ordinary)
		if b.rate < 32 || b.rate > 34 {
			t.Errorf("half a minute later the rate is %v", b.rate)
		}
		time.Sleep(time.Minute)
		b.take(time.Now(), ordinary)
		if b.rate != 64 {
			t.Errorf("after a minute and a half the rate is %v", b.rate)
		}
	})
}

// transport answers without a network, so that time may be a bubble's.
type transport func(r *http.Request) (*http.Response, error)

func (f transport) Do(r *http.Request) (*http.Response, error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	return f(r)
}

func answerWith(status int, body string) *http.Response {
	w := httptest.NewRecorder()
	w.WriteHeader(status)
	io.WriteString(w, body)
	return w.Result()
}

func clientsOver(f transport, budgets map[string]*budget) *Clients {
	cfg := aws.Config{
		Region: "us-east-1", HTTPClient: f, BaseEndpoint: aws.String("http://aws.example"),
		Credentials: aws.NewCredentialsCache(credentials.NewStaticCredentialsProvider("AKIAEXAMPLEEXAMPLE00", "s", "")),
	}
	return newClients(cfg, func(service string) *budget { return budgets[service] })
}

const throttledJSON = `{"__type":"ThrottlingException","message":"Rate exceeded"}`

// The same calls at the same time, against a service that allows a tenth of the rate
// of the settings: all are answered, and after a while few are refused.
func TestThrottlingIsWaitedOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const allowed = 5.0
		var mu sync.Mutex
		service := newBudget(allowed, 5)
		calls, refused := 0, 0
		c := clientsOver(func(*http.Request) (*http.Response, error) {
			mu.Lock()
			defer mu.Unlock()
			calls++
			if service.take(time.Now(), ordinary) > 0 {
				refused++
				return answerWith(400, throttledJSON), nil
			}
			return answerWith(200, `{"ResourceDescription":{"Identifier":"x","Properties":"{}"}}`), nil
		}, map[string]*budget{serviceCloudControl: newBudget(50, 50)})
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				for range 30 {
					_, err := c.CloudControl.GetResource(t.Context(), &cloudcontrol.GetResourceInput{TypeName: aws.String("AWS::SQS::Queue"), Identifier: aws.String("x")})
					if err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		began := time.Now()
		wg.Wait()
		took := time.Since(began)
		t.Logf("300 resources at %v a second: %s, %d calls, %d refused", allowed, took, calls, refused)
		if took > 3*time.Minute { // a minute is the least that the service allows
			t.Errorf("it took %s", took)
		}
		if refused > calls/2 {
			t.Errorf("%d of %d calls were refused", refused, calls)
		}
	})
}

func TestThrottlingOfOneServiceDoesNotSlowAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		budgets := map[string]*budget{serviceCloudControl: newBudget(10, 10), serviceLoadBalancers: newBudget(10, 10)}
		c := clientsOver(func(r *http.Request) (*http.Response, error) {
			if r.Header.Get("X-Amz-Target") != "" {
				return answerWith(400, throttledJSON), nil
			}
			return answerWith(200, `<DescribeLoadBalancersResponse><DescribeLoadBalancersResult><LoadBalancers/></DescribeLoadBalancersResult></DescribeLoadBalancersResponse>`), nil
		}, budgets)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		_, err := c.CloudControl.GetResource(ctx, &cloudcontrol.GetResourceInput{TypeName: aws.String("AWS::SQS::Queue"), Identifier: aws.String("x")})
		if err == nil || !(Throttled(err) || errors.Is(err, ErrBudget) || errors.Is(err, context.DeadlineExceeded)) {
			t.Errorf("what is throttled for longer than there is time: %v", err)
		}
		began := time.Now()
		for range 10 {
			if _, err := c.LoadBalancers.DescribeLoadBalancers(t.Context(), &elasticloadbalancingv2.DescribeLoadBalancersInput{}); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("the other service took %s", took)
		}
		if budgets[serviceLoadBalancers].rate != 10 || budgets[serviceCloudControl].rate >= 10 {
			t.Errorf("the rates are %v and %v", budgets[serviceLoadBalancers].rate, budgets[serviceCloudControl].rate)
		}
	})
}

func TestFaultsAreTriedThreeTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		c := clientsOver(func(*http.Request) (*http.Response, error) {
			calls++
			return answerWith(500, `{"__type":"HandlerInternalFailureException","message":"oops"}`), nil
		}, nil)
		_, err := c.CloudControl.GetResource(t.Context(), &cloudcontrol.GetResourceInput{TypeName: aws.String("AWS::SQS::Queue"), Identifier: aws.String("x")})
		if err == nil || calls != 3 || !strings.Contains(err.Error(), "HandlerInternalFailureException") {
			t.Errorf("%d calls, %v", calls, err)
		}
	})
}

// A caller whose time is over learns what AWS said, not only that it is over.
func TestTheCauseOfTheLastAttemptIsTold(t *testing.T) {
	for name, leave := range map[string]func(ctx context.Context) (context.Context, context.CancelFunc){
		"deadline": func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, time.Second)
		},
		"cancelled": func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(ctx)
			time.AfterFunc(time.Second, cancel)
			return ctx, cancel
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			c := clientsOver(func(*http.Request) (*http.Response, error) { return answerWith(400, throttledJSON), nil }, nil)
			ctx, cancel := leave(t.Context())
			defer cancel()
			began := time.Now()
			_, err := c.CloudControl.ListResources(ctx, &cloudcontrol.ListResourcesInput{TypeName: aws.String("AWS::SQS::Queue")})
			if !Throttled(err) || time.Since(began) > time.Second {
				t.Errorf("%s: %v after %s", name, err, time.Since(began))
			}
		})
	}
}

func TestAnEndpointThatHangsIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		c := clientsOver(func(r *http.Request) (*http.Response, error) {
			if calls++; calls == 1 {
				<-r.Context().Done()
				return nil, r.Context().Err()
			}
			return answerWith(200, `{}`), nil
		}, nil)
		began := time.Now()
		_, err := c.CloudControl.ListResources(t.Context(), &cloudcontrol.ListResourcesInput{TypeName: aws.String("AWS::SQS::Queue")})
		if took := time.Since(began); err != nil || calls != 2 || took > attemptTime+5*time.Second {
			t.Errorf("%v after %s, %d calls", err, took, calls)
		}
	})
}

// ending are credentials that AWS takes for a while.
type ending struct{ retrieved int }

func (e *ending) Retrieve(context.Context) (aws.Credentials, error) {
	e.retrieved++
	return aws.Credentials{AccessKeyID: "AKIAEXAMPLEEXAMPLE00", SecretAccessKey: "s", SessionToken: "t"}, nil
}

func TestCredentialsThatHaveEndedAreGotAnew(t *testing.T) {
	for _, code := range []string{"ExpiredToken", "ExpiredTokenException"} {
		synctest.Test(t, func(t *testing.T) {
			provider := &ending{}
			calls := 0
			cfg := aws.Config{Region: "us-east-1", BaseEndpoint: aws.String("http://aws.example"), Credentials: aws.NewCredentialsCache(provider)}
			cfg.HTTPClient = transport(func(*http.Request) (*http.Response, error) {
				if calls++; calls == 1 {
					return answerWith(403, `{"__type":"`+code+`","message":"The security token included in the request is expired"}`), nil
				}
				return answerWith(200, `{}`), nil
			})
			c := newClients(cfg, func(string) *budget { return nil })
			if _, err := c.CloudControl.ListResources(t.Context(), &cloudcontrol.ListResourcesInput{TypeName: aws.String("AWS::SQS::Queue")}); err != nil {
				t.Error(err)
			}
			if provider.retrieved != 2 {
				t.Errorf("credentials were got %d times", provider.retrieved)
			}
		})
	}
}

func TestBudgetsOfServicesAreSetAndKept(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		a := open(t, db, "http://127.0.0.1:1")
		configure(t, a, func(s *Settings) {
			s.EndpointURL, s.RequestsPerSecond, s.Burst = "http://127.0.0.1:1", 20, 30
			s.Budgets = map[string]Budget{"cloudcontrol": {RequestsPerSecond: 100}, "acm": {Burst: 3}}
		})
		s, err := a.Get(t.Context(), account)
		if err != nil || len(s.Budgets) != 2 || s.Budgets["cloudcontrol"].RequestsPerSecond != 100 {
			t.Fatalf("%+v, %v", s, err)
		}
		if _, err := a.Clients(t.Context(), account, "us-east-1"); err != nil {
			t.Fatal(err)
		}
		for service, want := range map[string][2]float64{serviceCloudControl: {100, 30}, serviceCertificates: {20, 3}, serviceEC2: {20, 30}} {
			if b := a.configs[account].budgets[service]; b.full != want[0] || b.burst != want[1] {
				t.Errorf("%s has %v a second and %v at once, want %v", service, b.full, b.burst, want)
			}
		}
	})
}

func TestBudgetsThatMakeNoSenseAreNamed(t *testing.T) {
	a := open(t, storetest.SQLite(t), "")
	for path, s := range map[string]Settings{
		"budgets.s3":                               {Budgets: map[string]Budget{"s3": {}}},
		"budgets.acm.requests_per_second":          {Budgets: map[string]Budget{"acm": {RequestsPerSecond: -1}}},
		"budgets.cloudcontrol.burst":               {Budgets: map[string]Budget{"cloudcontrol": {Burst: 10_001}}},
		"budgets.cloudcontrol.requests_per_second": {Budgets: map[string]Budget{"cloudcontrol": {RequestsPerSecond: 0.0001}}},
		"requests_per_second":                      {RequestsPerSecond: 10_001},
	} {
		s.AccountID = account
		if _, err := a.Put(t.Context(), s, ""); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// Nothing would be found in another account, and all be taken for deleted.
func TestKeysOfAnotherAccountReadNothing(t *testing.T) {
	real := newEndpoint(t)
	a := open(t, storetest.SQLite(t), "http://127.0.0.1:1")
	t.Setenv("AWS_ENDPOINT_URL", real.URL)
	configure(t, a, func(*Settings) {})
	for range 2 {
		if _, err := a.Clients(t.Context(), account, "us-east-1"); !errors.Is(err, ErrWrongAccount) || !Unreadable(err) {
			t.Errorf("keys of account 999999999999: %v", err)
		}
	}
	const other = "999999999999"
	if _, err := a.Put(t.Context(), Settings{AccountID: other, AccessKeyID: "AKIAEXAMPLEEXAMPLE00"}, "s"); err != nil {
		t.Fatal(err)
	}
	before := len(real.calls)
	for range 3 {
		if _, err := a.Clients(t.Context(), other, "us-east-1"); err != nil {
			t.Error(err)
		}
	}
	if n := len(real.calls) - before; n != 1 {
		t.Errorf("AWS was asked %d times who we are", n)
	}
}

// Clients are the same for as long as the settings are, for the box's accounts too, and
// are bounded.
func TestClientsAreKept(t *testing.T) {
	a := open(t, storetest.SQLite(t), "http://127.0.0.1:1")
	same := func(account, region string) *Clients {
		t.Helper()
		c, err := a.Clients(t.Context(), account, region)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := a.Clients(t.Context(), account, region); err != nil || again != c {
			t.Errorf("other clients for %s %s: %v", account, region, err)
		}
		return c
	}
	box := same(account, "us-east-1")
	configure(t, a, func(s *Settings) { s.EndpointURL = "http://127.0.0.1:1" })
	real := same(account, "us-east-1")
	if box == real || real == same(account, "us-west-2") {
		t.Error("accounts and regions share clients")
	}
	if real.EC2.Options().Retryer.(*budgeted).budget != same(account, "us-west-2").EC2.Options().Retryer.(*budgeted).budget {
		t.Error("regions do not share the budget")
	}
	configure(t, a, func(s *Settings) { s.EndpointURL = "http://127.0.0.1:1" })
	if same(account, "us-east-1") == real {
		t.Error("clients outlive a change of the settings")
	}
	if _, err := a.Clients(t.Context(), account, "mars"); !errors.Is(err, ErrRegion) {
		t.Errorf("a region that is none: %v", err)
	}
}
