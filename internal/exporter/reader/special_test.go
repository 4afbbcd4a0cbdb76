package reader

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
)

// pages answers a page of a list whose tokens are numbers, as inner XML.
func pages(token string, size int, items []string, tag, next string) string {
	from, _ := strconv.Atoi(token)
	end := min(from+size, len(items))
	out := "<" + tag + ">" + strings.Join(items[from:end], "") + "</" + tag + ">"
	if end < len(items) {
		out += fmt.Sprintf("<%s>%d</%s>", next, end, next)
	}
	return out
}

// listAll reads all pages, and checks that the parameters stay as they are.
func listAll(t *testing.T, r *Reader, s Scope, parameters map[string]any) []Resource {
	t.Helper()
	before := fmt.Sprint(parameters)
	var all []Resource
	for q := (ListQuery{Parameters: parameters}); ; {
		page, err := r.List(t.Context(), s, q)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, page.Resources...)
		if page.Next == "" {
			break
		}
		q.Next = page.Next
	}
	if after := fmt.Sprint(parameters); after != before {
		t.Errorf("the list parameters are %s, were %s", after, before)
	}
	return all
}

func identifiers(list []Resource) (ids []string) {
	for _, r := range list {
		ids = append(ids, r.Identifier)
	}
	return ids
}

func stackARN(name string) string {
	return "arn:aws:cloudformation:eu-west-1:123456789012:stack/" + name + "/0f3c"
}

func stackXML(name, status string) string {
	return "<member><StackId>" + stackARN(name) + "</StackId><StackName>" + name + "</StackName><StackStatus>" + status + "</StackStatus>" +
		"<CreationTime>2026-11-20T23:16:55.905Z</CreationTime><DisableRollback>false</DisableRollback>" +
		"<Parameters><member><ParameterKey>环境</ParameterKey><ParameterValue>生产 🚀</ParameterValue></member></Parameters></member>"
}

func stackAccount(resources int, template string) func(c awsCall) (any, *awsError) {
	status := map[string]string{"shop": "CREATE_COMPLETE", "old": "DELETE_COMPLETE", "idea": "REVIEW_IN_PROGRESS"}
	resource := func(i int, time string) string {
		return fmt.Sprintf("<member><StackName>shop</StackName><StackId>%s</StackId><LogicalResourceId>R%03d</LogicalResourceId><PhysicalResourceId>p%d</PhysicalResourceId>"+
			"<ResourceType>AWS::SQS::Queue</ResourceType><ResourceStatus>CREATE_COMPLETE</ResourceStatus><%s>2026-11-20T23:17:00Z</%s></member>", stackARN("shop"), i, i, time, time)
	}
	return func(c awsCall) (any, *awsError) {
		name := c.text("StackName")
		if i := strings.Index(name, ":stack/"); i >= 0 {
			name, _, _ = strings.Cut(name[i+len(":stack/"):], "/")
		}
		if c.Operation != "ListStacks" && status[name] == "" {
			return nil, &awsError{400, "ValidationError", "Stack with id " + name + " does not exist"}
		}
		switch c.Operation {
		case "DescribeStacks":
			return "<Stacks>" + stackXML(name, status[name]) + "</Stacks>", nil
		case "DescribeStackResources":
			out := ""
			for i := range min(resources, 100) {
				out += resource(i, "Timestamp")
			}
			return "<StackResources>" + out + "</StackResources>", nil
		case "ListStackResources":
			var all []string
			for i := range resources {
				all = append(all, resource(i, "LastUpdatedTimestamp"))
			}
			return pages(c.text("NextToken"), 100, all, "StackResourceSummaries", "NextToken"), nil
		case "GetTemplate":
			if name == "idea" {
				return nil, &awsError{400, "ValidationError", "Stack idea has no template yet"}
			}
			return "<TemplateBody>" + escape(template) + "</TemplateBody>", nil
		case "ListStacks":
			var all []string
			for _, name := range []string{"idea", "shop", "old"} {
				all = append(all, stackXML(name, status[name]))
			}
			return pages(c.text("NextToken"), 2, all, "StackSummaries", "NextToken"), nil
		}
		return nil, &awsError{400, "InvalidAction", c.Operation}
	}
}

func TestAStackIsReadWithItsResourcesAndTemplate(t *testing.T) {
	e := newEndpoint(t, stackAccount(1, "Resources:\n  R: # 注释\n    Type: AWS::SQS::Queue\n"))
	r := readerAt(t, e, nil)
	want := Resource{stackARN("shop"), object{
		"StackId": stackARN("shop"), "StackName": "shop", "StackStatus": "CREATE_COMPLETE", "CreationTime": "2026-11-20T23:16:55.905Z", "DisableRollback": false,
		"Parameters":   []any{object{"ParameterKey": "环境", "ParameterValue": "生产 🚀"}},
		"TemplateBody": "Resources:\n  R: # 注释\n    Type: AWS::SQS::Queue\n",
		"StackResources": []any{object{
			"StackId": stackARN("shop"), "StackName": "shop", "LogicalResourceId": "R000", "PhysicalResourceId": "p0", "ResourceType": "AWS::SQS::Queue",
			"ResourceStatus": "CREATE_COMPLETE", "Timestamp": "2026-11-20T23:17:00Z",
		}},
	}}
	for _, id := range []string{"shop", stackARN("shop")} {
		got, err := r.Get(t.Context(), in("AWS::CloudFormation::Stack"), id)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", id, diff)
		}
	}
	if e.count("ListStackResources") != 0 {
		t.Error("the resources of a small stack are read twice")
	}
	for _, id := range []string{"gone", "old", stackARN("old")} {
		if _, err := r.Get(t.Context(), in("AWS::CloudFormation::Stack"), id); ClassOf(err) != NotFound {
			t.Errorf("%s: %v", id, err)
		}
	}
	idea, err := r.Get(t.Context(), in("AWS::CloudFormation::Stack"), "idea")
	if _, has := idea.Properties["TemplateBody"]; err != nil || has {
		t.Errorf("a stack that has a change set alone: %v, %v", idea, err)
	}
}

func TestAStackOfManyResourcesHasThemAll(t *testing.T) {
	e := newEndpoint(t, stackAccount(342, "{}"))
	got, err := readerAt(t, e, nil).Get(t.Context(), in("AWS::CloudFormation::Stack"), "shop")
	if err != nil {
		t.Fatal(err)
	}
	list := got.Properties["StackResources"].([]any)
	for i, item := range list {
		r := item.(object)
		if r["LogicalResourceId"] != fmt.Sprintf("R%03d", i) || r["Timestamp"] != "2026-11-20T23:17:00Z" || r["StackName"] != "shop" {
			t.Fatalf("resource %d is %v", i, r)
		}
	}
	if len(list) != 342 || len(e.calls) != 7 {
		t.Errorf("%d resources in %d calls", len(list), len(e.calls))
	}
}

func TestATemplateIsYAML(t *testing.T) {
	for _, tt := range []struct{ body, want string }{
		{"Resources: {}\n", "Resources: {}\n"},
		{`{"Resources":{"Z":{"Type":"T","Properties":{"Text":"true","Number":1,"On":true,"None":null,"List":["a"],"多":"行\n二"}},"A":{"Ref":"x: y"}}}`,
			"Resources:\n    Z:\n        Type: T\n        Properties:\n            Text: \"true\"\n            Number: 1\n            \"On\": true\n            None: null\n" +
				"            List:\n                - a\n            多: |-\n                行\n                二\n    A:\n        Ref: 'x: y'\n"},
		{"{ broken", "{ broken"},
		{`{"a":1,"a":2}`, `{"a":1,"a":2}`}, // no YAML has a name twice
		{`{"a":"\ud83d\ude80"}`, `{"a":"\ud83d\ude80"}`},
		{"", ""},
		{strings.Repeat(`{"a":`, 5000) + "1" + strings.Repeat("}", 5000), strings.Repeat(`{"a":`, 5000) + "1" + strings.Repeat("}", 5000)},
	} {
		if got := yamlText(tt.body); got != tt.want {
			t.Errorf("%s becomes %q, want %q", tt.body, got, tt.want)
		}
	}
}

// A template says the same before and after.
func FuzzTemplate(f *testing.F) {
	for _, body := range []string{
		`{"Resources":{"R":{"Type":"AWS::SQS::Queue","Properties":{"QueueName":{"Fn::Sub":"${A}-队列 🚀"}}}}}`, `{"a":"no","b":"1","c":1e3,"d":-0.5,"e":[[],{}],"f":"x\ny\n","":null}`,
		`{"a":"\/\ud83d\ude80","b":" lead","c":"trail ","d":"# none","e":"a: b","f":"- x","g":"~","h":"0x1f","i":"2026-11-20","j":"\t"}`,
		`{"a":1,"a":2}`, `{"<<":{"b":1}}`, `{&a : *a}`, `{"a":"x\n  y\n","b":"\n\n","c":" \n x"}`,
	} {
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body string) {
		var want, got any
		if json.Unmarshal([]byte(body), &want) != nil {
			yamlText(body) // whatever it is, it ends
			return
		}
		text := yamlText(body)
		if text == body {
			return
		}
		if err := yaml.Unmarshal([]byte(text), &got); err != nil {
			t.Fatalf("%s becomes %s: %v", body, text, err)
		}
		a, _ := json.Marshal(want)
		b, _ := json.Marshal(got)
		if diff := cmp.Diff(string(a), string(b)); diff != "" {
			t.Errorf("%s becomes %s: %s", body, text, diff)
		}
	})
}

func TestStacksAreListedUnlessTheyAreDeleted(t *testing.T) {
	e := newEndpoint(t, stackAccount(0, ""))
	r := readerAt(t, e, nil)
	want := []string{stackARN("idea"), stackARN("shop")}
	if got := identifiers(listAll(t, r, in("AWS::CloudFormation::Stack"), nil)); !slices.Equal(got, want) {
		t.Errorf("listed %v", got)
	}
	c := e.last(t, "ListStacks")
	for name, values := range c.Form {
		if strings.HasPrefix(name, "StackStatusFilter.") && slices.Contains(values, "DELETE_COMPLETE") {
			t.Error("asked for deleted stacks")
		}
	}
	listAll(t, r, in("AWS::CloudFormation::Stack"), map[string]any{"StackStatusFilter": []any{"CREATE_COMPLETE"}})
	if c := e.last(t, "ListStacks"); c.text("StackStatusFilter.member.1") != "CREATE_COMPLETE" || c.text("StackStatusFilter.member.2") != "" {
		t.Errorf("listed with %v", c.Form)
	}
}

func instanceXML(id, state string) string {
	return "<item><reservationId>r</reservationId><instancesSet><item><instanceId>" + id + "</instanceId><imageId>ami-1</imageId><instanceState><code>16</code><name>" + state + "</name></instanceState>" +
		"<launchTime>2026-11-20T23:16:55.000Z</launchTime><ebsOptimized>false</ebsOptimized><placement><availabilityZone>eu-west-1a</availabilityZone></placement><groupSet/>" +
		"<tagSet><item><key>Name</key><value>网 🛒</value></item></tagSet><cpuOptions><coreCount>2</coreCount></cpuOptions></instancesSet-end>"
}

func ec2Account(states map[string]string, order []string) func(c awsCall) (any, *awsError) {
	one := func(id string) string {
		return strings.Replace(instanceXML(id, states[id]), "</instancesSet-end>", "</item></instancesSet></item>", 1)
	}
	return func(c awsCall) (any, *awsError) {
		var found []string
		if id := c.text("InstanceId.1"); id != "" {
			if states[id] == "" {
				return nil, &awsError{400, "InvalidInstanceID.NotFound", "The instance ID '" + id + "' does not exist"}
			}
			return "<reservationSet>" + one(id) + "</reservationSet>", nil
		}
		byID := c.text("Filter.1.Name") == "instance-id"
		for _, id := range order {
			wanted := false
			for name, values := range c.Form {
				if strings.HasPrefix(name, "Filter.1.Value.") {
					wanted = wanted || byID && values[0] == id || !byID && values[0] == states[id]
				}
			}
			if wanted {
				found = append(found, one(id))
			}
		}
		size := 2
		if byID {
			size = 100
		}
		return pages(c.text("NextToken"), size, found, "reservationSet", "nextToken"), nil
	}
}

func TestInstancesAreReadAndListedWhole(t *testing.T) {
	ids := []string{"i-00000001", "i-00000002", "i-00000003", "i-00000004"}
	e := newEndpoint(t, ec2Account(map[string]string{ids[0]: "running", ids[1]: "terminated", ids[2]: "stopped", ids[3]: "shutting-down"}, ids))
	r := readerAt(t, e, nil)
	s := in("AWS::EC2::Instance")
	want := Resource{ids[0], object{
		"InstanceId": ids[0], "ImageId": "ami-1", "State": object{"Code": 16, "Name": "running"}, "LaunchTime": "2026-11-20T23:16:55Z", "EbsOptimized": false,
		"Placement": object{"AvailabilityZone": "eu-west-1a"}, "SecurityGroups": []any{}, "Tags": []any{object{"Key": "Name", "Value": "网 🛒"}}, "CpuOptions": object{"CoreCount": 2},
	}}
	for _, id := range []string{ids[0], "arn:aws:ec2:eu-west-1:123456789012:instance/" + ids[0]} {
		got, err := r.Get(t.Context(), s, id)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
	for id, class := range map[string]Class{ids[1]: NotFound, "i-0badbad0": NotFound, "vol-00000001": Invalid, "": Invalid, strings.Repeat("x", 1025): Invalid} {
		if _, err := r.Get(t.Context(), s, id); ClassOf(err) != class {
			t.Errorf("%s: %v", id, err)
		}
	}
	list := listAll(t, r, s, nil)
	if got := identifiers(list); !slices.Equal(got, []string{ids[0], ids[2], ids[3]}) {
		t.Errorf("listed %v", got)
	}
	if diff := cmp.Diff(want, list[0]); diff != "" {
		t.Errorf("a listed instance is not whole: %s", diff)
	}
	stopped := map[string]any{"Filters": []any{map[string]any{"Name": "instance-state-name", "Values": []any{"stopped"}}}}
	if got := identifiers(listAll(t, r, s, stopped)); !slices.Equal(got, []string{ids[2]}) {
		t.Errorf("listed %v", got)
	}
}

func TestManyInstancesTakeOneCall(t *testing.T) {
	ids := []string{"i-00000001", "i-00000002", "i-00000003"}
	e := newEndpoint(t, ec2Account(map[string]string{ids[0]: "running", ids[1]: "terminated", ids[2]: "stopped"}, ids))
	r := readerAt(t, e, nil)
	asked := []string{ids[2], "i-0badbad0", ids[0], "nonsense", ids[1], "arn:aws:ec2:eu-west-1:123456789012:instance/" + ids[0]}
	got := r.GetMany(t.Context(), in("AWS::EC2::Instance"), asked)
	want := []string{ids[2], "not_found", ids[0], "invalid", "not_found", ids[0]}
	for i, a := range got {
		said := a.Resource.Identifier
		if a.Err != nil {
			said = ClassOf(a.Err).String()
		}
		if said != want[i] {
			t.Errorf("about %s: %s, %v", asked[i], said, a.Err)
		}
	}
	if len(e.calls) != 1 {
		t.Errorf("%d calls", len(e.calls))
	}
	var many []string
	for i := range 250 {
		many = append(many, fmt.Sprintf("i-%08x", 4096+i))
	}
	e.calls = nil
	if got := r.GetMany(t.Context(), in("AWS::EC2::Instance"), many); len(got) != 250 || len(e.calls) != 3 {
		t.Errorf("%d answers in %d calls", len(got), len(e.calls))
	}
}

func balancerARN(name string) string {
	return "arn:aws:elasticloadbalancing:eu-west-1:123456789012:loadbalancer/app/" + name + "/50dc6c495c0c9188"
}

func balancers(names ...string) func(c awsCall) (any, *awsError) {
	all := []string{}
	for _, n := range names {
		all = append(all, "<member><LoadBalancerArn>"+balancerARN(n)+"</LoadBalancerArn><LoadBalancerName>"+n+"</LoadBalancerName><CreatedTime>2026-11-20T23:16:55.905Z</CreatedTime>"+
			"<State><Code>active</Code></State><AvailabilityZones><member><ZoneName>eu-west-1a</ZoneName></member></AvailabilityZones></member>")
	}
	return func(c awsCall) (any, *awsError) {
		switch c.Operation {
		case "DescribeLoadBalancers":
			var found []string
			named := false
			for name, values := range c.Form {
				if !strings.HasPrefix(name, "Names.") && !strings.HasPrefix(name, "LoadBalancerArns.") {
					continue
				}
				named = true
				i := slices.IndexFunc(names, func(n string) bool { return n == values[0] || balancerARN(n) == values[0] })
				if i < 0 {
					return nil, &awsError{400, "LoadBalancerNotFound", "One or more load balancers not found"}
				}
				found = append(found, all[i])
			}
			if !named {
				return pages(c.text("Marker"), 2, all, "LoadBalancers", "NextMarker"), nil
			}
			return "<LoadBalancers>" + strings.Join(found, "") + "</LoadBalancers>", nil
		case "DescribeLoadBalancerAttributes":
			if strings.Contains(c.text("LoadBalancerArn"), "secret") {
				return nil, &awsError{403, "AccessDenied", "User is not authorized to perform: elasticloadbalancing:DescribeLoadBalancerAttributes"}
			}
			return "<Attributes><member><Key>idle_timeout.timeout_seconds</Key><Value>60</Value></member></Attributes>", nil
		case "DescribeListeners":
			var listeners []string
			for port := range 3 {
				listeners = append(listeners, fmt.Sprintf("<member><ListenerArn>l%d</ListenerArn><LoadBalancerArn>%s</LoadBalancerArn><Port>%d</Port></member>", port, c.text("LoadBalancerArn"), port))
			}
			return pages(c.text("Marker"), 2, listeners, "Listeners", "NextMarker"), nil
		case "DescribeTags":
			out := ""
			for i := 20; i >= 1; i-- { // in an order of their own
				if arn := c.text("ResourceArns.member." + strconv.Itoa(i)); arn != "" {
					out += "<member><ResourceArn>" + arn + "</ResourceArn><Tags><member><Key>arn</Key><Value>" + arn + "</Value></member></Tags></member>"
				}
			}
			return "<TagDescriptions>" + out + "</TagDescriptions>", nil
		}
		return nil, &awsError{400, "InvalidAction", c.Operation}
	}
}

func balancer(name string) Resource {
	arn := balancerARN(name)
	var listeners []any
	for port := range 3 {
		listeners = append(listeners, object{"ListenerArn": fmt.Sprint("l", port), "LoadBalancerArn": arn, "Port": port})
	}
	return Resource{arn, object{
		"LoadBalancerArn": arn, "LoadBalancerName": name, "CreatedTime": "2026-11-20T23:16:55.905Z", "State": object{"Code": "active"},
		"AvailabilityZones": []any{object{"ZoneName": "eu-west-1a"}}, "Attributes": []any{object{"Key": "idle_timeout.timeout_seconds", "Value": "60"}},
		"Listeners": listeners, "Tags": []any{object{"Key": "arn", "Value": arn}},
	}}
}

func TestALoadBalancerIsReadWithAttributesListenersAndTags(t *testing.T) {
	e := newEndpoint(t, balancers("web", "api"))
	r := readerAt(t, e, nil)
	s := Scope{account, "ap-south-1", "AWS::ElasticLoadBalancingV2::LoadBalancer"}
	for _, id := range []string{"web", balancerARN("web")} {
		e.calls = nil
		got, err := r.Get(t.Context(), s, id)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(balancer("web"), got); diff != "" {
			t.Errorf("%s: %s", id, diff)
		}
		if len(e.calls) != 5 {
			t.Errorf("%s took %d calls", id, len(e.calls))
		}
		for _, c := range e.calls {
			if c.Region != "ap-south-1" {
				t.Errorf("%s is called in %s", c.Operation, c.Region)
			}
		}
	}
	for _, id := range []string{"none", balancerARN("none")} {
		if _, err := r.Get(t.Context(), s, id); ClassOf(err) != NotFound {
			t.Errorf("%s: %v", id, err)
		}
	}
}

func TestManyLoadBalancersShareCalls(t *testing.T) {
	var names []string
	for i := range 25 {
		names = append(names, fmt.Sprint("lb", i))
	}
	e := newEndpoint(t, balancers(append(names, "secret")...))
	r := readerAt(t, e, nil)
	s := in("AWS::ElasticLoadBalancingV2::LoadBalancer")
	for i, a := range r.GetMany(t.Context(), s, names) {
		if a.Err != nil {
			t.Fatal(a.Err)
		}
		if diff := cmp.Diff(balancer(names[i]), a.Resource); diff != "" {
			t.Errorf("%s: %s", names[i], diff)
		}
	}
	if e.count("DescribeLoadBalancers") != 2 || e.count("DescribeTags") != 2 {
		t.Errorf("%d descriptions, %d of tags", e.count("DescribeLoadBalancers"), e.count("DescribeTags"))
	}
	asked := []string{"lb1", "none", balancerARN("lb2"), "secret"}
	want := []string{balancerARN("lb1"), "not_found", balancerARN("lb2"), "denied"}
	for range 2 {
		for i, a := range r.GetMany(t.Context(), s, asked) {
			said := a.Resource.Identifier
			if a.Err != nil {
				said = ClassOf(a.Err).String()
			}
			if said != want[i] {
				t.Errorf("about %s: %s, %v", asked[i], said, a.Err)
			}
		}
		// Without the one that is not there, the others share their calls.
		asked, want = slices.Delete(asked, 1, 2), slices.Delete(want, 1, 2)
	}
	if got := identifiers(listAll(t, r, s, map[string]any{"PageSize": 2})); len(got) != 26 || got[3] != balancerARN("lb3") {
		t.Errorf("listed %v", got)
	}
}

func TestACertificateIsReadAndListed(t *testing.T) {
	arn := func(i int) string { return fmt.Sprint("arn:aws:acm:eu-west-1:123456789012:certificate/", i) }
	e := newEndpoint(t, func(c awsCall) (any, *awsError) {
		switch {
		case c.Operation == "DescribeCertificate" && c.text("CertificateArn") == arn(1):
			return object{"Certificate": object{
				"CertificateArn": arn(1), "DomainName": "例子.cn", "NotAfter": 1795302000.5, "Status": "ISSUED", "InUseBy": []string{},
				"KeyUsages": []any{object{"Name": "DIGITAL_SIGNATURE"}}, "Options": object{"Export": "DISABLED"},
			}}, nil
		case c.Operation == "DescribeCertificate":
			return nil, &awsError{400, "ResourceNotFoundException", "Could not find certificate " + c.text("CertificateArn")}
		}
		from, _ := strconv.Atoi(c.text("NextToken"))
		out := object{"CertificateSummaryList": []any{object{"CertificateArn": arn(from)}}}
		if from < 2 {
			out["NextToken"] = strconv.Itoa(from + 1)
		}
		return out, nil
	})
	r := readerAt(t, e, nil)
	s := in("AWS::ACM::Certificate")
	got, err := r.Get(t.Context(), s, arn(1))
	if err != nil {
		t.Fatal(err)
	}
	want := Resource{arn(1), object{
		"CertificateArn": arn(1), "DomainName": "例子.cn", "NotAfter": "2026-11-21T23:00:00.5Z", "Status": "ISSUED", "InUseBy": []any{},
		"KeyUsages": []any{object{"Name": "DIGITAL_SIGNATURE"}}, "Options": object{"Export": "DISABLED"},
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if _, err := r.Get(t.Context(), s, arn(9)); ClassOf(err) != NotFound {
		t.Error(err)
	}
	if got := identifiers(listAll(t, r, s, nil)); !slices.Equal(got, []string{arn(0), arn(1), arn(2)}) {
		t.Errorf("listed %v", got)
	}
	if types := e.last(t, "ListCertificates").Body["Includes"].(object)["keyTypes"].([]any); !slices.Contains(types, any("EC_prime256v1")) {
		t.Errorf("listed keys of the types %v", types)
	}
	listAll(t, r, s, map[string]any{"CertificateStatuses": []any{"ISSUED"}, "Includes": map[string]any{"keyTypes": []any{"RSA_2048"}}, "MaxItems": 5.0})
	if diff := cmp.Diff(object{"CertificateStatuses": []any{"ISSUED"}, "Includes": object{"keyTypes": []any{"RSA_2048"}}, "MaxItems": 5.0, "NextToken": "2"}, e.last(t, "ListCertificates").Body); diff != "" {
		t.Error(diff)
	}
}

func TestACacheClusterIsReadWithItsTags(t *testing.T) {
	one := func(id string) string {
		return "<CacheCluster><CacheClusterId>" + id + "</CacheClusterId><ARN>arn:aws:elasticache:eu-west-1:123456789012:cluster:" + id + "</ARN><NumCacheNodes>2</NumCacheNodes>" +
			"<CacheClusterCreateTime>2026-11-20T23:16:55.905Z</CacheClusterCreateTime><AuthTokenEnabled>true</AuthTokenEnabled></CacheCluster>"
	}
	e := newEndpoint(t, func(c awsCall) (any, *awsError) {
		switch {
		case c.Operation == "ListTagsForResource" && strings.HasSuffix(c.text("ResourceName"), ":new"):
			return nil, &awsError{404, "CacheClusterNotFound", "new is either not present or not available."}
		case c.Operation == "ListTagsForResource" && strings.HasSuffix(c.text("ResourceName"), ":secret"):
			return nil, &awsError{403, "AccessDenied", "no"}
		case c.Operation == "ListTagsForResource":
			return "<TagList><Tag><Key>队</Key><Value>🛒</Value></Tag></TagList>", nil
		case c.text("CacheClusterId") == "none":
			return nil, &awsError{404, "CacheClusterNotFound", "CacheCluster not found: none"}
		case c.text("CacheClusterId") != "":
			return "<CacheClusters>" + one(c.text("CacheClusterId")) + "</CacheClusters>", nil
		}
		return pages(c.text("Marker"), 1, []string{one("a"), one("b")}, "CacheClusters", "Marker"), nil
	})
	r := readerAt(t, e, nil)
	s := in("AWS::ElastiCache::CacheCluster")
	want := Resource{"a", object{
		"CacheClusterId": "a", "ARN": "arn:aws:elasticache:eu-west-1:123456789012:cluster:a", "NumCacheNodes": 2, "CacheClusterCreateTime": "2026-11-20T23:16:55.905Z",
		"AuthTokenEnabled": true, "Tags": []any{object{"Key": "队", "Value": "🛒"}},
	}}
	for _, id := range []string{"a", "arn:aws:elasticache:eu-west-1:123456789012:cluster:a"} {
		got, err := r.Get(t.Context(), s, id)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
	fresh, err := r.Get(t.Context(), s, "new")
	if _, has := fresh.Properties["Tags"]; err != nil || has {
		t.Errorf("a cluster that is being made: %v, %v", fresh, err)
	}
	for id, class := range map[string]Class{"none": NotFound, "secret": Denied} {
		if _, err := r.Get(t.Context(), s, id); ClassOf(err) != class {
			t.Errorf("%s: %v", id, err)
		}
	}
	if got := identifiers(listAll(t, r, s, map[string]any{"MaxRecords": 20, "ShowCacheClustersNotInReplicationGroups": true})); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("listed %v", got)
	}
}
