package jq

import (
	"testing"

	"github.com/itchyny/gojq"
)

// What mappings are made of must not need a worker for resources of usual size.
func TestProgramsThatAreCheap(t *testing.T) {
	for _, text := range []string{
		`.`, `.Arn`, `.a.b.c`, `.["a b"].c`, `.a[0]`, `.a[-1:]`, `"fixed"`, `null`, `true`, `.Arn // .Name // "none"`,
		`.Tags[]? | select(.Key == "Name") | .Value`,
		`.Tags // [] | map({(.Key): .Value}) | add // {}`,
		`.Tags // [] | from_entries`,
		`[.SecurityGroups[]?.GroupId]`,
		`.Arn | split(":")[4]`,
		`.QueueUrl | split("/") | last`,
		`if .eventName | startswith("Delete") then "delete" else "upsert" end`,
		`.eventName | test("DeleteFunction[^a-zA-Z]*$")`,
		`"arn:aws:s3:::\(.BucketName)"`,
		`(.Arn | ltrimstr("arn:")) + "/" + .Name`,
		`.State.Name == "running" and (.Tags | length) > 0`,
		`any(.Tags[]?; .Key == "owner")`,
		`.Tags | to_entries | map(select(.key | startswith("aws:") | not)) | from_entries`,
		`with_entries(select(.value != null))`,
		`.CreatedAt | if . then todate else null end`,
		`try (.Policy | fromjson | .Version) catch null`,
		`{name: .Name, arn: .Arn, tags: [.Tags[]?.Key]}`,
		`.Environment.Variables | keys`,
		`.Arn as $arn | .Tags[]? | $arn + .Key`,
		`first(.Tags[]? | select(.Key == "Name")).Value`,
		`[.Listeners[]?.Port] | sort | map(tostring) | join(", ")`,
		`.CodeSize / 1024 | floor`,
		`.MemorySize * 2`,
		`del(.Password)`, `.Tags |= length`, `.a = 1`,
		`.Subnets | map(.AvailabilityZone) | unique | length`,
		`.KmsKeyId | sub("^alias/"; "")`,
		`.Description | contains("生产")`,
		`.Name | ascii_downcase`,
		`.Name | IN("a", "b")`,
	} {
		if p := compile(t, text); p.cheapUpTo < 8<<10 {
			t.Errorf("%s is cheap up to %d", text, p.cheapUpTo)
		}
	}
}

func TestProgramsThatAreNotCheap(t *testing.T) {
	for _, text := range []string{
		`reduce .[] as $x (0; . + $x)`, `foreach .[] as $x (0; . + $x)`, `def f: 1; f`, `[range(10)]`, `repeat(1)`, `recurse(.a)`,
		`until(. > 1; . + 1)`, `while(true; .)`, `"x" * .n`, `.n * .m`, `setpath([1]; 2)`, `.[5] = 1`, `.[.n] = 1`, `.[1:2] = []`,
		`test(.re)`, `test("(a{100}){10}(b{100}){10}")`, `label $x | break $x`, `combinations`, `paths`, `walk(.)`, `localtime`, `tostream`,
		`. as [$a] ?// $a | $a`, `limit(3; repeat(1))`, `gsub("a"; "b", "c")`, `splits(.x)`, `group_by(.a) | combinations`,
	} {
		if p := compile(t, text); p.cheapUpTo > 0 {
			t.Errorf("%s is cheap up to %d", text, p.cheapUpTo)
		}
	}
}

// A program that makes each time twice of what it had is cheap while that is
// little, and no longer.
func TestGrowthIsCounted(t *testing.T) {
	text := "."
	last := largest + 1
	for range 12 {
		text += " | [., .]"
	}
	for range 4 {
		text += " | [., .] | tojson"
		up := compile(t, text).cheapUpTo
		if up > last {
			t.Errorf("%s: cheap up to %d, a shorter one up to %d", text, up, last)
		}
		last = up
	}
	if last > 0 {
		t.Errorf("%s is cheap up to %d", text, last)
	}
}

// analyzed is the analysis of a program for inputs of a size.
func analyzed(t *testing.T, text string, size int) (*analysis, bound) {
	q, err := gojq.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	if err := check(q); err != nil {
		t.Fatal(err)
	}
	return analyze(q, size)
}
