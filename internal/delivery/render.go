package delivery

import (
	"bytes"
	"errors"

	"github.com/rialto-bus/rialto/inputtransform"
	"github.com/rialto-bus/rialto/internal/target"
)

// render makes what the target gets of the event, unless that was made before. AWS:
// an event of which the target's template makes no JSON is not sent, not tried
// again, and dead-lettered with the text that it came out as.
func (p *pair) render() {
	if p.body != nil {
		return
	}
	body, err := p.sub.Render(&p.rec)
	if err == nil {
		if !bytes.Equal(body, p.rec.JSON) {
			p.change(func(past *past) { past.body = body })
		}
		return
	}
	broken, ok := errors.AsType[*inputtransform.InvalidJSONError](err)
	if !ok {
		p.failed(&target.Failure{Code: target.CodeInvalidParameter, Message: "The target's input cannot be made: " + err.Error()})
		return
	}
	p.change(func(past *past) {
		past.body = append([]byte{}, broken.Body...)
		past.failure = &target.Failure{Code: target.CodeInvalidJSON, Message: "Invalid input for target."}
	})
}
