package app

import (
	"context"
	"path/filepath"

	"github.com/rialto-bus/rialto/internal/delivery"
	"github.com/rialto-bus/rialto/internal/trace"
)

// openRecorder opens what records what becomes of events, unless that is switched
// off.
func (a *App) openRecorder(h hooks) (err error) {
	if a.config.TraceBytes == 0 {
		return nil
	}
	a.recorder, err = trace.OpenRecorder(trace.RecorderOptions{
		Dir: filepath.Join(a.config.DataDir, "traces"), Bytes: a.config.TraceBytes, Node: a.node, Logger: a.logger, Now: h.now,
	})
	return err
}

// tracer is the recorder as delivery knows it.
func (a *App) tracer() delivery.Tracer {
	if a.recorder == nil {
		return nil
	}
	return a.recorder
}

func (a *App) makeTraces(h hooks) {
	a.traces = trace.New(trace.Options{
		Recorder: a.recorder, DB: a.db, Log: a.log, Rules: a.buses, Deliveries: a.delivery,
		Node: a.node, Cluster: a.config.NATS != "", Logger: a.logger, Now: h.now,
	})
}

// runTraces starts the recorder, which must outlive what it records.
func (a *App) runTraces(ctx context.Context) {
	if a.recorder != nil {
		a.start(ctx, "recorder", a.recorder.Run)
	}
	a.start(ctx, "traces", a.traces.Run)
}
