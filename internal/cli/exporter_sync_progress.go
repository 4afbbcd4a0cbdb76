package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/mattn/go-isatty"
)

const (
	// progressPoll is how often a run that is waited for is looked at.
	progressPoll = 300 * time.Millisecond
	// rateOver is the time over which a rate is measured.
	rateOver = 5 * time.Second
	// shownKinds bounds the bars on a screen.
	shownKinds = 20
	// A line that is longer than screenWidth would be two on many a screen.
	screenWidth = 80
	barWidth    = 16
	nameWidth   = 32
)

// followSync waits until a run ends, shows how it fares meanwhile, and prints it.
func followSync(ctx context.Context, s *streams, c *client, id string) error {
	p := newProgress(s.err)
	tick := time.NewTicker(progressPoll)
	defer tick.Stop()
	for {
		var run shown[exporterRun]
		if err := c.do(ctx, http.MethodGet, runPath(id), nil, &run); err != nil {
			return err
		}
		p.show(&run.row, time.Now())
		if run.row.over() {
			p.end()
			return errors.Join(printExporterRun(s, run), run.row.failure())
		}
		select {
		case <-ctx.Done():
			p.end()
			return fmt.Errorf("full sync %s goes on: 'rialto exporter sync cancel %s' would stop it: %w", id, id, ctx.Err())
		case <-tick.C:
		}
	}
}

// progress shows how the kinds of a run fare: as bars on a terminal, elsewhere as a line
// for each kind that is over.
type progress struct {
	out      io.Writer
	terminal bool
	drawn    int // lines on the screen
	why      string
	seen     map[string][]listedAt
	told     map[string]bool
}

// listedAt is how many resources were listed at a time.
type listedAt struct {
	at     time.Time
	listed int64
}

func newProgress(out io.Writer) *progress {
	f, ok := out.(*os.File)
	return &progress{out: out, terminal: ok && isatty.IsTerminal(f.Fd()), seen: map[string][]listedAt{}, told: map[string]bool{}}
}

func (p *progress) show(run *exporterRun, now time.Time) {
	if p.terminal {
		p.draw(run, now)
		return
	}
	if why := text(run.Error); why != p.why && !run.over() {
		if p.why = why; why != "" {
			fmt.Fprintln(p.out, plain(why))
		}
	}
	for i := range run.Kinds {
		k := &run.Kinds[i]
		if k.over() && !p.told[k.Kind] {
			p.told[k.Kind] = true
			fmt.Fprintln(p.out, plain(k.line()))
		}
	}
}

// line is what is told of a kind that is over.
func (k *syncKind) line() string {
	line := fmt.Sprintf("%s: %d listed, %d created, %d updated, %d removed, %s", k.name(), k.Listed, k.Created, k.Updated, k.Removed, counted(k.errors(), "error"))
	if k.Held > 0 {
		line += fmt.Sprintf(", %d held", k.Held)
	}
	if k.StartedAt != nil && k.FinishedAt != nil {
		line += " in " + took(k.StartedAt, k.FinishedAt)
	}
	return line
}

// draw writes a bar for each kind over those that it wrote before.
func (p *progress) draw(run *exporterRun, now time.Time) {
	lines := []string{fmt.Sprintf("full sync %s: %s, %d of %s done", run.ID, run.Status, run.ScopesDone, counted(run.Scopes, "scope"))}
	if run.Error != nil && !run.over() {
		lines = append(lines, cut(*run.Error, screenWidth))
	}
	hidden := 0
	for i := range run.Kinds {
		k := &run.Kinds[i]
		rate := p.rate(k, now)
		if len(lines) > shownKinds {
			hidden++
			continue
		}
		lines = append(lines, k.bar(rate))
	}
	if hidden > 0 {
		lines = append(lines, fmt.Sprintf("and %s more", counted(hidden, "kind")))
	}
	p.clear()
	for _, line := range lines {
		fmt.Fprintf(p.out, "%s\n", plain(line))
	}
	p.drawn = len(lines)
}

// clear takes what was drawn off the screen.
func (p *progress) clear() {
	if p.drawn > 0 {
		fmt.Fprintf(p.out, "\x1b[%dA\x1b[J", p.drawn)
		p.drawn = 0
	}
}

// end leaves the screen to the result.
func (p *progress) end() { p.clear() }

// rate is how many resources of a kind are listed in a second, of late.
func (p *progress) rate(k *syncKind, now time.Time) float64 {
	list := append(p.seen[k.Kind], listedAt{now, k.Listed})
	for len(list) > 2 && now.Sub(list[0].at) > rateOver {
		list = list[1:]
	}
	p.seen[k.Kind] = list
	first := list[0]
	if seconds := now.Sub(first.at).Seconds(); seconds > 0 {
		return float64(k.Listed-first.listed) / seconds
	}
	return 0
}

// cut shortens a text to so many characters.
func cut(text string, width int) string {
	if r := []rune(text); len(r) > width {
		return string(r[:width-1]) + "…"
	}
	return text
}

// bar is a kind's line on the screen, narrow enough for 80 columns.
func (k *syncKind) bar(rate float64) string {
	name := cut(k.name(), nameWidth)
	share := 0.0
	switch {
	case k.over():
		share = 1
	case k.Expected > 0:
		share = min(float64(k.Listed)/float64(k.Expected), 0.99)
	}
	filled := int(share * barWidth)
	bar := strings.Repeat("#", filled) + strings.Repeat("-", barWidth-filled)
	line := fmt.Sprintf("%-*s [%s] %d", nameWidth, name, bar, k.Listed)
	switch {
	case k.over() && k.StartedAt != nil && k.FinishedAt != nil:
		line += " in " + took(k.StartedAt, k.FinishedAt)
	case !k.over() && rate > 0:
		line += fmt.Sprintf(" %.0f/s", rate)
		if left := k.Expected - k.Listed; left > 0 {
			line += " ETA " + time.Duration(float64(left)/rate*float64(time.Second)).Round(time.Second).String()
		}
	}
	if n := k.errors(); n > 0 {
		line += " " + counted(n, "error")
	}
	return line
}
