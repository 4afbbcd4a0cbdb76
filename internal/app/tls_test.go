package app

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ebtypes "github.com/aws/aws-sdk-go-v2/service/eventbridge/types"
)

// selfSigned makes a certificate for localhost and returns it with the paths of
// its files.
func selfSigned(t *testing.T) (pool *x509.CertPool, certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "rialto"}, DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	certFile, keyFile = filepath.Join(t.TempDir(), "cert.pem"), filepath.Join(t.TempDir(), "key.pem")
	for file, content := range map[string][]byte{
		certFile: certPEM, keyFile: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}),
	} {
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pool = x509.NewCertPool()
	pool.AppendCertsFromPEM(certPEM)
	return pool, certFile, keyFile
}

// With a certificate of its own and access keys, everything goes by https: the
// SDK's calls, the REST API, the token and the webhook, which the rule reaches by
// the public URL.
func TestTheStoryOverTLS(t *testing.T) {
	pool, certFile, keyFile := selfSigned(t)
	// The server's process trusts the certificate as an operator would have it do.
	t.Setenv("SSL_CERT_FILE", certFile)
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	c := NewConfig()
	c.Listen, c.DataDir, c.EventLogBytes = address, t.TempDir(), 64<<20
	c.PublicURL, c.TLSCert, c.TLSKey = "https://localhost:"+port, certFile, keyFile
	id, secret, err := CreateKey(t.Context(), c, "000000000000", "admin", "")
	if err != nil {
		t.Fatal(err)
	}
	if err := free.Close(); err != nil {
		t.Fatal(err)
	}
	p := startProcess(t, serverSettings{Config: &c})
	if p.url != c.PublicURL {
		t.Errorf("it serves at %s, want %s", p.url, c.PublicURL)
	}

	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	in := &caller{t: t, url: p.url, account: "000000000000", region: home, key: credentials.NewStaticCredentialsProvider(id, secret, ""), http: client}
	api := restClient{t: t, url: p.url, http: client}
	var login struct {
		BearerToken string `json:"bearer_token"`
	}
	api.post(apiRoot+"/service_token", map[string]string{"key_id": id, "key_secret": secret}, &login)
	api.bearer = login.BearerToken
	api.post(apiRoot+"/projects", map[string]string{"name": "web"}, nil)
	api.post(apiRoot+"/projects/web/cloud_accounts", map[string]any{"account_id": "000000000000", "regions": []string{home}}, nil)
	awaitFirstSync(t, func(out any) {
		api.call("GET", apiRoot+"/projects/web/cloud_accounts/000000000000/sync_runs", nil, out)
	})
	var m monitored
	api.post(apiRoot+"/projects/web/cloud_accounts/000000000000/monitor", nil, &m)

	records := in.ruleToQueue("records", recordEvents)
	destination := in.destination("inventory", m.WebhookURL, oauth(m.TokenURL, m.ClientID, m.ClientSecret))
	in.putRule("", "ec2", stateChanges, ebtypes.Target{Id: aws.String("inventory"), Arn: &destination, RoleArn: aws.String(in.role())})
	out, err := in.ec2().RunInstances(t.Context(), &ec2.RunInstancesInput{ImageId: aws.String("ami-0abcdef1234567890"), MinCount: aws.Int32(1), MaxCount: aws.Int32(1)})
	if err != nil {
		t.Fatal(err)
	}
	in.awaitEvents(records, func(e arrivedEvent) bool {
		var d recordChange
		if e.DetailType != "server.added" {
			return false
		}
		if err := json.Unmarshal(e.Detail, &d); err != nil {
			t.Fatal(err)
		}
		if d.Server.InstanceID != *out.Instances[0].InstanceId || d.Cause.Kind != "event" {
			t.Errorf("the inventory took in %s", e.Detail)
		}
		return true
	})
	p.stop(t)

	if resp, err := http.Get("http://" + address + "/healthz"); err == nil {
		resp.Body.Close()
		t.Error("it still answers")
	}
}

// restClient calls the REST API of a server in another process.
type restClient struct {
	t      *testing.T
	url    string
	bearer string
	http   *http.Client
}

func (c restClient) post(path string, in, out any) {
	c.t.Helper()
	c.call("POST", path, in, out)
}

func (c restClient) call(method, path string, in, out any) {
	c.t.Helper()
	req := newRequest(c.t, method, c.url+path, in)
	if c.bearer != "" {
		req.Header.Set("Authorization", "Bearer "+c.bearer)
	}
	a := send(c.t, c.http, req)
	if a.Status/100 != 2 {
		c.t.Fatalf("%s: %s", path, a)
	}
	if out == nil {
		return
	}
	if err := json.Unmarshal(a.Body, out); err != nil {
		c.t.Fatalf("%s: %s: %v", path, a, err)
	}
}
