package awsapi

import (
	"net/http"

	"github.com/rialto-bus/rialto/internal/event"
)

// wireCode is what a code that is no service's own is called in each protocol.
type wireCode struct{ json, query, ec2 string }

// commonCodes are the errors that every service can give. Those of EC2 that hide
// which part of a credential was wrong are AuthFailure.
var commonCodes = map[string]wireCode{
	codeIncompleteSignature: {"IncompleteSignatureException", codeIncompleteSignature, codeIncompleteSignature},
	codeMissingToken:        {"MissingAuthenticationTokenException", codeMissingToken, codeMissingToken},
	codeUnknownKey:          {"UnrecognizedClientException", codeUnknownKey, authFailure},
	codeBadSignature:        {"InvalidSignatureException", codeBadSignature, authFailure},
	codeTooOld:              {"InvalidSignatureException", codeBadSignature, codeExpired},

	"AccessDeniedException":     {"AccessDeniedException", "AccessDenied", "UnauthorizedOperation"},
	"UnknownOperationException": {"UnknownOperationException", "InvalidAction", "InvalidAction"},
	"InternalFailure":           {"InternalFailure", "InternalFailure", "InternalError"},
	"InternalException":         {"InternalException", "InternalFailure", "InternalError"},
	"ThrottlingException":       {"ThrottlingException", "Throttling", "RequestLimitExceeded"},
	"RequestEntityTooLarge":     {"RequestEntityTooLargeException", "RequestEntityTooLarge", "RequestEntityTooLarge"},
}

const authFailure = "AuthFailure"

// onWire is an error as a protocol writes it.
func (x *exchange) onWire(e *Error) (code, message string, status int) {
	code, message, status = e.Code, e.Message, e.Status
	if x.binding != nil {
		if modelled, ok := x.binding.API.Errors[e.Code]; ok {
			if status == 0 {
				status = modelled.Status
			}
			if x.protocol == JSON && !modelled.Fault {
				// The models' other statuses are of the query protocol.
				status = http.StatusBadRequest
			}
			if x.protocol != JSON && modelled.QueryCode != "" {
				return modelled.QueryCode, message, status
			}
		}
	}
	if status == 0 {
		status = http.StatusBadRequest
	}
	common, ok := commonCodes[e.Code]
	if !ok {
		return code, message, status
	}
	switch x.protocol {
	case RESTJSON:
		return common.json, message, status
	case JSON:
		// JSON services answer what is wrong with a signature with 400.
		if status == http.StatusForbidden && common.json != "AccessDeniedException" && common.json != "MissingAuthenticationTokenException" {
			status = http.StatusBadRequest
		}
		return common.json, message, status
	case EC2:
		if common.ec2 == authFailure {
			return authFailure, "AWS was not able to validate the provided access credentials", http.StatusUnauthorized
		}
		return common.ec2, message, status
	}
	return common.query, message, status
}

// queryCode is an error's code in the query protocol, for the header that JSON
// answers of services with both protocols carry.
func (x *exchange) queryCode(e *Error) string {
	if modelled, ok := x.binding.API.Errors[e.Code]; ok && modelled.QueryCode != "" {
		return modelled.QueryCode
	}
	if common, ok := commonCodes[e.Code]; ok {
		return common.query
	}
	return e.Code
}

// fail writes an error in the caller's protocol.
func (x *exchange) fail(e *Error) {
	code, message, status := x.onWire(e)
	// Sender: whose fault it is, in the words of both XML protocols.
	kind := "Sender"
	if e.Fault || status >= http.StatusInternalServerError {
		kind = "Receiver"
	}
	switch x.protocol {
	case JSON:
		x.failJSON(e, code, message, status, kind)
	case RESTJSON:
		x.failREST(e, code, message, status)
	case EC2:
		b := &xmlBuffer{}
		b.WriteString(`<?xml version="1.0" encoding="UTF-8"?>` + "\n<Response><Errors><Error>")
		b.text("Code", code)
		b.text("Message", message)
		b.WriteString("</Error></Errors>")
		b.text("RequestID", x.requestID)
		b.WriteString("</Response>")
		x.write("text/xml;charset=UTF-8", status, b.Bytes())
	default:
		b := &xmlBuffer{}
		b.WriteString(`<?xml version="1.0" encoding="UTF-8"?>` + "\n<ErrorResponse" + x.namespaceAttr() + "><Error>")
		b.text("Type", kind)
		b.text("Code", code)
		b.text("Message", message)
		b.WriteString("<Detail/></Error>")
		b.text("RequestId", x.requestID)
		b.WriteString("</ErrorResponse>")
		x.write("text/xml", status, b.Bytes())
	}
}

func (x *exchange) failJSON(e *Error, code, message string, status int, kind string) {
	version, prefix := "1.1", ""
	if x.binding != nil {
		version, prefix = x.binding.API.JSONVersion, x.binding.API.ErrorPrefix
		if x.binding.API.QueryCompatible {
			x.w.Header().Set("x-amzn-query-error", x.queryCode(e)+";"+kind)
		}
	}
	body := append([]byte(nil), `{"__type":`...)
	body = event.AppendText(body, prefix+code)
	body = append(body, `,"message":`...)
	body = event.AppendText(body, message)
	body = append(body, '}')
	x.w.Header().Set("x-amzn-ErrorType", code)
	x.write("application/x-amz-json-"+version, status, body)
}

// failREST writes an error whose code is in a header.
func (x *exchange) failREST(e *Error, code, message string, status int) {
	kind, member := "User", "message"
	if e.Fault || status >= http.StatusInternalServerError {
		kind = "Service"
	}
	if x.binding != nil {
		if modelled, ok := x.binding.API.Errors[e.Code]; ok && modelled.Message != "" {
			member = modelled.Message
		}
	}
	body := append([]byte(nil), `{"Type":`...)
	body = event.AppendText(body, kind)
	body = append(body, ',')
	body = event.AppendText(body, member)
	body = append(body, ':')
	body = event.AppendText(body, message)
	body = append(body, '}')
	x.w.Header().Set("x-amzn-ErrorType", code)
	x.write("application/json", status, body)
}

func (x *exchange) namespaceAttr() string {
	if x.binding == nil {
		return ""
	}
	return ` xmlns="` + x.binding.API.XMLNamespace + `"`
}

// answer writes the output of an operation.
func (x *exchange) answer(out any) {
	api := x.binding.API
	switch x.protocol {
	case JSON:
		var body []byte
		if x.op.Output != Empty {
			body = EncodeJSON(x.op.Output, out)
		}
		x.write("application/x-amz-json-"+api.JSONVersion, http.StatusOK, body)
	case RESTJSON:
		x.answerREST(out)
	case EC2:
		x.write("text/xml;charset=UTF-8", http.StatusOK, encodeXML(EC2, api, x.op, x.requestID, out))
	default:
		x.write("text/xml", http.StatusOK, encodeXML(Query, api, x.op, x.requestID, out))
	}
}

// write sends the answer. That it may not arrive is nobody's to handle here.
func (x *exchange) write(contentType string, status int, body []byte) {
	header := x.w.Header()
	header.Set("x-amzn-RequestId", x.requestID)
	header.Set("Content-Type", contentType)
	header.Set("X-Content-Type-Options", "nosniff")
	x.w.WriteHeader(status)
	_, _ = x.w.Write(body)
}
