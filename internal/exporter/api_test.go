package exporter

import (
	"encoding/json"
	"maps"
	"strings"
	"testing"
)

func TestConfigurationsAreCheckedAndKept(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, w *world) {
		first, err := w.x.Config(t.Context())
		if err != nil || first.Revision != 1 {
			t.Fatalf("the configuration is %+v, %v", first, err)
		}
		for _, bad := range []string{``, `[]`, `{"resources": [{}]}`, `{"resources": [{"kind": "AWS::Test::Thing", "port": {"entity": {"mappings": [{"identifier": ".[", "blueprint": "thing"}]}}}]}`} {
			if _, err := w.x.PutConfig(t.Context(), []byte(bad), "me", -1); err == nil {
				t.Errorf("%s is taken", bad)
			}
		}
		if _, err := w.x.PutConfig(t.Context(), []byte(`{"resources": []}`), "me", 7); err == nil {
			t.Error("a configuration is taken that was made from another one than is in force")
		}
		same, err := w.x.PutConfig(t.Context(), []byte(testConfig), "me", 1)
		if err != nil || same.Revision != 1 || same.CreatedBy != "test" {
			t.Errorf("the same text is %+v, %v", same, err)
		}
		second, err := w.x.PutConfig(t.Context(), []byte(`{"resources": []}`), "me", 1)
		if err != nil || second.Revision != 2 {
			t.Fatalf("the second is %+v, %v", second, err)
		}
		old, err := w.x.ConfigRevision(t.Context(), 1)
		if err != nil || old.Text != testConfig || len(old.Parsed().Resources) != 1 {
			t.Errorf("the first is %+v, %v", old, err)
		}
		list, err := w.x.Configs(t.Context(), 0, 10)
		if err != nil || len(list) != 2 || list[0].Revision != 2 {
			t.Errorf("the list is %+v, %v", list, err)
		}
		if _, err := w.x.ConfigRevision(t.Context(), 3); err == nil {
			t.Error("there is a revision that was never made")
		}
	})
}

func TestConfigurationsAreRefusedWhoseListsAWSWouldNotTake(t *testing.T) {
	t.Parallel()
	const entity = `"port": {"entity": {"mappings": [{"identifier": ".Id", "blueprint": "thing", "properties": {}}]}}`
	for path, selector := range map[string]string{
		`resources[0].selector.aws.list_parameters.Colour`:                                      `"kind": "AWS::CloudFormation::Stack", "selector": {"query": "true", "aws": {"list_parameters": {"Colour": "red"}}}`,
		`resources[0].selector.aws.list_parameters`:                                             `"kind": "AWS::SQS::Queue", "selector": {"query": "true", "aws": {"list_parameters": {"QueueNamePrefix": "a"}}}`,
		`resources[0].selector.aws.regions_config.eu-west-1.resources_models[0]: AWS::EC2::Ins`: `"kind": "AWS::EC2::Instance", "selector": {"query": "true", "aws": {"regions_config": {"eu-west-1": {"resources_models": ["{\"VpcId\": \"vpc-1\"}"]}}}}`,
	} {
		onEach(t, func(t *testing.T, w *world) {
			_, err := w.x.PutConfig(t.Context(), []byte(`{"resources": [{`+selector+`, `+entity+`}]}`), "me", -1)
			if err == nil || !strings.Contains(err.Error(), path) {
				t.Errorf("want an error that names %s: %v", path, err)
			}
			if c, err := w.x.Config(t.Context()); err != nil || c.Revision != 1 {
				t.Errorf("revision %d is in force, %v", c.Revision, err)
			}
		})
	}
}

func TestTheAPITellsWhatIsKnown(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, w *world) {
		k := thing("one")
		w.cloud.put(k, 1)
		w.apply([]Read{w.look(k)}, Created)
		var got struct {
			List []map[string]any `json:"list"`
		}
		w.call("GET", "/v1/exporter/resources?blueprint=thing&entity=one", "", 200, &got)
		if len(got.List) != 1 || got.List[0]["identifier"] != "one" || got.List[0]["present"] != true {
			t.Errorf("resources: %v", got.List)
		}
		want := map[string]any{"origin": "test"}
		if cause, _ := got.List[0]["cause"].(map[string]any); !maps.Equal(cause, want) {
			t.Errorf("its cause is %v", got.List[0]["cause"])
		}
		for _, c := range []struct {
			method, path, body string
			status             int
			says               string
		}{
			{"GET", "/v1/exporter/resources?knd=x", "", 400, "knd"},
			{"GET", "/v1/exporter/resources?entity=x", "", 400, "blueprint"},
			{"GET", "/v1/exporter/resources?failed=maybe", "", 400, "failed"},
			{"GET", "/v1/exporter/resources?offset=x", "", 400, "offset"},
			{"GET", "/v1/exporter/records?offset=x", "", 400, "offset"},
			{"GET", "/v1/exporter/records/x", "", 404, "x"},
			{"POST", "/v1/exporter/records/x/redrive", "{}", 404, "x"},
			{"DELETE", "/v1/exporter/records/x", "", 404, "x"},
			{"PUT", "/v1/exporter/config", `{}`, 400, "config"},
			{"PUT", "/v1/exporter/config", `{"config": {"resources": 1}}`, 400, "resources"},
			{"PUT", "/v1/exporter/config", `{"config": {"resources": []}, "base_revision": 9}`, 400, "revision 1"},
			{"PUT", "/v1/exporter/config", `{"conf": {}}`, 400, "conf"},
			{"GET", "/v1/exporter/config/revisions/x", "", 400, "x"},
			{"GET", "/v1/exporter/config/revisions/9", "", 404, "9"},
			{"GET", "/v1/exporter/accounts/000000000009", "", 404, "000000000009"},
			{"PUT", "/v1/exporter/accounts/9", `{"home_region": "eu-west-1"}`, 400, "account"},
			{"PUT", "/v1/exporter/accounts/000000000009", `{"home_region": "Ireland"}`, 400, "home_region"},
			{"PUT", "/v1/exporter/accounts/000000000009", `{"home_region": "eu-west-1", "description": "` + strings.Repeat("文", 257) + `"}`, 400, "description"},
			{"PUT", "/v1/exporter/accounts/000000000009/queues", `{"queue": "arn:aws:sqs:eu-west-1:000000000009:q"}`, 404, "000000000009"},
			{"PUT", "/v1/exporter/accounts/" + testAccount + "/queues", `{"queue": "https://example.com/q"}`, 400, "queue"},
			{"PUT", "/v1/exporter/accounts/" + testAccount + "/queues", `{"queue": "arn:aws:sqs:eu-west-1:123456789012:q.fifo"}`, 400, "FIFO"},
			{"DELETE", "/v1/exporter/accounts/" + testAccount + "/queues/arn:aws:sqs:eu-west-1:123456789012:q", "", 404, "queue"},
			{"DELETE", "/v1/exporter/accounts/000000000009", "", 404, "000000000009"},
		} {
			var e struct {
				Error struct{ Message string }
			}
			w.call(c.method, c.path, c.body, c.status, &e)
			if !strings.Contains(e.Error.Message, c.says) {
				t.Errorf("%s %s says %q, want %q in it", c.method, c.path, e.Error.Message, c.says)
			}
		}
		var conf struct {
			Revision int64
			Config   json.RawMessage
			Warnings []struct{ Path string }
		}
		w.call("PUT", "/v1/exporter/config", `{"config": {"resources": []}, "base_revision": 1}`, 200, &conf)
		if conf.Revision != 2 || string(conf.Config) != `{"resources":[]}` {
			t.Errorf("the configuration is %+v", conf)
		}
		w.call("PUT", "/v1/exporter/config", `{"config": {"resources": [], "port_api_url": "https://api.example.com/v1"}}`, 200, &conf)
		if len(conf.Warnings) != 1 || conf.Warnings[0].Path != "port_api_url" {
			t.Errorf("what is not used is told: %+v", conf.Warnings)
		}
		var account struct {
			Queues []struct{ ARN string }
		}
		w.call("PUT", "/v1/exporter/accounts/"+testAccount+"/queues", `{"queue": "https://sqs.eu-west-1.amazonaws.com/123456789012/q"}`, 200, nil)
		w.call("GET", "/v1/exporter/accounts/"+testAccount, "", 200, &account)
		if len(account.Queues) != 1 || account.Queues[0].ARN != "arn:aws:sqs:eu-west-1:123456789012:q" {
			t.Errorf("the account is %+v", account)
		}
		w.call("DELETE", "/v1/exporter/accounts/"+testAccount+"/queues/arn:aws:sqs:eu-west-1:123456789012:q", "", 204, nil)
		w.call("DELETE", "/v1/exporter/accounts/"+testAccount, "", 204, nil)
	})
}
