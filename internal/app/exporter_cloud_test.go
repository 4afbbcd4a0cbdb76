package app

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	tableKind = "AWS::DynamoDB::Table"
	groupKind = "AWS::Logs::LogGroup"
)

// cloudScope is a kind of resource in a region.
type cloudScope struct{ region, kind string }

// cloudAccount plays an account of AWS of which nothing is there but Cloud Control: what
// is in it is the truth, and it counts what it is asked.
type cloudAccount struct {
	id      string
	url     string
	latency time.Duration
	page    int

	mu        sync.Mutex
	resources map[cloudScope]map[string]map[string]any // properties, by identifier
	denied    map[cloudScope]bool
	gets      map[string]int // by identifier
	lists     []string       // tokens, in the order in which they came
	// listed is how many resources the pages up to the one with a token had.
	listed map[string]int
}

func newCloudAccount(t *testing.T, id string) *cloudAccount {
	t.Helper()
	a := &cloudAccount{
		id: id, page: 100, resources: map[cloudScope]map[string]map[string]any{}, denied: map[cloudScope]bool{}, gets: map[string]int{}, listed: map[string]int{},
	}
	server := httptest.NewServer(a)
	t.Cleanup(server.Close)
	a.url = server.URL
	return a
}

func (a *cloudAccount) put(s cloudScope, id string, properties map[string]any) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.resources[s] == nil {
		a.resources[s] = map[string]map[string]any{}
	}
	a.resources[s][id] = properties
}

func (a *cloudAccount) remove(s cloudScope, id string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.resources[s], id)
}

func (a *cloudAccount) deny(s cloudScope, denied bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.denied[s] = denied
}

// truth are the identifiers in a scope.
func (a *cloudAccount) truth(s cloudScope) []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Sorted(maps.Keys(a.resources[s]))
}

// ServeHTTP answers GetResource and ListResources.
func (a *cloudAccount) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var in struct{ TypeName, Identifier, NextToken string }
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	// AWS4-HMAC-SHA256 Credential=KEY/DATE/REGION/…
	s := cloudScope{kind: in.TypeName}
	if parts := strings.Split(r.Header.Get("Authorization"), "/"); len(parts) > 2 {
		s.region = parts[2]
	}
	_, operation, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	status, out := a.answer(operation, s, in.Identifier, in.NextToken)
	if a.latency > 0 {
		select {
		case <-time.After(a.latency): // on its way, as an answer of AWS is
		case <-r.Context().Done():
		}
	}
	w.Header().Set("Content-Type", "application/x-amz-json-1.0")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(out) // nobody may be there any more
}

func (a *cloudAccount) answer(operation string, s cloudScope, id, token string) (int, any) {
	a.mu.Lock()
	defer a.mu.Unlock()
	refuse := func(code, about string) (int, any) {
		return http.StatusBadRequest, map[string]string{"__type": code, "Message": about}
	}
	switch {
	case a.denied[s]:
		return refuse("AccessDeniedException", "not authorized to perform: cloudformation:"+operation)
	case operation == "ListResources":
		return http.StatusOK, a.list(s, token)
	case operation != "GetResource":
		return refuse("UnknownOperationException", operation)
	}
	a.gets[id]++
	if a.resources[s][id] == nil {
		return refuse("ResourceNotFoundException", fmt.Sprintf("Resource of type '%s' with identifier '%s' was not found.", s.kind, id))
	}
	return http.StatusOK, map[string]any{"TypeName": s.kind, "ResourceDescription": a.description(s, id)}
}

// list is a page: its token is the last identifier of the one before.
func (a *cloudAccount) list(s cloudScope, token string) any {
	a.lists = append(a.lists, token)
	page := []any{}
	next := ""
	for _, id := range slices.Sorted(maps.Keys(a.resources[s])) {
		if id <= token {
			continue
		}
		if len(page) == a.page {
			break
		}
		page, next = append(page, a.description(s, id)), id
	}
	out := map[string]any{"TypeName": s.kind, "ResourceDescriptions": page}
	if len(page) == a.page {
		out["NextToken"] = next
		a.listed[next] = a.listed[token] + len(page)
	}
	return out
}

func (a *cloudAccount) description(s cloudScope, id string) any {
	text, _ := json.Marshal(a.resources[s][id])
	return map[string]string{"Identifier": id, "Properties": string(text)}
}

// reads is how often a resource was read.
func (a *cloudAccount) reads(id string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.gets[id]
}

// asked are the tokens of the lists since the first n.
func (a *cloudAccount) asked(n int) []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.lists[n:])
}

// listedTo is how many resources the pages had up to the one that a token asks for.
func (a *cloudAccount) listedTo(token string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.listed[token]
}

// settings are how a server reaches the account, without a rate that holds it up.
func (a *cloudAccount) settings(regions ...string) map[string]any {
	return map[string]any{
		"access_key_id": "AKIAIOSFODNN7EXAMPLE", "secret_access_key": "secret", "endpoint_url": a.url, "regions": regions,
		"requests_per_second": 10_000, "burst": 10_000, "budgets": map[string]any{"cloudcontrol": map[string]any{"requests_per_second": 10_000, "burst": 10_000}},
	}
}

// record is an event record about one of the account's resources.
func (a *cloudAccount) record(s cloudScope, id, action string) string {
	text, _ := json.Marshal(map[string]string{
		"resource_type": s.kind, "account": a.id, "region": `.place`, "place": s.region, "identifier": ".name", "name": id, "action": fmt.Sprintf("%q", action),
	})
	return string(text)
}
