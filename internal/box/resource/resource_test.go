package resource

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/rialto-bus/rialto/internal/auth"
	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/event"
	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/store/storetest"
	"github.com/rialto-bus/rialto/internal/work"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	account = "111122223333"
	other   = "444455556666"
	region  = "eu-west-1"
)

// patience bounds how long a test waits for what is to happen.
const patience = 20 * time.Second

// fixture is a registry whose operations are carried out.
type fixture struct {
	t  testing.TB
	db *store.DB
	*Registry
	ctx   context.Context
	opt   Options
	ahead atomic.Int64 // of the clock
	stop  func()       // the process
	types []Type       // added to the registry
}

func newFixture(t testing.TB, db *store.DB, types ...Type) *fixture {
	t.Helper()
	a, err := auth.Open(t.Context(), db, auth.Options{MasterKey: bytes.Repeat([]byte{7}, 32)})
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{t: t, db: db, ctx: as(t.Context(), account), types: types}
	f.opt = Options{
		Sealer: a.Sealer(), Logger: slog.New(slog.DiscardHandler),
		Now: func() time.Time { return time.Now().Add(time.Duration(f.ahead.Load())) },
	}
	f.start()
	return f
}

// start runs the registry of a process.
func (f *fixture) start() {
	jobs := work.New(f.db, "test", f.opt.Logger)
	f.Registry = New(f.db, jobs, f.opt)
	f.Add(f.types...)
	ctx, cancel := context.WithCancel(context.WithoutCancel(f.ctx))
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = jobs.Run(ctx)
	}()
	f.stop = sync.OnceFunc(func() { cancel(); <-done })
	f.t.Cleanup(f.stop)
}

// as is a context of a caller of the account.
func as(ctx context.Context, account string) context.Context {
	return awsapi.WithCaller(ctx, caller(account))
}

func caller(account string) awsapi.Caller {
	return awsapi.Caller{AccessKeyID: account, Account: account, Region: region, Role: awsapi.RoleAdmin, SourceIP: "192.0.2.7", UserAgent: "test/1"}
}

// onBoth runs the test on both databases.
func onBoth(t *testing.T, test func(t *testing.T, f *fixture), types ...Type) {
	t.Helper()
	storetest.Run(t, func(t *testing.T, db *store.DB) { test(t, newFixture(t, db, types...)) })
}

func request(identifier string) Request {
	return Request{Caller: caller(account), Identifier: identifier}
}

func (f *fixture) make(typeName, desired, token string) Model {
	f.t.Helper()
	r := request("")
	r.Desired, r.Token = model(f.t, desired), token
	m, err := f.Create(f.ctx, typeName, r)
	if err != nil {
		f.t.Fatalf("create %s %s: %v", typeName, desired, err)
	}
	return m
}

func (f *fixture) update(typeName, identifier, previous, desired string) (Model, error) {
	r := request(identifier)
	r.Previous, r.Desired = model(f.t, previous), model(f.t, desired)
	return f.Update(f.ctx, typeName, r)
}

// published are the events in the outbox, as "region source name request response".
func (f *fixture) published() []string {
	f.t.Helper()
	rows, err := f.db.Query(f.ctx, `SELECT record FROM outbox ORDER BY id`)
	list, err := store.All(rows, err, func(row store.Row) (line string, err error) {
		var b []byte
		if err := row.Scan(&b); err != nil {
			return "", err
		}
		rec, err := event.DecodeRecord(b)
		if err != nil {
			return "", err
		}
		e, err := event.Parse(rec.JSON)
		if err != nil {
			return "", err
		}
		var d struct {
			EventSource, EventName, AWSRegion   string
			UserIdentity                        struct{ AccountID string }
			RequestParameters, ResponseElements json.RawMessage
		}
		if err := json.Unmarshal(e.Detail, &d); err != nil {
			return "", err
		}
		if rec.Bus != (event.BusRef{Account: e.Account, Region: e.Region, Name: "default"}) || e.DetailType != "AWS API Call via CloudTrail" ||
			d.EventSource != strings.TrimPrefix(e.Source, "aws.")+".amazonaws.com" || d.AWSRegion != e.Region || d.UserIdentity.AccountID != e.Account {
			return "", fmt.Errorf("event %s on %+v", rec.JSON, rec.Bus)
		}
		return fmt.Sprintf("%s %s %s %s %s", e.Region, e.Source, d.EventName, d.RequestParameters, d.ResponseElements), nil
	})
	if err != nil {
		f.t.Fatal(err)
	}
	return list
}

func (f *fixture) wantPublished(want ...string) {
	f.t.Helper()
	if got := f.published(); !slices.Equal(got, want) {
		f.t.Errorf("published\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// schemaOf is a schema of a type of a test: Name is the identifier, Secret write-only,
// Room create-only, Size and Note may change.
func schemaOf(name string) string {
	return `{"typeName":"` + name + `","description":"A thing.","additionalProperties":false,
		"properties":{"Name":{"type":"string"},"Size":{"type":"integer","maximum":100},"Note":{"type":"string"},"Room":{"type":"string"},
			"Secret":{"type":"string"},"Arn":{"type":"string"},"Tags":{"type":"array","items":{"type":"object"}}},
		"primaryIdentifier":["/properties/Name"],"readOnlyProperties":["/properties/Arn"],
		"writeOnlyProperties":["/properties/Secret"],"createOnlyProperties":["/properties/Name","/properties/Room"]}`
}

func (f *fixture) register(schema string) {
	f.t.Helper()
	s := parse(f.t, schema)
	if _, err := f.Register(f.ctx, account, region, s.TypeName, "", []byte(schema)); err != nil {
		f.t.Fatal(err)
	}
}

func wantCode(t *testing.T, what string, err error, code ErrorCode) {
	t.Helper()
	if CodeOf(err) != code {
		t.Errorf("%s: %v, want %s", what, err, code)
	}
}

func wantModel(t *testing.T, what string, m Model, want string) {
	t.Helper()
	if got := EncodeModel(m); got != want {
		t.Errorf("%s:\ngot  %s\nwant %s", what, got, want)
	}
}

func TestADocumentIsStoredAsGiven(t *testing.T) {
	onBoth(t, func(t *testing.T, f *fixture) {
		const arn = "arn:aws:ecs:eu-west-1:111122223333:cluster/main"
		m := f.make("AWS::ECS::Cluster", `{"ClusterName":"main","Tags":[{"Key":"团队","Value":"🚀"}],"ServiceConnectDefaults":{"Namespace":"n"}}`, "t1")
		const want = `{"Arn":"` + arn + `","ClusterName":"main","Tags":[{"Key":"团队","Value":"🚀"}]}`
		wantModel(t, "created", m, want)
		m, err := f.Read(f.ctx, "AWS::ECS::Cluster", request("main"))
		if err != nil {
			t.Fatal(err)
		}
		wantModel(t, "read", m, want)

		r := request("")
		r.Desired, r.Token = model(t, `{"ClusterName":"main"}`), "t2"
		_, err = f.Create(f.ctx, "AWS::ECS::Cluster", r)
		wantCode(t, "created twice", err, AlreadyExists)

		m, err = f.update("AWS::ECS::Cluster", "main", `{"ClusterName":"main"}`, `{"ClusterName":"main","CapacityProviders":["FARGATE"],"Tags":[{"Key":"a","Value":"1"}]}`)
		if err != nil {
			t.Fatal(err)
		}
		wantModel(t, "updated", m, `{"Arn":"`+arn+`","CapacityProviders":["FARGATE"],"ClusterName":"main","Tags":[{"Key":"a","Value":"1"}]}`)
		_, err = f.update("AWS::ECS::Cluster", "main", `{"ClusterName":"main"}`, `{"ClusterName":"second"}`)
		wantCode(t, "renamed", err, NotUpdatable)

		stranger := request("main")
		stranger.Caller = caller(other)
		_, err = f.Read(f.ctx, "AWS::ECS::Cluster", stranger)
		wantCode(t, "of another account", err, NotFound)

		if err := f.Delete(f.ctx, "AWS::ECS::Cluster", request("main")); err != nil {
			t.Fatal(err)
		}
		wantCode(t, "deleted twice", f.Delete(f.ctx, "AWS::ECS::Cluster", request("main")), NotFound)
		again := request("main")
		again.Again = true
		if err := f.Delete(f.ctx, "AWS::ECS::Cluster", again); err != nil {
			t.Errorf("a delete that is repeated: %v", err)
		}
		_, err = f.Read(f.ctx, "AWS::ECS::Cluster", request("main"))
		wantCode(t, "read after the delete", err, NotFound)

		const answer = ` {"cluster":{"clusterArn":"` + arn + `","clusterName":"main"}}`
		f.wantPublished(
			`eu-west-1 aws.ecs CreateCluster {"clusterName":"main"}`+answer,
			`eu-west-1 aws.ecs PutClusterCapacityProviders {"cluster":"main"}`+answer,
			`eu-west-1 aws.ecs TagResource {"resourceArn":"`+arn+`"} null`,
			`eu-west-1 aws.ecs UntagResource {"resourceArn":"`+arn+`"} null`,
			`eu-west-1 aws.ecs DeleteCluster {"cluster":"main"}`+answer,
		)
	})
}

// A create that is repeated with its token finds what it made.
func TestARepeatedCreateMakesNoSecondDocument(t *testing.T) {
	onBoth(t, func(t *testing.T, f *fixture) {
		first := f.make("AWS::DynamoDB::Table", `{"KeySchema":[{"AttributeName":"id","KeyType":"HASH"}]}`, "once")
		second := f.make("AWS::DynamoDB::Table", `{"KeySchema":[{"AttributeName":"id","KeyType":"HASH"}]}`, "once")
		wantModel(t, "repeated", second, EncodeModel(first))
		third := f.make("AWS::DynamoDB::Table", `{"KeySchema":[{"AttributeName":"id","KeyType":"HASH"}]}`, "twice")
		if third["TableName"] == first["TableName"] {
			t.Errorf("two tables have the name %v", first["TableName"])
		}
		models, _, err := f.List(f.ctx, "AWS::DynamoDB::Table", request(""))
		if err != nil || len(models) != 2 || len(f.published()) != 2 {
			t.Errorf("%d tables, %v, events %v", len(models), err, f.published())
		}
	})
}

// Each built-in document type fills in what its service would, and keeps it over updates.
func TestDocumentTypesFillInWhatTheServiceSets(t *testing.T) {
	db := storetest.SQLite(t)
	f := newFixture(t, db)
	for _, c := range []struct{ typ, desired, want, identifier string }{
		{
			"AWS::ECS::Service", `{"ServiceName":"web","Cluster":"main","TaskDefinition":"web:1","ForceNewDeployment":{"EnableForceNewDeployment":true}}`,
			`{"Cluster":"arn:aws:ecs:eu-west-1:111122223333:cluster/main","DesiredCount":1,"LaunchType":"EC2","Name":"web","SchedulingStrategy":"REPLICA",` +
				`"ServiceArn":"arn:aws:ecs:eu-west-1:111122223333:service/main/web","ServiceName":"web","TaskDefinition":"web:1"}`,
			"arn:aws:ecs:eu-west-1:111122223333:service/main/web|arn:aws:ecs:eu-west-1:111122223333:cluster/main",
		},
		{
			"AWS::S3::Bucket", `{"BucketName":"photos","VersioningConfiguration":{"Status":"Enabled"},"AccessControl":"Private"}`,
			`{"Arn":"arn:aws:s3:::photos","BucketName":"photos","DomainName":"photos.s3.amazonaws.com","DualStackDomainName":"photos.s3.dualstack.eu-west-1.amazonaws.com",` +
				`"RegionalDomainName":"photos.s3.eu-west-1.amazonaws.com","VersioningConfiguration":{"Status":"Enabled"},"WebsiteURL":"http://photos.s3-website-eu-west-1.amazonaws.com"}`,
			"photos",
		},
		{
			"AWS::DynamoDB::Table", `{"TableName":"orders","KeySchema":[{"AttributeName":"id","KeyType":"HASH"}],"AttributeDefinitions":[{"AttributeName":"id","AttributeType":"S"}]}`,
			`{"Arn":"arn:aws:dynamodb:eu-west-1:111122223333:table/orders","AttributeDefinitions":[{"AttributeName":"id","AttributeType":"S"}],` +
				`"KeySchema":[{"AttributeName":"id","KeyType":"HASH"}],"TableName":"orders"}`,
			"orders",
		},
		{
			"AWS::RDS::DBInstance", `{"DBInstanceIdentifier":"Orders","Engine":"postgres","MasterUserPassword":"geheim99"}`,
			`{"DBInstanceArn":"arn:aws:rds:eu-west-1:111122223333:db:orders","DBInstanceIdentifier":"orders","DBInstanceStatus":"available","DbiResourceId":"db-RANDOM",` +
				`"Endpoint":{"Address":"orders.RANDOM.eu-west-1.rds.amazonaws.com","Port":"5432"},"Engine":"postgres","InstanceCreateTime":"TIME"}`,
			"orders",
		},
		{
			"AWS::IAM::Role", `{"RoleName":"deploy","Path":"/ci/","AssumeRolePolicyDocument":{"Statement":[]}}`,
			`{"Arn":"arn:aws:iam::111122223333:role/ci/deploy","AssumeRolePolicyDocument":{"Statement":[]},"MaxSessionDuration":3600,"Path":"/ci/","RoleId":"AROARANDOM","RoleName":"deploy"}`,
			"deploy",
		},
		{
			"AWS::EKS::Cluster", `{"Name":"k8s","RoleArn":"arn:aws:iam::111122223333:role/eks","ResourcesVpcConfig":{"SubnetIds":["a"]},"Version":"1.31"}`,
			`{"Arn":"arn:aws:eks:eu-west-1:111122223333:cluster/k8s","ClusterSecurityGroupId":"sg-RANDOM","Endpoint":"https://RANDOM.gr7.eu-west-1.eks.amazonaws.com","Id":"k8s","Name":"k8s",` +
				`"OpenIdConnectIssuerUrl":"https://oidc.eks.eu-west-1.amazonaws.com/id/RANDOM","ResourcesVpcConfig":{"SubnetIds":["a"]},"RoleArn":"arn:aws:iam::111122223333:role/eks","Version":"1.31"}`,
			"k8s",
		},
	} {
		m := f.make(c.typ, c.desired, c.typ)
		if got := steady(EncodeModel(m)); got != c.want {
			t.Errorf("%s:\ngot  %s\nwant %s", c.typ, got, c.want)
		}
		lookup, err := f.Lookup(f.ctx, account, region, c.typ)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := lookup.Identifier(m); got != c.identifier {
			t.Errorf("%s: identifier %s, %v", c.typ, got, err)
		}
		if ref, err := lookup.RefValue(m); err != nil || ref != strings.Split(c.identifier, "|")[0] {
			t.Errorf("%s: Ref is %s, %v", c.typ, ref, err)
		}
		f.ahead.Add(int64(time.Hour))
		desired := strings.TrimSuffix(c.desired, "}") + `,"Tags":[{"Key":"a","Value":"b"}]}`
		updated, err := f.update(c.typ, c.identifier, c.desired, desired)
		if err != nil {
			t.Errorf("update %s: %v", c.typ, err)
			continue
		}
		delete(updated, "Tags")
		wantModel(t, c.typ+" after an update", updated, EncodeModel(m))
	}
	stored, err := f.db.Query(f.ctx, `SELECT model FROM resource_document`)
	models, err := store.All(stored, err, func(row store.Row) (text string, err error) { return text, row.Scan(&text) })
	if err != nil || len(models) != 6 || strings.Contains(strings.Join(models, ""), "geheim99") {
		t.Errorf("stored %v, %v", models, err)
	}
}

// steady replaces what is random in a model.
func steady(text string) string {
	for _, marks := range [][2]string{
		{"db-", `"`}, {"orders.", ".eu-west-1.rds"}, {"AROA", `"`}, {`"sg-`, `"`}, {"https://", ".gr7."}, {"amazonaws.com/id/", `"`},
	} {
		if before, rest, ok := strings.Cut(text, marks[0]); ok {
			if _, after, ok := strings.Cut(rest, marks[1]); ok {
				text = before + marks[0] + "RANDOM" + marks[1] + after
			}
		}
	}
	if before, rest, ok := strings.Cut(text, `"InstanceCreateTime":"`); ok {
		_, after, _ := strings.Cut(rest, `"`)
		text = before + `"InstanceCreateTime":"TIME"` + after
	}
	return text
}

// A resource of a global service is one in all regions, and its events are in one of them.
func TestRolesAreTheSameInAllRegions(t *testing.T) {
	onBoth(t, func(t *testing.T, f *fixture) {
		f.make("AWS::IAM::Role", `{"RoleName":"deploy","AssumeRolePolicyDocument":{}}`, "t")
		there := request("deploy")
		there.Caller.Region = "ap-northeast-1"
		m, err := f.Read(f.ctx, "AWS::IAM::Role", there)
		if err != nil || m["Arn"] != "arn:aws:iam::111122223333:role/deploy" {
			t.Errorf("read %v, %v", m, err)
		}
		if err := f.Delete(f.ctx, "AWS::IAM::Role", there); err != nil {
			t.Error(err)
		}
		for _, line := range f.published() {
			if !strings.HasPrefix(line, "us-east-1 aws.iam ") {
				t.Error(line)
			}
		}
	})
}

func TestNamesThatAreNotGivenAreMade(t *testing.T) {
	f := newFixture(t, storetest.SQLite(t))
	for typ, desired := range map[string]string{
		"AWS::ECS::Cluster":    `{}`,
		"AWS::ECS::Service":    `{}`,
		"AWS::S3::Bucket":      `{}`,
		"AWS::DynamoDB::Table": `{"KeySchema":[{"AttributeName":"id","KeyType":"HASH"}]}`,
		"AWS::RDS::DBInstance": `{"DBInstanceIdentifier":""}`,
		"AWS::IAM::Role":       `{"AssumeRolePolicyDocument":"{}"}`,
		"AWS::EKS::Cluster":    `{"RoleArn":"r","ResourcesVpcConfig":{"SubnetIds":[]}}`,
	} {
		m := f.make(typ, desired, typ)
		if kind := typ[strings.LastIndex(typ, ":")+1:]; !strings.Contains(strings.ToLower(EncodeModel(m)), `"`+strings.ToLower(kind)+"-") {
			t.Errorf("%s: %s", typ, EncodeModel(m))
		}
	}
}

func TestListsArePagedAndNarrowed(t *testing.T) {
	onBoth(t, func(t *testing.T, f *fixture) {
		for i := range 7 {
			f.make("AWS::ECS::Service", fmt.Sprintf(`{"ServiceName":"s%d","Cluster":"c%d"}`, i, i%2), fmt.Sprint(i))
		}
		var names []string
		r := request("")
		r.Max, r.Desired = 3, Model{"Cluster": "c0"}
		pages := 0
		for {
			models, next, err := f.List(f.ctx, "AWS::ECS::Service", r)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range models {
				names = append(names, m["Name"].(string))
			}
			if pages++; next == "" {
				break
			}
			r.Next = next
		}
		if pages != 3 || !slices.Equal(names, []string{"s0", "s2", "s4", "s6"}) {
			t.Errorf("%v in %d pages", names, pages)
		}
		for _, token := range []string{"x", "LTE=", "MA==", "书"} {
			r.Next = token
			_, _, err := f.List(f.ctx, "AWS::ECS::Service", r)
			wantCode(t, token, err, InvalidRequest)
		}
	})
}

func TestRegisteredTypesHaveDocuments(t *testing.T) {
	onBoth(t, func(t *testing.T, f *fixture) {
		f.register(shelf)
		r := request("")
		r.Desired, r.Token = model(t, `{"Name":"Fiction","Places":"20","Key":{"Secret":"s","Hint":"h"}}`), "t"
		m, err := f.Create(f.ctx, "Acme::Library::Shelf", r)
		if err != nil {
			t.Fatal(err)
		}
		id, _ := m["Id"].(string)
		want := `{"Arn":"arn:aws:library:eu-west-1:111122223333:shelf/` + id + `","Id":"` + id + `","Key":{"Hint":"h"},"Name":"Fiction","Places":20}`
		wantModel(t, "created", m, want)
		m, err = f.update("Acme::Library::Shelf", id, `{"Name":"Fiction"}`, `{"Name":"Poems"}`)
		if err != nil || m["Id"] != id || m["Name"] != "Poems" {
			t.Errorf("updated: %v, %v", m, err)
		}
		for _, desired := range []string{`{"Name":"Poems","Places":1}`, `{}`, `{"Name":"Poems","Id":"x"}`} {
			r.Desired = model(t, desired)
			_, err := f.Create(f.ctx, "Acme::Library::Shelf", r)
			wantCode(t, desired, err, InvalidRequest)
		}
		elsewhere := r
		elsewhere.Caller.Region = "us-east-1"
		if _, err := f.Create(f.ctx, "Acme::Library::Shelf", elsewhere); err == nil || !strings.Contains(err.Error(), "Acme::Library::Shelf: there is no such resource type") {
			t.Errorf("in another region: %v", err)
		}
		f.wantPublished()
	})
}

func TestRegisteringATypeAgainMakesAVersion(t *testing.T) {
	onBoth(t, func(t *testing.T, f *fixture) {
		first, err := f.Register(f.ctx, account, region, "Acme::Library::Shelf", "c1", []byte(shelf))
		if err != nil {
			t.Fatal(err)
		}
		if again, err := f.Register(f.ctx, account, region, "Acme::Library::Shelf", "c1", []byte(shelf)); err != nil || again != first {
			t.Errorf("repeated: %s, %v, want %s", again, err, first)
		}
		d, err := f.Describe(f.ctx, account, region, "Acme::Library::Shelf")
		if err != nil || d.Version != "00000001" || d.Schema != shelf || d.ARN != "arn:aws:cloudformation:eu-west-1:111122223333:type/resource/Acme-Library-Shelf" || d.Public {
			t.Errorf("described %+v, %v", d, err)
		}
		f.make("Acme::Library::Shelf", `{"Name":"ab"}`, "t")
		next := strings.Replace(shelf, `"Room": {"type": "string"}`, `"Room": {"type": "string"}, "Floor": {"type": "integer"}`, 1)
		if token, err := f.Register(f.ctx, account, region, "Acme::Library::Shelf", "", []byte(next)); err != nil || token == first {
			t.Errorf("registered anew: %s, %v", token, err)
		}
		f.make("Acme::Library::Shelf", `{"Name":"ab","Floor":2}`, "t2")
		if d, err := f.Describe(f.ctx, account, region, "Acme::Library::Shelf"); err != nil || d.Version != "00000002" {
			t.Errorf("described %+v, %v", d, err)
		}
		renamed := strings.Replace(shelf, `"primaryIdentifier": ["/properties/Id"]`, `"primaryIdentifier": ["/properties/Name"]`, 1)
		_, err = f.Register(f.ctx, account, region, "Acme::Library::Shelf", "", []byte(renamed))
		if err == nil || !strings.Contains(err.Error(), "primaryIdentifier cannot change while there are resources") {
			t.Errorf("another identifier: %v", err)
		}
		for name, c := range map[string]struct{ typ, schema, want string }{
			"built in":     {"AWS::S3::Bucket", schemaOf("AWS::S3::Bucket"), "AWS::S3::Bucket is built in"},
			"custom":       {"Custom::Library::Shelf", schemaOf("Custom::Library::Shelf"), "stand for custom resources"},
			"another name": {"Acme::Library::Book", shelf, "/typeName: is Acme::Library::Shelf, but the type to register is Acme::Library::Book"},
		} {
			if _, err := f.Register(f.ctx, account, region, c.typ, "", []byte(c.schema)); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}

func TestTypesAreListedByName(t *testing.T) {
	onBoth(t, func(t *testing.T, f *fixture) {
		for _, name := range []string{"Acme::Web::Site", "Acme::Web::Page", "Zoo::Big::Cat"} {
			f.register(schemaOf(name))
		}
		for _, c := range []struct {
			filter TypeFilter
			want   string
			more   bool
		}{
			{TypeFilter{Limit: 2}, "Acme::Web::Page Acme::Web::Site", true},
			{TypeFilter{Limit: 2, After: "Acme::Web::Site"}, "Zoo::Big::Cat", false},
			{TypeFilter{Limit: 9, Prefix: "Acme::"}, "Acme::Web::Page Acme::Web::Site", false},
			{TypeFilter{Limit: 9, Public: true, Prefix: "AWS::ECS"}, "AWS::ECS::Cluster AWS::ECS::Service", false},
			{TypeFilter{Limit: 1, Public: true, After: "AWS::ECS::Service"}, "AWS::EKS::Cluster", true},
		} {
			list, more, err := f.Types(f.ctx, account, region, c.filter)
			var names []string
			for _, d := range list {
				names = append(names, d.TypeName)
			}
			if got := strings.Join(names, " "); err != nil || got != c.want || more != c.more {
				t.Errorf("%+v: %s, more %v, %v", c.filter, got, more, err)
			}
		}
		if list, _, err := f.Types(f.ctx, other, region, TypeFilter{Limit: 9}); err != nil || len(list) != 0 {
			t.Errorf("of another account: %v, %v", list, err)
		}
	})
}

func TestSchemasArePackedAndUnpacked(t *testing.T) {
	if got, err := ReadPackage(packed(t, []byte(shelf))); err != nil || string(got) != shelf {
		t.Errorf("unpacked %q, %v", got, err)
	}
	if got, err := ReadPackage(`data:application/json,%7B"a":%20"书"}`); err != nil || string(got) != `{"a": "书"}` {
		t.Errorf("plain: %s, %v", got, err)
	}
	bomb := packed(t, bytes.Repeat([]byte(" "), 64<<20))
	if got, err := ReadPackage(bomb); err != nil || len(got) != MaxSchema+1 {
		t.Errorf("a bomb: %d bytes, %v", len(got), err)
	}
	for text, want := range map[string]string{
		"s3://bucket/package.zip":           "packages in s3:// are not available here",
		"file:///etc/passwd":                "must be a data: URL",
		"data:application/json;base64":      "no comma",
		"data:application/json;base64,%%%":  "base64",
		"data:application/json,%zz":         "data: URL",
		"data:text/plain,{}":                `holds "text/plain"`,
		"data:application/gzip;base64,AAAA": "gzip",
	} {
		if _, err := ReadPackage(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// packed is what ReadPackage reads: the schema compressed, as a data: URL.
func packed(t testing.TB, schema []byte) string {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(schema); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return "data:application/gzip;base64," + base64.StdEncoding.EncodeToString(b.Bytes())
}
