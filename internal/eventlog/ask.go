package eventlog

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
)

// askSubject begins the subjects of questions.
const askSubject = "rialto.ask."

// Ask puts a question, of at most a few hundred bytes, to all nodes of the log, this
// one included, and hands each answer to take until take reports that it has enough
// or ctx ends. Nobody knows here how many will answer: ctx is what bounds the wait,
// and its end is not an error.
func (l *Log) Ask(ctx context.Context, topic string, question []byte, take func(answer []byte) (enough bool)) error {
	answers, err := l.nc.SubscribeSync(l.nc.NewInbox())
	if err != nil {
		return fmt.Errorf("ask nodes for %s: %w", topic, err)
	}
	defer func() { _ = answers.Unsubscribe() }() // fails only when the connection is closed
	if err := l.nc.PublishRequest(askSubject+topic, answers.Subject, question); err != nil {
		return fmt.Errorf("ask nodes for %s: %w", topic, err)
	}
	for {
		msg, err := answers.NextMsgWithContext(ctx)
		switch {
		case ctx.Err() != nil, errors.Is(err, nats.ErrNoResponders):
			return nil
		case err != nil:
			return fmt.Errorf("ask nodes for %s: %w", topic, err)
		}
		if take(msg.Data) {
			return nil
		}
	}
}

// Answer answers the questions of a topic, one after another, until stop is called,
// which returns when the last answer is given. No answer may pass MaxAnswerBytes; nil
// is none.
func (l *Log) Answer(topic string, answer func(question []byte) []byte) (stop func(), err error) {
	sub, err := l.nc.Subscribe(askSubject+topic, func(m *nats.Msg) {
		if reply := answer(m.Data); reply != nil {
			_ = m.Respond(reply) // whoever asked sees that an answer is missing
		}
	})
	if err != nil {
		return nil, fmt.Errorf("answer questions for %s: %w", topic, err)
	}
	ended := make(chan struct{})
	sub.SetClosedHandler(func(string) { close(ended) })
	return func() {
		if err := sub.Drain(); err == nil {
			<-ended
		}
	}, nil
}

// MaxAnswerBytes is the most that an answer may hold.
func (l *Log) MaxAnswerBytes() int { return int(l.nc.MaxPayload()) - payloadOverhead }
