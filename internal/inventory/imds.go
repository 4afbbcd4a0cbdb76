package inventory

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// DefaultIMDSEndpoint is where EC2 instances find their metadata.
const DefaultIMDSEndpoint = "http://169.254.169.254"

// IMDSIdentity asks the instance metadata service, version 2 with its session
// token, which instance this is. AWS: the identity document.
func IMDSIdentity(ctx context.Context, endpoint string) (InstanceIdentity, error) {
	endpoint = strings.TrimRight(endpoint, "/")
	// The service is on the machine's own link, never behind a proxy.
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	token, err := imds(ctx, client, http.MethodPut, endpoint+"/latest/api/token", "X-aws-ec2-metadata-token-ttl-seconds", "60")
	if err != nil {
		return InstanceIdentity{}, fmt.Errorf("get a session token from the instance metadata service: %w", err)
	}
	text, err := imds(ctx, client, http.MethodGet, endpoint+"/latest/dynamic/instance-identity/document", "X-aws-ec2-metadata-token", string(token))
	if err != nil {
		return InstanceIdentity{}, fmt.Errorf("get the identity document from the instance metadata service: %w", err)
	}
	var doc struct {
		AccountID        string `json:"accountId"`
		Region           string `json:"region"`
		InstanceID       string `json:"instanceId"`
		AvailabilityZone string `json:"availabilityZone"`
		InstanceType     string `json:"instanceType"`
		ImageID          string `json:"imageId"`
		PrivateIP        string `json:"privateIp"`
	}
	if err := json.Unmarshal(text, &doc); err != nil {
		return InstanceIdentity{}, fmt.Errorf("read the identity document: %w", err)
	}
	id := InstanceIdentity{doc.AccountID, doc.Region, doc.InstanceID, doc.AvailabilityZone, doc.InstanceType, doc.ImageID, doc.PrivateIP}
	return id, id.validate()
}

func imds(ctx context.Context, client *http.Client, method, url, header, value string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set(header, value)
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answered %s", url, resp.Status)
	}
	return io.ReadAll(io.LimitReader(resp.Body, 64<<10))
}
