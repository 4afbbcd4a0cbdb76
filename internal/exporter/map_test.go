package exporter

import (
	"strings"
	"testing"
	"time"

	"github.com/rialto-bus/rialto/internal/store/storetest"
)

func TestTheExpressionsOfOneResourceHaveSoMuchTimeTogether(t *testing.T) {
	t.Parallel()
	w := newWorld(t, storetest.SQLite(t))
	const endless = `if .Size > 1 then last(repeat(1)) else .Size end`
	w.configure(`{"resources": [{"kind": "AWS::Test::Thing", "port": {"entity": {"mappings": [
		{"identifier": ".Name", "blueprint": "thing", "properties": {"size": "` + endless + `"}},
		{"identifier": ".Name", "blueprint": "thing", "properties": {"arn": ".Arn"}}]}}}]}`)
	w.cloud.put(thing("quick"), 1)
	w.cloud.put(thing("slow"), 1)
	w.apply([]Read{w.look(thing("slow")), w.look(thing("quick"))}, Created, Created)
	w.cloud.put(thing("slow"), 2)
	w.x.mapTime = 100 * time.Millisecond // shorter than one expression has
	out := w.apply([]Read{w.look(thing("slow"))}, Failed)
	if err := out[0].Err; !strings.Contains(err.Error(), errMapTime.Error()) || !out[0].Retry {
		t.Errorf("the error is %v, to be tried again %v", err, out[0].Retry)
	}
	w.wantThings(map[string]any{"quick": 1.0, "slow": 1.0})
}
