package resource

import (
	"strings"
	"testing"
)

func TestPatchesChangeAModel(t *testing.T) {
	const have = `{"A":{"B":[1,2]},"N":"书","T":[{"Key":"a"}],"x/y":1,"~":2}`
	for document, want := range map[string]string{
		`[{"op":"add","path":"/C","value":null}]`:                                                      `{"A":{"B":[1,2]},"C":null,"N":"书","T":[{"Key":"a"}],"x/y":1,"~":2}`,
		`[{"op":"replace","path":"/N","value":"🚀<>&"}]`:                                                `{"A":{"B":[1,2]},"N":"🚀<>&","T":[{"Key":"a"}],"x/y":1,"~":2}`,
		`[{"op":"remove","path":"/A"},{"op":"remove","path":"/x~1y"},{"op":"remove","path":"/~0"}]`:    `{"N":"书","T":[{"Key":"a"}]}`,
		`[{"op":"add","path":"/A/B/0","value":0},{"op":"add","path":"/A/B/-","value":3}]`:              `{"A":{"B":[0,1,2,3]},"N":"书","T":[{"Key":"a"}],"x/y":1,"~":2}`,
		`[{"op":"move","from":"/A/B","path":"/B"},{"op":"copy","from":"/T/0","path":"/T/-"}]`:          `{"A":{},"B":[1,2],"N":"书","T":[{"Key":"a"},{"Key":"a"}],"x/y":1,"~":2}`,
		`[{"op":"test","path":"/N","value":"书"},{"op":"add","path":"/Big","value":12345678901234567}]`: `{"A":{"B":[1,2]},"Big":12345678901234567,"N":"书","T":[{"Key":"a"}],"x/y":1,"~":2}`,
	} {
		m := model(t, have)
		got, err := applyPatch(m, document)
		if err != nil {
			t.Errorf("%s: %v", document, err)
			continue
		}
		wantModel(t, document, got, want)
		wantModel(t, "the model before", m, have)
	}
}

func TestBadPatchesAreRefused(t *testing.T) {
	many := "[" + strings.Repeat(`{"op":"add","path":"/N","value":1},`, maxPatchOperations) + `{"op":"remove","path":"/N"}]`
	grow := `[{"op":"add","path":"/L","value":["` + strings.Repeat("x", 1000) + `"]}` + strings.Repeat(`,{"op":"copy","from":"/L","path":"/L/-"}`, 40) + "]"
	for document, want := range map[string]string{
		``:                                     "the JSON ends too early",
		`{}`:                                   "it must be a JSON array of operations, at least one",
		`[]`:                                   "it must be a JSON array of operations, at least one",
		`[1]`:                                  "operation 0 is no JSON object",
		`[{"op":"add"}]`:                       "operation 0: op and path must be given",
		`[{"op":"add","path":"/N"}]`:           "operation 0: add needs a value",
		`[{"op":"add","path":"N","value":1}]`:  `operation 0: path "N" must begin with /`,
		`[{"op":"add","path":"","value":{}}]`:  "operation 0: path must name a property: the model as a whole cannot be replaced",
		`[{"op":"add","path":"/~","value":1}]`: `operation 0: path "/~": ~ stands before 0 or 1 only`,
		`[{"op":"put","path":"/N","value":1}]`: `operation 0: there is no op "put": there are add, remove, replace, move, copy and test`,
		`[{"op":1,"path":"/N","value":1}]`:     "operation 0: json: cannot unmarshal",
		`[{"op":"move","path":"/N"}]`:          "operation 0: move needs from",
		`[{"op":"move","from":"/A","path":"/A/b"}]`:                 "operation 0: a value cannot be moved into itself",
		`[{"op":"remove","path":"/N"},{"op":"remove","path":"/Z"}]`: "operation 1: ",
		`[{"op":"test","path":"/N","value":"x"}]`:                   "operation 0: ",
		`[{"op":"replace","path":"/Z","value":1}]`:                  "operation 0: ",
		`[{"op":"add","path":"/A/B/9","value":1}]`:                  "operation 0: ",
		`[{"op":"add","path":"/A/B/-1","value":1}]`:                 "operation 0: ",
		`[{"op":"add","path":"/N/x","value":1}]`:                    "operation 0: ",
		many:                                                        "it has 1001 operations; 1000 are allowed",
		grow:                                                        "operation ",
	} {
		_, err := applyPatch(model(t, `{"A":{"B":[1,2]},"N":"书"}`), document)
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%.80s:\ngot  %v\nwant %s", document, err, want)
		}
	}
}

func FuzzApplyPatch(f *testing.F) {
	f.Add(`{"A":{"B":[1,2]},"N":"书"}`, `[{"op":"add","path":"/A/B/-","value":{"x":[]}}]`)
	f.Add(`{"A":[[]]}`, `[{"op":"move","from":"/A/0","path":"/B"},{"op":"copy","from":"/B","path":"/A/-"},{"op":"test","path":"/B","value":[]}]`)
	f.Add(`{"A":null}`, `[{"op":"remove","path":"/A"},{"op":"replace","path":"/A/0","value":null}]`)
	f.Fuzz(func(t *testing.T, text, document string) {
		m, err := ParseModel(text)
		if err != nil {
			return
		}
		before := EncodeModel(m)
		patched, err := applyPatch(m, document)
		if EncodeModel(m) != before {
			t.Fatal("the model was changed")
		}
		if err != nil {
			return
		}
		if again, err := ParseModel(EncodeModel(patched)); err != nil || !same(again, patched) {
			t.Fatalf("%s is no model: %v", EncodeModel(patched), err)
		}
	})
}
