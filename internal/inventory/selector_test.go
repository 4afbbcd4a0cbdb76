package inventory

import (
	"errors"
	"testing"
)

func TestSelectorMatches(t *testing.T) {
	labels := map[string]string{
		"env": "prod", "aws.tag.Name": "web 一号", "system.os_type": "linux", "empty": "",
		"aws.tag.aws:autoscaling:groupName": "web-asg",
	}
	tests := []struct {
		name, selector string
		want           bool
	}{
		{"nothing picks everything", "", true},
		{"white space picks everything", "  ", true},
		{"equal", "env=prod", true},
		{"equal, two signs", "env==prod", true},
		{"spaces around", " env = prod ", true},
		{"not equal value", "env=dev", false},
		{"a missing key equals nothing", "team=a", false},
		{"unequal", "env!=dev", true},
		{"unequal holds where the key is missing", "team!=a", true},
		{"unequal fails on the same value", "env!=prod", false},
		{"in", "env in (dev, prod)", true},
		{"in without the value", "env in (dev,test)", false},
		{"notin", "env notin (dev,test)", true},
		{"notin holds where the key is missing", "team notin (a)", true},
		{"exists", "env", true},
		{"does not exist", "team", false},
		{"absent", "!team", true},
		{"absent fails where it is there", "!env", false},
		{"all must hold", "env=prod,system.os_type=linux,!team", true},
		{"one that does not hold is enough", "env=prod,system.os_type=windows", false},
		{"empty value", "empty=", true},
		{"empty value before a comma", "empty=,env=prod", true},
		{"colons in a tag key", "aws.tag.aws:autoscaling:groupName=web-asg", true},
		{"quoted value", `aws.tag.Name="web 一号"`, true},
		{"quoted in a list", `aws.tag.Name in ("web 一号", b)`, true},
		{"a key named in", "in", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, err := ParseSelector(tt.selector)
			if err != nil {
				t.Fatal(err)
			}
			if got := s.Matches(labels); got != tt.want {
				t.Errorf("%q matches: %v, want %v", tt.selector, got, tt.want)
			}
		})
	}
}

func TestSelectorRefused(t *testing.T) {
	for _, s := range []string{",", "a,", "=b", "!", "a in", "a in b", "a in ()", "a in (b", "a like b", `"a`, "a=b c=d", "a=b=c", "(a)"} {
		if _, err := ParseSelector(s); !errors.Is(err, ErrInvalid) {
			t.Errorf("%q: got %v, want a refusal", s, err)
		}
	}
}

func FuzzParseSelector(f *testing.F) {
	for _, s := range []string{"a=b", "a in (b,c),!d", `"x y"!="z"`, "a notin (", "键=值"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		sel, err := ParseSelector(s)
		if err != nil {
			return
		}
		again, err := ParseSelector(sel.String())
		if err != nil {
			t.Fatalf("%q parses, its own text %q does not: %v", s, sel.String(), err)
		}
		labels := map[string]string{"a": "b"}
		if sel.Matches(labels) != again.Matches(labels) {
			t.Fatalf("%q and %q disagree", s, sel.String())
		}
	})
}
