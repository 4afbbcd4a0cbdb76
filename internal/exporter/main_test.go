package exporter

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/rialto-bus/rialto/internal/jq"
)

func TestMain(m *testing.M) {
	jq.Main()
	goleak.VerifyTestMain(m)
}
