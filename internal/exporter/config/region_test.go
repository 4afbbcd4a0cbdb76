package config

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestRegionsAreThoseOfTheSDKsPartitions(t *testing.T) {
	dir, err := exec.Command("go", "list", "-f", "{{.Dir}}", "github.com/aws/aws-sdk-go-v2/internal/endpoints/awsrulesfn").Output()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(dir)), "partitions.json"))
	if err != nil {
		t.Fatal(err)
	}
	var sdk struct {
		Partitions []struct {
			Regions map[string]any `json:"regions"`
		} `json:"partitions"`
	}
	if err := json.Unmarshal(text, &sdk); err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, p := range sdk.Partitions {
		for name := range p.Regions {
			if !strings.HasSuffix(name, "-global") { // no region, but the endpoint of global services
				want = append(want, name)
			}
		}
	}
	slices.Sort(want)
	if have := slices.Sorted(slices.Values(regions)); len(want) < 30 || !slices.Equal(have, want) {
		t.Errorf("have %q\nwant %q", have, want)
	}
}

func TestARegionThatIsNoneIsDoubted(t *testing.T) {
	for name, want := range map[string]string{
		"eu-west-1":      "",
		"cn-northwest-1": "",
		"us-gov-west-1":  "",
		"us-isob-east-1": "",
		"eu-wset-1":      "eu-wset-1 is none of the regions of AWS that Rialto knows; did you mean eu-west-1?",
		"us-eats-2":      "us-eats-2 is none of the regions of AWS that Rialto knows; did you mean us-east-2?",
		"eu-west-4":      "eu-west-4 is none of the regions of AWS that Rialto knows; did you mean eu-west-1 or eu-west-2 or eu-west-3?",
		"eu" + strings.Repeat("-west", 1000) + "-1": "eu" + strings.Repeat("-west", 15) + "-we… is none of the regions of AWS that Rialto knows",
		"xx-nowhere-1": "xx-nowhere-1 is none of the regions of AWS that Rialto knows",
	} {
		if have := DoubtRegion(name); have != want {
			t.Errorf("%s: %q, want %q", name, have, want)
		}
	}
}

func TestTyposCountsLetters(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{
		{"", "", 0}, {"", "abc", 3}, {"queue", "queue", 0}, {"que", "queue", 2}, {"qeueue", "queue", 1},
		{"ques", "queue", 2}, {"quuee", "queue", 1}, {"kitten", "sitting", 3},
	} {
		if have := Typos(c.a, c.b); have != c.want {
			t.Errorf("%q and %q: %d, want %d", c.a, c.b, have, c.want)
		}
		if have := Typos(c.b, c.a); have != c.want {
			t.Errorf("%q and %q: %d, want %d", c.b, c.a, have, c.want)
		}
	}
}

func TestARegionOfAConfigurationThatIsNoneIsWarnedOf(t *testing.T) {
	c, err := Parse([]byte(`{"resources": [{"kind": "AWS::SQS::Queue",
"selector": {"aws": {
  "regions": ["us-east-1",
    "eu-wset-1"],
  "regions_config": {"eu-wset-1": {"resources_models": []},
    "eu-wets-1": {}}}},
"port": {"entity": {"mappings": [{"identifier": ".Arn", "blueprint": "queue"}]}}}]}`))
	if err != nil {
		t.Fatal(err)
	}
	have := map[string]int{}
	for _, w := range c.Warnings {
		if strings.Contains(w.Message, "did you mean eu-west-1?") && w.Warning {
			have[w.Path] = w.Line
		}
	}
	if len(have) != 3 || have["resources[0].selector.aws.regions[1]"] != 4 || have["resources[0].selector.aws.regions_config.eu-wets-1"] != 6 {
		t.Errorf("%+v", c.Warnings)
	}
	if !slices.Equal(c.Resources[0].Regions, []string{"us-east-1", "eu-wset-1"}) {
		t.Errorf("it is warned of and not refused: %q", c.Resources[0].Regions)
	}
}
