package eventlog_test

import (
	"context"
	"testing"
	"time"

	"github.com/rialto-bus/rialto/internal/eventlog"
)

func TestNoticesReachWhoListensToTheirTopic(t *testing.T) {
	l, err := eventlog.Open(context.Background(), eventlog.Options{Dir: t.TempDir(), Name: "test"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	got := make(chan string, 2)
	stop, err := l.Notices("rules", func(data []byte) { got <- string(data) })
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	for _, notice := range []struct{ topic, data string }{{"other", "no"}, {"rules", "规则 1"}} {
		if err := l.Notify(notice.topic, []byte(notice.data)); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case data := <-got:
		if data != "规则 1" {
			t.Errorf("got %q", data)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the notice did not arrive")
	}
}
