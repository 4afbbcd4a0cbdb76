package exporter

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/rialto-bus/rialto/examples/exporter"
	"github.com/rialto-bus/rialto/internal/auth"
	"github.com/rialto-bus/rialto/internal/exporter/kind"
	"github.com/rialto-bus/rialto/internal/httpapi"
	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/store/storetest"
)

const (
	installAccount = "111122223333"
	installRegion  = "eu-west-1"
	installQueue   = "arn:aws:sqs:eu-west-1:111122223333:records"
)

// stackCloud is a cloud account with at most one stack, as CloudFormation tells of it, and its
// queue.
type stackCloud struct {
	t      *testing.T
	server *httptest.Server

	mu       sync.Mutex
	calls    []string // operations that change something
	stackID  string   // empty: none
	status   string
	reason   string
	template string
	imports  []string
	failures [][2]string // logical id and reason of failed resources, the last first; "" and a status of the stack's own
	refuse   map[string]string
	held     string // messages on the queue
}

func newStackCloud(t *testing.T) *stackCloud {
	t.Helper()
	c := &stackCloud{t: t, refuse: map[string]string{}, held: "0"}
	c.server = httptest.NewServer(http.HandlerFunc(c.serve))
	t.Cleanup(c.server.Close)
	return c
}

func (c *stackCloud) config(region string) aws.Config {
	return aws.Config{
		Region: region, BaseEndpoint: &c.server.URL, RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider("a", "b", ""),
	}
}

// CloudFormation implements Stacks.
func (c *stackCloud) CloudFormation(_ context.Context, _, region string) (*cloudformation.Client, error) {
	if region == "ap-east-1" {
		return nil, errors.New("account 111122223333 leaves region ap-east-1 out")
	}
	return cloudformation.NewFromConfig(c.config(region)), nil
}

// SQS implements Cloud.
func (c *stackCloud) SQS(_ context.Context, _, region string) (*sqs.Client, error) {
	return sqs.NewFromConfig(c.config(region)), nil
}

// Real implements Cloud.
func (c *stackCloud) Real(context.Context, string) (bool, error) { return true, nil }

func (c *stackCloud) id() string {
	return "arn:aws:cloudformation:eu-west-1:111122223333:stack/" + kind.QueueStack + "/7f2d1c9e"
}

// stands has the stack be there with a status and a template.
func (c *stackCloud) stands(status, template string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stackID, c.status, c.template = c.id(), status, template
}

func (c *stackCloud) changes() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return strings.Join(c.calls, " ")
}

func (c *stackCloud) serve(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if target := r.Header.Get("X-Amz-Target"); target != "" {
		w.Header().Set("Content-Type", "application/x-amz-json-1.0")
		fmt.Fprintf(w, `{"Attributes": {"ApproximateNumberOfMessages": %q}}`, c.held)
		return
	}
	op := r.FormValue("Action")
	if message := c.refuse[op]; message != "" {
		c.fault(w, "AccessDenied", message)
		return
	}
	name := r.FormValue("StackName")
	known := c.stackID != "" && (name == c.stackID || name == kind.QueueStack && c.status != "DELETE_COMPLETE")
	if name != "" && op != "CreateStack" && !known {
		c.fault(w, "ValidationError", "Stack with id "+name+" does not exist")
		return
	}
	c.answer(w, r, op)
}

func (c *stackCloud) answer(w http.ResponseWriter, r *http.Request, op string) {
	switch op {
	case "DescribeStacks":
		var outputs string
		if strings.HasSuffix(c.status, "_COMPLETE") && c.status != "DELETE_COMPLETE" {
			outputs = "<Outputs><member><OutputKey>EventsQueueARN</OutputKey><OutputValue>" + installQueue + "</OutputValue><ExportName>" +
				kind.QueueStack + "-EventsQueueARN</ExportName></member></Outputs>"
		}
		c.result(w, op, "<Stacks><member><StackName>"+kind.QueueStack+"</StackName><StackId>"+c.stackID+"</StackId><StackStatus>"+c.status+
			"</StackStatus><StackStatusReason>"+c.reason+"</StackStatusReason>"+outputs+"</member></Stacks>")
	case "CreateStack":
		c.calls, c.stackID, c.status = append(c.calls, op), c.id(), "CREATE_IN_PROGRESS"
		c.template = r.FormValue("TemplateBody")
		c.result(w, op, "<StackId>"+c.stackID+"</StackId>")
	case "UpdateStack":
		c.calls, c.status = append(c.calls, op), "UPDATE_IN_PROGRESS"
		c.template = r.FormValue("TemplateBody")
		c.result(w, op, "<StackId>"+c.stackID+"</StackId>")
	case "DeleteStack":
		c.calls, c.status = append(c.calls, op), "DELETE_IN_PROGRESS"
		c.result(w, op, "")
	case "GetTemplate":
		c.result(w, op, "<TemplateBody><![CDATA["+c.template+"]]></TemplateBody>")
	case "ListImports":
		if len(c.imports) == 0 {
			c.fault(w, "ValidationError", "Export '"+r.FormValue("ExportName")+"' is not imported by any stack.")
			return
		}
		c.result(w, op, "<Imports><member>"+strings.Join(c.imports, "</member><member>")+"</member></Imports>")
	case "DescribeStackEvents":
		var events strings.Builder
		for _, f := range c.failures {
			if f[0] == "" {
				fmt.Fprintf(&events, "<member><PhysicalResourceId>%s</PhysicalResourceId><ResourceStatus>%s</ResourceStatus></member>", c.stackID, f[1])
				continue
			}
			fmt.Fprintf(&events, "<member><LogicalResourceId>%s</LogicalResourceId><ResourceStatus>CREATE_FAILED</ResourceStatus><ResourceStatusReason>%s</ResourceStatusReason></member>", f[0], f[1])
		}
		c.result(w, op, "<StackEvents>"+events.String()+"</StackEvents>")
	default:
		c.t.Errorf("call of %s", op)
		c.fault(w, "InvalidAction", op)
	}
}

func (c *stackCloud) result(w http.ResponseWriter, op, body string) {
	w.Header().Set("Content-Type", "text/xml")
	fmt.Fprintf(w, "<%sResponse xmlns=\"http://cloudformation.amazonaws.com/doc/2010-05-15/\"><%sResult>%s</%sResult></%sResponse>", op, op, body, op, op)
}

func (c *stackCloud) fault(w http.ResponseWriter, code, message string) {
	w.Header().Set("Content-Type", "text/xml")
	w.WriteHeader(http.StatusBadRequest)
	fmt.Fprintf(w, "<ErrorResponse><Error><Type>Sender</Type><Code>%s</Code><Message>%s</Message></Error></ErrorResponse>", code, message)
}

var installPlace = Place{Account: installAccount, Region: installRegion}

// installing runs a test on both dialects.
func installing(t *testing.T, test func(t *testing.T, c *stackCloud, x *Exporter)) {
	t.Helper()
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		c := newStackCloud(t)
		test(t, c, New(Options{DB: db, Cloud: c, Stacks: c}))
	})
}

// queues are the queues that are read, by ARN and stack.
func queues(t *testing.T, x *Exporter) string {
	t.Helper()
	list, err := x.Queues(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	names := make([]string, 0, len(list))
	for _, q := range list {
		names = append(names, q.ARN+" "+q.Stack)
	}
	return strings.Join(names, ",")
}

func install(t *testing.T, x *Exporter, p Place, want InstallState) Installation {
	t.Helper()
	in, err := x.Install(t.Context(), p)
	if err != nil || in.State != want {
		t.Fatalf("Install: %+v, %v; want %s", in, err, want)
	}
	return in
}

func refusedWith(t *testing.T, what string, err error, status int, text string) {
	t.Helper()
	e, ok := errors.AsType[*httpapi.Error](err)
	if !ok || e.Status != status || !strings.Contains(e.Message, text) {
		t.Errorf("%s: %v, want status %d and %q", what, err, status, text)
	}
}

// The queue is read once its stack stands, and not before; whoever asks goes on where it is.
func TestInstallGoesOnUntilTheQueueIsRead(t *testing.T) {
	t.Parallel()
	installing(t, func(t *testing.T, c *stackCloud, x *Exporter) {
		if in, err := x.Installation(t.Context(), installPlace); err != nil || in.State != InstallAbsent {
			t.Errorf("before: %+v, %v", in, err)
		}
		in := install(t, x, installPlace, InstallDeploying)
		if in.StackID != c.id() || c.template != exporter.Queue() || queues(t, x) != "" {
			t.Errorf("begun: %+v; queues %q", in, queues(t, x))
		}
		install(t, x, in.Place, InstallDeploying)
		install(t, x, installPlace, InstallDeploying) // another one, who knows nothing of it
		c.stands("CREATE_COMPLETE", exporter.Queue())
		if in, err := x.Installation(t.Context(), installPlace); err != nil || in.State != InstallStands || queues(t, x) != "" {
			t.Errorf("deployed: %+v, %v; queues %q", in, err, queues(t, x))
		}
		in = install(t, x, in.Place, Installed)
		if in.QueueARN != installQueue || in.Export != kind.QueueStack+"-EventsQueueARN" {
			t.Errorf("installed: %+v", in)
		}
		install(t, x, installPlace, Installed)
		if got, want := queues(t, x), installQueue+" "+kind.QueueStack; got != want || c.changes() != "CreateStack" {
			t.Errorf("queues %q, want %q; changes %s", got, want, c.changes())
		}
		a, err := x.Account(t.Context(), installAccount)
		if err != nil || !a.Enabled || a.HomeRegion != installRegion {
			t.Errorf("the account is %+v, %v", a, err)
		}
	})
}

// An account that is followed keeps its settings.
func TestInstallLeavesTheAccountsSettings(t *testing.T) {
	t.Parallel()
	installing(t, func(t *testing.T, c *stackCloud, x *Exporter) {
		if _, err := x.PutAccount(t.Context(), Account{Account: installAccount, HomeRegion: "us-east-1", Description: "生产"}); err != nil {
			t.Fatal(err)
		}
		c.stands("CREATE_COMPLETE", exporter.Queue())
		install(t, x, installPlace, Installed)
		if a, err := x.Account(t.Context(), installAccount); err != nil || a.Enabled || a.HomeRegion != "us-east-1" || a.Description != "生产" {
			t.Errorf("the account is %+v, %v", a, err)
		}
	})
}

func TestInstallUpdatesAnEarlierVersion(t *testing.T) {
	t.Parallel()
	installing(t, func(t *testing.T, c *stackCloud, x *Exporter) {
		c.stands("CREATE_COMPLETE", "Metadata: {Rialto: exporter queue}\nResources: {}\n")
		in := install(t, x, installPlace, InstallDeploying)
		c.stands("UPDATE_COMPLETE", exporter.Queue())
		install(t, x, in.Place, Installed)
		if c.changes() != "UpdateStack" {
			t.Errorf("changes %s", c.changes())
		}
	})
}

// An update that was taken back is told, and not begun again by who waits for it.
func TestInstallTellsOfAnUpdateThatFailed(t *testing.T) {
	t.Parallel()
	installing(t, func(t *testing.T, c *stackCloud, x *Exporter) {
		c.stands("CREATE_COMPLETE", "Metadata: {Rialto: exporter queue}\n")
		in := install(t, x, installPlace, InstallDeploying)
		c.stands("UPDATE_ROLLBACK_COMPLETE", "Metadata: {Rialto: exporter queue}\n")
		c.failures = [][2]string{{"EventsQueue", "no permission"}, {"", "UPDATE_IN_PROGRESS"}, {"EventsQueue", "an older one"}}
		in = install(t, x, in.Place, InstallFailed)
		if in.Why != "EventsQueue: no permission" || c.changes() != "UpdateStack" || queues(t, x) != "" {
			t.Errorf("%+v, changes %s", in, c.changes())
		}
	})
}

// A stack that could not be made is gone again, and why is told.
func TestInstallTellsWhyAStackCouldNotBeMade(t *testing.T) {
	t.Parallel()
	installing(t, func(t *testing.T, c *stackCloud, x *Exporter) {
		in := install(t, x, installPlace, InstallDeploying)
		c.stands("DELETE_COMPLETE", exporter.Queue())
		c.failures = [][2]string{{"EventsQueuePolicy", "Resource creation cancelled"}, {"EventsQueue", "User is not authorized to perform: sqs:CreateQueue"}}
		in = install(t, x, in.Place, InstallFailed)
		if in.Why != "EventsQueue: User is not authorized to perform: sqs:CreateQueue" || c.changes() != "CreateStack" {
			t.Errorf("%+v, changes %s", in, c.changes())
		}
		install(t, x, installPlace, InstallDeploying) // begun again by who asks anew
		if c.changes() != "CreateStack CreateStack" {
			t.Errorf("changes %s", c.changes())
		}
	})
}

func TestInstallLeavesForeignAndUnusableStacks(t *testing.T) {
	t.Parallel()
	installing(t, func(t *testing.T, c *stackCloud, x *Exporter) {
		for _, template := range []string{"Resources: {}", "Metadata: {Rialto: 队列}", "Metadata: 1", "{", ""} {
			c.stands("CREATE_COMPLETE", template)
			_, err := x.Install(t.Context(), installPlace)
			refusedWith(t, "install over "+template, err, http.StatusConflict, "it is not one of this exporter's")
			_, err = x.Uninstall(t.Context(), installPlace, true)
			refusedWith(t, "uninstall "+template, err, http.StatusConflict, "it is not one of this exporter's")
		}
		for status, why := range map[string]string{"ROLLBACK_COMPLETE": "EventsQueue: full", "DELETE_FAILED": "EventsQueue: full", "REVIEW_IN_PROGRESS": "a change set"} {
			c.stands(status, exporter.Queue())
			c.failures = [][2]string{{"EventsQueue", "full"}}
			if in := install(t, x, installPlace, InstallFailed); !strings.Contains(in.Why, why) {
				t.Errorf("%s: %+v", status, in)
			}
		}
		c.stands("DELETE_IN_PROGRESS", exporter.Queue())
		install(t, x, installPlace, InstallRemoving)
		if c.changes() != "" || queues(t, x) != "" {
			t.Errorf("changes %s, queues %s", c.changes(), queues(t, x))
		}
	})
}

func TestUninstallDeletesTheStackOnceNobodyNeedsIt(t *testing.T) {
	t.Parallel()
	installing(t, func(t *testing.T, c *stackCloud, x *Exporter) {
		c.stands("CREATE_COMPLETE", exporter.Queue())
		install(t, x, installPlace, Installed)
		c.imports = []string{"rules", "更多"}
		_, err := x.Uninstall(t.Context(), installPlace, true)
		refusedWith(t, "imported", err, http.StatusConflict, "Rules of the stacks rules, 更多 send to the queue")
		c.imports, c.held = nil, "3"
		_, err = x.Uninstall(t.Context(), installPlace, false)
		refusedWith(t, "not empty", err, http.StatusConflict, "holds 3 records")
		if c.changes() != "" || queues(t, x) == "" {
			t.Errorf("changes %s, queues %q", c.changes(), queues(t, x))
		}
		c.stands("UPDATE_IN_PROGRESS", exporter.Queue())
		_, err = x.Uninstall(t.Context(), installPlace, true)
		refusedWith(t, "busy", err, http.StatusConflict, "UPDATE_IN_PROGRESS; wait")

		c.stands("UPDATE_COMPLETE", exporter.Queue())
		in, err := x.Uninstall(t.Context(), installPlace, true)
		if err != nil || in.State != InstallRemoving || queues(t, x) != "" || c.changes() != "DeleteStack" {
			t.Errorf("%+v, %v; queues %q, changes %s", in, err, queues(t, x), c.changes())
		}
		again, err := x.Uninstall(t.Context(), in.Place, true)
		if err != nil || again.State != InstallRemoving {
			t.Errorf("%+v, %v", again, err)
		}
		c.stands("DELETE_COMPLETE", exporter.Queue())
		for _, p := range []Place{in.Place, installPlace} {
			if gone, err := x.Uninstall(t.Context(), p, false); err != nil || gone.State != InstallAbsent {
				t.Errorf("%+v, %v", gone, err)
			}
		}
		if c.changes() != "DeleteStack" {
			t.Errorf("changes %s", c.changes())
		}
	})
}

// A stack that somebody else has deleted leaves a queue that is still read.
func TestUninstallForgetsTheQueueOfAStackThatIsGone(t *testing.T) {
	t.Parallel()
	installing(t, func(t *testing.T, c *stackCloud, x *Exporter) {
		c.stands("CREATE_COMPLETE", exporter.Queue())
		install(t, x, installPlace, Installed)
		if _, err := x.PutQueue(t.Context(), "arn:aws:sqs:us-east-1:111122223333:records", installAccount, kind.QueueStack); err != nil {
			t.Fatal(err)
		}
		c.stands("DELETE_COMPLETE", exporter.Queue())
		if in, err := x.Uninstall(t.Context(), installPlace, false); err != nil || in.State != InstallAbsent {
			t.Errorf("%+v, %v", in, err)
		}
		if got, want := queues(t, x), "arn:aws:sqs:us-east-1:111122223333:records "+kind.QueueStack; got != want {
			t.Errorf("queues %q, want that of the other region", got)
		}
	})
}

func TestInstallTellsWhatTheCloudSays(t *testing.T) {
	t.Parallel()
	installing(t, func(t *testing.T, c *stackCloud, x *Exporter) {
		c.refuse["CreateStack"] = "User: arn:aws:sts::111122223333:assumed-role/rialto/r is not authorized to perform: cloudformation:CreateStack"
		_, err := x.Install(t.Context(), installPlace)
		refusedWith(t, "denied", err, http.StatusBadGateway, "Account 111122223333, eu-west-1: create stack "+kind.QueueStack)
		refusedWith(t, "denied", err, http.StatusBadGateway, "is not authorized to perform: cloudformation:CreateStack")
		c.refuse["DescribeStacks"] = "no"
		_, err = x.Installation(t.Context(), installPlace)
		refusedWith(t, "denied", err, http.StatusBadGateway, "look at stack")
		_, err = x.Install(t.Context(), Place{Account: installAccount, Region: "ap-east-1"})
		refusedWith(t, "region", err, http.StatusBadGateway, "leaves region ap-east-1 out")
		if c.changes() != "" || queues(t, x) != "" {
			t.Errorf("changes %s", c.changes())
		}
	})
}

func TestInstallQueueReadsOneThatIsThere(t *testing.T) {
	t.Parallel()
	installing(t, func(t *testing.T, c *stackCloud, x *Exporter) {
		in, err := x.InstallQueue(t.Context(), installAccount, "", "https://sqs.eu-west-1.amazonaws.com/111122223333/records")
		if err != nil || in.State != Installed || in.QueueARN != installQueue || in.Region != installRegion {
			t.Errorf("%+v, %v", in, err)
		}
		if got := queues(t, x); got != installQueue+" " {
			t.Errorf("queues %q", got)
		}
		for _, bad := range []string{"", "records", "arn:aws:sqs:eu-west-1:111122223333:records.fifo", "https://example.com/1/2"} {
			_, err := x.InstallQueue(t.Context(), installAccount, "", bad)
			refusedWith(t, bad, err, http.StatusBadRequest, "queue")
		}
		if c.changes() != "" {
			t.Errorf("changes %s", c.changes())
		}
	})
}

// serve makes a request of the API as a key of an account with a role.
func serveAs(t *testing.T, x *Exporter, who auth.Principal, method, target, body string) (int, string) {
	t.Helper()
	mux := http.NewServeMux()
	x.Register(mux)
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, r.WithContext(auth.WithPrincipal(t.Context(), who)))
	return w.Code, w.Body.String()
}

var installAdmin = auth.Principal{KeyID: "k", Account: auth.HomeAccount, Role: auth.Admin}

func TestTheInstallRoutesRefuseBadInput(t *testing.T) {
	t.Parallel()
	installing(t, func(t *testing.T, c *stackCloud, x *Exporter) {
		const path = "/v1/exporter/accounts/111122223333/install"
		for _, r := range []struct {
			method, target, body string
			status               int
			want                 string
		}{
			{"POST", path, `{`, 400, "JSON"},
			{"POST", path, `{"region": 1}`, 400, "region"},
			{"POST", path, `{"area": "eu-west-1"}`, 400, "area"},
			{"POST", path, `{}`, 400, `region \"\" is not the code of a region`},
			{"POST", path, `{"region": "欧洲"}`, 400, "is not the code of a region"},
			{"POST", path, `{"region": "eu-west-1", "stack_name": "a b"}`, 400, "stack_name"},
			{"POST", path, `{"region": "eu-west-1", "stack_id": "arn:aws:cloudformation:eu-west-1:111122223333:stack/other/1"}`, 400, "stack_id"},
			{"POST", path, `{"queue": "q", "stack_name": "mine"}`, 400, "leave stack_name and stack_id out"},
			{"POST", "/v1/exporter/accounts/12/install", `{"region": "eu-west-1"}`, 400, `account \"12\"`},
			{"GET", path, "", 400, "region"},
			{"GET", path + "?region=eu-west-1&name=x", "", 400, `Query parameter \"name\"`},
			{"DELETE", path + "?region=eu-west-1&discard=yes", "", 400, `discard is \"yes\"`},
			{"DELETE", path + "?region=eu-west-1&%zz", "", 400, "cannot be read"},
		} {
			if status, body := serveAs(t, x, installAdmin, r.method, r.target, r.body); status != r.status || !strings.Contains(body, r.want) {
				t.Errorf("%s %s %s: %d %s", r.method, r.target, r.body, status, body)
			}
		}
		for _, who := range []auth.Principal{
			{KeyID: "k", Account: auth.HomeAccount, Role: auth.Operator}, {KeyID: "k", Account: auth.HomeAccount, Role: auth.Reader}, {KeyID: "k", Account: "444455556666", Role: auth.Admin},
		} {
			for _, method := range []string{"GET", "POST", "DELETE"} {
				if status, body := serveAs(t, x, who, method, path+"?region=eu-west-1", `{"region": "eu-west-1"}`); status != http.StatusForbidden {
					t.Errorf("%s as %+v: %d %s", method, who, status, body)
				}
			}
		}
		if c.changes() != "" || queues(t, x) != "" {
			t.Errorf("changes %s, queues %s", c.changes(), queues(t, x))
		}
	})
}

func TestTheInstallRoutes(t *testing.T) {
	t.Parallel()
	installing(t, func(t *testing.T, c *stackCloud, x *Exporter) {
		const path = "/v1/exporter/accounts/111122223333/install"
		step := func(method, target, body string, status int, state string) map[string]any {
			t.Helper()
			have, text := serveAs(t, x, installAdmin, method, target, body)
			var v map[string]any
			if err := json.Unmarshal([]byte(text), &v); err != nil || have != status || v["state"] != state {
				t.Errorf("%s: %d %s, want %d and %s", method, have, text, status, state)
			}
			return v
		}
		step("GET", path+"?region=eu-west-1", "", 200, "absent")
		v := step("POST", path, `{"region": "eu-west-1"}`, 202, "deploying")
		c.stands("CREATE_COMPLETE", exporter.Queue())
		v = step("POST", path, fmt.Sprintf(`{"region": "eu-west-1", "stack_name": %q, "stack_id": %q}`, v["stack_name"], v["stack_id"]), 200, "installed")
		if v["queue_arn"] != installQueue || v["why"] != nil || v["stack_status"] != "CREATE_COMPLETE" {
			t.Errorf("installed: %v", v)
		}
		step("GET", path+"?region=eu-west-1", "", 200, "installed")
		step("DELETE", path+"?region=eu-west-1", "", 202, "removing")
		c.stands("DELETE_COMPLETE", exporter.Queue())
		step("DELETE", path+"?region=eu-west-1", "", 200, "absent")
	})
}
