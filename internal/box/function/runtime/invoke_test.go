package runtime

import (
	"strings"
	"testing"
)

func TestWarmProcessIsReused(t *testing.T) {
	r, fn := newRig(t), compiled(t)
	var first, second who
	cold := r.answer(t, fn, `{"do":"who"}`, &first)
	warm := r.answer(t, fn, `{"do":"who"}`, &second)
	if first.PID != second.PID || second.Calls != 2 {
		t.Errorf("first %+v, second %+v", first, second)
	}
	if cold.Init == 0 || warm.Init != 0 {
		t.Errorf("Init of the first %s, of the second %s", cold.Init, warm.Init)
	}
}

func TestAnswerIsWhatTheFunctionSays(t *testing.T) {
	r, fn := newRig(t), compiled(t)
	for _, payload := range []string{
		`{"do":"echo","text":"plain"}`,
		`{"do":"echo","text":"库存 📦 ünïcode"}`,
		`{"do":"echo","text":"` + strings.Repeat("long ", 1<<20) + `"}`,
	} {
		if out := r.run(t, fn, payload); out.FunctionError != "" || string(out.Payload) != payload {
			t.Errorf("%.60s: %s %.60s", payload, out.FunctionError, out.Payload)
		}
	}
}
