package instance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/ec2"
	"github.com/rialto-bus/rialto/internal/event"
	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/store/storetest"
	"github.com/rialto-bus/rialto/internal/work"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	account = "111122223333"
	region  = "eu-west-1"
	image   = "ami-0abcdef1234567890"
)

var place = Place{account, region}

// fixture is instances whose jobs run, and the events that they publish.
type fixture struct {
	*Instances
	t      testing.TB
	ctx    context.Context
	events chan *event.Event
	stop   func()
}

func onBoth(t *testing.T, f func(t *testing.T, s *fixture)) {
	storetest.Run(t, func(t *testing.T, db *store.DB) { f(t, newFixture(t, db)) })
}

func newFixture(t testing.TB, db *store.DB) *fixture {
	return newFixtureWith(t, db, Options{Transition: time.Millisecond})
}

func newFixtureWith(t testing.TB, db *store.DB, opt Options) *fixture {
	jobs := work.New(db, "test", nil)
	s := &fixture{
		Instances: New(db, jobs, opt), t: t, events: make(chan *event.Event, 10_000),
		ctx: awsapi.WithCaller(t.Context(), awsapi.Caller{Account: account, Region: region}),
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { jobs.Run(ctx) })
	wg.Go(func() { db.RunOutbox(ctx, s.Put) })
	s.stop = func() { cancel(); wg.Wait() }
	t.Cleanup(s.stop)
	return s
}

// Put takes what the outbox hands over.
func (s *fixture) Put(_ context.Context, records []event.Record) error {
	for _, r := range records {
		e, err := event.Parse(r.JSON)
		if err != nil {
			return err
		}
		if r.Bus != (event.BusRef{Account: e.Account, Region: e.Region, Name: "default"}) || r.ID != e.ID {
			return fmt.Errorf("event %s is for bus %s", r.JSON, r.Bus.ARN())
		}
		s.events <- e
	}
	return nil
}

func (s *fixture) run(n int32, edit ...func(*ec2.RunInstancesInput)) []string {
	s.t.Helper()
	in := &ec2.RunInstancesInput{ImageId: new(image), MinCount: &n, MaxCount: &n, InstanceType: new("t3.micro")}
	for _, f := range edit {
		f(in)
	}
	out, err := s.RunInstances(s.ctx, in)
	if err != nil {
		s.t.Fatalf("run: %v", err)
	}
	var ids []string
	for _, i := range out.Instances {
		ids = append(ids, *i.InstanceId)
	}
	return ids
}

// wait reads events until each instance has been told to be in the state, and
// returns all that were read.
func (s *fixture) wait(state string, ids ...string) []*event.Event {
	s.t.Helper()
	var all []*event.Event
	missing := slices.Clone(ids)
	timeout := time.After(20 * time.Second)
	for len(missing) > 0 {
		select {
		case e := <-s.events:
			all = append(all, e)
			if id, now := stateOf(s.t, e); now == state {
				missing = slices.DeleteFunc(missing, func(m string) bool { return m == id })
			}
		case <-timeout:
			s.t.Fatalf("%v are not %s", missing, state)
		}
	}
	return all
}

func stateOf(t testing.TB, e *event.Event) (id, state string) {
	t.Helper()
	var detail map[string]string
	if err := json.Unmarshal(e.Detail, &detail); err != nil {
		return "", ""
	}
	if len(detail) != 2 || e.DetailType != "EC2 Instance State-change Notification" || e.Source != "aws.ec2" ||
		!slices.Equal(e.Resources, []string{"arn:aws:ec2:" + region + ":" + account + ":instance/" + detail["instance-id"]}) {
		t.Fatalf("event %+v", e)
	}
	return detail["instance-id"], detail["state"]
}

func (s *fixture) describe(ids ...string) []ec2.Instance {
	s.t.Helper()
	out, err := s.DescribeInstances(s.ctx, &ec2.DescribeInstancesInput{InstanceIds: ids})
	if err != nil {
		s.t.Fatalf("describe: %v", err)
	}
	var all []ec2.Instance
	for _, r := range out.Reservations {
		all = append(all, r.Instances...)
	}
	return all
}

func wantError(t testing.TB, err error, code, message string) {
	t.Helper()
	var e *awsapi.Error
	if !errors.As(err, &e) || e.Code != code || !strings.Contains(e.Message, message) {
		t.Fatalf("error %v, want %s: …%s…", err, code, message)
	}
}

func TestInstanceLivesThroughItsStates(t *testing.T) {
	onBoth(t, func(t *testing.T, s *fixture) {
		ids := s.run(1)
		var told []string
		note := func(events []*event.Event) {
			for _, e := range events {
				_, state := stateOf(t, e)
				told = append(told, state)
			}
		}
		note(s.wait("running", ids...))
		first := s.describe(ids...)[0]

		out, err := s.StopInstances(s.ctx, &ec2.StopInstancesInput{InstanceIds: ids})
		if err != nil {
			t.Fatal(err)
		}
		c := out.StoppingInstances[0]
		if *c.PreviousState.Name != "running" || *c.CurrentState.Name != "stopping" || *c.CurrentState.Code != 64 {
			t.Errorf("change %s → %s", *c.PreviousState.Name, *c.CurrentState.Name)
		}
		note(s.wait("stopped", ids...))
		stopped := s.describe(ids...)[0]
		if stopped.PublicIpAddress != nil || *stopped.PrivateIpAddress != *first.PrivateIpAddress ||
			*stopped.StateReason.Code != "Client.UserInitiatedShutdown" || !strings.HasPrefix(*stopped.StateTransitionReason, "User initiated (") {
			t.Errorf("stopped instance %+v", stopped)
		}

		if _, err := s.StartInstances(s.ctx, &ec2.StartInstancesInput{InstanceIds: ids}); err != nil {
			t.Fatal(err)
		}
		note(s.wait("running", ids...))
		if again := s.describe(ids...)[0]; again.PublicIpAddress == nil || again.StateReason != nil {
			t.Errorf("started instance %+v", again)
		}

		if _, err := s.TerminateInstances(s.ctx, &ec2.TerminateInstancesInput{InstanceIds: ids}); err != nil {
			t.Fatal(err)
		}
		note(s.wait("terminated", ids...))
		gone := s.describe(ids...)[0]
		if *gone.State.Name != "terminated" || gone.PrivateIpAddress != nil || gone.VpcId != nil || len(gone.NetworkInterfaces) > 0 {
			t.Errorf("terminated instance %+v", gone)
		}
		want := []string{"pending", "running", "stopping", "stopped", "pending", "running", "shutting-down", "terminated"}
		if !slices.Equal(told, want) {
			t.Errorf("events tell of %v, want %v", told, want)
		}
	})
}

func TestOperationsInWrongStates(t *testing.T) {
	onBoth(t, func(t *testing.T, s *fixture) {
		ids := s.run(1)
		s.wait("running", ids...)
		start := func() error {
			_, err := s.StartInstances(s.ctx, &ec2.StartInstancesInput{InstanceIds: ids})
			return err
		}
		if err := start(); err != nil {
			t.Errorf("starting a running instance: %v", err)
		}
		if _, err := s.RebootInstances(s.ctx, &ec2.RebootInstancesInput{InstanceIds: ids}); err != nil {
			t.Errorf("reboot: %v", err)
		}
		if _, err := s.TerminateInstances(s.ctx, &ec2.TerminateInstancesInput{InstanceIds: ids}); err != nil {
			t.Fatal(err)
		}
		wantError(t, start(), "IncorrectInstanceState", "The instance '"+ids[0]+"' is not in a state from which it can be started.")
		s.wait("terminated", ids...)
		wantError(t, start(), "IncorrectInstanceState", "can be started")
		_, err := s.StopInstances(s.ctx, &ec2.StopInstancesInput{InstanceIds: ids})
		wantError(t, err, "IncorrectInstanceState", "can be stopped")
		_, err = s.RebootInstances(s.ctx, &ec2.RebootInstancesInput{InstanceIds: ids})
		wantError(t, err, "IncorrectInstanceState", "can be rebooted")
		out, err := s.TerminateInstances(s.ctx, &ec2.TerminateInstancesInput{InstanceIds: ids})
		if err != nil || *out.TerminatingInstances[0].CurrentState.Name != "terminated" {
			t.Errorf("terminating again: %v", err)
		}
	})
}

func TestOperationOnSeveralDoesAllOrNothing(t *testing.T) {
	onBoth(t, func(t *testing.T, s *fixture) {
		ids := s.run(1)
		s.wait("running", ids...)
		missing := []string{"i-0000000000000000a", "i-0000000000000000b"}
		_, err := s.TerminateInstances(s.ctx, &ec2.TerminateInstancesInput{InstanceIds: append(missing, ids...)})
		wantError(t, err, "InvalidInstanceID.NotFound", "The instance IDs 'i-0000000000000000a, i-0000000000000000b' do not exist")
		_, err = s.TerminateInstances(s.ctx, &ec2.TerminateInstancesInput{InstanceIds: append(ids, "i-xyz")})
		wantError(t, err, "InvalidInstanceID.Malformed", `Invalid id: "i-xyz"`)
		if i := s.describe(ids...)[0]; *i.State.Name != "running" {
			t.Errorf("the instance is %s", *i.State.Name)
		}
		elsewhere := awsapi.WithCaller(t.Context(), awsapi.Caller{Account: account, Region: "us-east-1"})
		_, err = s.DescribeInstances(elsewhere, &ec2.DescribeInstancesInput{InstanceIds: ids})
		wantError(t, err, "InvalidInstanceID.NotFound", "The instance ID '"+ids[0]+"' does not exist")
	})
}

func TestTransitionsSurviveARestart(t *testing.T) {
	onBoth(t, func(t *testing.T, s *fixture) {
		s.stop() // nothing runs jobs any more
		ids := s.run(3)
		if i := s.describe(ids...)[0]; *i.State.Name != "pending" {
			t.Fatalf("the instance is %s", *i.State.Name)
		}
		again := newFixture(t, s.db)
		again.wait("running", ids...)
	})
}

func TestTerminatedInstancesAreForgottenAfterAnHour(t *testing.T) {
	onBoth(t, func(t *testing.T, s *fixture) {
		ids := s.run(2)
		s.wait("running", ids...)
		if _, err := s.TerminateInstances(s.ctx, &ec2.TerminateInstancesInput{InstanceIds: ids[:1]}); err != nil {
			t.Fatal(err)
		}
		s.wait("terminated", ids[0])
		var due int64
		if err := s.db.QueryRow(s.ctx, `SELECT run_at FROM job WHERE queue = $1`, purgeQueue).Scan(&due); err != nil {
			t.Fatal(err)
		}
		if in := time.Until(time.UnixMilli(due)); in < 59*time.Minute || in > time.Hour {
			t.Errorf("the purge is due in %v", in)
		}
		payload, _ := json.Marshal(stay{IDs: ids, State: Terminated})
		s.purge(s.ctx, work.Job{Payload: payload})
		_, err := s.DescribeInstances(s.ctx, &ec2.DescribeInstancesInput{InstanceIds: ids[:1]})
		wantError(t, err, "InvalidInstanceID.NotFound", ids[0])
		if i := s.describe(ids[1])[0]; *i.State.Name != "running" {
			t.Errorf("the other instance is %s", *i.State.Name)
		}
	})
}

func TestLaunchIsIdempotentByToken(t *testing.T) {
	onBoth(t, func(t *testing.T, s *fixture) {
		token := func(in *ec2.RunInstancesInput) { in.ClientToken = new("t-1") }
		first := s.run(2, token)
		second := s.run(2, token)
		if !slices.Equal(first, second) {
			t.Errorf("launched %v, then %v", first, second)
		}
		_, err := s.RunInstances(s.ctx, &ec2.RunInstancesInput{ImageId: new(image), MinCount: new(int32(1)), MaxCount: new(int32(1)), ClientToken: new("t-1")})
		wantError(t, err, "IdempotentParameterMismatch", "inconsistent with arguments used in previous request")
		if n := len(s.describe()); n != 2 {
			t.Errorf("%d instances, want 2", n)
		}
	})
}

func TestLaunchedInstanceHasItsAttributes(t *testing.T) {
	onBoth(t, func(t *testing.T, s *fixture) {
		ids := s.run(1, func(in *ec2.RunInstancesInput) {
			in.InstanceType = new("m7g.large")
			in.KeyName = new("ops")
			in.Placement = &ec2.Placement{AvailabilityZone: new("eu-west-1b")}
			in.IamInstanceProfile = &ec2.IamInstanceProfileSpecification{Name: new("web")}
			in.TagSpecifications = []ec2.TagSpecification{{ResourceType: new("instance"), Tags: []ec2.Tag{{Key: new("Name"), Value: new("网站 🚀")}}}}
			in.InstanceMarketOptions = &ec2.InstanceMarketOptionsRequest{MarketType: new("spot")}
		})
		i := s.describe(ids...)[0]
		net := networkOf(place)
		for name, got := range map[string][2]string{
			"architecture": {*i.Architecture, "arm64"},
			"zone":         {*i.Placement.AvailabilityZone, "eu-west-1b"},
			"vpc":          {*i.VpcId, net.VPC},
			"subnet":       {*i.SubnetId, net.inZone("eu-west-1b").ID},
			"tag":          {*i.Tags[0].Value, "网站 🚀"},
			"profile":      {*i.IamInstanceProfile.Arn, "arn:aws:iam::111122223333:instance-profile/web"},
			"lifecycle":    {*i.InstanceLifecycle, "spot"},
			"private name": {*i.PrivateDnsName, "ip-" + strings.ReplaceAll(*i.PrivateIpAddress, ".", "-") + ".eu-west-1.compute.internal"},
			"public name":  {*i.PublicDnsName, "ec2-" + strings.ReplaceAll(*i.PublicIpAddress, ".", "-") + ".eu-west-1.compute.amazonaws.com"},
			"address":      {(*i.PrivateIpAddress)[:3], "10."},
		} {
			if got[0] != got[1] {
				t.Errorf("%s is %s, want %s", name, got[0], got[1])
			}
		}
		s.wait("running", ids...)
		_, err := s.StopInstances(s.ctx, &ec2.StopInstancesInput{InstanceIds: ids})
		wantError(t, err, "UnsupportedOperation", "You can't stop the Spot Instance")
	})
}

func TestPlaceOfALaunchIsStable(t *testing.T) {
	a, b := networkOf(place), networkOf(place)
	if a.VPC != b.VPC || a.subnets[2] != b.subnets[2] {
		t.Error("the network of a place changes")
	}
	if other := networkOf(Place{account, "us-east-1"}); other.VPC == a.VPC || other.subnets[0].ID == a.subnets[0].ID {
		t.Error("two regions share a network")
	}
	i := Instance{Place: Place{account, "us-east-1"}, PrivateIP: "10.1.2.3", PublicIP: "198.18.0.9"}
	if i.privateDNS() != "ip-10-1-2-3.ec2.internal" || i.publicDNS() != "ec2-198-18-0-9.compute-1.amazonaws.com" {
		t.Errorf("names %s %s", i.privateDNS(), i.publicDNS())
	}
}

func TestAddressesAreUniqueAndComeBackLate(t *testing.T) {
	onBoth(t, func(t *testing.T, s *fixture) {
		private := map[string]bool{}
		for range 3 {
			ids := s.run(100)
			public := map[string]bool{}
			for _, i := range s.describe(ids...) {
				if private[*i.PrivateIpAddress] || public[*i.PublicIpAddress] {
					t.Fatalf("address %s or %s was given twice", *i.PrivateIpAddress, *i.PublicIpAddress)
				}
				private[*i.PrivateIpAddress], public[*i.PublicIpAddress] = true, true
			}
			s.wait("running", ids...)
			if _, err := s.TerminateInstances(s.ctx, &ec2.TerminateInstancesInput{InstanceIds: ids}); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestLaunchRefusesByName(t *testing.T) {
	tests := []struct {
		name, code, message string
		edit                func(*ec2.RunInstancesInput)
	}{
		{"no image", "MissingParameter", "ImageId", func(in *ec2.RunInstancesInput) { in.ImageId = nil }},
		{"malformed image", "InvalidAMIID.Malformed", `Invalid id: "ami-1" (expecting "ami-...")`, func(in *ec2.RunInstancesInput) { in.ImageId = new("ami-1") }},
		{"no instances", "InvalidParameterValue", "minCount", func(in *ec2.RunInstancesInput) { in.MinCount = new(int32(0)) }},
		{"fewer at most than at least", "InvalidParameterValue", "maxCount", func(in *ec2.RunInstancesInput) { in.MinCount = new(int32(2)) }},
		{"too many", "InvalidParameterValue", "at most 200", func(in *ec2.RunInstancesInput) { in.MinCount, in.MaxCount = new(int32(201)), new(int32(201)) }},
		{"user data", "UnsupportedOperation", "UserData", func(in *ec2.RunInstancesInput) { in.UserData = new("IyEvYmluL3No") }},
		{"volumes", "UnsupportedOperation", "BlockDeviceMappings", func(in *ec2.RunInstancesInput) { in.BlockDeviceMappings = []ec2.BlockDeviceMapping{{}} }},
		{"termination protection", "UnsupportedOperation", "DisableApiTermination", func(in *ec2.RunInstancesInput) { in.DisableApiTermination = new(true) }},
		{"dedicated host", "UnsupportedOperation", "Placement.Tenancy", func(in *ec2.RunInstancesInput) { in.Placement = &ec2.Placement{Tenancy: new("host")} }},
		{"unknown zone", "InvalidParameterValue", "Invalid availability zone: [eu-west-1z]", func(in *ec2.RunInstancesInput) {
			in.Placement = &ec2.Placement{AvailabilityZone: new("eu-west-1z")}
		}},
		{"unknown subnet", "InvalidSubnetID.NotFound", "The subnet ID 'subnet-1' does not exist", func(in *ec2.RunInstancesInput) { in.SubnetId = new("subnet-1") }},
		{"unknown group", "InvalidGroup.NotFound", "sg-1", func(in *ec2.RunInstancesInput) { in.SecurityGroupIds = []string{"sg-1"} }},
		{"address elsewhere", "InvalidParameterValue", "does not fall within the subnet's address range", func(in *ec2.RunInstancesInput) { in.PrivateIpAddress = new("192.0.2.1") }},
		{"reserved tag", "InvalidParameterValue", "reserved for internal use", func(in *ec2.RunInstancesInput) {
			in.TagSpecifications = []ec2.TagSpecification{{ResourceType: new("instance"), Tags: []ec2.Tag{{Key: new("aws:x")}}}}
		}},
		{"tags of a volume", "UnsupportedOperation", "not of 'volume'", func(in *ec2.RunInstancesInput) {
			in.TagSpecifications = []ec2.TagSpecification{{ResourceType: new("volume")}}
		}},
		{"dry run", "DryRunOperation", "Request would have succeeded", func(in *ec2.RunInstancesInput) { in.DryRun = new(true) }},
	}
	onBoth(t, func(t *testing.T, s *fixture) {
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				in := &ec2.RunInstancesInput{ImageId: new(image), MinCount: new(int32(1)), MaxCount: new(int32(1))}
				tt.edit(in)
				_, err := s.RunInstances(s.ctx, in)
				wantError(t, err, tt.code, tt.message)
			})
		}
		if n := len(s.describe()); n != 0 {
			t.Errorf("%d instances were launched", n)
		}
	})
}

func TestAddressThatIsAskedFor(t *testing.T) {
	onBoth(t, func(t *testing.T, s *fixture) {
		ip := networkOf(place).subnets[1].host(500)
		ask := func(in *ec2.RunInstancesInput) {
			in.PrivateIpAddress, in.SubnetId = &ip, new(networkOf(place).subnets[1].ID)
		}
		ids := s.run(1, ask)
		if got := *s.describe(ids...)[0].PrivateIpAddress; got != ip {
			t.Errorf("address %s, want %s", got, ip)
		}
		in := &ec2.RunInstancesInput{ImageId: new(image), MinCount: new(int32(1)), MaxCount: new(int32(1))}
		ask(in)
		_, err := s.RunInstances(s.ctx, in)
		wantError(t, err, "InvalidIPAddress.InUse", ip)
	})
}

func TestManyAtOnce(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		s := newFixture(t, db)
		ids := append(s.run(200), s.run(150)...)
		s.wait("running", ids...)
		_, err := s.TerminateInstances(s.ctx, &ec2.TerminateInstancesInput{InstanceIds: append(slices.Clone(ids), "i-0000000000000000a")})
		wantError(t, err, "InvalidInstanceID.NotFound", "i-0000000000000000a")
		// One that may not be stopped keeps all from it, in whichever transaction it would be.
		for _, gone := range []string{ids[0], ids[349]} {
			if _, err := s.TerminateInstances(s.ctx, &ec2.TerminateInstancesInput{InstanceIds: []string{gone}}); err != nil {
				t.Fatal(err)
			}
			_, err = s.StopInstances(s.ctx, &ec2.StopInstancesInput{InstanceIds: slices.Concat(ids[1:349], []string{gone})})
			wantError(t, err, "IncorrectInstanceState", gone)
			for _, i := range s.describe(ids[1:349]...) {
				if *i.State.Name != "running" {
					t.Fatalf("%s is %s", *i.InstanceId, *i.State.Name)
				}
			}
		}
		var full []ec2.Tag
		for k := range maxTags {
			full = append(full, ec2.Tag{Key: new(strconv.Itoa(k)), Value: new("x")})
		}
		if _, err := s.CreateTags(s.ctx, &ec2.CreateTagsInput{Resources: ids[349:], Tags: full}); err != nil {
			t.Fatal(err)
		}
		_, err = s.CreateTags(s.ctx, &ec2.CreateTagsInput{Resources: ids[1:], Tags: []ec2.Tag{{Key: new("one more"), Value: new("x")}}})
		wantError(t, err, "TagLimitExceeded", "50")
		for _, i := range s.describe(ids[1:349]...) {
			if len(i.Tags) != 0 {
				t.Fatalf("%s has a tag", *i.InstanceId)
			}
		}
		out, err := s.TerminateInstances(s.ctx, &ec2.TerminateInstancesInput{InstanceIds: ids})
		if err != nil || len(out.TerminatingInstances) != 350 {
			t.Fatalf("%d are terminating, %v", len(out.TerminatingInstances), err)
		}
		s.wait("terminated", ids...)
	})
}

// follows are the states that an instance may be told to be in after another.
var follows = map[string][]string{
	"":              {"pending"},
	"pending":       {"running", "shutting-down"},
	"running":       {"stopping", "shutting-down"},
	"stopping":      {"stopped", "shutting-down"},
	"stopped":       {"pending", "shutting-down"},
	"shutting-down": {"terminated"},
	"terminated":    {},
}

func TestConcurrentOperationsKeepTheOrderOfStates(t *testing.T) {
	onBoth(t, func(t *testing.T, s *fixture) {
		ids := s.run(3)
		var wg sync.WaitGroup
		for g := range 6 {
			wg.Go(func() {
				for k := range 15 {
					some := ids[(g+k)%3:][:1]
					var err error
					if (g+k)%2 == 0 {
						_, err = s.StopInstances(s.ctx, &ec2.StopInstancesInput{InstanceIds: some})
					} else {
						_, err = s.StartInstances(s.ctx, &ec2.StartInstancesInput{InstanceIds: some})
					}
					if err != nil && !awsapi.HasCode(err, "IncorrectInstanceState") {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		if _, err := s.TerminateInstances(s.ctx, &ec2.TerminateInstancesInput{InstanceIds: ids}); err != nil {
			t.Fatal(err)
		}
		last := map[string]string{}
		for _, e := range s.wait("terminated", ids...) {
			id, state := stateOf(t, e)
			if !slices.Contains(follows[last[id]], state) {
				t.Errorf("%s is told to be %s after %q", id, state, last[id])
			}
			last[id] = state
		}
	})
}
