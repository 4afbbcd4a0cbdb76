package reader

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/rialto-bus/rialto/internal/cloud"
)

func TestWhatAWSRefusesIsClassed(t *testing.T) {
	const (
		queue    = "AWS::SQS::Queue"
		stack    = "AWS::CloudFormation::Stack"
		instance = "AWS::EC2::Instance"
		balancer = "AWS::ElasticLoadBalancingV2::LoadBalancer"
		cert     = "AWS::ACM::Certificate"
		cache    = "AWS::ElastiCache::CacheCluster"
		bucket   = "AWS::S3::Bucket"
	)
	handler := func(code, text string) string {
		return "AWS::X::Y Handler returned status FAILED: " + text + " (HandlerErrorCode: " + code + ", RequestToken: 6f3c)"
	}
	for _, tt := range []struct {
		kind, region  string
		status        int
		code, message string
		want          Class
	}{
		{queue, home, 400, "ResourceNotFoundException", handler("NotFound", "no queue"), NotFound},
		{queue, home, 400, "TypeNotFoundException", "The type 'AWS::SQS::Queue' cannot be found.", Unsupported},
		{queue, home, 400, "UnsupportedActionException", "Resource type AWS::SQS::Queue does not support READ action", Unsupported},
		{queue, home, 400, "PrivateTypeException", "", Unsupported},
		{queue, home, 400, "InvalidRequestException", handler("InvalidRequest", "Missing or invalid ResourceModel property"), Invalid},
		{queue, home, 400, "ValidationException", "Identifier x is not valid for identifier [/properties/QueueUrl]", Invalid},
		{queue, home, 400, "AccessDeniedException", "User: arn:aws:iam::1:user/a is not authorized to perform: cloudformation:GetResource", Denied},
		{queue, home, 400, "GeneralServiceException", handler("GeneralServiceException", "User: x is not authorized to perform: sqs:GetQueueAttributes"), Denied},
		{queue, home, 400, "GeneralServiceException", handler("AccessDenied", "Access Denied"), Denied},
		{queue, home, 400, "InvalidCredentialsException", handler("InvalidCredentials", "bad"), Denied},
		{queue, home, 403, "UnrecognizedClientException", "The security token included in the request is invalid.", Denied},
		{queue, "me-south-1", 403, "UnrecognizedClientException", "The security token included in the request is invalid.", RegionOff},
		{queue, home, 403, "SignatureDoesNotMatch", "", Denied},
		{queue, home, 400, "OptInRequired", "", RegionOff},
		{queue, home, 400, "HandlerInternalFailureException", handler("InternalFailure", "Internal error"), Failed},
		{queue, home, 400, "GeneralServiceException", handler("GeneralServiceException", "Parent NotFound maybe"), Failed},
		{queue, home, 404, "", "", Failed},
		{bucket, home, 400, "GeneralServiceException", handler("GeneralServiceException", "null (Service: S3, Status Code: 301, Request ID: x)"), NotFound},
		{queue, home, 400, "GeneralServiceException", handler("GeneralServiceException", "null (Service: S3, Status Code: 301, Request ID: x)"), Failed},
		{stack, home, 400, "ValidationError", "Stack with id 店 does not exist", NotFound},
		{stack, home, 400, "ValidationError", "1 validation error detected: Value 'x y' at 'stackName' failed to satisfy constraint", Invalid},
		{stack, home, 403, "AccessDenied", "no", Denied},
		{stack, "af-south-1", 403, "InvalidClientTokenId", "The security token included in the request is invalid", RegionOff},
		{instance, home, 400, "InvalidInstanceID.NotFound", "", NotFound},
		{instance, home, 400, "InvalidInstanceID.Malformed", "", Invalid},
		{instance, home, 403, "UnauthorizedOperation", "You are not authorized to perform this operation.", Denied},
		{instance, home, 401, "AuthFailure", "AWS was not able to validate the provided access credentials", Denied},
		{instance, "ap-east-1", 401, "AuthFailure", "AWS was not able to validate the provided access credentials", RegionOff},
		{balancer, home, 400, "LoadBalancerNotFound", "", NotFound},
		{balancer, home, 400, "ValidationError", "'x' is not a valid load balancer ARN", Invalid},
		{cert, home, 400, "ResourceNotFoundException", "", NotFound},
		{cert, home, 400, "InvalidArnException", "", Invalid},
		{cache, home, 404, "CacheClusterNotFound", "", NotFound},
		{cache, home, 400, "InvalidParameterValue", "", Invalid},
		{cache, home, 400, "ServiceUnavailableNow", "", Failed},
	} {
		t.Run(fmt.Sprintf("%s %s %s", tt.kind, tt.region, tt.code), func(t *testing.T) {
			e := newEndpoint(t, func(awsCall) (any, *awsError) { return nil, &awsError{tt.status, tt.code, tt.message} })
			r := readerAt(t, e, nil)
			s := Scope{account, tt.region, tt.kind}
			_, err := r.Get(t.Context(), s, "i-00000001")
			if ClassOf(err) != tt.want {
				t.Errorf("get: %s, want %s: %v", ClassOf(err), tt.want, err)
			}
			refused, ok := errors.AsType[*Error](err)
			if !ok || refused.Scope != s || tt.code != "" && refused.Code != tt.code || !strings.Contains(err.Error(), tt.kind+" in "+account+" "+tt.region) {
				t.Errorf("the error is %#v: %v", refused, err)
			}
			if tt.want == NotFound {
				return // no list ends so
			}
			if _, err := r.List(t.Context(), s, ListQuery{}); ClassOf(err) != tt.want {
				t.Errorf("list: %s, want %s: %v", ClassOf(err), tt.want, err)
			}
		})
	}
}

func TestThrottlingThatOutlastsTheCallersTimeIsTold(t *testing.T) {
	var code, message string
	e := newEndpoint(t, func(awsCall) (any, *awsError) { return nil, &awsError{400, code, message} })
	r := readerAt(t, e, nil)
	for _, tt := range []struct{ kind, code, message string }{
		{"AWS::SQS::Queue", "ThrottlingException", "Rate exceeded"},
		{"AWS::SQS::Queue", "TooManyRequestsException", ""},
		{"AWS::SQS::Queue", "GeneralServiceException", "AWS::X::Y Handler returned status FAILED: Rate exceeded (Service: X, Status Code: 400) (HandlerErrorCode: Throttling, RequestToken: 6f3c)"},
		{"AWS::EC2::Instance", "RequestLimitExceeded", ""},
		{"AWS::CloudFormation::Stack", "Throttling", "Rate exceeded"},
		{"AWS::ElasticLoadBalancingV2::LoadBalancer", "Throttling", "Rate exceeded"},
	} {
		code, message = tt.code, tt.message
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		_, err := r.Get(ctx, in(tt.kind), "i-00000001")
		cancel()
		// There is no time for another attempt, or not before the budget lets it go.
		if class := ClassOf(err); class != Throttled {
			t.Errorf("%s %s: %s, %v", tt.kind, tt.code, class, err)
		}
	}
}

func TestThrottlingThatEndsIsWaitedOut(t *testing.T) {
	calls := 0
	e := newEndpoint(t, func(awsCall) (any, *awsError) {
		if calls++; calls < 3 {
			return nil, &awsError{400, "ThrottlingException", "Rate exceeded"}
		}
		return object{"ResourceDescription": object{"Identifier": "q", "Properties": "{}"}}, nil
	})
	if _, err := readerAt(t, e, nil).Get(t.Context(), in("AWS::SQS::Queue"), "q"); err != nil || calls != 3 {
		t.Errorf("%v after %d calls", err, calls)
	}
}

func TestAUsedUpBudgetIsThrottling(t *testing.T) {
	e := newEndpoint(t, func(awsCall) (any, *awsError) { return object{"ResourceDescriptions": []any{}}, nil })
	r := readerAt(t, e, func(s *cloud.Settings) { s.RequestsPerSecond, s.Burst = 0.01, 1 })
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	for _, want := range []error{nil, cloud.ErrBudget} {
		if _, err := r.List(ctx, in("AWS::SQS::Queue"), ListQuery{}); !errors.Is(err, want) || err != nil && ClassOf(err) != Throttled {
			t.Errorf("got %v, want %v", err, want)
		}
	}
}

func TestWhatIsAskedIsCheckedFirst(t *testing.T) {
	e := newEndpoint(t, func(awsCall) (any, *awsError) { return object{}, nil })
	r := readerAt(t, e, nil)
	for _, tt := range []struct {
		kind, id string
		want     Class
	}{
		{"AWS::SQS", "x", Unsupported},
		{"", "x", Unsupported},
		{"AWS::SQS::Queue; DROP", "x", Unsupported},
		{"AWS::SQS::Queue", "", Invalid},
		{"AWS::SQS::Queue", strings.Repeat("长", 400), Invalid},
	} {
		if _, err := r.Get(t.Context(), in(tt.kind), tt.id); ClassOf(err) != tt.want {
			t.Errorf("%s %s: %v", tt.kind, tt.id, err)
		}
	}
	for _, tt := range []struct {
		kind string
		q    ListQuery
		says string
	}{
		{"AWS::SQS::Queue", ListQuery{Parameters: map[string]any{"X": 1}}, "takes resources_models"},
		{"AWS::SQS::Queue", ListQuery{Model: "[]"}, "no JSON object"},
		{"AWS::EC2::Instance", ListQuery{Model: `{"a":1}`}, "takes no resources_models"},
	} {
		if _, err := r.List(t.Context(), in(tt.kind), tt.q); ClassOf(err) != Invalid || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s %+v: %v", tt.kind, tt.q, err)
		}
	}
	if len(e.calls) != 0 {
		t.Errorf("AWS was called with %+v", e.calls)
	}
	if _, err := r.Get(t.Context(), Scope{account, "mars", "AWS::SQS::Queue"}, "x"); ClassOf(err) != RegionOff {
		t.Errorf("a region that is none: %v", err)
	}
}

func TestAnAccountThatCannotBeReachedIsFailed(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err = New(Options{Cloud: accountsAt(t, "http://"+address, nil)}).Get(ctx, in("AWS::SQS::Queue"), "x")
	if err == nil || ClassOf(err) != Failed {
		t.Errorf("%s: %v", ClassOf(err), err)
	}
	if ClassOf(errors.New("other")) != Failed || ClassOf(nil) != Failed {
		t.Error("other errors have a class")
	}
}

func TestMissingCredentialsAreDenied(t *testing.T) {
	for _, k := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_FULL_URI"} {
		t.Setenv(k, "")
	}
	a := accountsAt(t, "http://127.0.0.1:1", nil)
	if _, err := a.Put(t.Context(), cloud.Settings{AccountID: account, EndpointURL: "http://127.0.0.1:1"}, ""); err != nil {
		t.Fatal(err)
	}
	_, err := New(Options{Cloud: a}).Get(t.Context(), in("AWS::SQS::Queue"), "x")
	if ClassOf(err) != Denied {
		t.Errorf("%s: %v", ClassOf(err), err)
	}
}
