package function

import (
	"context"
	"strconv"
	"time"

	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/lambda"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/sqs"
)

// AWS's limits of batches from queues.
const (
	defaultBatch = 10
	// maxPlainBatch is the most messages of a FIFO queue, and of a standard one where none
	// are waited for.
	maxPlainBatch = 10
)

// mappingSettings are what a mapping was told, as they are kept.
type mappingSettings struct {
	// Batch is how many messages a function gets at most, Window for how many seconds they
	// are waited for.
	Batch  int `json:"batch"`
	Window int `json:"window,omitempty"`
	// Concurrency is how many batches run at once at most; 0 if that was not said.
	Concurrency int      `json:"concurrency,omitempty"`
	Filters     []string `json:"filters,omitempty"`
	// ReportFailures: the function's answer says which messages it failed.
	ReportFailures bool `json:"reportFailures,omitempty"`
}

// check checks the settings for the queue.
func (s *mappingSettings) check(source queueARN) error {
	switch {
	case source.fifo() && s.Window > 0:
		return errParameter("Batching window is not supported for FIFO queues")
	case source.fifo() && s.Batch > maxPlainBatch:
		return errParameter("Batch size of a FIFO queue must be between 1 and %d", maxPlainBatch)
	case s.Batch > maxPlainBatch && s.Window < 1:
		return errParameter("Maximum batch window in seconds must be greater than 0 if maximum batch size is greater than 10")
	case len(s.Filters) > maxFilters:
		return errParameter("FilterCriteria can have at most %d filters, not %d", maxFilters, len(s.Filters))
	}
	if _, err := compileFilter(s.Filters); err != nil {
		return errParameter("%v", err)
	}
	return nil
}

// checkMapping checks the mapping with the function and the queue that it names, both
// of which must be there if it is to be enabled or is new.
func (f *Functions) checkMapping(ctx context.Context, m *Mapping) error {
	if err := m.settings.check(m.Source); err != nil {
		return err
	}
	if m.Source.region != m.Function.Region {
		return errParameter("The queue %s is in another region than the function, %s", m.Source, m.Function.Region)
	}
	if m.id != 0 && !m.Enabled {
		return nil
	}
	fn, err := f.find(ctx, m.Function)
	if awsapi.HasCode(err, lambda.CodeResourceNotFoundException) {
		return errParameter("Function does not exist")
	}
	if err != nil {
		return err
	}
	visibility, err := f.queueVisibility(ctx, m)
	if err != nil {
		return queueRefused(err)
	}
	if timeout := fn.timeout(); visibility < timeout {
		return errParameter("Queue visibility timeout: %d seconds is less than Function timeout: %d seconds",
			int(visibility/time.Second), int(timeout/time.Second))
	}
	return nil
}

// queueVisibility asks the mapping's queue for its visibility timeout. Its errors are those of SQS.
func (f *Functions) queueVisibility(ctx context.Context, m *Mapping) (time.Duration, error) {
	out, err := f.o.Queues.GetQueueAttributes(asFunction(ctx, m.Function, "sqs", "GetQueueAttributes"), &sqs.GetQueueAttributesInput{
		QueueUrl: new(m.Source.url()), AttributeNames: []string{sqs.QueueAttributeNameVisibilityTimeout},
	})
	if err != nil {
		return 0, err
	}
	seconds, err := strconv.Atoi(out.Attributes[sqs.QueueAttributeNameVisibilityTimeout])
	if err != nil {
		return 0, err
	}
	return time.Duration(seconds) * time.Second, nil
}

// queueRefused is how AWS tells that a mapping's queue could not be asked.
func queueRefused(err error) error {
	if text, refused := queueProblem(err); refused {
		return errParameter("%s", text)
	}
	return err
}
