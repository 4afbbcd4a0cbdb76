package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

const (
	// cloudKind is the kind whose resources the local Cloud Control endpoint has.
	cloudKind = "AWS::SNS::Topic"
	// cloudPage is how many resources a page of ListResources has. AWS: 100 at most.
	cloudPage = 100
)

// cloudControl is an AWS account with many topics and nothing but Cloud Control,
// which answers each call after the same time.
type cloudControl struct {
	account   string
	resources int
	latency   time.Duration
	server    *httptest.Server
	// calls counts what was asked, and generation changes what every resource looks like.
	calls, generation atomic.Int64
}

func newCloudControl(account string, resources int, latency time.Duration) *cloudControl {
	c := &cloudControl{account: account, resources: resources, latency: latency}
	c.server = httptest.NewServer(c)
	return c
}

func (c *cloudControl) arn(i int) string {
	return fmt.Sprintf("arn:aws:sns:%s:%s:topic-%07d", region, c.account, i)
}

// ServeHTTP answers GetResource and ListResources.
func (c *cloudControl) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var in struct{ TypeName, Identifier, NextToken string }
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	c.calls.Add(1)
	time.Sleep(c.latency)
	w.Header().Set("Content-Type", "application/x-amz-json-1.0")
	switch _, operation, _ := strings.Cut(r.Header.Get("X-Amz-Target"), "."); {
	case in.TypeName != cloudKind:
		refuse(w, "TypeNotFoundException", in.TypeName)
	case operation == "ListResources":
		_ = json.NewEncoder(w).Encode(c.list(in.NextToken))
	case operation == "GetResource":
		_, number, _ := strings.Cut(in.Identifier, ":topic-")
		i, err := strconv.Atoi(number)
		if err != nil || i >= c.resources {
			refuse(w, "ResourceNotFoundException", in.Identifier)
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"TypeName": cloudKind, "ResourceDescription": description{c.arn(i), c.properties(i)}})
	default:
		refuse(w, "UnknownOperationException", operation)
	}
}

func refuse(w http.ResponseWriter, code, about string) {
	w.WriteHeader(http.StatusBadRequest)
	_ = json.NewEncoder(w).Encode(map[string]string{"__type": code, "Message": about})
}

// description is a resource as Cloud Control tells it: properties are JSON in a string.
type description struct{ Identifier, Properties string }

func (c *cloudControl) list(token string) map[string]any {
	from, _ := strconv.Atoi(token)
	to := min(from+cloudPage, c.resources)
	page := make([]description, 0, cloudPage)
	for i := from; i < to; i++ {
		page = append(page, description{c.arn(i), fmt.Sprintf(`{"TopicArn":%q}`, c.arn(i))})
	}
	out := map[string]any{"TypeName": cloudKind, "ResourceDescriptions": page}
	if to < c.resources {
		out["NextToken"] = strconv.Itoa(to)
	}
	return out
}

func (c *cloudControl) properties(i int) string {
	return fmt.Sprintf(`{"TopicArn":%q,"TopicName":"topic-%07d","DisplayName":"Topic %d of generation %d","FifoTopic":false,`+
		`"KmsMasterKeyId":"alias/aws/sns","Tags":[{"Key":"team","Value":"team-%d"},{"Key":"stage","Value":"production"}]}`,
		c.arn(i), i, i, c.generation.Load(), i%50)
}
