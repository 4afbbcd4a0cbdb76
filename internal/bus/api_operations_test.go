package bus

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/events"
	"github.com/rialto-bus/rialto/internal/store/storetest"
)

// notServed are the operations of AWS's model that are not served, by name:
// sources of partners, global endpoints.
var notServed = []string{
	"ActivateEventSource", "CreatePartnerEventSource", "DeactivateEventSource", "DeletePartnerEventSource", "DescribeEventSource",
	"DescribePartnerEventSource", "ListEventSources", "ListPartnerEventSourceAccounts", "ListPartnerEventSources", "PutPartnerEvents",

	"CreateEndpoint", "DeleteEndpoint", "DescribeEndpoint", "ListEndpoints", "UpdateEndpoint",
}

func TestEachOperationIsServedOrSaidNotToBe(t *testing.T) {
	t.Parallel()
	x := open(t, storetest.SQLite(t))
	ctx := awsapi.WithCaller(t.Context(), awsapi.Caller{Account: testAccount, Region: testRegion})
	var unknown []string
	for _, op := range events.API.Operations {
		if _, err := op.Invoke(ctx, x.AWS(), op.New()); awsapi.HasCode(err, "UnknownOperationException") {
			unknown = append(unknown, op.Name)
		}
	}
	slices.Sort(unknown)
	if diff := cmp.Diff(slices.Sorted(slices.Values(notServed)), unknown); diff != "" {
		t.Errorf("operations that are not served (-listed +found):\n%s", diff)
	}
}
