package bus

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/events"
	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/store/storetest"
)

var update = flag.Bool("update", false, "write the answers into testdata/api, to be read before they are believed")

// TestAPI plays the conversations in testdata/api, which hold on both databases:
// "> Operation input", then "< output" or "! Code: message". "@ account region"
// changes the caller. "= name" after an answer saves its first ARN, which <name>
// then stands for; an id that is made up shows as <id>, a line's end in a message as \n.
func TestAPI(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/api/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no conversations", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			storetest.Run(t, func(t *testing.T, db *store.DB) { play(t, open(t, db), file) })
		})
	}
}

// conversation is one caller's calls and what was saved of their answers.
type conversation struct {
	*fixture
	account, region string
	answer          string
	saved           []string // value, <name>, …
}

var (
	madeUpID = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}(-[A-Za-z0-9]{6})?`)
	firstARN = regexp.MustCompile(`arn:[^"]+`)
)

func play(t *testing.T, x *fixture, file string) {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	c := &conversation{fixture: x, account: testAccount, region: testRegion}
	var played []string
	for line := range strings.SplitSeq(strings.TrimSpace(string(text)), "\n") {
		mark, rest, _ := strings.Cut(line, " ")
		switch mark {
		case "<", "!":
			continue
		case ">":
			played = append(played, line, c.call(t, line))
			continue
		case "=":
			c.saved = append(c.saved, firstARN.FindString(c.answer), "<"+rest+">")
		case "@":
			c.account, c.region, _ = strings.Cut(rest, " ")
		case "", "#":
		default:
			t.Fatalf("%s: what is %q?", file, line)
		}
		played = append(played, line)
	}
	got := strings.Join(played, "\n") + "\n"
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(strings.Split(string(text), "\n"), strings.Split(got, "\n")); diff != "" {
		t.Errorf("%s (-want +got):\n%s", file, diff)
	}
}

// call makes the call on a line and returns the answer's line.
func (c *conversation) call(t *testing.T, line string) string {
	t.Helper()
	var back []string
	for i := 0; i < len(c.saved); i += 2 {
		back = append(back, c.saved[i+1], c.saved[i])
	}
	name, body, _ := strings.Cut(strings.NewReplacer(back...).Replace(line[2:]), " ")
	for _, op := range events.API.Operations {
		if op.Name == name {
			c.answer = c.invoke(t, line, op, body)
			return madeUpID.ReplaceAllString(strings.NewReplacer(c.saved...).Replace(c.answer), "<id>")
		}
	}
	t.Fatalf("no operation %q", name)
	return ""
}

func (c *conversation) invoke(t *testing.T, line string, op awsapi.Operation, body string) string {
	t.Helper()
	in := op.New()
	if err := awsapi.DecodeJSON(op.Input, []byte(body), in); err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	caller := awsapi.Caller{Account: c.account, Region: c.region, Role: "admin"}
	out, err := c.aws.Invoke(t.Context(), caller, "events", op.Name, in)
	if refused, ok := errors.AsType[*awsapi.Error](err); ok {
		return "! " + strings.ReplaceAll(refused.Error(), "\n", `\n`)
	}
	if err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	return "< " + string(awsapi.EncodeJSON(op.Output, out))
}
