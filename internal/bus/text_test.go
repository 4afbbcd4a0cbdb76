package bus

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/awsapi/awsapitest"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/events"
)

// PostgreSQL does not keep the character U+0000. The lines of testdata/texts.txt
// are calls with every text that a caller can give.
func TestNoTextFailsTheDatabase(t *testing.T) {
	t.Parallel()
	file, err := os.ReadFile("testdata/texts.txt")
	if err != nil {
		t.Fatal(err)
	}
	inputs := map[string][]string{}
	for line := range strings.Lines(string(file)) {
		name, input, _ := strings.Cut(line, " ")
		inputs[name] = append(inputs[name], input)
	}
	onBoth(t, func(t *testing.T, x *fixture) {
		putRule(t, x, defaultRef, "r", `{"source":["a"]}`)
		for _, op := range events.API.Operations {
			if len(inputs[op.Name]) == 0 && !slices.Contains(notServed, op.Name) {
				t.Errorf("no call of %s", op.Name)
			}
			for _, input := range inputs[op.Name] {
				for what, in := range awsapitest.Spoiled(t, op, input, "\x00") {
					_, err := x.aws.Invoke(t.Context(), awsapi.Caller{Account: testAccount, Region: testRegion, Role: "admin"}, "events", op.Name, in)
					if refusal, ok := errors.AsType[*awsapi.Error](err); err != nil && (!ok || refusal.Fault) {
						t.Errorf("%s: %v", what, err)
					}
				}
			}
		}
	})
}
