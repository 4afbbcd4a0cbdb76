package cli

import (
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/rialto-bus/rialto/internal/app"
)

func TestTheOperatingGuideNamesEverySetting(t *testing.T) {
	guide, err := os.ReadFile("../../docs/operating.md")
	if err != nil {
		t.Fatal(err)
	}
	flags := regexp.MustCompile(`(?m)^ +(--[a-z-]+)`).FindAllStringSubmatch(newServe(&streams{}).Flags().FlagUsages(), -1)
	if len(flags) < 10 {
		t.Fatalf("found %d flags", len(flags))
	}
	for _, f := range flags {
		if !strings.Contains(string(guide), "`"+f[1]) {
			t.Errorf("docs/operating.md does not name %s", f[1])
		}
	}
	for field := range reflect.TypeFor[app.Config]().Fields() {
		if name := field.Tag.Get("env"); !strings.Contains(string(guide), "`"+name+"`") {
			t.Errorf("docs/operating.md does not name %s", name)
		}
	}
}
