package trace

import (
	"context"
	"encoding/json"
	"slices"
	"time"
)

const (
	// topic is that of the questions that nodes put to each other.
	topic = "trace"
	// answerTime is how long other nodes have to answer.
	answerTime = 2 * time.Second
	// registerEvery is how often a node says that it is there.
	registerEvery = time.Hour
)

// question is what a node asks the others.
type question struct {
	ID string `json:"id"`
}

// gathered is what all nodes recorded of an id.
type gathered struct {
	found  []Found
	silent []string // nodes that did not answer
}

// Run tells other nodes what this one recorded, until ctx ends.
func (t *Traces) Run(ctx context.Context) error {
	if !t.Cluster {
		<-ctx.Done()
		return ctx.Err()
	}
	stop, err := t.Log.Answer(topic, func(b []byte) []byte { return t.answer(ctx, b) })
	if err != nil {
		return err
	}
	defer stop()
	pause := time.NewTicker(registerEvery)
	defer pause.Stop()
	for {
		if err := t.nodes.register(ctx, t.Node); err != nil && ctx.Err() == nil {
			t.Logger.Warn("traces asked of other nodes may lack what this one does", "error", err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-pause.C:
		}
	}
}

// answer answers another node's question; nil, which is no answer, if it cannot.
func (t *Traces) answer(ctx context.Context, b []byte) []byte {
	var q question
	if err := json.Unmarshal(b, &q); err != nil || len(q.ID) > maxID {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	found, err := t.own(ctx, q.ID)
	if err != nil {
		t.Logger.Warn("what was recorded of an event cannot be told another node", "event", q.ID, "error", err)
		return nil
	}
	for {
		reply, err := json.Marshal(found)
		if err != nil {
			return nil
		}
		if len(reply) <= t.Log.MaxAnswerBytes() {
			return reply
		}
		half := len(found.Entries) / 2
		found.More += len(found.Entries) - half
		found.Entries = found.Entries[:half]
	}
}

// own returns what this node recorded of an id.
func (t *Traces) own(ctx context.Context, id string) (Found, error) {
	if t.Recorder == nil {
		return Found{Node: t.Node, Off: true}, nil
	}
	return t.Recorder.find(ctx, id, maxEntries)
}

// ask returns what all nodes recorded of an id. The nodes in unheard are not waited for.
func (t *Traces) ask(ctx context.Context, id string, unheard []string) (gathered, error) {
	own, err := t.own(ctx, id)
	if err != nil {
		return gathered{}, err
	}
	g := gathered{found: []Found{own}}
	if !t.Cluster {
		return g, nil
	}
	nodes, err := t.nodes.all(ctx, t.Now())
	if err != nil {
		return g, err
	}
	g.silent = slices.DeleteFunc(nodes, func(n string) bool { return n == t.Node || slices.Contains(unheard, n) })
	if len(g.silent) == 0 {
		return g, nil
	}
	q, err := json.Marshal(question{ID: id})
	if err != nil {
		return g, err
	}
	wait, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	err = t.Log.Ask(wait, topic, q, func(answer []byte) bool {
		var f Found
		if json.Unmarshal(answer, &f) == nil && f.Node != t.Node {
			g.found = append(g.found, f)
			g.silent = slices.DeleteFunc(g.silent, func(n string) bool { return n == f.Node })
		}
		return len(g.silent) == 0
	})
	return g, err
}
