package inventory

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/rialto-bus/rialto/internal/auth"
	"github.com/rialto-bus/rialto/internal/cloud"
	"github.com/rialto-bus/rialto/internal/httpapi"
	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/work"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	testAccount = "123456789012"
	testRegion  = "eu-west-1"
	testProject = "web"
)

// world is an inventory with all that it needs around it: the real store, auth
// and jobs, HTTP in front, and an EC2 endpoint that plays the cloud.
type world struct {
	t    testing.TB
	db   *store.DB
	auth *auth.Auth
	v    *Inventory
	http *httptest.Server
	ec2  *fakeEC2
}

// newWorld starts a world on db. The jobs run only after run is called.
func newWorld(t testing.TB, db *store.DB) *world {
	t.Helper()
	w := &world{t: t, db: db, ec2: newFakeEC2(t)}
	var err error
	w.auth, err = auth.Open(t.Context(), db, auth.Options{KeyFile: filepath.Join(t.TempDir(), "secret.key")})
	if err != nil {
		t.Fatal(err)
	}
	accounts := cloud.Open(db, cloud.Options{
		BoxEndpoint:    func() string { return w.ec2.URL },
		BoxCredentials: w.auth.InternalCredentials,
		Sealer:         w.auth.Sealer(),
	})
	t.Cleanup(accounts.Close)
	w.v = New(Options{
		DB: db, Cloud: accounts, Auth: w.auth, Work: work.New(db, "test", nil),
		PublicURL: func() string { return w.http.URL },
	})
	w.v.recheck = time.Millisecond
	rest, mux := http.NewServeMux(), http.NewServeMux()
	w.v.Register(rest)
	mux.Handle("/v1/webhooks/", rest)
	mux.Handle("/v1/agent/", rest)
	mux.Handle("/v1/", w.auth.Middleware(rest))
	mux.Handle(httpapi.TokenPath, w.auth.TokenHandler())
	w.http = httptest.NewServer(mux)
	t.Cleanup(w.http.Close)
	return w
}

// run runs the jobs until the test ends. It returns when the first syncs, which
// follow from connecting an account, are over.
func (w *world) run() {
	w.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = w.v.o.Work.Run(ctx)
	}()
	w.t.Cleanup(func() { cancel(); <-done })
	w.synced()
}

// synced waits until no sync is due or running.
func (w *world) synced() {
	w.t.Helper()
	w.eventually("all syncs over", func() bool {
		var n int
		if err := w.db.QueryRow(w.t.Context(), `SELECT COUNT(*) FROM job WHERE queue = $1 AND run_at <= $2`, queueSync, time.Now().Add(2*time.Minute).UnixMilli()).Scan(&n); err != nil {
			w.t.Fatal(err)
		}
		return n == 0
	})
}

func (w *world) project(name string) {
	w.t.Helper()
	if _, err := w.v.CreateProject(w.t.Context(), name, ""); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) connect(project, account string, change func(*CloudAccount)) CloudAccount {
	w.t.Helper()
	a := CloudAccount{AccountID: account, Regions: []string{testRegion}, Options: DefaultAccountOptions()}
	if change != nil {
		change(&a)
	}
	a, err := w.v.ConnectAccount(w.t.Context(), project, a)
	if err != nil {
		w.t.Fatal(err)
	}
	return a
}

// monitored makes a project with a monitored account, and returns the account
// and a token for its webhook.
func (w *world) monitored(change func(*CloudAccount)) (CloudAccount, Monitor, string) {
	w.t.Helper()
	w.project(testProject)
	a := w.connect(testProject, testAccount, change)
	m, err := w.v.StartMonitor(w.t.Context(), testProject, a.ID)
	if err != nil {
		w.t.Fatal(err)
	}
	return m.Account, m, w.token(m.Account.ClientID, m.ClientSecret)
}

func (w *world) token(clientID, secret string) string {
	w.t.Helper()
	resp, err := http.PostForm(w.http.URL+httpapi.TokenPath, url.Values{
		"grant_type": {"client_credentials"}, "client_id": {clientID}, "client_secret": {secret},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	var out struct {
		AccessToken string `json:"access_token"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&out); err != nil || out.AccessToken == "" {
		w.t.Fatalf("no token: %s, %v", resp.Status, err)
	}
	return out.AccessToken
}

// post calls a webhook as EventBridge does.
func (w *world) post(webhookURL, token, body string) (status int, answer string, header http.Header) {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), "POST", webhookURL, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json; charset=utf-8")
	req.Header.Set("User-Agent", "Amazon/EventBridge/ApiDestinations")
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return resp.StatusCode, string(text), resp.Header
}

// eventBody is an EC2 event as AWS writes it.
func eventBody(id, account, region, instance, state string, at time.Time) string {
	return fmt.Sprintf(`{"version":"0","id":%q,"detail-type":"EC2 Instance State-change Notification","source":"aws.ec2","account":%q,"time":%q,"region":%q,"resources":["arn:aws:ec2:%s:%s:instance/%s"],"detail":{"instance-id":%q,"state":%q}}`,
		id, account, at.UTC().Format(time.RFC3339), region, region, account, instance, instance, state)
}

// eventually waits until ok holds.
func (w *world) eventually(what string, ok func() bool) {
	w.t.Helper()
	deadline := time.After(20 * time.Second)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			w.t.Fatalf("did not come true: %s", what)
		}
	}
}

// settled waits until every event has been dealt with.
func (w *world) settled() {
	w.t.Helper()
	w.eventually("all events settled", func() bool {
		var n int
		if err := w.db.QueryRow(w.t.Context(), `SELECT COUNT(*) FROM inventory_events WHERE settled_at = 0`).Scan(&n); err != nil {
			w.t.Fatal(err)
		}
		return n == 0
	})
}

// states lists the servers of a project as instance id and EC2 state.
func (w *world) states(project string) map[string]string {
	w.t.Helper()
	out := map[string]string{}
	for _, s := range w.servers(project) {
		out[s.InstanceID] = s.EC2State
	}
	return out
}

func (w *world) servers(project string) []Server {
	w.t.Helper()
	p, err := w.v.Project(w.t.Context(), project)
	if err != nil {
		w.t.Fatal(err)
	}
	list, err := listServers(w.t.Context(), w.db, ServerFilter{ProjectID: p.ID}, serverCursor{}, false, 1000)
	if err != nil {
		w.t.Fatal(err)
	}
	return list
}

func (w *world) server(project, instance string) (Server, bool) {
	for _, s := range w.servers(project) {
		if s.InstanceID == instance {
			return s, true
		}
	}
	return Server{}, false
}

// published lists the events in the outbox, decoded.
func (w *world) published() []map[string]any {
	w.t.Helper()
	rows, err := w.db.Query(w.t.Context(), `SELECT record FROM outbox ORDER BY id`)
	if err != nil {
		w.t.Fatal(err)
	}
	defer rows.Close()
	var list []map[string]any
	for rows.Next() {
		var rec []byte
		if err := rows.Scan(&rec); err != nil {
			w.t.Fatal(err)
		}
		var e map[string]any
		if err := json.Unmarshal(rec[bytes.IndexByte(rec, '{'):], &e); err != nil {
			w.t.Fatal(err)
		}
		list = append(list, e)
	}
	return list
}

// fakeEC2 answers DescribeInstances and DescribeRegions from what a test puts in.
type fakeEC2 struct {
	*httptest.Server
	mu        sync.Mutex
	instances map[string]Instance // by region/id
	fail      string              // an error code for every call
	failByID  bool                // calls that filter by id fail
	calls     int
	pageSize  int
	onCall    func()
}

func newFakeEC2(t testing.TB) *fakeEC2 {
	f := &fakeEC2{instances: map[string]Instance{}, pageSize: 1000}
	f.Server = httptest.NewServer(f)
	t.Cleanup(f.Close)
	return f
}

func (f *fakeEC2) put(region string, i Instance) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if i.LaunchTime.IsZero() {
		i.LaunchTime = time.Now().UTC().Add(-time.Hour).Truncate(time.Second)
	}
	f.instances[region+"/"+i.ID] = i
}

func (f *fakeEC2) remove(region, id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.instances, region+"/"+id)
}

func (f *fakeEC2) failWith(code string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fail = code
}

func (f *fakeEC2) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls
}

func (f *fakeEC2) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_ = r.ParseForm()
	_, scope, _ := strings.Cut(r.Header.Get("Authorization"), "Credential=")
	region := strings.Split(scope, "/")[2]
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls++
	if f.onCall != nil {
		f.onCall()
	}
	if f.fail != "" {
		writeEC2Error(w, f.fail)
		return
	}
	if r.Form.Get("Action") == "DescribeRegions" {
		io.WriteString(w, `<DescribeRegionsResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><regionInfo>`)
		for _, name := range []string{testRegion, "ap-south-1"} {
			fmt.Fprintf(w, `<item><regionName>%s</regionName></item>`, name)
		}
		io.WriteString(w, `</regionInfo></DescribeRegionsResponse>`)
		return
	}
	ids := formList(r.Form, "InstanceId.%d")
	var states []string
	byID := len(ids) > 0
	for i := 1; r.Form.Has(fmt.Sprintf("Filter.%d.Name", i)); i++ {
		values := formList(r.Form, fmt.Sprintf("Filter.%d.Value.%%d", i))
		if r.Form.Get(fmt.Sprintf("Filter.%d.Name", i)) == "instance-id" {
			ids = values
			if f.failByID {
				writeEC2Error(w, "InvalidParameterValue")
				return
			}
		} else {
			states = values
		}
	}
	var found []Instance
	for key, in := range f.instances {
		if strings.HasPrefix(key, region+"/") && (len(ids) == 0 || slices.Contains(ids, in.ID)) && (len(states) == 0 || slices.Contains(states, in.State)) {
			found = append(found, in)
		}
	}
	if byID && len(found) < len(ids) {
		writeEC2Error(w, "InvalidInstanceID.NotFound")
		return
	}
	slices.SortFunc(found, func(a, b Instance) int { return cmp.Compare(a.ID, b.ID) })
	from, _ := strconv.Atoi(r.Form.Get("NextToken"))
	to := min(from+f.pageSize, len(found))
	io.WriteString(w, `<DescribeInstancesResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><reservationSet>`)
	for _, in := range found[from:to] {
		writeInstance(w, in)
	}
	io.WriteString(w, `</reservationSet>`)
	if to < len(found) {
		fmt.Fprintf(w, `<nextToken>%d</nextToken>`, to)
	}
	io.WriteString(w, `</DescribeInstancesResponse>`)
}

func formList(form url.Values, pattern string) []string {
	var list []string
	for i := 1; form.Has(fmt.Sprintf(pattern, i)); i++ {
		list = append(list, form.Get(fmt.Sprintf(pattern, i)))
	}
	return list
}

func writeEC2Error(w http.ResponseWriter, code string) {
	status := http.StatusBadRequest
	if code == "InternalError" {
		status = http.StatusInternalServerError
	}
	w.WriteHeader(status)
	fmt.Fprintf(w, `<Response><Errors><Error><Code>%s</Code><Message>said the test</Message></Error></Errors><RequestID>r</RequestID></Response>`, code)
}

func writeInstance(w io.Writer, in Instance) {
	text := func(name, v string) {
		if v == "" {
			return
		}
		var b bytes.Buffer
		_ = xml.EscapeText(&b, []byte(v))
		fmt.Fprintf(w, "<%s>%s</%s>", name, b.String(), name)
	}
	io.WriteString(w, `<item><instancesSet><item>`)
	text("instanceId", in.ID)
	io.WriteString(w, `<instanceState>`)
	text("name", in.State)
	io.WriteString(w, `</instanceState>`)
	text("instanceType", cmp.Or(in.Type, "t3.micro"))
	text("imageId", in.ImageID)
	text("vpcId", in.VPCID)
	text("subnetId", in.SubnetID)
	text("privateDnsName", in.PrivateDNS)
	text("dnsName", in.PublicDNS)
	text("privateIpAddress", in.PrivateIP)
	text("ipAddress", in.PublicIP)
	text("launchTime", in.LaunchTime.Format(time.RFC3339))
	if in.Windows {
		text("platform", "windows")
	}
	if in.Spot {
		text("instanceLifecycle", "spot")
	}
	io.WriteString(w, `<placement>`)
	text("availabilityZone", in.AvailabilityZone)
	io.WriteString(w, `</placement><tagSet>`)
	for k, v := range in.Tags {
		io.WriteString(w, `<item>`)
		text("key", k)
		text("value", v)
		io.WriteString(w, `</item>`)
	}
	io.WriteString(w, `</tagSet></item></instancesSet></item>`)
}
