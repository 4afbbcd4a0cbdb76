package cli

import (
	"bytes"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func TestABarForEachKindOnATerminal(t *testing.T) {
	start := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	end := start.Add(90 * time.Second)
	run := exporterRun{ID: "d9e2", Status: "running", Kinds: []syncKind{
		{Kind: "AWS::SQS::Queue", syncCounts: syncCounts{Scopes: 2, ScopesDone: 2, Listed: 40}, StartedAt: &start, FinishedAt: &end},
		{Kind: "AWS::ElasticLoadBalancingV2::LoadBalancer", syncCounts: syncCounts{Scopes: 4, Expected: 1000, Listed: 100, Failed: 3}},
		{Kind: "", syncCounts: syncCounts{Scopes: 1}},
	}}
	var out bytes.Buffer
	p := newProgress(&out)
	p.terminal = true
	p.show(&run, start)
	run.Kinds[1].Listed = 400
	out.Reset()
	p.show(&run, start.Add(2*time.Second))
	text := out.String()
	for _, want := range []string{
		"\x1b[4A\x1b[J", "AWS::SQS::Queue                  [################] 40 in 1m30s",
		"AWS::ElasticLoadBalancingV2::Lo… [######----------] 400 150/s ETA 4s 3 errors", "(of no known resource)           [----------------] 0",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%q", want, text)
		}
	}
	for line := range strings.SplitSeq(text, "\n") {
		if n := utf8.RuneCountInString(strings.TrimPrefix(line, "\x1b[4A\x1b[J")); n > 80 {
			t.Errorf("a line of %d characters: %s", n, line)
		}
	}
	out.Reset()
	if p.end(); out.String() != "\x1b[4A\x1b[J" {
		t.Errorf("the end leaves %q", out.String())
	}
}

func TestWhatKeepsARunFromGoingOnIsShown(t *testing.T) {
	why := "it will be tried again: Port cannot be reached: " + strings.Repeat("x", 200)
	run := exporterRun{ID: "d9e2", Status: "running", Error: &why, Kinds: []syncKind{{Kind: "AWS::SQS::Queue", syncCounts: syncCounts{Scopes: 1}}}}
	var out bytes.Buffer
	p := newProgress(&out)
	p.terminal = true
	p.show(&run, time.Now())
	lines := strings.Split(out.String(), "\n")
	if len(lines) != 4 || !strings.HasPrefix(lines[1], "it will be tried again") || utf8.RuneCountInString(lines[1]) != screenWidth {
		t.Errorf("the screen is %q", lines)
	}
	out.Reset()
	p = newProgress(&out)
	for range 2 {
		p.show(&run, time.Now())
	}
	run.Error = nil
	p.show(&run, time.Now())
	run.Error = &why
	p.show(&run, time.Now())
	if want := why + "\n" + why + "\n"; out.String() != want {
		t.Errorf("elsewhere it says %q, want %q", out.String(), want)
	}
}

func TestALineForEachKindElsewhere(t *testing.T) {
	run := exporterRun{Kinds: []syncKind{
		{Kind: "AWS::SQS::Queue", syncCounts: syncCounts{Scopes: 2, ScopesDone: 2, Listed: 40, Created: 2, Held: 1}},
		{Kind: "AWS::SNS::Topic", syncCounts: syncCounts{Scopes: 2, ScopesDone: 1}},
	}}
	var out bytes.Buffer
	p := newProgress(&out)
	p.show(&run, time.Now())
	p.show(&run, time.Now())
	if want := "AWS::SQS::Queue: 40 listed, 2 created, 0 updated, 0 removed, 0 errors, 1 held\n"; out.String() != want {
		t.Errorf("it says %q, want %q", out.String(), want)
	}
}

func TestManyKindsDoNotFillTheScreen(t *testing.T) {
	run := exporterRun{Kinds: make([]syncKind, 3*shownKinds)}
	var out bytes.Buffer
	p := newProgress(&out)
	p.terminal = true
	p.show(&run, time.Now())
	if n := strings.Count(out.String(), "\n"); n > shownKinds+2 || n != p.drawn {
		t.Errorf("%d lines were drawn", n)
	}
	if !strings.Contains(out.String(), "and 40 kinds more") {
		t.Error("it does not say that there are more")
	}
}
