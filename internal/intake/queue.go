package intake

import (
	"regexp"

	"github.com/rialto-bus/rialto/internal/cloud"
	"github.com/rialto-bus/rialto/internal/httpapi"
)

// messageIDForm is that of SQS's message ids. AWS: at most 100 characters.
var messageIDForm = regexp.MustCompile(`^[!-~]{1,100}$`)

// parseQueue reads the ARN of a queue, or its URL at AWS.
func parseQueue(text string) (cloud.Queue, error) {
	q, err := cloud.ParseQueue(text)
	if err != nil {
		return q, httpapi.Invalid("%s.", err)
	}
	return q, nil
}
