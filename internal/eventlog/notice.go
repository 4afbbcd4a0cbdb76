package eventlog

import (
	"fmt"

	"github.com/nats-io/nats.go"
)

// noticeSubject begins the subjects of notices.
const noticeSubject = "rialto.notice."

// Notify tells all nodes of the log, this one included, what happened: data, of
// at most a few hundred bytes. Notices are not stored: a node that is not
// connected misses them, so they may only hurry what is found out anyway.
func (l *Log) Notify(topic string, data []byte) error {
	if err := l.nc.Publish(noticeSubject+topic, data); err != nil {
		return fmt.Errorf("notify nodes of %s: %w", topic, err)
	}
	return nil
}

// Notices calls handle for each notice of a topic, one after another, until stop
// is called. handle should not block for long.
func (l *Log) Notices(topic string, handle func(data []byte)) (stop func(), err error) {
	sub, err := l.nc.Subscribe(noticeSubject+topic, func(m *nats.Msg) { handle(m.Data) })
	if err != nil {
		return nil, fmt.Errorf("listen to notices of %s: %w", topic, err)
	}
	return func() {
		_ = sub.Unsubscribe() // fails only when the connection is closed
	}, nil
}
