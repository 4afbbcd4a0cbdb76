package resource

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/rialto-bus/rialto/internal/awsapi"
	"github.com/rialto-bus/rialto/internal/awsapi/awsapitest"
	"github.com/rialto-bus/rialto/internal/awsapi/gen/cloudcontrol"
	"github.com/rialto-bus/rialto/internal/store"
	"github.com/rialto-bus/rialto/internal/store/storetest"
)

type noKeys struct{}

func (noKeys) Lookup(context.Context, string) (awsapi.Credential, error) {
	return awsapi.Credential{}, awsapi.ErrUnknownKey
}

// refusedCall is a call that is refused, and how.
type refusedCall struct {
	name, in, code, message string
}

const invalid, validation = cloudcontrol.CodeInvalidRequestException, "ValidationException"

// Every operation refuses what it cannot honour by AWS's name for it, and changes nothing.
func TestBadInputIsRefusedByName(t *testing.T) {
	s, typ := newShop(t)
	f := newFixture(t, storetest.SQLite(t), typ)
	f.wait(f.create(shopType, `{"Name":"a","Room":"1"}`))
	f.register(`{"typeName":"Acme::Fixed::Thing","description":"x","additionalProperties":false,"properties":{"Name":{"type":"string"},"Owner":{"type":"string"}},
		"primaryIdentifier":["/properties/Name"],"handlers":{"create":{},"read":{},"delete":{},"list":{"handlerSchema":{"properties":{},"required":["Owner"]}}}}`)
	h := awsapi.New(awsapi.Config{Keys: noKeys{}})
	h.Register(cloudcontrol.Bind(f.CloudControl()))
	const item = `"TypeName":"` + shopType + `"`
	large := strings.Repeat("x", 256<<10)
	deep := strings.Repeat("[", 70) + strings.Repeat("]", 70)
	quoted := func(text string) string { return strings.ReplaceAll(text, `"`, `\"`) }
	create := func(desired string) string { return `{` + item + `,"DesiredState":"` + quoted(desired) + `"}` }
	update := func(patch string) string {
		return `{` + item + `,"Identifier":"a","PatchDocument":"` + quoted(patch) + `"}`
	}
	for operation, calls := range map[string][]refusedCall{
		"CreateResource": {
			{"no type", `{"DesiredState":"{}"}`, validation, "typeName"},
			{"no state", `{` + item + `}`, validation, "desiredState"},
			{"a type of another form", `{"TypeName":"Queue","DesiredState":"{}"}`, validation, "typeName"},
			{"a type that is not there", `{"TypeName":"Acme::Shop::Other","DesiredState":"{}"}`, cloudcontrol.CodeTypeNotFoundException, "The type 'Acme::Shop::Other' cannot be found."},
			{"a version", `{` + item + `,"DesiredState":"{}","TypeVersionId":"00000002"}`, cloudcontrol.CodeTypeNotFoundException, "has no version '00000002'"},
			{"a version of a registered type", `{"TypeName":"Acme::Fixed::Thing","DesiredState":"{}","TypeVersionId":"00000002"}`, cloudcontrol.CodeTypeNotFoundException, "has no version"},
			{"a role of another account", `{` + item + `,"DesiredState":"{}","RoleArn":"arn:aws:iam::444455556666:role/r"}`, invalid, "is not of the account 111122223333"},
			{"a role that is none", `{` + item + `,"DesiredState":"{}","RoleArn":"arn:aws:iam::111122223333:user/r"}`, validation, "roleArn"},
			{"a client token of other characters", `{` + item + `,"DesiredState":"{}","ClientToken":"订单"}`, validation, "clientToken"},
			{"no JSON", create(`{"Name":`), invalid, "DesiredState is no JSON object: the JSON ends too early"},
			{"a list", create(`[]`), invalid, "DesiredState is no JSON object"},
			{"a member twice", create(`{"Name":"a","Name":"b"}`), invalid, `the member "Name" is there twice`},
			{"too deep", create(`{"Name":` + deep + `}`), invalid, "the JSON is nested too deep"},
			{"too large", create(`{"Name":"` + large + `"}`), validation, "desiredState"},
			{"a number for a text", create(`{"Name":5}`), validation, "Model validation failed (#/Name: expected type: String, found: Integer)"},
			{"a text for a number", create(`{"Name":"b","Size":"5"}`), validation, "Model validation failed (#/Size: expected type: Integer, found: String)"},
			{"an unknown property", create(`{"Name":"b","Colour":"red"}`), validation, "Model validation failed (#: extraneous key [Colour] is not permitted)"},
			{"a read-only property", create(`{"Name":"b","Arn":"x"}`), validation, "readOnlyProperties [/properties/Arn] cannot be given"},
			{"NUL in the identifier", create(`{"Name":"b\\u0000"}`), invalid, "The identifier has a NUL character."},
			{"a long identifier", create(`{"Name":"` + strings.Repeat("文", 400) + `"}`), invalid, "The identifier is 1200 bytes long; 1024 are allowed."},
			{"a huge number", create(`{"Name":"b","Size":1e400000}`), invalid, "is too long"},
		},
		"UpdateResource": {
			{"no patch", `{` + item + `,"Identifier":"a"}`, validation, "patchDocument"},
			{"a resource that is not there", `{` + item + `,"Identifier":"z","PatchDocument":"[{\"op\":\"remove\",\"path\":\"/Size\"}]"}`, cloudcontrol.CodeResourceNotFoundException, "HandlerErrorCode: NotFound"},
			{"a type without update", `{"TypeName":"Acme::Fixed::Thing","Identifier":"a","PatchDocument":"[]"}`, cloudcontrol.CodeUnsupportedActionException, "Resource type Acme::Fixed::Thing does not support UPDATE action"},
			{"no JSON", update(`[`), invalid, "Invalid patch document: the JSON ends too early"},
			{"a merge patch", update(`{"Size":1}`), invalid, "Invalid patch document: it must be a JSON array of operations"},
			{"an unknown op", update(`[{"op":"set","path":"/Size","value":1}]`), invalid, `there is no op "set"`},
			{"a path that is not there", update(`[{"op":"remove","path":"/Size"}]`), invalid, "Invalid patch document: operation 0"},
			{"a test that fails", update(`[{"op":"test","path":"/Name","value":"b"}]`), invalid, "Invalid patch document: operation 0"},
			{"a model that breaks the schema", update(`[{"op":"add","path":"/Size","value":101}]`), validation, "Model validation failed (#/Size: 101 is not less or equal to 100)"},
			{"a create-only property", update(`[{"op":"replace","path":"/Room","value":"2"}]`), cloudcontrol.CodeNotUpdatableException, "Invalid patch update: createOnlyProperties [/properties/Room] cannot be updated"},
			{"a create-only property that goes", update(`[{"op":"remove","path":"/Name"}]`), cloudcontrol.CodeNotUpdatableException, "createOnlyProperties [/properties/Name] cannot be updated"},
			{"a read-only property", update(`[{"op":"replace","path":"/Arn","value":"x"}]`), validation, "readOnlyProperties [/properties/Arn] cannot be updated"},
		},
		"DeleteResource": {
			{"no identifier", `{` + item + `}`, validation, "identifier"},
			{"an empty identifier", `{` + item + `,"Identifier":""}`, validation, "identifier"},
			{"NUL", `{` + item + `,"Identifier":"a\u0000b"}`, invalid, "NUL"},
		},
		"GetResource": {
			{"a resource that is not there", `{` + item + `,"Identifier":"z"}`, cloudcontrol.CodeResourceNotFoundException, "Acme::Shop::Item Handler returned status FAILED: no item z (HandlerErrorCode: NotFound, RequestToken: "},
			{"a document that is not there", `{"TypeName":"AWS::ECS::Cluster","Identifier":"z\u0000"}`, cloudcontrol.CodeResourceNotFoundException, "was not found"},
			{"a type that is not there", `{"TypeName":"AWS::Shop::Other","Identifier":"z"}`, cloudcontrol.CodeTypeNotFoundException, "cannot be found"},
		},
		"ListResources": {
			{"a list that must be narrowed", `{"TypeName":"Acme::Fixed::Thing"}`, invalid, "Missing or invalid ResourceModel property in Acme::Fixed::Thing list handler request input. Required property:  [Owner]"},
			{"a model that is none", `{` + item + `,"ResourceModel":"x"}`, invalid, "ResourceModel is no JSON object"},
			{"too many", `{` + item + `,"MaxResults":101}`, validation, "maxResults"},
			{"a page that was not given out", `{"TypeName":"AWS::ECS::Cluster","NextToken":"x"}`, invalid, "NextToken"},
		},
		"GetResourceRequestStatus": {{"a token that is not there", `{"RequestToken":"0-0"}`, cloudcontrol.CodeRequestTokenNotFoundException, "Request with token 0-0 was not found"}},
		"CancelResourceRequest":    {{"a token that is not there", `{"RequestToken":"0-0"}`, cloudcontrol.CodeRequestTokenNotFoundException, "Request with token 0-0 was not found"}},
		"ListResourceRequests": {
			{"a page that was not given out", `{"NextToken":"xyz"}`, validation, "NextToken"},
			{"an unknown status", `{"ResourceRequestStatusFilter":{"OperationStatuses":["DONE"]}}`, validation, "operationStatuses"},
		},
	} {
		op := operationOf(t, operation)
		for _, call := range calls {
			t.Run(operation+"/"+call.name, func(t *testing.T) {
				in := op.New()
				if err := awsapi.DecodeJSON(op.Input, []byte(call.in), in); err != nil {
					t.Fatal(err)
				}
				_, err := h.Invoke(t.Context(), caller(account), "cloudcontrolapi", operation, in)
				e, ok := errors.AsType[*awsapi.Error](err)
				if !ok || e.Code != call.code || !strings.Contains(e.Message, call.message) {
					t.Errorf("got %v\nwant %s: …%s…", err, call.code, call.message)
				}
			})
		}
	}
	if n := len(cloudcontrol.API.Operations); n != 8 {
		t.Errorf("Cloud Control has %d operations, this table 8", n)
	}
	if n := len(s.seen()); n != 1 {
		t.Errorf("the handler was called %d times", n)
	}
}

func operationOf(t *testing.T, name string) awsapi.Operation {
	t.Helper()
	for _, op := range cloudcontrol.API.Operations {
		if op.Name == name {
			return op
		}
	}
	t.Fatalf("there is no operation %s", name)
	return awsapi.Operation{}
}

// Whatever text a request has, it is answered or refused, never failed over.
func TestSpoiledRequestsAreAnsweredOrRefused(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.DB) {
		f := newFixture(t, db)
		f.register(shelf)
		f.make("AWS::ECS::Cluster", `{"ClusterName":"main"}`, "t")
		h := awsapi.New(awsapi.Config{Keys: noKeys{}})
		h.Register(cloudcontrol.Bind(f.CloudControl()))
		for operation, inputs := range map[string][]string{
			"CreateResource": {
				`{"TypeName":"AWS::ECS::Cluster","DesiredState":"{\"ClusterName\":\"x\"}","ClientToken":"c","RoleArn":"arn:aws:iam::111122223333:role/r"}`,
				`{"TypeName":"Acme::Library::Shelf","DesiredState":"{\"Name\":\"ab\",\"Labels\":{\"a\":\"b\"}}","TypeVersionId":"00000001"}`,
			},
			"UpdateResource":           {`{"TypeName":"AWS::ECS::Cluster","Identifier":"main","PatchDocument":"[{\"op\":\"add\",\"path\":\"/Tags\",\"value\":[{\"Key\":\"a\",\"Value\":\"b\"}]}]"}`},
			"DeleteResource":           {`{"TypeName":"AWS::ECS::Service","Identifier":"arn:aws:ecs:eu-west-1:111122223333:service/a/b|a"}`},
			"GetResource":              {`{"TypeName":"AWS::ECS::Service","Identifier":"arn:aws:ecs:eu-west-1:111122223333:service/a/b|a"}`, `{"TypeName":"AWS::ECS::Cluster","Identifier":"main"}`},
			"ListResources":            {`{"TypeName":"AWS::ECS::Service","ResourceModel":"{\"Cluster\":\"main\"}","NextToken":"MQ=="}`},
			"ListResourceRequests":     {`{"NextToken":"MQ=="}`},
			"GetResourceRequestStatus": {`{"RequestToken":"a-b"}`},
			"CancelResourceRequest":    {`{"RequestToken":"a-b"}`},
		} {
			for _, input := range inputs {
				for _, spoil := range []string{"\x00", "\xff", "'; --", "文🚀", strings.Repeat("y", 3000)} {
					for what, in := range awsapitest.Spoiled(t, operationOf(t, operation), input, spoil) {
						_, err := h.Invoke(t.Context(), caller(account), "cloudcontrolapi", operation, in)
						if e, ok := errors.AsType[*awsapi.Error](err); err != nil && (!ok || e.Fault) {
							t.Errorf("%.200q: %v", what, err)
						}
					}
				}
			}
		}
		// What was begun ends.
		list, err := listRequests(f.ctx, db, account, region, nil, nil, 0, 1000)
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range list {
			if e := f.await(&o.Token, "SUCCESS", "FAILED"); text(e.ErrorCode) == string(InternalFailure) {
				t.Errorf("%s %s failed: %s", o.Operation, o.Identifier, text(e.StatusMessage))
			}
		}
	})
}

// NUL within a model is text like any other.
func TestModelsHoldAnyText(t *testing.T) {
	onBoth(t, func(t *testing.T, f *fixture) {
		m := f.make("AWS::ECS::Cluster", `{"ClusterName":"main","Tags":[{"Key":"a","Value":"\u0000\u2028 <&> 文"}]}`, "t")
		got, err := f.Read(f.ctx, "AWS::ECS::Cluster", request("main"))
		if err != nil || !same(got, m) {
			t.Errorf("read %s, %v", EncodeModel(got), err)
		}
		f.register(schemaOf("Acme::Web::Site"))
		r := request("")
		r.Desired = model(t, `{"Name":"a\u0000b"}`)
		_, err = f.Create(f.ctx, "Acme::Web::Site", r)
		wantCode(t, "NUL in a name", err, InvalidRequest)
	})
}
