package awsapi

import (
	"crypto/tls"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/rialto-bus/rialto/internal/event"
)

// The sizes of parts of a CloudTrail record, in bytes. AWS: a record has at most 100 KB of
// parameters and 100 KB of response, which are left out as a whole where they are
// larger, and texts of 1 KB, which are cut.
const (
	maxTrailPart = 100 << 10
	maxTrailText = 1 << 10
)

// trailDetailType is the detail-type of every recorded call.
const trailDetailType = "AWS API Call via CloudTrail"

// connection is what the record of a call says about its connection, if it is encrypted.
type connection struct {
	tls  *tls.ConnectionState
	host string
}

// event returns the event of a call that ends now.
func (r *recording) event(out any, err error) event.Record {
	api, op := r.call.API, r.call.Operation
	record := CallRecord{
		Caller: r.call.Caller, Time: r.trail.o.Now(), EventSource: api.EventSource, EventName: orDefault(op.TrailName, op.Name),
		Request: r.parameters, ReadOnly: !op.changes(), id: r.id, eventID: r.eventID, connection: r.call.connection,
	}
	if err != nil {
		e := toldAs(api, err)
		record.ErrorCode, record.ErrorMessage = trailCode(api, e), e.Message
	} else if op.changes() { // AWS: there is no response of calls that only read
		record.Response = responseElements(r.call, out)
	}
	return record.Event()
}

// CallRecord is what CloudTrail records of a call.
type CallRecord struct {
	Caller Caller
	Time   time.Time // when the call ended
	// EventSource is the service, such as lambda.amazonaws.com, and EventName what CloudTrail
	// calls the operation, such as CreateFunction20150331.
	EventSource, EventName string
	// Request and Response are JSON in CloudTrail's casing, without secrets; nil is null.
	Request, Response       []byte
	ErrorCode, ErrorMessage string // empty of a call that succeeded
	ReadOnly                bool   // the call changed nothing and was not to

	id, eventID string // empty: new ones
	connection  connection
}

// Event returns the record as an event for the default bus of the caller's account and region.
func (r CallRecord) Event() event.Record {
	if r.id == "" {
		r.id, r.eventID = event.NewID(), event.NewID()
	}
	c := &r.Caller
	r.Time = r.Time.UTC().Truncate(time.Second)
	e := event.Event{
		ID: r.id, DetailType: trailDetailType, Source: "aws." + strings.TrimSuffix(r.EventSource, ".amazonaws.com"),
		Account: c.Account, Time: r.Time, Region: c.Region, Detail: r.detail(),
	}
	return event.Record{
		Bus: event.BusRef{Account: c.Account, Region: c.Region, Name: event.DefaultBus},
		ID:  e.ID, Origin: event.OriginService + " trail", JSON: e.AppendJSON(nil),
	}
}

// detail is the record, its members in AWS's order.
func (r *CallRecord) detail() []byte {
	c := &r.Caller
	d := object{b: append(make([]byte, 0, 1024+len(r.Request)+len(r.Response)), '{')}
	d.text("eventVersion", "1.08")
	d.raw("userIdentity", userIdentity(c))
	d.text("eventTime", r.Time.Format(time.RFC3339))
	d.text("eventSource", r.EventSource)
	d.text("eventName", r.EventName)
	d.text("awsRegion", c.Region)
	// AWS: what a service calls on behalf of somebody comes from the service.
	d.text("sourceIPAddress", orDefault(c.InvokedBy, c.SourceIP))
	d.text("userAgent", cut(orDefault(c.InvokedBy, c.UserAgent)))
	if r.ErrorCode != "" {
		d.text("errorCode", r.ErrorCode)
		d.text("errorMessage", cut(r.ErrorMessage))
	}
	d.raw("requestParameters", fitting("requestParameters", r.Request))
	d.raw("responseElements", fitting("responseElements", r.Response))
	d.text("requestID", c.RequestID)
	d.text("eventID", r.eventID)
	d.raw("readOnly", strconv.AppendBool(nil, r.ReadOnly))
	d.text("eventType", "AwsApiCall")
	d.raw("managementEvent", []byte("true"))
	d.text("recipientAccountId", c.Account)
	d.text("eventCategory", "Management")
	if r.connection.tls != nil {
		d.raw("tlsDetails", tlsDetails(r.connection.tls, r.connection.host))
	}
	return d.end()
}

// userIdentity is who called: an access key stands for the user of its name, as
// GetCallerIdentity says.
func userIdentity(c *Caller) []byte {
	d := object{b: []byte{'{'}}
	if c.AccessKeyID == "" {
		d.text("type", "AWSService")
		d.text("invokedBy", c.InvokedBy)
		return d.end()
	}
	d.text("type", "IAMUser")
	d.text("principalId", c.AccessKeyID)
	d.text("arn", c.UserARN())
	d.text("accountId", c.Account)
	d.text("accessKeyId", c.AccessKeyID)
	d.text("userName", c.AccessKeyID)
	if c.InvokedBy != "" {
		d.text("invokedBy", c.InvokedBy)
	}
	return d.end()
}

func tlsDetails(state *tls.ConnectionState, host string) []byte {
	d := object{b: []byte{'{'}}
	// Go writes "TLS 1.3" for what AWS calls TLSv1.3.
	d.text("tlsVersion", strings.Replace(tls.VersionName(state.Version), "TLS ", "TLSv", 1))
	d.text("cipherSuite", tls.CipherSuiteName(state.CipherSuite))
	d.text("clientProvidedHostHeader", host)
	return d.end()
}

// trailCode is what CloudTrail calls an error. AWS: the modelled names of errors in all
// protocols, and EC2's own with the side whose fault they are.
func trailCode(api *API, e *Error) string {
	if api.speaks(EC2) {
		code := e.Code
		if common, ok := commonCodes[e.Code]; ok {
			code = common.ec2
		}
		if e.Fault {
			return "Server." + code
		}
		return "Client." + code
	}
	switch e.Code {
	case "AccessDeniedException", api.deniedCode():
		return "AccessDenied"
	case "ValidationError":
		return "ValidationException"
	}
	return e.Code
}

// object appends the members of a JSON object.
type object struct{ b []byte }

// text adds a member that is a text.
func (o *object) text(name, value string) {
	o.name(name)
	o.b = event.AppendText(o.b, value)
}

// raw adds a member that is JSON; nil is null.
func (o *object) raw(name string, value []byte) {
	o.name(name)
	if value == nil {
		value = []byte("null")
	}
	o.b = append(o.b, value...)
}

// name begins a member.
func (o *object) name(name string) {
	if o.b[len(o.b)-1] != '{' {
		o.b = append(o.b, ',')
	}
	o.b = event.AppendText(o.b, name)
	o.b = append(o.b, ':')
}

func (o *object) end() []byte { return append(o.b, '}') }

// cut shortens a text to what a record holds.
func cut(text string) string {
	if len(text) <= maxTrailText {
		return text
	}
	n := maxTrailText
	for n > 0 && !utf8.RuneStart(text[n]) {
		n--
	}
	return text[:n]
}

// fitting is a part of a record, or what stands in its place where it is too large.
func fitting(name string, part []byte) []byte {
	if len(part) <= maxTrailPart {
		return part
	}
	d := object{b: []byte{'{'}}
	d.raw("omitted", []byte("true"))
	d.raw("originalSize", strconv.AppendInt(nil, int64(len(part)), 10))
	d.text("reason", name+" too large")
	return d.end()
}
