package eventpattern

import (
	"fmt"
	"strings"
	"testing"
)

func TestWildcardsThatAreTooComplexAreRefused(t *testing.T) {
	list := func(n int, format string) string {
		var all []string
		for i := range n {
			all = append(all, fmt.Sprintf(`{"wildcard":"`+format+`"}`, i))
		}
		return strings.Join(all, ",")
	}
	for _, tc := range []struct {
		name, alternatives string
		refused            bool
	}{
		{"five repeated sequences after a star", `{"wildcard":"*a*a*a*a*a"}`, false},
		{"five and a star at the end", `{"wildcard":"*:*:*:*:*:event-bus/*"}`, true},
		{"ten", `{"wildcard":"*a*a*a*a*a*a*a*a*a*a"}`, true},
		{"thirty alternatives", list(30, "%d*x"), true},
		{"ten alternatives", list(10, "%d*x"), false},
		{"eleven alternatives", list(11, "%d*x"), true},
		{"the same alternative many times", strings.Repeat(`{"wildcard":"*x*"},`, 20) + `1`, false},
		{"anything-but counts too", `{"anything-but":{"wildcard":"*a*a*a*a*a*a*a"}}`, true},
		{"without a star", strings.Repeat(`{"wildcard":"x"},`, 20) + `1`, false},
		{"a long text after the star", `{"wildcard":"*` + strings.Repeat("ab", 1500) + `c"}`, true},
		{"a long text that does not repeat", `{"wildcard":"*arn:aws:lambda:eu-central-1:123456789012:function/*/version"}`, false},
		{"Chinese", `{"wildcard":"*服务器*已启动*"}`, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := Compile([]byte(`{"detail":{"x":[` + tc.alternatives + `]}}`))
			if refused := err != nil; refused != tc.refused {
				t.Fatalf("error %v, want refused: %v", err, tc.refused)
			}
			if err != nil && err.Error() != tooManyWildcards {
				t.Fatalf("error %q", err)
			}
		})
	}
}

func TestWildcardsOfDifferentFieldsDoNotAddUp(t *testing.T) {
	var fields []string
	for i := range 20 {
		fields = append(fields, fmt.Sprintf(`"f%d":[{"wildcard":"*a*a*a*a*a"}]`, i))
	}
	if _, err := Compile([]byte("{" + strings.Join(fields, ",") + "}")); err != nil {
		t.Fatal(err)
	}
}
