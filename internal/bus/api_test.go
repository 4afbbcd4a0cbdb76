package bus

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
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

// TestAPI plays the conversations in testdata/api: "> Operation input", then
// "< output" or "! Code: message", which hold on both databases. "@ account region"
// changes the caller. An id that is made up shows as <id>; <name> takes what
// "= name" after an answer saved: the answer's first ARN.
func TestAPI(t *testing.T) {
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

type conversation struct {
	*fixture
	account, region string
	answer          string
	saved           []string // <name>, value, …
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
	checked := true
	for i, line := range strings.Split(string(text), "\n") {
		where := fmt.Sprintf("%s:%d", filepath.Base(file), i+1)
		mark, rest, _ := strings.Cut(strings.NewReplacer(c.saved...).Replace(line), " ")
		switch mark {
		case ">":
			if !checked {
				t.Errorf("%s: the answer before %s is not checked: %s", where, line, c.answer)
			}
			op, in, _ := strings.Cut(rest, " ")
			c.answer, checked = c.call(t, where, op, in), false
		case "<", "!":
			checked = true
			want := mark + " " + rest
			if mark == "<" {
				want = "< " + compact(t, where, rest)
			}
			if got := madeUpID.ReplaceAllString(c.answer, "<id>"); got != madeUpID.ReplaceAllString(want, "<id>") {
				t.Errorf("%s: wrong answer (-want +got):\n%s", where, cmp.Diff(want, got))
			}
		case "=":
			c.saved = append(c.saved, "<"+rest+">", firstARN.FindString(c.answer))
		case "@":
			c.account, c.region, _ = strings.Cut(rest, " ")
		case "", "#":
		default:
			t.Fatalf("%s: what is %q?", where, line)
		}
	}
	if !checked {
		t.Errorf("%s: the last answer is not checked: %s", file, c.answer)
	}
}

func (c *conversation) call(t *testing.T, where, name, body string) string {
	t.Helper()
	for _, op := range events.API.Operations {
		if op.Name != name {
			continue
		}
		in := op.New()
		if err := awsapi.DecodeJSON(op.Input, []byte(body), in); err != nil {
			t.Fatalf("%s: %v", where, err)
		}
		caller := awsapi.Caller{Account: c.account, Region: c.region, Role: "admin"}
		out, err := c.aws.Invoke(t.Context(), caller, "events", name, in)
		var refused *awsapi.Error
		if errors.As(err, &refused) {
			return "! " + refused.Error()
		}
		if err != nil {
			t.Fatalf("%s: %v", where, err)
		}
		return "< " + string(awsapi.EncodeJSON(op.Output, out))
	}
	t.Fatalf("%s: no operation %q", where, name)
	return ""
}

func compact(t *testing.T, where, text string) string {
	var out bytes.Buffer
	if err := json.Compact(&out, []byte(text)); err != nil {
		t.Fatalf("%s: %v", where, err)
	}
	return out.String()
}
