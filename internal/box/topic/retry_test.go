package topic

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// delays are all pauses of a policy in seconds.
func delays(r retryPolicy) (list []float64) {
	for n := 1; ; n++ {
		d, again := r.delay(n)
		if !again {
			return list
		}
		list = append(list, d.Seconds())
	}
}

func TestRetriesFollowTheFourPhases(t *testing.T) {
	// AWS's example: 3 at once, 2 after a second, 10 backing off to a minute, 35 each minute.
	aws := retryPolicy{retries: 50, noDelay: 3, minDelayRetries: 2, maxDelayRetries: 35, minDelay: time.Second, maxDelay: time.Minute, function: "exponential"}
	got := delays(aws)
	if len(got) != 50 || !slices.Equal(got[:5], []float64{0, 0, 0, 1, 1}) || got[5] != 1 || got[14] != 60 || got[15] != 60 || got[49] != 60 {
		t.Errorf("got %v", got)
	}
	if !slices.IsSorted(got) {
		t.Errorf("the delays shrink: %v", got)
	}
	if got := delays(defaultDelivery.Retry); !slices.Equal(got, []float64{20, 20, 20}) {
		t.Errorf("the default is %v", got)
	}
	if got := delays(mailRetry); len(got) != 50 || got[0] != 10 || got[1] != 10 || got[2] != 10 || got[11] != 600 || got[12] != 600 {
		t.Errorf("e-mail has %v", got)
	}
	if got := delays(managedRetry); len(got) != 100_015 || got[2] != 0 || got[4] != 1 || got[14] != 20 || got[100_014] != 20 {
		t.Errorf("queues have %d", len(got))
	}
	if total := managedRetry.total(); total < 22*24*time.Hour || total > 24*24*time.Hour {
		t.Errorf("queues are retried for %s", total)
	}
	if got := delays(retryPolicy{}); got != nil {
		t.Errorf("no retries are %v", got)
	}
}

func TestBackoffFunctionsGrowFromTheLeastToTheGreatestDelay(t *testing.T) {
	at := map[string]float64{} // the delay half way
	for _, function := range backoffFunctions {
		r := retryPolicy{retries: 11, minDelay: 5 * time.Second, maxDelay: 260 * time.Second, function: function}
		got := delays(r)
		if got[0] != 5 || got[10] < 259.99 || !slices.IsSorted(got) {
			t.Errorf("%s: %v", function, got)
		}
		at[function] = got[5]
	}
	if at["linear"] != 132.5 || at["arithmetic"] >= at["linear"] || at["geometric"] >= at["arithmetic"] || at["exponential"] >= at["geometric"] {
		t.Errorf("half way: %v", at)
	}
	flat := retryPolicy{retries: 3, minDelay: time.Second, maxDelay: time.Second, function: "geometric"}
	if got := delays(flat); !slices.Equal(got, []float64{1, 1, 1}) {
		t.Errorf("flat: %v", got)
	}
}

func TestJitterShortensByATenthAtMost(t *testing.T) {
	for range 1000 {
		if d := jittered(time.Second); d < 900*time.Millisecond || d > time.Second {
			t.Fatalf("a second became %s", d)
		}
	}
	if jittered(0) != 0 {
		t.Error("no delay became one")
	}
}

func TestDeliveryPoliciesAreInheritedByMember(t *testing.T) {
	base, err := parseTopicDelivery(`{"http":{"defaultHealthyRetryPolicy":{"numRetries":5,"minDelayTarget":1,"maxDelayTarget":2,"backoffFunction":"arithmetic"},"defaultThrottlePolicy":{"maxReceivesPerSecond":7},"defaultRequestPolicy":{"headerContentType":"application/json; charset=utf-8"}}}`)
	if err != nil {
		t.Fatal(err)
	}
	p, err := parseSubscriptionDelivery(`{"healthyRetryPolicy":{"numRetries":2},"sicklyRetryPolicy":null,"throttlePolicy":null,"guaranteed":false}`, base)
	if err != nil || p.Retry.retries != 2 || p.Retry.minDelay != 20*time.Second || p.PerSecond != 7 || p.ContentType != "application/json; charset=utf-8" {
		t.Errorf("%+v, %v", p, err)
	}
	if p, err := parseSubscriptionDelivery("", base); err != nil || p != base {
		t.Errorf("%+v, %v", p, err)
	}
	// What is reported can be set again.
	again, err := parseSubscriptionDelivery(p.subscriptionJSON(), defaultDelivery)
	if err != nil || again != p {
		t.Errorf("%+v, %v", again, err)
	}
	topicAgain, err := parseTopicDelivery(base.topicJSON())
	if err != nil || topicAgain != base {
		t.Errorf("%+v, %v", topicAgain, err)
	}
	s := &Subscription{Topic: &Topic{attrs: map[string]string{"DeliveryPolicy": `{"http":{"disableSubscriptionOverrides":true}}`}}, attrs: map[string]string{"DeliveryPolicy": `{"throttlePolicy":{"maxReceivesPerSecond":1}}`}}
	if s.delivery().PerSecond != 0 {
		t.Error("a subscription overrides a topic that forbids it")
	}
	if p, err := (&wireRetry{MinDelay: new(60)}).policy("p"); err != nil || p.minDelay != time.Minute || p.maxDelay != time.Minute {
		t.Errorf("%+v, %v", p, err)
	}
}

func TestDeliveryPoliciesThatAreWrong(t *testing.T) {
	for text, want := range map[string]string{
		`[]`: "cannot unmarshal", `{"healthyRetryPolicy":{},"healthyRetryPolicy":{}}`: "failed to parse JSON",
		`{"healthyRetryPolicy":{"minDelayTarget":0}}`:                                                                               "minDelayTarget must be greater than or equal to 1",
		`{"healthyRetryPolicy":{"maxDelayTarget":3601}}`:                                                                            "maxDelayTarget must be less than or equal to 3600",
		`{"healthyRetryPolicy":{"minDelayTarget":30,"maxDelayTarget":10}}`:                                                          "greater than or equal to minDelayTarget",
		`{"healthyRetryPolicy":{"numRetries":101}}`:                                                                                 "between 0 and 100",
		`{"healthyRetryPolicy":{"numRetries":-1}}`:                                                                                  "between 0 and 100",
		`{"healthyRetryPolicy":{"numRetries":1.5}}`:                                                                                 "cannot unmarshal",
		`{"healthyRetryPolicy":{"numNoDelayRetries":-1}}`:                                                                           "greater than or equal to 0",
		`{"healthyRetryPolicy":{"numRetries":2,"numNoDelayRetries":2,"numMinDelayRetries":1}}`:                                      "sum of",
		`{"healthyRetryPolicy":{"numRetries":2,"numMaxDelayRetries":9223372036854775807,"numMinDelayRetries":9223372036854775807}}`: "sum of",
		`{"healthyRetryPolicy":{"backoffFunction":"cubic"}}`:                                                                        "backoffFunction must be one of linear, arithmetic, geometric, exponential",
		`{"throttlePolicy":{"maxReceivesPerSecond":0}}`:                                                                             "throttlePolicy.maxReceivesPerSecond must be greater than or equal to 1",
		`{"requestPolicy":{"headerContentType":"text/plain\r\nX: y"}}`:                                                              "requestPolicy.headerContentType",
		`{"sicklyRetryPolicy":{"numRetries":1}}`:                                                                                    "sicklyRetryPolicy is not available",
		`{"guaranteed":true}`:                                                                                                       "guaranteed is not available",
		`{"http":{}}`:                                                                                                               `unknown field "http"`,
	} {
		if _, err := parseSubscriptionDelivery(text, defaultDelivery); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}
